//! The size of a PUBLISH before it is written.

use super::{ProtocolLevel, QoS, ServerPublish};

impl ServerPublish {
    /// Returns the size in bytes, fixed header included, that the publication has at a quality (MQTT 5 §3.3).
    ///
    /// Sessions ask before they take a packet id, to leave out what is too large for the client (§3.1.2.11.4).
    pub fn size(&self, level: ProtocolLevel, qos: QoS) -> usize {
        let packet_id = if qos == QoS::AtMostOnce { 0 } else { 2 };
        let properties = match level {
            ProtocolLevel::V4 => 0,
            ProtocolLevel::V5 => {
                let len = self.properties_len();
                variable_len(len) + len
            }
        };
        let remaining = 2 + self.topic.len() + packet_id + properties + self.payload.len();
        1 + variable_len(remaining) + remaining
    }

    fn properties_len(&self) -> usize {
        let expiry = if self.message_expiry_secs.is_some() { 5 } else { 0 };
        let correlation = self.correlation_data.as_ref().map_or(0, |data| 3 + data.len());
        let user: usize = self.user_properties.iter().map(|(name, value)| 5 + name.len() + value.len()).sum();
        expiry + correlation + user
    }
}

/// Returns how many bytes a variable byte integer takes (MQTT 5 §1.5.5).
fn variable_len(value: usize) -> usize {
    match value {
        0..128 => 1,
        128..16_384 => 2,
        16_384..2_097_152 => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_standard() {
        let publish = |payload: usize, correlation: Option<usize>| ServerPublish {
            topic: "a".into(),
            payload: vec![0; payload],
            correlation_data: correlation.map(|len| vec![0; len]),
            ..ServerPublish::default()
        };
        let (v4, v5) = (ProtocolLevel::V4, ProtocolLevel::V5);
        assert_eq!(publish(0, None).size(v4, QoS::AtMostOnce), 5);
        assert_eq!(publish(0, None).size(v4, QoS::AtLeastOnce), 7);
        assert_eq!(publish(0, None).size(v5, QoS::AtLeastOnce), 8);
        assert_eq!(publish(121, None).size(v5, QoS::AtLeastOnce), 129, "one byte of remaining length");
        assert_eq!(publish(122, None).size(v5, QoS::AtLeastOnce), 131, "two bytes of it");
        assert_eq!(publish(0, Some(124)).size(v5, QoS::AtMostOnce), 134, "one byte of property length");
        assert_eq!(publish(0, Some(125)).size(v5, QoS::AtMostOnce), 136, "two bytes of it");
        assert_eq!(publish(0, Some(125)).size(v4, QoS::AtMostOnce), 5, "3.1.1 has no properties");
        let full = ServerPublish {
            message_expiry_secs: Some(1),
            user_properties: vec![("ab".into(), "c".into())],
            ..publish(0, None)
        };
        assert_eq!(full.size(v5, QoS::AtMostOnce), 6 + 5 + 8);
    }
}
