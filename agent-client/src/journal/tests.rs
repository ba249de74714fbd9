use super::*;
use proptest::prelude::*;
use wakemq_protocol::{Command, Receipt, ReceiptState};

const NOW: i64 = 1_800_000_000_000;

fn now() -> Timestamp {
    Timestamp::from_unix_ms(NOW)
}

fn id(n: u8) -> CommandId {
    CommandId::from_parts(1, &[n; 10])
}

fn command(n: u8) -> Command {
    serde_json::from_value(serde_json::json!({
        "id": id(n), "kind": "wake", "slot": null, "ttl": 60, "priority": "normal",
        "reason": "line\nfeed", "issued": "2026-11-22T01:00:00Z", "by": "op:a"
    }))
    .unwrap()
}

fn receipt(n: u8) -> Receipt {
    Receipt { id: id(n), state: ReceiptState::Done, detail: None }
}

fn any_record() -> impl Strategy<Value = Record> {
    let until = NOW - 2..NOW + 1000;
    (0u8..6, 0u8..4, until, any::<bool>()).prop_map(|(n, what, until, whole)| match what {
        0 => Record::Accepted { command: command(n), until },
        1 => Record::Ended { receipt: receipt(n), until: whole.then_some(until) },
        2 => Record::Confirmed { id: id(n) },
        _ => Record::Known { id: id(n), until },
    })
}

fn book_of(records: &[Record]) -> Book {
    let mut book = Book::default();
    records.iter().cloned().for_each(|record| book.apply(record));
    book
}

fn bytes_of(records: &[Record]) -> Vec<u8> {
    let mut bytes = HEADER.to_vec();
    encode(records, &mut bytes).unwrap();
    bytes
}

proptest! {
    /// A crash leaves a prefix: every whole line counts, and only the torn one is gone.
    #[test]
    fn a_crash_at_any_byte_keeps_every_whole_line(
        records in prop::collection::vec(any_record(), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = bytes_of(&records);
        let cut = HEADER.len() + cut.index(bytes.len() - HEADER.len() + 1);
        let whole = (0..=records.len()).rev().find(|&n| bytes_of(&records[..n]).len() <= cut).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let journal = Journal::open(&path, Timestamp::from_unix_ms(0)).unwrap();
        prop_assert_eq!(journal.book(), &book_of(&records[..whole]));
        prop_assert_eq!(std::fs::read(&path).unwrap(), bytes_of(&records[..whole]));
    }

    /// A changed byte before the last line is never taken for a crash.
    #[test]
    fn any_other_damage_is_refused_and_left_alone(
        records in prop::collection::vec(any_record(), 2..5),
        at in any::<prop::sample::Index>(),
        flip in 1u8..,
    ) {
        let mut bytes = bytes_of(&records);
        let last_line = bytes_of(&records[..records.len() - 1]).len();
        let at = at.index(last_line);
        bytes[at] ^= flip;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        std::fs::write(&path, &bytes).unwrap();
        let error = Journal::open(&path, now()).unwrap_err();
        prop_assert!(matches!(error, JournalError::Damaged { .. }), "{}", error);
        prop_assert!(error.to_string().contains(&path.display().to_string()));
        prop_assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }

    /// Writing anew changes nothing but the length, and forgets only what is over.
    #[test]
    fn compaction_keeps_the_meaning(records in prop::collection::vec(any_record(), 0..20)) {
        let mut book = book_of(&records);
        let again = book_of(&book.records());
        prop_assert_eq!(again.pending(), book.pending());
        prop_assert_eq!(again.unconfirmed(), book.unconfirmed());
        prop_assert_eq!(again.pending_count(), book.pending().len());
        let before = (book.pending(), book.unconfirmed());
        book.forget(NOW);
        prop_assert_eq!((book.pending(), book.unconfirmed()), before);
    }
}

#[test]
fn a_block_that_never_reached_the_disk_is_a_torn_line() {
    let mut bytes = bytes_of(&[Record::Known { id: id(1), until: NOW }]);
    let good = bytes.len();
    bytes.extend_from_slice(&[0; 100]);
    assert_eq!(decode(&bytes).unwrap().good, good);
    bytes.push(b'\n');
    assert_eq!(decode(&bytes).unwrap().good, good);
}

#[tokio::test]
async fn what_was_written_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let mut journal = Journal::open(&path, now()).unwrap();
    let until = NOW + 1;
    let accepted = (1..=3).map(|n| Record::Accepted { command: command(n), until }).collect();
    journal.write(accepted, now()).await.unwrap();
    journal.write(vec![Record::Ended { receipt: receipt(2), until: None }], now()).await.unwrap();
    journal.write(vec![Record::Ended { receipt: receipt(3), until: None }], now()).await.unwrap();
    journal.confirm(id(3), now()).await.unwrap();
    let again = Journal::open(&path, now()).unwrap();
    assert_eq!(again.book(), journal.book());
    assert_eq!(again.book().pending(), [command(1)]);
    assert_eq!(again.book().unconfirmed(), [receipt(2)]);
    assert!(again.book().knows(&id(3)));
    let later = Journal::open(&path, Timestamp::from_unix_ms(until + 1)).unwrap();
    assert!(!later.book().knows(&id(3)), "an id is forgotten when its time is over");
    assert!(
        later.book().knows(&id(1)) && later.book().knows(&id(2)),
        "but never without a confirmed receipt"
    );
}

#[tokio::test]
async fn the_file_does_not_grow_without_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let mut journal = Journal::open(&path, now()).unwrap();
    let mut largest = 0;
    for _ in 0..4 * LINES_BEFORE_COMPACTION {
        journal.confirm(id(1), now()).await.unwrap();
        largest = largest.max(std::fs::metadata(&path).unwrap().len());
    }
    assert!(largest < 100 * (LINES_BEFORE_COMPACTION as u64 + 1), "{largest}");
}

#[tokio::test]
async fn a_failed_write_changes_nothing_and_the_next_one_heals_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let mut journal = Journal::open(&path, now()).unwrap();
    let record = |n| vec![Record::Accepted { command: command(n), until: NOW }];
    journal.write(record(1), now()).await.unwrap();
    // Read only: every write to it fails, and a half-written line may be in it.
    journal.file = Some(File::open(&path).unwrap());
    let error = journal.write(record(2), now()).await.unwrap_err();
    assert!(error.to_string().contains("journal"), "{error}");
    assert!(!journal.book().knows(&id(2)));
    std::fs::write(&path, "half a line").unwrap();
    journal.write(record(3), now()).await.unwrap();
    assert_eq!(Journal::open(&path, now()).unwrap().book().pending(), [command(1), command(3)]);
}

#[test]
fn what_is_no_journal_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    for content in ["", "wakemq-journal 2\n", "hello"] {
        std::fs::write(&path, content).unwrap();
        let error = Journal::open(&path, now()).unwrap_err().to_string();
        assert!(error.contains("damaged") && error.contains("journal"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
    }
}
