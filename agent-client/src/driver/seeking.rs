//! What the agent's task does about its way to the broker: with the seeker, the network around, and what is learned.

use std::time::Duration;

use tokio::time::Instant;
use wakemq_link::Captive;
use wakemq_link::ladder::{Lost, Refusal};
use wakemq_link::mqtt::ConnectError;
use wakemq_link::seeker::{Arrival, SeekerEvent, Setback};

use super::inputs::Input;
use super::place::Place;
use super::{Driver, End};
use crate::inbox::Inbox;
use crate::surroundings::Noticed;
use crate::{Connection, Problem};

/// What there is to do without a session.
pub(super) enum Next {
    Shutdown,
    Serve(Box<Arrival>),
}

impl Driver {
    /// Tells the seeker how a session ended; returns why, if that is to be told.
    pub(super) fn after(&mut self, end: End) -> Option<Problem> {
        match end {
            End::Shutdown | End::GivenUp => None,
            End::Moved => {
                self.seeker.moved();
                None
            }
            End::Outgrown => {
                self.seeker.handle_lost(Lost::Ended { return_secs: 0 });
                Some(Problem::Outgrown)
            }
            End::Lost(problem, lost) => {
                self.seeker.handle_lost(lost);
                Some(problem)
            }
            End::Silent(problem, return_secs) => {
                self.seeker.handle_silence(return_secs);
                Some(problem)
            }
            End::Cut(problem, quiet, return_secs) => {
                self.seeker.handle_cut(quiet, return_secs);
                Some(problem)
            }
            End::Refused(problem) => {
                self.seeker.handle_refused(Refusal::ForGood);
                Some(problem)
            }
        }
    }

    /// Tells the seeker if the machine has resumed.
    pub(super) fn look_for_resume(&mut self) {
        let resumes = self.facts.resumes();
        if std::mem::replace(&mut self.resumes, resumes) != resumes {
            tracing::info!("the machine has resumed: connecting anew");
            self.seeker.handle_resumed();
        }
    }

    /// Journals results until there is a session. `problem` is why the last one ended.
    pub(super) async fn seek(
        &mut self,
        inbox: &mut Inbox,
        place: &mut Place,
        mut problem: Option<Problem>,
    ) -> Next {
        loop {
            let retry_at = [inbox.retry_at(), place.due()].into_iter().flatten().min();
            let input = tokio::select! {
                biased;
                input = self.inputs.next(retry_at) => input,
                event = self.seeker.next() => {
                    match event {
                        SeekerEvent::Connected(arrival) => return Next::Serve(arrival),
                        SeekerEvent::Seeking => self.set(Connection::Connecting),
                        SeekerEvent::Waiting { setback, retry_in } => {
                            self.wait(setback, problem.take(), retry_in);
                        }
                        // The session ended by itself just then.
                        SeekerEvent::Move => self.seeker.moved(),
                        SeekerEvent::Learned => self.remember().await,
                        SeekerEvent::Captive(captive) => self.tell_captive(&captive),
                        SeekerEvent::Check
                        | SeekerEvent::GiveUp
                        | SeekerEvent::Interval(_)
                        | SeekerEvent::Settled => {}
                    }
                    continue;
                }
            };
            match input {
                Input::Shutdown => return Next::Shutdown,
                Input::Noticed(Noticed::ClockSet) => self.look_for_resume(),
                Input::Noticed(Noticed::NetworkChanged) => self.network_changed(place),
                // Without a connection there is nobody to tell.
                Input::Progress(_) => {}
                Input::Result(receipt) => {
                    inbox.ended(receipt);
                    self.flush(inbox).await;
                }
                Input::Relayed(receipt) => {
                    inbox.relayed(receipt);
                    self.flush(inbox).await;
                }
                Input::Retry => {
                    self.look_around(place);
                    if inbox.retry_at().is_some_and(|at| at <= Instant::now()) {
                        self.flush(inbox).await;
                    }
                }
            }
        }
    }

    /// Tells that nothing is tried for a while, and why.
    fn wait(&self, setback: Option<Setback>, ended: Option<Problem>, retry_in: Duration) {
        let problem = match setback {
            None => ended.unwrap_or_else(|| {
                Problem::Lost("the machine has resumed, or is in another network".to_owned())
            }),
            Some(Setback::NoWay(no_way)) => match &no_way.captive {
                Some(captive) if !no_way.certificate => Problem::Captive(captive.to_string()),
                Some(_) | None if no_way.certificate => Problem::Certificate(no_way.to_string()),
                Some(_) | None => Problem::Unreachable(no_way.to_string()),
            },
            Some(Setback::Refused(error)) if error.is_not_allowed() => Problem::NotAllowed(error.to_string()),
            Some(Setback::Refused(error @ ConnectError::Refused { .. })) => {
                Problem::Refused(error.to_string())
            }
            Some(Setback::Refused(error @ (ConnectError::TimedOut(_) | ConnectError::Session(_)))) => {
                Problem::Unreachable(error.to_string())
            }
        };
        let retry_in_secs = retry_in.as_secs_f32();
        match &problem {
            Problem::Outgrown => tracing::info!(%problem, retry_in_secs, "not connected"),
            Problem::Unreachable(_)
            | Problem::Certificate(_)
            | Problem::Captive(_)
            | Problem::NotAllowed(_)
            | Problem::Refused(_)
            | Problem::SubscriptionRefused(_)
            | Problem::TakenOver
            | Problem::Lost(_) => tracing::warn!(%problem, retry_in_secs, "not connected"),
        }
        self.set(Connection::Waiting { problem, retry_in });
    }

    /// Tells who answers in the broker's place. One whose certificate is not the broker's may also be a broker that an
    /// agent was not told the right certificate authority of, and is told as that.
    fn tell_captive(&self, captive: &Captive) {
        tracing::warn!(why = %captive, "somebody else answers instead of the broker: a captive portal, or a proxy");
        self.status.send_if_modified(|status| match &mut status.connection {
            Connection::Waiting { problem: problem @ Problem::Unreachable(_), .. } => {
                *problem = Problem::Captive(captive.to_string());
                true
            }
            Connection::Waiting { .. }
            | Connection::Connecting
            | Connection::Connected { .. }
            | Connection::Closed => false,
        });
    }

    /// Something around has changed.
    pub(super) fn network_changed(&mut self, place: &mut Place) {
        if place.changed() {
            self.seeker.handle_network(place.key());
        }
    }

    /// Looks at the network again if it is time to.
    pub(super) fn look_around(&mut self, place: &mut Place) {
        if place.look_if_due() {
            self.seeker.handle_network(place.key());
        }
    }

    /// Writes down what was learned. If that fails, it is learned again one day.
    pub(super) async fn remember(&mut self) {
        let (state, memory) = (self.state.clone(), self.seeker.memory().clone());
        let written = tokio::task::spawn_blocking(move || state.save_memory(&memory)).await;
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "what was learned of the network is not kept"),
            Err(error) => tracing::error!(%error, "what was learned of the network is not kept"),
        }
    }
}
