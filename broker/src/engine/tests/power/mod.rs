//! `power` commands over a store in memory, with paused time: the agents are mailboxes.

mod attempts;
mod endings;
mod failing;
mod warnings;
mod wol;

use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;
use wakemq_protocol::http::CommandView;
use wakemq_protocol::{Command, CommandState, Facts, Interface, Medium, Receipt, ReceiptState};

use super::*;
use crate::clock::Source;
use crate::store::Store;

/// 2026-11-22T01:00:00Z.
const START_MS: i64 = 1_795_309_200_000;

/// The clock of a test in which time stands still while anything is to be done.
struct Paused(tokio::time::Instant);

impl Source for Paused {
    fn wall_ms(&self) -> i64 {
        START_MS + self.boot_ms()
    }

    fn boot_ms(&self) -> i64 {
        i64::try_from(self.0.elapsed().as_millis()).unwrap()
    }
}

/// An engine that carries out `power` commands.
struct Site {
    bench: Bench,
    store: Arc<dyn Store>,
    began: tokio::time::Instant,
    queue: AbortOnDropHandle<()>,
}

/// A connected agent.
struct Present {
    name: AgentId,
    mailbox: Arc<Mailbox>,
    epoch: Epoch,
}

/// The facts of a machine with one interface: `number` makes its MAC and the last part of its address.
fn facts(number: u8, net: &str, medium: Medium) -> Facts {
    let interface = Interface {
        name: "eth0".into(),
        mac: format!("00:16:3e:00:00:{number:02x}").parse().unwrap(),
        medium,
        addresses: vec![format!("{net}.{number}/24").parse().unwrap()],
        gateway_mac: Some("00:16:3e:00:00:fe".parse().unwrap()),
    };
    Facts { instance: "i".into(), interfaces: vec![interface], relay: true, ..Facts::default() }
}

/// The facts of a wired machine on the subnet where most are.
fn wired(number: u8) -> Facts {
    facts(number, "192.0.2", Medium::Wired)
}

/// The facts of a machine that booted some seconds ago.
fn up_since(facts: Facts, secs: u64) -> Facts {
    Facts { since_boot: Some(secs), ..facts }
}

fn power(number: u64, name: &str) -> SubmitRequest {
    let submission = Submission { id: Some(id(number)), ..Submission::new(Kind::Power) };
    SubmitRequest { submission: Ok(submission), ..followed(number, Target::Agent(agent(name))) }
}

impl Site {
    /// Has these agents, as `NAME:GROUP`.
    async fn with(agents: &[&str]) -> Self {
        Self::sending(agents, &Wol::default()).await
    }

    /// The same with what the broker is configured to send itself.
    async fn sending(agents: &[&str], wol: &Wol) -> Self {
        Self::on(store::memory(), agents, wol).await
    }

    /// The same on a store of the test's own.
    async fn on(store: Arc<dyn Store>, agents: &[&str], wol: &Wol) -> Self {
        let began = tokio::time::Instant::now();
        let bench = Self::engine(&store, began, wol).await;
        for (name, role, scope) in
            [("admin", Role::Admin, ""), ("paris", Role::Operator, "a/paris"), ("viewer", Role::Viewer, "")]
        {
            let now = bench.engine.clock.now();
            create_operator(&*store, name.parse().unwrap(), role, group(scope), now).await.unwrap();
        }
        bench.engine.load_rights().await.unwrap();
        let line = |text: &&str| {
            let (name, path) = text.split_once(':').unwrap();
            (1, ImportLine { agent: agent(name), group: group(path) })
        };
        bench.engine.import(&caller("admin"), agents.iter().map(line).collect()).await.unwrap();
        let queue = Self::queue(&bench).await;
        Self { bench, store, began, queue }
    }

    async fn engine(store: &Arc<dyn Store>, began: tokio::time::Instant, wol: &Wol) -> Bench {
        let (clock, heard) = (Clock::with_source(Arc::new(Paused(began))), Arc::new(Heard::default()));
        let advertise = Advertise { endpoints: Vec::new(), ca: None };
        let engine = Engine::new(store.clone(), clock, advertise, Arc::default(), heard.clone());
        let engine = engine.with_power(wol, 60);
        engine.load_rights().await.unwrap();
        Bench { engine: Arc::new(engine), heard }
    }

    async fn queue(bench: &Bench) -> AbortOnDropHandle<()> {
        let queue = PowerQueue::start(bench.engine.clone()).await.unwrap();
        AbortOnDropHandle::new(tokio::spawn(queue.run()))
    }

