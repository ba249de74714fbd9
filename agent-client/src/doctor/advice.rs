//! What follows from an examination: the verdict, and what a person is to change.

use wakemq_link::ladder::Ways;
use wakemq_link::{Captive, Fault, Portal, Transport};

use super::report::WayReport;

pub(super) struct Advised {
    pub(super) verdict: String,
    pub(super) advice: Vec<String>,
}

/// Says in words what was found; `reports` and `faults` are those of `ways`, in their order.
pub(super) fn advise(
    ways: &Ways,
    reports: &[WayReport],
    faults: &[Option<Fault>],
    portal: &Portal,
    is_enrolled: bool,
) -> Advised {
    let mut advice = Vec::new();
    let best = faults.iter().position(Option::is_none);
    let has = |fault| faults.contains(&Some(fault));
    if has(Fault::NotAllowed) {
        advice.push(
            "the broker does not accept this agent's secret: was it revoked, or is this another broker? \
                     Enrol it again with a new state directory"
                .to_owned(),
        );
    }
    if best.is_none() && has(Fault::Certificate) {
        advice.push("the certificate is not one that the agent trusts: if the broker has a CA of its own, enrol with \
                     --ca FILE; if a proxy opens TLS, give its CA with --extra-ca FILE".to_owned());
    }
    if let Portal::Captive(captive) = portal {
        match captive {
            Captive::Redirect { .. } | Captive::Page { .. } => {
                advice.push("somebody else answers in the broker's place: log in to the network's page in a browser, \
                             or see that the host is a broker".to_owned());
            }
            // The advice about the certificate says it.
            Captive::Certificate(_) => {}
        }
    }
    if has(Fault::Proxy) {
        let mut proxied = ways.iter().zip(faults).filter(|(way, _)| way.proxied);
        let all = proxied.all(|(_, fault)| *fault == Some(Fault::Proxy));
        if all {
            let mend = if best.is_some() {
                "Mend that, or have the agent go without it: --proxy none"
            } else {
                "Mend that, for no way leads past it either"
            };
            advice.push(format!("no way leads through the proxy; its step says why. {mend}"));
        }
    }
    // One door that is shut while another of the same kind is open is worth a rule of the firewall.
    if let Some(best) = best {
        let shut: Vec<_> = ways
            .iter()
            .zip(reports)
            .take(best)
            .filter(|(way, report)| way.transport == Transport::Mqtt && !way.proxied && !report.works)
            .map(|(way, _)| way.rung.to_string())
            .collect();
        if !shut.is_empty() && ways.iter().nth(best).is_some_and(|way| way.transport != Transport::Mqtt) {
            advice.push(format!(
                "MQTT costs least: let the endpoint reach {} by TCP, without opening TLS, and it moves there within an hour",
                shut.join(" or ")
            ));
        }
    } else if advice.is_empty() {
        advice.push("let the endpoint reach the broker on port 8883 or 443, or name a proxy with --proxy; check that the \
                     broker runs and the host is right".to_owned());
    }
    let verdict = match best.and_then(|best| reports.get(best)) {
        _ if has(Fault::NotAllowed) => "the broker is reached, and does not allow the agent in".to_owned(),
        None => "no way leads to the broker".to_owned(),
        Some(report) if is_enrolled => format!("the agent can be woken by {}", report.way),
        Some(report) => format!("the broker is reached by {}", report.way),
    };
    Advised { verdict, advice }
}

#[cfg(test)]
mod tests {
    use wakemq_link::Ladder;
    use wakemq_link::ladder::ProxyUse;

    use super::*;

    fn advised(faults: &[Option<Fault>], proxy: ProxyUse, portal: Portal) -> (String, String) {
        let ways = Ways::new(&Ladder::parse(&["broker"]).unwrap(), proxy);
        let reports: Vec<_> = ways
            .iter()
            .zip(faults)
            .map(|(way, fault)| WayReport {
                way: way.to_string(),
                works: fault.is_none(),
                steps: Vec::new(),
                intercepted_by: None,
                last_used: false,
                heartbeat: None,
            })
            .collect();
        assert_eq!(reports.len(), ways.iter().count());
        let advised = advise(&ways, &reports, faults, &portal, true);
        (advised.verdict, advised.advice.join("\n"))
    }

    #[test]
    fn what_is_well_needs_no_advice() {
        let told = advised(&[None; 4], ProxyUse::None, Portal::Open);
        assert_eq!(told, ("the agent can be woken by mqtt broker:8883".into(), String::new()));
        let second = [Some(Fault::Other), None, None, None];
        let told = advised(&second, ProxyUse::None, Portal::Open);
        assert_eq!(told, ("the agent can be woken by mqtt broker:443".into(), String::new()));
    }

    #[test]
    fn what_is_wrong_is_told_with_what_to_change() {
        use Fault::{Certificate, NotAllowed, Other, Proxy};
        let other = Some(Other);
        let page = Portal::Captive(Captive::Page { status: 200, page: "<html>".into() });
        for (faults, proxy, portal, verdict, expected) in [
            (
                vec![other, other, None, None],
                ProxyUse::None,
                Portal::Open,
                "woken by websocket",
                "MQTT costs least: let the endpoint reach broker:8883 or broker:443",
            ),
            (
                vec![other; 4],
                ProxyUse::None,
                Portal::Open,
                "no way leads",
                "let the endpoint reach the broker on port 8883",
            ),
            (vec![Some(Certificate); 4], ProxyUse::None, Portal::Open, "no way leads", "--extra-ca"),
            (vec![other; 4], ProxyUse::None, page, "no way leads", "log in to the network's page"),
            (
                vec![None, None, None, Some(NotAllowed)],
                ProxyUse::None,
                Portal::Open,
                "does not allow",
                "Enrol it again",
            ),
            (
                [vec![Some(Proxy); 4], vec![None; 4]].concat(),
                ProxyUse::First,
                Portal::Open,
                "woken by mqtt broker:8883",
                "--proxy none",
            ),
            (
                [vec![Some(Proxy); 4], vec![other; 4]].concat(),
                ProxyUse::First,
                Portal::Open,
                "no way leads",
                "past it either",
            ),
        ] {
            let (told, advice) = advised(&faults, proxy, portal);
            assert!(told.contains(verdict), "{told}");
            assert!(advice.contains(expected), "{expected:?}: {advice}");
        }
    }
}
