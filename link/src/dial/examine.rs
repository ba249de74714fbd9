//! One way step by step, for a person who wants to know where it ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use wakemq_protocol::Secret;

use super::error::tls_error;
use super::way::{WayDialer, connect_tcp, server_name};
use super::{AttemptError, Listed, TlsInfo};
use crate::ladder::Way;
use crate::race::{interleave, race};
use crate::tunnel::{self, ProxyError, Tunnel};
use crate::websocket::upgrade;
use crate::{Clock, Transport, Trial, TrialError, try_heartbeat};

/// The heartbeat of the trial that proves the secret, in seconds.
const TRIAL_SECS: u32 = 1;

/// A step on a way to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The look-up of the broker's name, or of the proxy's.
    Name,
    /// TCP to the broker.
    Tcp,
    /// TCP to the proxy, and its answer.
    Proxy,
    /// TLS with the broker.
    Tls,
    /// What the door says within TLS: the ALPN of MQTT, or the 101 of a WebSocket.
    Door,
    /// A poll that takes nothing over, which proves the secret.
    Poll,
}

impl Stage {
    /// Returns its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Tcp => "tcp",
            Self::Proxy => "proxy",
            Self::Tls => "tls",
            Self::Door => "door",
            Self::Poll => "poll",
        }
    }
}

/// What became of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Which one.
    pub stage: Stage,
    /// How long it took.
    pub took: Duration,
    /// What was found, or what is wrong.
    pub found: Result<String, String>,
}

/// What is wrong at the end of a way, as far as it decides what a person has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The broker's certificate is not to be trusted.
    Certificate,
    /// The proxy does not let the agent through.
    Proxy,
    /// The broker does not know the secret.
    NotAllowed,
    /// Anything else.
    Other,
}

/// What a whole examination found, beside its steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// Why the way leads nowhere; `None` if it leads to the broker.
    pub fault: Option<Fault>,
    /// What TLS agreed upon.
    pub tls: Option<TlsInfo>,
}

/// Takes steps until one fails.
struct Examiner<'a, F> {
    dialer: &'a WayDialer,
    way: &'a Way,
    tell: F,
    began: Instant,
    tls: Option<TlsInfo>,
}

impl WayDialer {
    /// Goes one way step by step, each of which is told as it is done. Nothing is taken over: there is no CONNECT, and
    /// the poll, where there is a `secret`, is a trial.
    pub async fn examine(&self, way: &Way, secret: Option<&Secret>, tell: impl FnMut(Step)) -> Examined {
        let mut examiner = Examiner { dialer: self, way, tell, began: Instant::now(), tls: None };
        let fault = examiner.go(secret).await.err();
        Examined { fault, tls: examiner.tls }
    }
}