    /// Ends the broker and starts another one on its store.
    async fn restart(self) -> Self {
        let Self { store, began, queue, bench } = self;
        queue.abort();
        drop(queue.await);
        drop(bench);
        let bench = Self::engine(&store, began, &Wol::default()).await;
        let queue = Self::queue(&bench).await;
        // Attempts go on before anybody has connected.
        pass(1).await;
        Self { bench, store, began, queue }
    }

    /// Connects an agent under an address of its own, and has it tell of itself.
    async fn comes(&self, name: &str, path: &str, facts: &Facts) -> Present {
        let last = match facts.interfaces.first().map(|one| one.addresses[0].addr()) {
            Some(std::net::IpAddr::V4(address)) => address.octets()[3],
            Some(std::net::IpAddr::V6(_)) | None => 1,
        };
        let (mailbox, epoch) = self.bench.connect(name, path, last).await;
        self.bench.engine.facts(&agent(name), &mailbox, facts.clone()).await.unwrap();
        Present { name: agent(name), mailbox, epoch }
    }

    /// The same for an agent that goes again: it is known, and away.
    async fn knows(&self, name: &str, path: &str, facts: &Facts) {
        let present = self.comes(name, path, facts).await;
        self.goes(present).await;
    }

    async fn goes(&self, present: Present) {
        let Present { name, mailbox, epoch } = present;
        self.bench.engine.registry.close(&mailbox);
        self.bench.engine.depart(&name, &mailbox, Some(epoch), "it left").await.unwrap();
    }

    /// Asks for an agent to be switched on, and follows that.
    async fn power(&self, number: u64, name: &str) -> Arc<Mailbox> {
        let publisher = self.bench.publisher("admin");
        self.bench.submit("admin", &publisher, power(number, name)).await.unwrap();
        publisher
    }

    async fn view(&self, number: u64) -> CommandView {
        self.bench.engine.command(&caller("admin"), id(number), None, 0).await.unwrap()
    }

    async fn state(&self, number: u64) -> CommandState {
        self.view(number).await.outcomes[0].state
    }

    /// Lets time pass until a command has ended; returns how, and why.
    async fn ended(&self, number: u64) -> (CommandState, String) {
        for _ in 0..3_000 {
            let outcome = self.view(number).await.outcomes.remove(0);
            if outcome.state.is_terminal() {
                return (outcome.state, outcome.detail.unwrap_or_default());
            }
            pass(100).await;
        }
        panic!("it does not end: {:#?}", self.view(number).await);
    }

    /// Returns the steps of a command, in a word each with whom it is about.
    async fn steps(&self, number: u64) -> Vec<String> {
        let evidence = self.view(number).await.evidence;
        let word = |step: &wakemq_protocol::PowerStep| {
            let step = serde_json::to_value(step).unwrap();
            let word = step["step"].as_str().unwrap();
            step["relay"].as_str().map_or_else(|| word.to_owned(), |relay| format!("{word} {relay}"))
        };
        evidence.iter().map(word).collect()
    }

    fn moved(&self, verdict: crate::metrics::PowerVerdict) -> u64 {
        self.bench.engine.metrics.power_verdicts.of(verdict).get()
    }
}

/// Lets time pass, and everything happen that is due.
async fn pass(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

impl Present {
    /// Takes the commands that were handed over.
    fn commands(&self) -> Vec<Command> {
        let letters = mail(&self.mailbox).letters.into_iter();
        letters
            .filter_map(|letter| match letter {
                Letter::Live { epoch, command } if epoch == self.epoch => Some(command),
                Letter::Live { .. }
                | Letter::Settled { .. }
                | Letter::Response { .. }
                | Letter::Event { .. } => None,
            })
            .collect()
    }

    /// Lets time pass until a command is handed over.
    async fn command(&self) -> Command {
        for _ in 0..1_000 {
            if let Some(command) = self.commands().pop() {
                return command;
            }
            pass(100).await;
        }
        panic!("{} gets nothing", self.name);
    }

    async fn acknowledges(&self, site: &Site, command: &Command) {
        site.bench.engine.acknowledged(&self.name, command.id, self.epoch).await.unwrap();
    }

    async fn says(&self, site: &Site, command: &Command, state: ReceiptState, detail: &str) {
        let receipt = Receipt { id: command.id, state, detail: Some(detail.to_owned()) };
        site.bench.engine.receipt(&self.name, &self.mailbox, receipt).await.unwrap();
    }
}
