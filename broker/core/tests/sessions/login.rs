//! Who may come in, and what is said to whom may not.

use wakemq_core::login::{Claimed, Grants, Login, read};
use wakemq_core::packet::{ConnAck, Connect, Connect3ReturnCode, QoS, ReasonCode, Will};

use crate::fixture::{BOTH, V4, V5, connect, rights, will};

const GRANTS: Grants = Grants { keep_alive_max_secs: 600, return_secs: 45, receive_maximum: 512 };

/// A CONNECT that the test changes in one place.
fn changed(level: wakemq_core::packet::ProtocolLevel, change: impl FnOnce(&mut Connect)) -> Connect {
    let mut connect = connect(level);
    change(&mut connect);
    connect
}

fn login(connect: Connect) -> Login {
    read(connect).expect("a claim that is worth a look")
}

fn refused(connect: Connect) -> ConnAck {
    match read(connect) {
        Ok(login) => *login.admit("assigned", &GRANTS).expect_err("it is not to come in"),
        Err(refused) => *refused,
    }
}

fn admitted(connect: Connect) -> ConnAck {
    login(connect).admit("assigned", &GRANTS).expect("it is to come in")
}

#[test]
fn agents_and_operators_are_told_apart_by_the_user_name() {
    for level in BOTH {
        let agent = login(connect(level));
        assert_eq!(agent.claimed, Claimed::Agent("printer-7".parse().unwrap()));
        let operator = login(changed(level, |c| c.username = Some("op:console".into())));
        assert_eq!(operator.claimed, Claimed::Operator("console".parse().unwrap()));
    }
}

#[test]
fn what_is_wrong_with_name_and_password_gets_one_answer() {
    for level in BOTH {
        let answers = [
            refused(changed(level, |c| c.username = None)),
            refused(changed(level, |c| c.password = None)),
            refused(changed(level, |c| c.username = Some(String::new()))),
            refused(changed(level, |c| c.username = Some("no such/name".into()))),
            refused(changed(level, |c| c.username = Some("op:".into()))),
            refused(changed(level, |c| c.username = Some("op:Console".into()))),
        ];
        for answer in &answers {
            assert_eq!(*answer, *wakemq_core::login::wrong_secret());
            assert_eq!(answer.reason, ReasonCode::BadUserNameOrPassword);
            assert_eq!(Connect3ReturnCode::from_reason(answer.reason).unwrap().value(), 4);
        }
    }
}

#[test]
fn enhanced_authentication_is_not_offered() {
    let answer = refused(changed(V5, |c| c.has_auth_method = true));
    assert_eq!(answer.reason, ReasonCode::BadAuthenticationMethod);
}

#[test]
fn an_agents_client_id_is_its_agent_id_in_any_spelling() {
    for level in BOTH {
        for own in ["Printer-7", "PRINTER-7", "printer-7"] {
            let answer = admitted(changed(level, |c| c.client_id = own.into()));
            assert_eq!((answer.reason, answer.assigned_client_id), (ReasonCode::Success, None), "{own}");
        }
        for other in ["printer-8", "op:console", "not an id"] {
            let answer = refused(changed(level, |c| c.client_id = other.into()));
            assert_eq!(answer.reason, ReasonCode::ClientIdentifierNotValid, "{other}");
            assert_eq!(Connect3ReturnCode::from_reason(answer.reason).unwrap().value(), 2);
        }
    }
}

#[test]
fn an_empty_client_id_is_assigned_except_in_3_1_1_without_clean_session() {
    let empty = |level, clean_start| {
        changed(level, |c| {
            c.client_id = String::new();
            c.clean_start = clean_start;
        })
    };
    for connect in [empty(V5, true), empty(V5, false), empty(V4, true)] {
        assert_eq!(admitted(connect).assigned_client_id.as_deref(), Some("assigned"));
    }
    let answer = refused(empty(V4, false));
    assert_eq!(answer.reason, ReasonCode::ClientIdentifierNotValid);
    assert_eq!(Connect3ReturnCode::from_reason(answer.reason).unwrap().value(), 2);
}

#[test]
fn an_operators_sessions_are_told_apart_by_any_client_id() {
    for level in BOTH {
        let answer = admitted(changed(level, |c| {
            c.username = Some("op:console".into());
            c.client_id = "tab 17".into();
        }));
        assert_eq!(answer.assigned_client_id, None);
    }
}

