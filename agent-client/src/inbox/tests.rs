//! An inbox over a journal that is killed, full or cannot be written.

use super::*;
use std::path::Path;

fn payload(n: u8, kind: &str) -> Vec<u8> {
    let id = CommandId::from_parts(u64::from(n), &[n; 10]);
    serde_json::to_vec(&serde_json::json!({
        "id": id, "kind": kind, "slot": null, "ttl": 60, "priority": "normal",
        "reason": null, "issued": "2026-11-22T01:00:00Z", "by": "op:a"
    }))
    .unwrap()
}

fn command(n: u8) -> Command {
    serde_json::from_slice(&payload(n, "wake")).unwrap()
}

async fn open(path: &Path) -> (Inbox, mpsc::Receiver<Command>) {
    let (commands, given) = mpsc::channel(JOURNAL_MAX);
    (
        Inbox::start(Journal::open(path, clock::now()).unwrap(), commands, watch::Sender::new(0), true).await,
        given,
    )
}

fn given(commands: &mut mpsc::Receiver<Command>) -> Vec<CommandId> {
    std::iter::from_fn(|| commands.try_recv().ok()).map(|command| command.id).collect()
}

#[tokio::test]
async fn a_command_is_acknowledged_once_it_is_in_the_journal_and_run_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let (mut inbox, mut commands) = open(&path).await;
    inbox.arrived(7, &payload(1, "wake"));
    inbox.arrived(8, &payload(1, "wake"));
    assert_eq!(inbox.flush().await.acks, [7, 8]);
    assert_eq!(given(&mut commands), [command(1).id]);
    // Killed here: the next start gives it out again, and a redelivery is acknowledged and not run.
    let (mut inbox, mut commands) = open(&path).await;
    assert_eq!(given(&mut commands), [command(1).id]);
    inbox.arrived(1, &payload(1, "wake"));
    assert_eq!(inbox.flush().await.acks, [1]);
    assert!(given(&mut commands).is_empty());
    // With a result it is not run again, but its receipt is sent until it is confirmed.
    let done = receipt(&command(1), ReceiptState::Done, None);
    inbox.ended(done.clone());
    inbox.ended(done.clone());
    assert_eq!(inbox.flush().await.receipts, std::slice::from_ref(&done));
    let (mut inbox, mut commands) = open(&path).await;
    assert!(given(&mut commands).is_empty());
    assert_eq!(inbox.unconfirmed(), [done]);
    inbox.confirmed(command(1).id).await;
    assert!(open(&path).await.0.unconfirmed().is_empty());
}

#[tokio::test]
async fn other_kinds_are_refused_and_garbage_is_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (mut inbox, mut commands) = open(&dir.path().join("journal")).await;
    inbox.arrived(1, &payload(1, "power"));
    inbox.arrived(2, &payload(2, "dance"));
    inbox.arrived(3, b"no json");
    inbox.arrived(4, format!("{{\"id\":\"{}\"}}", command(4).id).as_bytes());
    let flushed = inbox.flush().await;
    assert_eq!(flushed.acks, [1, 2, 3, 4]);
    assert!(flushed.receipts.iter().all(|receipt| receipt.state == ReceiptState::Refused));
    assert_eq!(flushed.receipts.len(), 3);
    assert!(given(&mut commands).is_empty());
}

/// A relay command to send to `ports`.
fn relay_payload(n: u8, ports: &[u16]) -> Vec<u8> {
    let mut value: serde_json::Value = serde_json::from_slice(&payload(n, "relay")).unwrap();
    value["relay"] = serde_json::json!({
        "macs": ["00:16:3e:00:00:01"], "ports": ports, "secureon": "53:45:43:52:45:54"
    });
    serde_json::to_vec(&value).unwrap()
}

#[tokio::test]
async fn a_relay_that_a_killed_agent_left_has_failed_and_its_password_was_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let (mut inbox, mut commands) = open(&path).await;
    inbox.arrived(1, &relay_payload(1, &[9]));
    let flushed = inbox.flush().await;
    assert_eq!((&flushed.acks[..], flushed.relays.len(), flushed.receipts.len()), (&[1][..], 1, 0));
    assert!(flushed.relays[0].relay.as_ref().unwrap().secureon.is_some());
    let kept = std::fs::read_to_string(&path).unwrap().to_lowercase();
    assert!(kept.contains("relay") && !kept.contains("53:45"), "{kept}");

    let (inbox, _) = open(&path).await;
    assert!(given(&mut commands).is_empty());
    let receipt = inbox.unconfirmed().remove(0);
    assert_eq!(receipt.state, ReceiptState::Failed);
    assert_eq!(receipt.detail.as_deref(), Some("the agent ended before it was sent"));
}