impl<F: FnMut(Step)> Examiner<'_, F> {
    async fn go(&mut self, secret: Option<&Secret>) -> Result<(), Fault> {
        let name = match server_name(&self.way.rung) {
            Ok(name) => name,
            Err(error) => return self.fail(Stage::Name, error, Fault::Other),
        };
        let tunnel = if self.way.proxied { self.proxied().await? } else { self.directly().await? };
        let stream = self.secure(name, tunnel).await?;
        match self.way.transport {
            Transport::Mqtt => {
                let alpn = stream.get_ref().1.alpn_protocol().map(String::from_utf8_lossy);
                match alpn.as_deref() {
                    Some("mqtt") => self.pass(Stage::Door, "it speaks MQTT; no CONNECT was sent".to_owned()),
                    other => {
                        let why = format!("it chose {other:?} within TLS, and not mqtt");
                        return self.fail(Stage::Door, why, Fault::Other);
                    }
                }
            }
            Transport::WebSocket => {
                let limit = self.dialer.attempt_limit();
                match timeout(limit, upgrade(stream, &self.way.rung)).await {
                    Ok(Ok(_)) => {
                        self.pass(Stage::Door, "it gives a WebSocket (101); no CONNECT was sent".to_owned());
                    }
                    Ok(Err(error)) => return self.fail(Stage::Door, error, Fault::Other),
                    Err(_) => {
                        let error = crate::UpgradeError::TimedOut(limit);
                        return self.fail(Stage::Door, error, Fault::Other);
                    }
                }
            }
            Transport::Poll => {
                drop(stream);
                if let Some(secret) = secret {
                    self.poll(secret).await?;
                }
            }
        }
        Ok(())
    }

    async fn directly(&mut self) -> Result<Tunnel, Fault> {
        let rung = &self.way.rung;
        let addresses = self.look_up(&rung.host, rung.port).await?;
        let limit = self.dialer.attempt_limit();
        match race(addresses, |address| connect_tcp(address, limit)).await {
            Ok((address, stream)) => {
                self.pass(Stage::Tcp, address.to_string());
                Ok(Tunnel::Tcp(stream))
            }
            Err(failures) => {
                let failures: Vec<(SocketAddr, AttemptError)> = failures;
                self.fail(Stage::Tcp, Listed(&failures), Fault::Other)
            }
        }
    }

    async fn proxied(&mut self) -> Result<Tunnel, Fault> {
        let Some(url) = self.dialer.proxy().url() else {
            return self.fail(Stage::Proxy, "there is no proxy", Fault::Proxy);
        };
        self.look_up(url.host(), url.port()).await?;
        let opening =
            tunnel::open(url, &self.way.rung, || self.dialer.proxy_config(), self.dialer.proxy_limits());
        match opening.await {
            Ok((address, tunnel)) => {
                self.pass(Stage::Proxy, format!("{url} at {address} lets {} through", self.way.rung));
                Ok(tunnel)
            }
            Err(error) => self.fail(Stage::Proxy, format!("{url}: {error}"), Fault::Proxy),
        }
    }

    async fn look_up(&mut self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Fault> {
        let limit = self.dialer.attempt_limit();
        match timeout(limit, tokio::net::lookup_host((host, port))).await {
            Err(_) => self.fail(Stage::Name, "the name server does not answer", Fault::Other),
            Ok(Err(error)) => self.fail(Stage::Name, format!("{host}: {error}"), Fault::Other),
            Ok(Ok(found)) => {
                let addresses = interleave(found);
                if addresses.is_empty() {
                    return self.fail(Stage::Name, format!("{host} has no address"), Fault::Other);
                }
                let texts: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
                self.pass(Stage::Name, format!("{host} is {}", texts.join(", ")));
                Ok(addresses)
            }
        }
    }

    async fn secure(&mut self, name: ServerName<'static>, tunnel: Tunnel) -> Result<super::TlsStream, Fault> {
        let connector = TlsConnector::from(Arc::clone(self.dialer.config(self.way.transport)));
        let limit = self.dialer.attempt_limit();
        match timeout(limit, connector.connect(name, tunnel)).await {
            Err(_) => self.fail(Stage::Tls, AttemptError::TlsTimeout(limit), Fault::Other),
            Ok(Err(error)) => {
                let is_certificate = matches!(tls_error(&error), Some(rustls::Error::InvalidCertificate(_)));
                let is_foreign = matches!(tls_error(&error), Some(rustls::Error::InvalidMessage(_)));
                match (is_certificate, is_foreign && self.way.proxied) {
                    (true, _) => self.fail(Stage::Tls, error, Fault::Certificate),
                    (false, true) => self.fail(Stage::Tls, ProxyError::NotTls, Fault::Proxy),
                    (false, false) => self.fail(Stage::Tls, error, Fault::Other),
                }
            }
            Ok(Ok(stream)) => {
                let tls = self.dialer.tls_info(&stream, &self.way.rung);
                let issuer = tls.issuer.as_deref().unwrap_or("somebody without a name");
                let alpn = tls.alpn.as_deref().unwrap_or("none");
                let opened = if tls.trusted_by_extra_ca { "; trusted by the extra CA alone" } else { "" };
                self.pass(
                    Stage::Tls,
                    format!("{}, ALPN {alpn}, certificate by {issuer}{opened}", tls.version),
                );
                self.tls = Some(tls);
                Ok(stream)
            }
        }
    }

    async fn poll(&mut self, secret: &Secret) -> Result<(), Fault> {
        match try_heartbeat(self.dialer, self.way, secret, TRIAL_SECS, Clock::Tokio).await {
            Ok(Trial::Borne | Trial::Superseded) => {
                self.pass(
                    Stage::Poll,
                    "the broker knows the agent; its connection was left alone".to_owned(),
                );
                Ok(())
            }
            Ok(Trial::Silent) => self.fail(Stage::Poll, "no answer to a poll of one second", Fault::Other),
            Ok(Trial::Retry { after }) => {
                let why = format!("the broker is stopping; it wants agents back within {after} s");
                self.fail(Stage::Poll, why, Fault::Other)
            }
            Ok(Trial::OutOfRange { heartbeat_secs }) => {
                let why =
                    format!("the broker allows no poll below {heartbeat_secs} s; is it of this version?");
                self.fail(Stage::Poll, why, Fault::Other)
            }
            Err(TrialError::Refused(error)) => {
                let fault = if error.is_not_allowed() { Fault::NotAllowed } else { Fault::Other };
                self.fail(Stage::Poll, error, fault)
            }
            Err(error @ TrialError::Lost(_)) => self.fail(Stage::Poll, error, Fault::Other),
        }
    }

    fn pass(&mut self, stage: Stage, found: String) {
        self.step(stage, Ok(found));
    }

    fn fail<T>(&mut self, stage: Stage, why: impl ToString, fault: Fault) -> Result<T, Fault> {
        self.step(stage, Err(why.to_string()));
        Err(fault)
    }

    fn step(&mut self, stage: Stage, found: Result<String, String>) {
        let now = Instant::now();
        (self.tell)(Step { stage, took: now - self.began, found });
        self.began = now;
    }
}
