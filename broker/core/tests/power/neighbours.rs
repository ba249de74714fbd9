//! Who may send for whom.

use wakemq_core::power::{Awake, Neighbour, Place, Unfit, subnet_keys};
use wakemq_protocol::{GroupPath, Medium};

use crate::fixture::{awake, place};

const ROUTER: &str = "00:00:5e:00:01:01";

fn judge(sleeper: &Place, relay: &Awake) -> Result<Neighbour, Unfit> {
    let judged = Neighbour::judge(sleeper, &GroupPath::root(), relay);
    // An index of subnets finds those who fit, and nobody else of the same tenant who relays.
    let theirs = subnet_keys(&relay.place);
    let shared = subnet_keys(sleeper).iter().any(|key| theirs.iter().any(|other| other.id() == key.id()));
    if relay.relay && relay.place.agent != sleeper.agent {
        assert_eq!(judged.is_ok(), shared, "{judged:?}");
    }
    judged
}

/// Judges a neighbour of the sleeper after a change to both of their places.
fn changed(change: impl Fn(&mut Place, bool)) -> Result<Neighbour, Unfit> {
    let (mut sleeper, mut relay) = (place("sleeper", 7), place("relay", 8));
    change(&mut sleeper, true);
    change(&mut relay, false);
    judge(&sleeper, &awake(relay))
}

#[test]
fn a_neighbour_shares_tenant_site_subnet_and_gateway() {
    let neighbour = changed(|_, _| {}).unwrap();
    assert_eq!((neighbour.agent().as_str(), neighbour.medium()), ("relay", Medium::Wired));
    assert_eq!(neighbour.networks(), ["192.168.1.0/24".parse().unwrap()]);
}

#[test]
fn one_difference_is_enough() {
    let unfit = |change: fn(&mut Place)| {
        changed(|place, is_sleeper| {
            if !is_sleeper {
                change(place)
            }
        })
        .unwrap_err()
    };
    assert_eq!(unfit(|relay| relay.agent = "SLEEPER".parse().unwrap()), Unfit::Itself);
    assert_eq!(unfit(|relay| relay.group = "b/x".parse().unwrap()), Unfit::OtherTenant);
    assert_eq!(unfit(|relay| relay.group = GroupPath::root()), Unfit::OtherTenant);
    let network = "192.168.1.0/24".parse().unwrap();
    assert!(matches!(
        unfit(|relay| relay.source = "203.0.113.8".parse().ok()),
        Unfit::OtherSite { network: of, .. } if of == network
    ));
    assert!(matches!(unfit(|relay| relay.source = "192.168.1.8".parse().ok()), Unfit::OtherSite { .. }));
    assert!(matches!(unfit(|relay| relay.source = None), Unfit::OtherSite { .. }));
    let addresses = |text: &str| vec![text.parse().unwrap()];
    assert_eq!(unfit(|relay| relay.interfaces.clear()), Unfit::OtherSubnet);
    for other in ["192.168.2.8/24", "192.168.1.8/25", "192.168.1.8/32"] {
        let judged = changed(|place, is_sleeper| {
            if !is_sleeper {
                place.interfaces[0].addresses = addresses(other);
            }
        });
        assert_eq!(judged.unwrap_err(), Unfit::OtherSubnet, "{other}");
    }
    assert!(matches!(
        unfit(|relay| relay.interfaces[0].gateway_mac = "00:16:3e:ff:00:02".parse().ok()),
        Unfit::OtherGateway { .. }
    ));
    assert!(matches!(unfit(|relay| relay.interfaces[0].gateway_mac = None), Unfit::OtherGateway { .. }));
}

#[test]
fn the_operators_right_and_the_relays_will_count() {
    let (sleeper, relay) = (place("sleeper", 7), place("relay", 8));
    let mute = Awake { relay: false, ..awake(relay.clone()) };
    assert_eq!(judge(&sleeper, &mute), Err(Unfit::DoesNotRelay));
    for (scope, allowed) in [("", true), ("a", true), ("a/x", true), ("a/x/y", false), ("b", false)] {
        let judged = Neighbour::judge(&sleeper, &scope.parse().unwrap(), &awake(relay.clone()));
        assert_eq!(judged.is_ok(), allowed, "{scope}: {judged:?}");
    }
}

#[test]
fn a_virtual_router_never_stands_for_the_rest() {
    let both_behind_it = |place: &mut Place| place.interfaces[0].gateway_mac = ROUTER.parse().ok();
    changed(|place, _| both_behind_it(place)).unwrap();
    changed(|place, is_sleeper| {
        both_behind_it(place);
        if is_sleeper {
            place.source = "203.0.113.9".parse().ok();
        }
    })
    .unwrap_err();
    changed(|place, is_sleeper| {
        both_behind_it(place);
        if is_sleeper {
            place.interfaces[0].addresses = vec!["192.168.2.7/24".parse().unwrap()];
        }
    })
    .unwrap_err();
}

#[test]
fn without_a_gateway_both_must_be_seen_under_addresses_of_their_own() {
    let unknown = changed(|place, _| place.interfaces[0].gateway_mac = None);
    assert!(matches!(unknown, Err(Unfit::GatewayUnknown { .. })));
    let direct = |place: &mut Place| {
        place.interfaces[0].gateway_mac = None;
        place.source = Some(place.interfaces[0].addresses[0].addr());
    };
    changed(|place, _| direct(place)).unwrap();
    // As a socket of both families shows it.
    changed(|place, is_sleeper| {
        direct(place);
        if is_sleeper {
            place.source = "::ffff:192.168.1.7".parse().ok();
        }
    })
    .unwrap();
}

#[test]
fn a_global_network_of_ipv6_is_one_wherever_they_connect_from() {
    for (first, second, fits) in [
        ("2001:db8:1::7/64", "2001:db8:1::8/64", true),
        ("2001:db8:1::7/64", "2001:db8:2::8/64", false),
        ("fd00::7/64", "fd00::8/64", false),
        ("fe80::7/64", "fe80::8/64", false),
        ("169.254.0.7/16", "169.254.0.8/16", false),
    ] {
        let judged = changed(|place, is_sleeper| {
            let address = if is_sleeper { first } else { second };
            place.interfaces[0].addresses = vec![address.parse().unwrap()];
            place.source = if is_sleeper { "203.0.113.7" } else { "198.51.100.1" }.parse().ok();
        });
        assert_eq!(judged.is_ok(), fits, "{first} {second}: {judged:?}");
    }
}

#[test]
fn a_cable_counts_where_there_is_one_and_no_network_twice() {
    let neighbour = changed(|place, is_sleeper| {
        if !is_sleeper {
            let mut radio = place.interfaces[0].clone();
            radio.medium = Medium::Wireless;
            radio.addresses = vec!["192.168.1.9/24".parse().unwrap()];
            place.interfaces.insert(0, radio);
        }
    })
    .unwrap();
    assert_eq!((neighbour.medium(), neighbour.networks().len()), (Medium::Wired, 1));
}

#[test]
fn declared_loopback_counts() {
    changed(|place, is_sleeper| {
        let own = if is_sleeper { "127.1.0.7" } else { "127.1.0.8" };
        place.interfaces[0].addresses = vec![format!("{own}/24").parse().unwrap()];
        place.source = "127.0.0.1".parse().ok();
    })
    .unwrap();
}
