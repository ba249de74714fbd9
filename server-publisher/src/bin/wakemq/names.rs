//! Agents that are named on the command line or on standard input.

use std::io::BufRead as _;

use anyhow::Context as _;
use wakemq_protocol::AgentId;

use crate::failure::Failure;

/// Returns the agents of the command line, and of standard input for each `-`; each agent once.
pub(crate) fn agents(words: &[String]) -> Result<Vec<AgentId>, Failure> {
    let mut texts = Vec::new();
    for word in words {
        if word == "-" {
            for line in std::io::stdin().lock().lines() {
                let line = line
                    .context("cannot read standard input")
                    .map_err(|error| Failure::usage(error, "`-` reads agents, one a line"))?;
                texts.push(line.trim().to_owned());
            }
        } else {
            texts.push(word.clone());
        }
    }
    let mut seen = std::collections::HashSet::new();
    let mut agents = Vec::new();
    for text in texts.iter().filter(|text| !text.is_empty()) {
        let agent: AgentId = text.parse().map_err(|error: wakemq_protocol::ParseIdError| {
            Failure::usage(
                anyhow::Error::new(error).context(format!("{text:?}")),
                "an agent is named by 1 to 64 of A-Z a-z 0-9 . _ -; `wakemq agents list` shows all agents",
            )
        })?;
        if seen.insert(agent.clone()) {
            agents.push(agent);
        }
    }
    if agents.is_empty() {
        return Err(Failure::usage(anyhow::anyhow!("no agent is named"), "name one, or one a line for `-`"));
    }
    Ok(agents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::ExitCode;

    #[test]
    fn each_agent_is_woken_once_in_the_order_given() {
        let words = ["b", "a", "B", "c"].map(str::to_owned);
        let names: Vec<_> = agents(&words).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["b", "a", "c"]);
    }

    #[test]
    fn what_is_no_agent_is_a_matter_of_usage() {
        let failure = agents(&["a b".to_owned()]).unwrap_err();
        assert_eq!(failure.code, ExitCode::Usage);
        assert!(failure.to_string().starts_with("error: \"a b\": not a valid agent id"), "{failure}");
    }
}