#[tokio::test]
async fn relay_jobs_have_a_limit_and_some_are_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (mut inbox, _commands) = open(&dir.path().join("journal")).await;
    let max = u8::try_from(relay::JOBS_MAX).unwrap();
    (0..=max).for_each(|n| inbox.arrived(u16::from(n) + 1, &relay_payload(n, &[9])));
    let flushed = inbox.flush().await;
    assert_eq!((flushed.acks.len(), flushed.relays.len()), (relay::JOBS_MAX + 1, relay::JOBS_MAX));
    assert_eq!(flushed.receipts[0].state, ReceiptState::Failed);
    // One that has ended makes room for another, in the same write.
    inbox.relayed(receipt(&command(3), ReceiptState::Done, None));
    inbox.arrived(40, &relay_payload(40, &[9]));
    let flushed = inbox.flush().await;
    assert_eq!((flushed.relays.len(), flushed.receipts.len()), (1, 1));

    inbox.arrived(41, &relay_payload(41, &[0]));
    inbox.arrived(42, &payload(42, "relay"));
    inbox.relay = false;
    inbox.arrived(43, &relay_payload(43, &[9]));
    let flushed = inbox.flush().await;
    assert!(flushed.relays.is_empty());
    assert_eq!(flushed.receipts.len(), 3);
    assert!(flushed.receipts.iter().all(|receipt| receipt.state == ReceiptState::Refused));
}

#[tokio::test]
async fn a_relay_job_does_not_let_a_handler_s_result_seem_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (mut inbox, _commands) = open(&dir.path().join("journal")).await;
    let journalled = inbox.journalled.subscribe();
    inbox.arrived(1, &relay_payload(1, &[9]));
    inbox.flush().await;
    inbox.relayed(receipt(&command(1), ReceiptState::Done, None));
    assert_eq!(inbox.flush().await.receipts.len(), 1);
    assert_eq!(*journalled.borrow(), 0);
}

#[tokio::test]
async fn a_full_journal_withholds_acknowledgements_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (mut inbox, _commands) = open(&dir.path().join("journal")).await;
    let id = |n: u16| CommandId::from_parts(n.into(), &[1; 10]);
    let arrive = |inbox: &mut Inbox, n: u16, kind: &str| {
        let mut value: serde_json::Value = serde_json::from_slice(&payload(1, kind)).unwrap();
        value["id"] = serde_json::to_value(id(n)).unwrap();
        inbox.arrived(n, &serde_json::to_vec(&value).unwrap());
    };
    let max = u16::try_from(JOURNAL_MAX).unwrap();
    (1..=max + 1).for_each(|n| arrive(&mut inbox, n, "wake"));
    arrive(&mut inbox, max + 2, "power");
    assert_eq!(inbox.flush().await.acks.len(), JOURNAL_MAX);
    assert!(inbox.flush().await.acks.is_empty());
    inbox.ended(Receipt { id: id(5), state: ReceiptState::Done, detail: None });
    // The room that the result makes is given to what waits, in the same write.
    assert_eq!(inbox.flush().await.acks, [max + 1, max + 2]);
}

#[tokio::test]
async fn receipts_that_nobody_takes_withhold_acknowledgements() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let (mut inbox, _commands) = open(&path).await;
    let id = |n: u16| CommandId::from_parts(n.into(), &[1; 10]);
    let arrive = |inbox: &mut Inbox, n: u16, kind: &str| {
        let mut value: serde_json::Value = serde_json::from_slice(&payload(1, kind)).unwrap();
        value["id"] = serde_json::to_value(id(n)).unwrap();
        inbox.arrived(n, &serde_json::to_vec(&value).unwrap());
    };
    let max = u16::try_from(RECEIPTS_MAX).unwrap();
    arrive(&mut inbox, 1, "wake");
    assert_eq!(inbox.flush().await.acks, [1]);
    (2..=max + 1).for_each(|n| arrive(&mut inbox, n, "power"));
    arrive(&mut inbox, max + 2, "wake");
    assert_eq!(inbox.flush().await.acks.len(), RECEIPTS_MAX);
    // What was accepted before gets its result all the same, and it makes no room.
    inbox.ended(Receipt { id: id(1), state: ReceiptState::Done, detail: None });
    assert!(inbox.flush().await.acks.is_empty());
    assert_eq!(inbox.unconfirmed().len(), RECEIPTS_MAX + 1);
    inbox.confirmed(id(1)).await;
    assert!(inbox.is_waiting() && inbox.flush().await.acks.is_empty());
    // After a restart it is no different.
    let (mut inbox, _commands) = open(&path).await;
    arrive(&mut inbox, max + 2, "wake");
    assert!(inbox.flush().await.acks.is_empty());
    inbox.confirmed(id(9)).await;
    assert_eq!(inbox.flush().await.acks, [max + 2]);
    assert!(!inbox.is_waiting());
}

#[tokio::test]
async fn without_a_journal_nothing_is_acknowledged_or_lost() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("state");
    std::fs::create_dir(&place).unwrap();
    let (mut inbox, mut commands) = open(&place.join("journal")).await;
    inbox.journal.break_for_test();
    std::fs::remove_dir_all(&place).unwrap();
    inbox.arrived(1, &payload(1, "wake"));
    assert!(inbox.flush().await.acks.is_empty());
    assert!(inbox.error().is_some_and(|error| error.contains("journal")));
    assert!(inbox.retry_at().is_some() && given(&mut commands).is_empty());
    std::fs::create_dir(&place).unwrap();
    assert_eq!(inbox.flush().await.acks, [1]);
    assert!(inbox.error().is_none() && inbox.retry_at().is_none());
    assert_eq!(given(&mut commands).len(), 1);
}
