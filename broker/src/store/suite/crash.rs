//! A crash between any two writes: whatever was answered is there, and the file opens.
//!
//! The medium remembers all that was done to it. For a crash at some point the file is made again: what was
//! written before the last flush is there, of what was written after it a random part, some of it torn.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use ::redb::StorageBackend;
use parking_lot::Mutex;
use wakemq_protocol::{CommandState, News, ReceiptState};

use super::fixture::*;
use crate::store::{self, AdminOutcome, Delivery, NewCommand, Status, Store, Submitted, Transition, Verdict};

/// Disks write this much at once or not at all.
const SECTOR: usize = 512;

#[derive(Debug, Clone)]
enum Step {
    Write(u64, Vec<u8>),
    Len(u64),
    Sync,
}

/// A medium in memory and all that was done to it.
#[derive(Debug, Clone, Default)]
struct Recorder(Arc<Mutex<Tape>>);

#[derive(Debug, Default)]
struct Tape {
    content: Vec<u8>,
    steps: Vec<Step>,
}

impl Recorder {
    fn with(content: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Tape { content, steps: Vec::new() })))
    }

    fn open(&self) -> Arc<dyn Store> {
        let medium = self.clone();
        let open = move || Ok(Box::new(medium.clone()) as Box<dyn StorageBackend>);
        store::open_on(Box::new(open), CACHE_BYTES, at(100), Arc::new(())).expect("it opens after a crash")
    }

    fn steps(&self) -> usize {
        self.0.lock().steps.len()
    }

    fn step(&self, step: Step) {
        let mut tape = self.0.lock();
        apply(&mut tape.content, &step);
        tape.steps.push(step);
    }
}

