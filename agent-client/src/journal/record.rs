//! One line of the journal.
//!
//! A line is sixteen hexadecimal digits (the beginning of the SHA-256 of the rest), a space, one JSON object
//! and a line feed, which JSON never contains: a line without one was never written to its end.

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use wakemq_protocol::{Command, CommandId, Receipt};

/// The first line of every journal.
pub(crate) const HEADER: &[u8] = b"wakemq-journal 1\n";

/// What happened to a command. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Record {
    /// It was accepted; its id is remembered until then.
    Accepted { command: Command, until: i64 },
    /// It has a result. With `until` it is the whole story of the command.
    Ended {
        receipt: Receipt,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<i64>,
    },
    /// The broker has its receipt.
    Confirmed { id: CommandId },
    /// It ended and the broker has its receipt: only the id is remembered.
    Known { id: CommandId, until: i64 },
}

const SUM_LEN: usize = 16;

fn sum(json: &[u8]) -> String {
    digest(&SHA256, json).as_ref()[..SUM_LEN / 2].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Appends records as lines.
pub(crate) fn encode(records: &[Record], out: &mut Vec<u8>) -> std::io::Result<()> {
    for record in records {
        let json = serde_json::to_vec(record)?;
        out.extend_from_slice(sum(&json).as_bytes());
        out.push(b' ');
        out.extend_from_slice(&json);
        out.push(b'\n');
    }
    Ok(())
}

/// What a journal's bytes hold.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub(crate) records: Vec<Record>,
    /// How many bytes are good: all, unless the last line was torn.
    pub(crate) good: usize,
}

/// Decodes a whole journal. A torn last line is left out; anything else that is wrong is named with its line.
pub(crate) fn decode(bytes: &[u8]) -> Result<Decoded, (usize, &'static str)> {
    let Some(mut rest) = bytes.strip_prefix(HEADER) else {
        return Err((1, "it does not begin as a journal of version 1"));
    };
    let mut records = Vec::new();
    let mut line_number = 1;
    while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
        line_number += 1;
        let (line, after) = (&rest[..end], &rest[end + 1..]);
        match decode_line(line) {
            Ok(record) => records.push(record),
            // The block where the torn line begins never reached the disk, and reads as zeros.
            Err(_) if after.is_empty() && line.first() == Some(&0) => break,
            Err(why) => return Err((line_number, why)),
        }
        rest = after;
    }
    Ok(Decoded { records, good: bytes.len() - rest.len() })
}

fn decode_line(line: &[u8]) -> Result<Record, &'static str> {
    let (expected, json) = match line.split_at_checked(SUM_LEN) {
        Some((expected, [b' ', json @ ..])) => (expected, json),
        _ => return Err("it is not of the form of a record"),
    };
    if sum(json).as_bytes() != expected {
        return Err("its checksum is wrong");
    }
    serde_json::from_slice(json).map_err(|_| "it is a record that this version does not know")
}
