//! An event as it travels on the bus.

use bytes::Bytes;
use wakemq_protocol::{EventNews, Topic, to_json};

/// Length of what stands in front of the topic: the stream's number, and the topic's length.
const HEAD: usize = 8 + 2;

/// An event on the bus: its number within its stream, its MQTT topic and its JSON body, without `seq`.
///
/// Cloned and cut without copying: one event has its bytes once, however many operators get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    number: u64,
    topic: Bytes,
    body: Bytes,
}

/// An event that is written and not numbered yet: numbers are given in the order of the queue, under its lock.
#[derive(Debug)]
pub(super) struct Draft(Vec<u8>);

impl Draft {
    /// Writes an event.
    pub(super) fn new(news: &EventNews) -> Self {
        let topic = Topic::Event { kind: news.body.kind(), group: news.group.clone() }.to_string();
        let body = to_json(news);
        let mut bytes = Vec::with_capacity(HEAD + topic.len() + body.len());
        bytes.extend([0; 8]);
        // Of 8 segments at most, it is far below 64 KiB.
        bytes.extend(u16::try_from(topic.len()).unwrap_or_default().to_be_bytes());
        bytes.extend(topic.into_bytes());
        bytes.extend(body);
        Self(bytes)
    }

    /// Returns how many bytes it has.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Gives it its number within the stream; the bytes are what [`Frame::from_bytes`] reads.
    pub(super) fn numbered(mut self, number: u64) -> Bytes {
        self.0[..8].copy_from_slice(&number.to_be_bytes());
        self.0.into()
    }
}

impl Frame {
    /// Returns the number within the stream.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Returns the topic under which operators get it.
    pub fn topic(&self) -> &str {
        std::str::from_utf8(&self.topic).unwrap_or_default()
    }

    /// Returns the JSON object, without `seq`.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Returns how many bytes it has.
    pub fn size(&self) -> usize {
        HEAD + self.topic.len() + self.body.len()
    }

    /// Reads what a [`Draft`] has written.
    pub(super) fn from_bytes(mut bytes: Bytes) -> Option<Self> {
        let head = bytes.get(..HEAD)?;
        let number = u64::from_be_bytes(head[..8].try_into().ok()?);
        let topic_len = usize::from(u16::from_be_bytes([head[8], head[9]]));
        let _ = bytes.split_to(HEAD);
        if bytes.len() < topic_len {
            return None;
        }
        let topic = bytes.split_to(topic_len);
        Some(Self { number, topic, body: bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::tests::news;

    #[test]
    fn what_was_written_is_read() {
        let news = news("a/paris", "boiler");
        let draft = Draft::new(&news);
        let len = draft.len();
        let bytes = draft.numbered(7);
        assert_eq!(bytes.len(), len);
        let frame = Frame::from_bytes(bytes.clone()).unwrap();
        assert_eq!((frame.number(), frame.topic()), (7, "wake/v1/events/security/a/paris"));
        assert_eq!(frame.body(), to_json(&news));
        for len in 0..HEAD + frame.topic().len() {
            assert_eq!(Frame::from_bytes(bytes.slice(..len)), None, "{len}");
        }
    }
}
