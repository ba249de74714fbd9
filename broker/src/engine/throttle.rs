//! Sources that do harm: who hammers wrong secrets is answered later and later, and told of, and so is who comes with
//! more connections than others bear.

use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use wakemq_core::{Judged, Penalty, Source, Throttle};
use wakemq_protocol::{GroupPath, SecurityWhat};

use super::Engine;
use crate::metrics::WrongSecret;

/// Whether a wrong secret is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is refused now.
    Refuse,
    /// The connection is closed without an answer: too many refusals of its source are being delayed.
    Withhold,
}

/// A refusal that is being delayed; it is over when this is dropped.
struct Delayed<'a>(&'a Mutex<Throttle>, Source);

impl Drop for Delayed<'_> {
    fn drop(&mut self) {
        self.0.lock().delayed_is_over(self.1);
    }
}

impl Engine {
    /// Notes that a wrong secret came from an address, and returns when it is to be answered: for a source that
    /// gives many later and later, but at once when the broker drains.
    pub async fn wrong_secret(&self, address: IpAddr, draining: &watch::Receiver<bool>) -> Answer {
        let source = Source::from(address);
        let Judged { penalty, alert } = self.throttle.lock().wrong(source, self.clock.mono_ms());
        if let Some(wrong) = alert {
            self.tell_of_wrong_secrets(address, wrong);
        }
        match penalty {
            Penalty::Refuse => {
                self.metrics.wrong_secrets.of(WrongSecret::AtOnce).inc();
                Answer::Refuse
            }
            Penalty::Delay(delay_ms) => {
                self.metrics.wrong_secrets.of(WrongSecret::Delayed).inc();
                let _delayed = Delayed(&self.throttle, source);
                let mut draining = draining.clone();
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(delay_ms)) => {}
                    _ = draining.wait_for(|draining| *draining) => {}
                }
                Answer::Refuse
            }
            Penalty::Close => {
                self.metrics.wrong_secrets.of(WrongSecret::Withheld).inc();
                Answer::Withhold
            }
        }
    }

    /// Tells that connections from an address were turned away for the sake of others.
    pub fn connection_flood(&self, address: IpAddr) {
        let source = Source::from(address).to_string();
        let detail = format!(
            "so many connections come from {source} that some were turned away, so that others are let in; if many \
             agents share this address, see source_share_percent in [limits]"
        );
        self.security_event(SecurityWhat::ConnectionFlood, None, GroupPath::root(), vec![source], detail);
    }

    fn tell_of_wrong_secrets(&self, address: IpAddr, wrong: u32) {
        let detail = format!(
            "{wrong} wrong secrets came from {address} with less than ten minutes between them; refusals are delayed, \
             right secrets are not"
        );
        self.alarm(SecurityWhat::WrongSecrets, None, GroupPath::root(), vec![address.to_string()], detail);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::Instant;
    use wakemq_protocol::{EventBody, EventNews};

    use super::*;
    use crate::clock::Clock;
    use crate::engine::{Advertise, Events, NoEvents};
    use crate::store;

    /// Writes down what is published.
    #[derive(Default)]
    struct Heard(Mutex<Vec<EventNews>>);

    impl Events for Heard {
        fn are_heard(&self) -> bool {
            true
        }

        fn publish(&self, news: EventNews) {
            self.0.lock().push(news);
        }
    }

    fn engine_heard_by(events: Arc<dyn Events>) -> Arc<Engine> {
        let advertise = Advertise { endpoints: Vec::new(), ca: None };
        Arc::new(Engine::new(store::memory(), Clock::start(), advertise, Arc::default(), events))
    }

    fn engine() -> Arc<Engine> {
        engine_heard_by(Arc::new(NoEvents))
    }

    #[test]
    fn a_flood_of_a_network_is_told_once() {
        let heard = Arc::new(Heard::default());
        let engine = engine_heard_by(heard.clone());
        for address in ["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.1"] {
            engine.connection_flood(address.parse().unwrap());
        }
        let told = serde_json::to_value(&*heard.0.lock()).unwrap();
        let told: Vec<_> = told.as_array().unwrap().iter().map(|news| &news["addresses"][0]).collect();
        assert_eq!(told, ["2001:db8::/64", "192.0.2.1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn operators_are_told_at_the_first_delay_and_then_rarely() {
        let heard = Arc::new(Heard::default());
        let (engine, draining) = (engine_heard_by(heard.clone()), watch::Sender::new(false));
        for _ in 0..16 {
            engine.wrong_secret("2001:db8::1".parse().unwrap(), &draining.subscribe()).await;
        }
        let heard = heard.0.lock();
        let told: Vec<_> = heard
            .iter()
            .filter_map(|news| match &news.body {
                EventBody::Security { what: SecurityWhat::WrongSecrets, who: None, addresses, detail } => {
                    assert_eq!(addresses, &["2001:db8::1"]);
                    detail.split(' ').next()
                }
                EventBody::Security { .. }
                | EventBody::Presence { .. }
                | EventBody::Command { .. }
                | EventBody::Power { .. }
                | EventBody::Report { .. } => None,
            })
            .collect();
        assert_eq!(told, ["4", "8", "16"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_fourth_wrong_secret_waits_a_second_and_nobody_else_does() {
        let (engine, draining) = (engine(), watch::Sender::new(false));
        let [bad, other] = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().unwrap());
        let began = Instant::now();
        for secs in [0, 0, 0, 1, 3, 7] {
            assert_eq!(engine.wrong_secret(bad, &draining.subscribe()).await, Answer::Refuse);
            assert_eq!(began.elapsed().as_secs(), secs);
        }
        let began = Instant::now();
        assert_eq!(engine.wrong_secret(other, &draining.subscribe()).await, Answer::Refuse);
        assert!(began.elapsed().is_zero());
        assert_eq!(engine.metrics().wrong_secrets.of(WrongSecret::AtOnce).get(), 4);
        assert_eq!(engine.metrics().wrong_secrets.of(WrongSecret::Delayed).get(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_wait_that_one_more_is_not_answered_and_none_waits_for_a_broker_that_stops() {
        let (engine, draining) = (engine(), watch::Sender::new(false));
        let bad = "192.0.2.1".parse().unwrap();
        let mut waiting = Vec::new();
        for _ in 0..19 {
            let (engine, draining) = (engine.clone(), draining.subscribe());
            waiting.push(tokio::spawn(async move { engine.wrong_secret(bad, &draining).await }));
        }
        tokio::task::yield_now().await;
        assert_eq!(engine.wrong_secret(bad, &draining.subscribe()).await, Answer::Withhold);
        assert_eq!(engine.metrics().wrong_secrets.of(WrongSecret::Withheld).get(), 1);

        // One that gives up makes room for the next.
        waiting.pop().unwrap().abort();
        tokio::task::yield_now().await;
        let began = Instant::now();
        draining.send_replace(true);
        assert_eq!(engine.wrong_secret(bad, &draining.subscribe()).await, Answer::Refuse);
        for one in waiting {
            assert_eq!(one.await.unwrap(), Answer::Refuse);
        }
        assert!(began.elapsed().is_zero());
    }
}
