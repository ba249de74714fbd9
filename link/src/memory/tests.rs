use proptest::prelude::*;

use super::*;

fn network(number: u8) -> NetworkKey {
    NetworkKey::new(
        Some(wakemq_protocol::MacAddr::new([0, 0x16, 0x3e, 0, 0, number])),
        format!("10.0.{number}.7/24").parse().ok(),
    )
}

#[test]
fn the_form_is_as_it_was_when_endpoints_began_to_write_it() {
    let mut memory = Memory::default();
    assert!(memory.set_way(&network(1), "poll broker:443"));
    assert!(memory.set_heartbeat(&network(1), "poll broker:443", Learned::proven(720)));
    let known =
        Learned { interval_secs: 300, proven: false, silences: 1, raise_failed_ms: Some(1_800_000_000_000) };
    assert!(memory.set_heartbeat(&network(2), "mqtt broker:8883", known));
    let text = concat!(
        r#"{"version":1,"networks":["#,
        r#"{"network":{"gateway":"00:16:3e:00:00:01","prefix":"10.0.1.0/24"},"way":"poll broker:443","#,
        r#""heartbeats":[{"way":"poll broker:443","interval_secs":720,"proven":true}]},"#,
        r#"{"network":{"gateway":"00:16:3e:00:00:02","prefix":"10.0.2.0/24"},"#,
        r#""heartbeats":[{"way":"mqtt broker:8883","interval_secs":300,"proven":false,"silences":1,"#,
        r#""raise_failed_ms":1800000000000}]}]}"#,
    );
    assert_eq!(serde_json::to_string(&memory).unwrap(), text);
    assert_eq!(serde_json::from_str::<Memory>(text).unwrap(), memory);
    let later = text.replace(r#""version":1"#, r#""version":2"#);
    assert_eq!(serde_json::from_str::<Memory>(&later).unwrap(), Memory::default());
}

#[test]
fn what_is_the_same_is_nothing_new() {
    let mut memory = Memory::default();
    assert!(memory.set_way(&network(1), "a"));
    assert!(!memory.set_way(&network(1), "a"));
    assert!(memory.set_way(&network(2), "a"));
    assert!(memory.set_way(&network(1), "a"), "it is the latest now");
    assert!(memory.set_heartbeat(&network(1), "a", Learned::proven(60)));
    assert!(!memory.set_heartbeat(&network(1), "a", Learned::proven(60)));
    assert_eq!(memory.way(&network(1)), Some("a"));
}

#[test]
fn a_network_that_cannot_be_told_from_others_is_remembered_only_while_the_client_is_in_it() {
    let vrrp = "00:00:5e:00:01:01".parse().ok();
    let prefix = "192.168.1.9/24".parse().ok();
    for unknown in [NetworkKey::default(), NetworkKey::new(None, prefix), NetworkKey::new(vrrp, None)] {
        let mut memory = Memory::default();
        assert!(!memory.set_way(&unknown, "a"));
        assert!(!memory.set_heartbeat(&unknown, "a", Learned::proven(60)));
        assert_eq!(memory.way(&unknown), Some("a"));
        assert_eq!(memory.heartbeat(&unknown, "a"), Some(&Learned::proven(60)));
        assert_eq!(serde_json::to_string(&memory).unwrap(), r#"{"version":1,"networks":[]}"#);
        memory.set_way(&network(1), "b");
        assert_eq!(memory.way(&unknown), None);
    }
    assert!(NetworkKey::new(vrrp, prefix).is_known());
    assert_eq!(NetworkKey::new(vrrp, prefix), NetworkKey::new(vrrp, "192.168.1.0/24".parse().ok()));
}

proptest! {
    /// Whatever is written, the memory is bounded, also when it is read, and holds what was touched last.
    #[test]
    fn the_latest_networks_are_kept(touched in prop::collection::vec((0..60_u8, 0..12_u8), 0..200)) {
        let mut memory = Memory::default();
        for (number, way) in &touched {
            memory.set_way(&network(*number), &way.to_string());
            memory.set_heartbeat(&network(*number), &way.to_string(), Learned::proven(60 + u32::from(*way)));
        }
        let mut latest: Vec<u8> = Vec::new();
        for (number, _) in touched.iter().rev() {
            if latest.len() < NETWORKS_MAX && !latest.contains(number) {
                latest.push(*number);
            }
        }
        let text = serde_json::to_string(&memory).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Memory>(&text).unwrap(), &memory);
        for number in 0..60 {
            let last = touched.iter().rev().find(|(of, _)| *of == number).map(|(_, way)| way.to_string());
            let kept = latest.contains(&number);
            prop_assert_eq!(memory.way(&network(number)), last.as_deref().filter(|_| kept));
            let beats = (0..12_u8).filter(|way| memory.heartbeat(&network(number), &way.to_string()).is_some());
            prop_assert!(beats.count() <= HEARTBEATS_MAX);
        }
    }

    #[test]
    fn a_memory_that_somebody_made_too_large_is_cut(count in 0..100_usize) {
        let one = |n: usize| format!(r#"{{"network":{{"gateway":"00:16:3e:00:00:{n:02x}"}},"way":"w"}}"#);
        let all: Vec<_> = (0..count).map(one).collect();
        let memory: Memory =
            serde_json::from_str(&format!(r#"{{"version":1,"networks":[{}]}}"#, all.join(","))).unwrap();
        prop_assert_eq!(memory.networks.len(), count.min(NETWORKS_MAX));
    }
}