#[test]
fn the_connack_says_what_the_broker_grants() {
    let answer = admitted(connect(V5));
    assert!(!answer.session_present);
    assert_eq!(answer.maximum_qos, Some(QoS::AtLeastOnce));
    assert_eq!(answer.retain_available, Some(false));
    assert_eq!(answer.shared_subscription_available, Some(false));
    assert_eq!(answer.subscription_ids_available, Some(false));
    assert_eq!(answer.wildcard_subscription_available, None, "operators may use them");
    assert_eq!(answer.maximum_packet_size, Some(65_536));
    assert_eq!(answer.receive_maximum, Some(512));
    assert_eq!(answer.user_properties, [("wakemq-return".to_owned(), "45".to_owned())]);
    assert_eq!(answer.session_expiry_secs, None, "0 was asked for");
    let expiring = admitted(changed(V5, |c| c.session_expiry_secs = u32::MAX));
    assert_eq!(expiring.session_expiry_secs, Some(0), "no session outlives its connection");
}

#[test]
fn a_keep_alive_of_0_or_above_the_maximum_is_replaced() {
    for (wanted, replaced) in [(0, Some(600)), (1, None), (600, None), (601, Some(600)), (65_535, Some(600))]
    {
        let answer = admitted(changed(V5, |c| c.keep_alive_secs = wanted));
        assert_eq!(answer.server_keep_alive_secs, replaced, "{wanted}");
    }
}

#[test]
fn a_wills_topic_is_authorised() {
    let agent = "wake/v1/agents/printer-7/";
    let as_agent = |topic: &str| changed(V5, |c| c.will = Some(will(topic, "")));
    for leaf in ["receipts", "facts", "reports"] {
        admitted(as_agent(&format!("{agent}{leaf}")));
    }
    for foreign in [
        &*format!("{agent}commands"),
        "wake/v1/agents/printer-8/receipts",
        "wake/v1/groups/commands",
        "wake/v1/operators/console/responses/a",
        "wake/v1/events/command/a",
        "home/lamp",
    ] {
        let answer = refused(as_agent(foreign));
        assert_eq!(answer.reason, ReasonCode::NotAuthorized, "{foreign}");
        assert_eq!(Connect3ReturnCode::from_reason(answer.reason).unwrap().value(), 5);
    }
    let as_operator = |topic: &str| {
        changed(V5, |c| {
            c.username = Some("op:console".into());
            c.will = Some(will(topic, ""));
        })
    };
    admitted(as_operator("wake/v1/agents/printer-7/commands"));
    admitted(as_operator("wake/v1/groups/a/commands"));
    for foreign in [&*format!("{agent}receipts"), "wake/v1/operators/console/responses/a", "home/lamp"] {
        assert_eq!(refused(as_operator(foreign)).reason, ReasonCode::NotAuthorized, "{foreign}");
    }
}

#[test]
fn an_operators_will_is_authorised_by_its_rights() {
    let check = |topic: &str, may_command, scope| {
        let connect = changed(V5, |c| {
            c.username = Some("op:console".into());
            c.will = Some(will(topic, ""));
        });
        let checked = read(connect).unwrap().check_operator_will(&rights(may_command, scope));
        checked.map_err(|answer| answer.reason)
    };
    let (agent, group) = ("wake/v1/agents/printer-7/commands", "wake/v1/groups/a/b/commands");
    assert_eq!(check(agent, true, ""), Ok(None));
    assert_eq!(check(agent, true, "a"), Ok(Some("printer-7".parse().unwrap())), "its group decides");
    assert_eq!(check(group, true, "a"), Ok(None));
    for (topic, may_command, scope) in [
        (agent, false, ""),
        (group, false, "a"),
        (group, true, "b"),
        (group, true, "a/b/c"),
        ("wake/v1/groups/commands", true, "a"),
    ] {
        assert_eq!(check(topic, may_command, scope), Err(ReasonCode::NotAuthorized), "{topic} in {scope:?}");
    }
    let none = read(changed(V5, |c| c.username = Some("op:eve".into()))).unwrap();
    assert_eq!(none.check_operator_will(&rights(false, "")), Ok(None), "without a will");
}

#[test]
fn a_wills_retain_and_qos_2_are_refused_by_name() {
    let with = |level, change: fn(&mut Will)| {
        changed(level, |c| {
            let mut will = will("wake/v1/agents/printer-7/receipts", "");
            change(&mut will);
            c.will = Some(will);
        })
    };
    assert_eq!(refused(with(V5, |w| w.retain = true)).reason, ReasonCode::RetainNotSupported);
    admitted(with(V4, |w| w.retain = true));
    for level in BOTH {
        assert_eq!(refused(with(level, |w| w.qos = QoS::ExactlyOnce)).reason, ReasonCode::QoSNotSupported);
        admitted(with(level, |w| w.qos = QoS::AtMostOnce));
    }
}

#[test]
fn every_refusal_tells_people_why() {
    for answer in [
        refused(changed(V5, |c| c.has_auth_method = true)),
        refused(changed(V5, |c| c.password = None)),
        refused(changed(V5, |c| c.client_id = "other".into())),
        refused(changed(V5, |c| c.will = Some(will("home/lamp", "")))),
    ] {
        assert!(answer.reason.is_error());
        assert!(answer.reason_string.is_some_and(|text| text.len() > 10));
    }
}
