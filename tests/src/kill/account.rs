//! Every accepted command is accounted for.

use std::collections::HashMap;

use anyhow::{Context as _, Result, bail, ensure};
use wakemq_protocol::{AgentId, CommandId, CommandState, Outcome, Target};
use wakemq_publisher::{Submitted, Wanted};

use super::Totals;
use super::agents::{Call, Calls, Fleet, Life};
use crate::broker::BrokerProcess;
use crate::wait::{LIMIT, eventually, within};

/// All that was accepted so far.
#[derive(Default)]
pub(super) struct Account {
    ended: HashMap<CommandId, (AgentId, CommandState)>,
    repeated: usize,
}

impl Account {
    pub(super) fn totals(&self) -> Totals {
        let handled = self.ended.values().filter(|(_, state)| *state == CommandState::Done).count();
        Totals {
            accepted: self.ended.len(),
            handled,
            ended: self.ended.len() - handled,
            repeated: self.repeated,
            agents_killed: 0,
        }
    }

    /// Waits until everything accepted in a round has ended, and checks it against the handlers' books.
    pub(super) async fn settle(
        &mut self,
        broker: &BrokerProcess,
        accepted: Vec<Submitted>,
        fleet: &mut Fleet,
    ) -> Result<()> {
        let mut management = broker.management()?;
        for mut submitted in accepted {
            let id = submitted.id();
            let Target::Agent(agent) = submitted.target().clone() else { bail!("{id} is for a group") };
            if let Err(error) = submitted.wait(Wanted::Done, LIMIT).await {
                let told = submitted.outcome();
                let view = within("the command", management.command(id)).await?;
                let what = format!("{id} for {agent} has not ended: {error}; told {told:?}, stored {view:?}");
                return Err(fleet.explain(anyhow::anyhow!(what)));
            }
            let view = within("the command", management.command(id))
                .await?
                .with_context(|| format!("the store does not know {id}, which was accepted"))?;
            let outcome = view.outcomes.into_iter().next().context("no outcome")?;
            ensure!(outcome.state.is_terminal(), "{id} was told as ended, and is {outcome:?}");
            let told = submitted.outcome().map(|told| told.state);
            ensure!(told == Some(outcome.state), "{id} was told as {told:?}, and is {outcome:?}");
            self.ended.insert(id, (agent, outcome.state));
        }
        self.check(&fleet.calls()?, &fleet.ids())
    }

    /// Checks all commands of all rounds.
    fn check(&mut self, calls: &Calls, agents: &[AgentId]) -> Result<()> {
        for (id, (agent, state)) in &self.ended {
            let handled = calls.get(id).map_or(&[][..], Vec::as_slice);
            match state {
                CommandState::Done => ensure!(!handled.is_empty(), "{id} is done, and no handler was called"),
                // They may have been called: the agent had it, and the broker died before it heard so.
                CommandState::Superseded | CommandState::Expired | CommandState::Cancelled => {}
                other @ (CommandState::Queued
                | CommandState::Sent
                | CommandState::Acknowledged
                | CommandState::Failed
                | CommandState::Refused) => bail!("{id} ended {other}, which nobody asked for"),
            }
            let own = |call: &Call| agents.get(call.agent) == Some(agent);
            ensure!(handled.iter().all(own), "{id} is for {agent}, and was handled by another: {handled:?}");
        }
        self.repeated = 0;
        for (id, handled) in calls {
            check_repeated(*id, handled)?;
            self.repeated += handled.len() - 1;
        }
        Ok(())
    }

    /// Checks that the store tells of each call for a command that had ended otherwise.
    pub(super) async fn check_late(&self, broker: &BrokerProcess, calls: &Calls) -> Result<()> {
        let mut management = broker.management()?;
        let otherwise = self.ended.iter().filter(|(_, (_, state))| *state != CommandState::Done);
        for (id, (_, state)) in otherwise.filter(|(id, _)| calls.contains_key(id)) {
            eventually(&format!("the late receipt of {id}, {state}"), async || {
                let view = within("the command", management.command(*id)).await??;
                Ok(view.outcomes.into_iter().next().filter(|Outcome { late, .. }| late.is_some()).map(drop))
            })
            .await?;
        }
        Ok(())
    }
}

/// Checks that each call but the last was one inside which its agent was killed.
fn check_repeated(id: CommandId, handled: &[Call]) -> Result<()> {
    let mut by_life = handled.to_vec();
    by_life.sort_by_key(|call| call.life);
    for (earlier, later) in by_life.iter().zip(by_life.iter().skip(1)) {
        ensure!(earlier.life != later.life, "{id} was handled twice by one process: {by_life:?}");
        ensure!(
            earlier.ended == Life::Killed && earlier.last_of_life,
            "{id} was handled again, and its agent was not killed inside it: {by_life:?}"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_call_is_excused_only_by_a_kill_inside_the_first() {
        let id = CommandId::from_parts(1, &[0; 10]);
        let call = |life, ended, last_of_life| Call { agent: 0, life, ended, last_of_life };
        let killed_inside = call(0, Life::Killed, true);
        let last = call(1, Life::Running, false);
        assert!(check_repeated(id, &[last]).is_ok());
        assert!(check_repeated(id, &[last, killed_inside]).is_ok());
        assert!(check_repeated(id, &[last, last]).is_err());
        assert!(check_repeated(id, &[call(0, Life::Killed, false), last]).is_err());
        assert!(check_repeated(id, &[call(0, Life::Ended, true), last]).is_err());
    }
}
