//! Power: who may switch on whom, what is sent, and what truly happened.
//!
//! The order of calls for a `power` command:
//! 1. [`Targets::of`] the sleeper's interfaces; [`PowerAttempt::start`], or after a restart of the broker
//!    [`PowerAttempt::resume`] with the evidence that was stored.
//! 2. After each call of `handle_*`, and after starting, `poll_action` until it gives `None`; at `deadline_ms`
//!    `handle_timeout`. Actions are carried out in their order: evidence is durable before what follows it is done,
//!    so that a restart never forgets that somebody was asked.
//! 3. For [`PowerAction::FindRelays`] take the agents that are awake, each through [`Neighbour::judge`] with the right
//!    that the operator has now, and give those that fit to `handle_candidates`; where the operator has no right any
//!    more, call `handle_forbidden`.
//! 4. [`PowerAction::End`] is the last action.
//!
//! All times are the engine's, in milliseconds since 1970: evidence is dated by the same clock, so that an attempt
//! goes on behind a restart where it stood.

mod attempt;
mod exchange;
mod explain;
mod neighbours;
mod resume;
mod rounds;
mod site;
mod targets;
mod verdict;

pub use attempt::PowerAttempt;
pub use exchange::{Heard, PowerAction, PowerSettings, Sleeper};
pub use explain::{PowerCase, explain};
pub use neighbours::{Awake, Neighbour, Unfit};
pub use site::{Place, SubnetKey, subnet_keys};
pub use targets::{MACS_MAX, Targets};
