//! Wrong secrets: who hammers them is answered later and later, and told of.

use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use wakemq_core::{Judged, Penalty, Source, Throttle};

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

    fn tell_of_wrong_secrets(&self, address: IpAddr, wrong: u32) {
        tracing::warn!(%address, wrong, "this address keeps giving wrong secrets; its refusals are delayed");
    }
}
