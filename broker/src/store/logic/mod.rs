//! The semantics of the store, once for all backends.
//!
//! Everything here runs over [`super::kv`]: what writes runs in a [`super::batch`], what only reads in a snapshot.

mod admin;
mod inbox;
mod lifecycle;
mod release;
mod submit;
mod sweep;
mod transitions;

pub(super) use admin::{agents, find_agent, unknown_agents, write};
pub(super) use inbox::take;
pub(super) use lifecycle::look_up;
pub(super) use release::{Releasing, release, releasing};
pub(super) use submit::submit;
pub(super) use sweep::settle_loose;
pub(super) use transitions::record;