impl StorageBackend for Recorder {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().content.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let tape = self.0.lock();
        let part = tape.content.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.step(Step::Len(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.step(Step::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.step(Step::Write(offset, data.to_vec()));
        Ok(())
    }
}

fn apply(content: &mut Vec<u8>, step: &Step) {
    match step {
        Step::Write(offset, data) => {
            let end = *offset as usize + data.len();
            content.resize(content.len().max(end), 0);
            content[*offset as usize..end].copy_from_slice(data);
        }
        Step::Len(len) => content.resize(*len as usize, 0),
        Step::Sync => {}
    }
}

/// Applies what reached the disk of a step that was not flushed.
fn apply_partly(content: &mut Vec<u8>, step: &Step, random: &mut fastrand::Rng) {
    match (random.u8(..4), step) {
        (0 | 1, step) => apply(content, step),
        (2, Step::Write(offset, data)) => {
            for (number, sector) in data.chunks(SECTOR).enumerate() {
                if random.bool() {
                    apply(content, &Step::Write(offset + (number * SECTOR) as u64, sector.to_vec()));
                }
            }
        }
        _ => {}
    }
}

/// What somebody was told, and after how many steps.
struct Answer {
    after: usize,
    number: u64,
    /// It was told of a command for a group as a whole: for how many agents it is meant.
    meant: Option<u64>,
    told: CommandState,
    /// How much evidence there was.
    steps: usize,
}

/// Which state news tell, and for how many agents the command is meant if they are of it as a whole.
fn state_of(news: &News) -> (Option<u64>, CommandState) {
    match news {
        News::Agent(update) => (None, update.outcome.state),
        News::Group(update) => (Some(update.counts.total()), update.state),
    }
}

/// Tells whether a command may be found so after a crash, given the last that was told of it.
fn may_be(told: CommandState, found: CommandState) -> bool {
    let went_on = told == CommandState::Acknowledged && found == CommandState::Done;
    told == CommandState::Queued || went_on || told == found
}

/// Does some of everything, and remembers what it was told.
async fn work(recorder: &Recorder, random: &mut fastrand::Rng) -> Vec<Answer> {
    let bench = Bench::on(recorder.open()).await;
    let mut answers = Vec::new();
    let mut steps: HashMap<u64, usize> = HashMap::new();
    let mut carried = Vec::new();
    let (mut epoch, mut engine) = (bench.claim(0).await, bench.claim_power("a", 0).await);
    for number in 1..=50 {
        let command = match random.u8(..7) {
            0 => new(number),
            4 => to_group_in_slot(number, ["", "g", "g/h"][random.usize(..3)], "s"),
            5 => to_group(number, "g"),
            6 => power(number, ["s", "t"][random.usize(..2)]),
            1 => NewCommand { delivery: Delivery::Refused("no".into()), ..new(number) },
            _ => in_slot(number, ["s", "t"][random.usize(..2)]),
        };
        let submitted = bench.submit(command, 1).await;
        let Submitted::Accepted { news, mut changes, .. } = submitted else {
            panic!("not accepted: {submitted:?}")
        };
        let after = recorder.steps();
        let (meant, told) = state_of(&news);
        answers.push(Answer { after, number, meant, told, steps: 0 });
        let target = random.u64(1..=number);
        changes.extend(match random.u8(..13) {
            6 => {
                let path = ["g/h", "g/i", "x"][random.usize(..3)];
                let outcome = bench.admin(move_to("a", path), 2).await;
                let AdminOutcome::Moved { changes, .. } = outcome else { panic!("not moved: {outcome:?}") };
                changes
            }
            0 => bench.cancel(target, 2).await.changes,
            1 => bench.receive(target, ReceiptState::Done, 2).await.changes,
            2 => {
                let changes = bench.release(epoch, 2).await.changes;
                epoch = bench.claim(2).await;
                changes
            }
            7 => {
                let changes = bench.release(engine, 2).await.changes;
                engine = bench.claim_power("a", 2).await;
                changes
            }
            which @ 8..=11 => {
                let page = bench.store.inbox(&agent("a"), engine, 2, at(2)).await.unwrap();
                carried.extend(page.commands.iter().map(|command| command.id));
                let Some(&id) = carried.iter().rev().nth(random.usize(..2)) else { continue };
                let (agent, epoch) = (agent("a"), engine);
                let (is_up, detail) = (random.bool(), "so it is".to_owned());
                let transition = match which {
                    8 => Transition::Ended { agent, id, epoch, is_up, detail },
                    _ => Transition::Evidence { agent, id, epoch, step: no_relay(number as i64) },
                };
                bench.record(transition, 2).await.changes
            }
            _ => {
                bench.store.inbox(&agent("a"), epoch, 1, at(2)).await.unwrap();
                let transition = Transition::Acknowledged { agent: agent("a"), id: id(target), epoch };
                bench.record(transition, 2).await.changes
            }
        });
        let after = recorder.steps();
        for change in changes {
            let number = (1..=number).find(|&number| id(number) == change.news.id()).unwrap();
            let (meant, told) = state_of(&change.news);
            let is_late = meant.is_none() && update(&change.news).outcome.late.is_some();
            let steps = steps.entry(number).or_default();
            let is_step = meant.is_none() && update(&change.news).evidence.is_some();
            *steps += usize::from(is_step);
            if told != CommandState::Sent && !is_late {
                answers.push(Answer { after, number, meant, told, steps: *steps });
            }
        }
    }
    answers
}

fn empty_store() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    store::create(&path).unwrap();
    std::fs::read(&path).unwrap()
}

#[tokio::test]
async fn a_crash_between_any_two_writes_loses_nothing_that_was_answered() {
    let mut random = fastrand::Rng::with_seed(2);
    let empty = empty_store();
    let recorder = Recorder::with(empty.clone());
    let answers = work(&recorder, &mut random).await;
    assert!(answers.iter().any(|answer| answer.steps > 2), "little happened to power commands");
    let steps = recorder.0.lock().steps.clone();
    assert!(steps.len() > 300, "{} steps", steps.len());
    let mut flushed = empty;
    let mut last_sync = 0;
    for crash in 0..=steps.len() {
        if crash > 0 && matches!(steps[crash - 1], Step::Sync) {
            for step in &steps[last_sync..crash] {
                apply(&mut flushed, step);
            }
            last_sync = crash;
        }
        // Every third of them, and all around a flush.
        let near_sync = crash == last_sync || steps.get(crash).is_some_and(|step| matches!(step, Step::Sync));
        if !near_sync && random.u8(..3) > 0 {
            continue;
        }
        let mut content = flushed.clone();
        for step in &steps[last_sync..crash] {
            apply_partly(&mut content, step, &mut random);
        }
        check(content, answers.iter().filter(|answer| answer.after <= crash), crash).await;
    }
}

async fn check(content: Vec<u8>, answers: impl Iterator<Item = &Answer>, crash: usize) {
    let bench = Bench::again(Recorder::with(content).open());
    let told: HashMap<(u64, Option<u64>), (CommandState, usize)> =
        answers.map(|answer| ((answer.number, answer.meant), (answer.told, answer.steps))).collect();
    for ((number, meant), (told, steps)) in told {
        let row = bench.row(number).await;
        let row = row.unwrap_or_else(|| panic!("crash at {crash}: {number} was {told} and is gone"));
        assert!(row.evidence.len() >= steps, "crash at {crash}: of {number}, {steps} steps were told");
        let found = match row.status {
            Status::Agent(outcome) => outcome.state,
            Status::Group { .. } => {
                let (update, outcomes) = bench.of_group(number).await;
                let total = update.counts.total();
                assert_eq!(total, meant.unwrap_or(total), "crash at {crash}: {number} is for others");
                assert_eq!(update.counts.sent, 0, "crash at {crash}: nothing of {number} is on its way");
                let of_agent = outcomes.iter().find(|outcome| outcome.agent == agent("a"));
                of_agent.filter(|_| meant.is_none()).map_or(update.state, |outcome| outcome.state)
            }
        };
        assert!(may_be(told, found), "crash at {crash}: {number} was told as {told} and is {found}");
    }
    // And it goes on working.
    let cancel = cancel(1000);
    assert_eq!(bench.record(cancel, 200).await.verdict, Verdict::Unknown);
}
