//! The semantics of the store, once for all backends.
//!
//! Everything here runs over [`super::kv`]: what writes runs in a [`super::batch`], what only reads in a snapshot.

mod admin;
mod agents;
mod audit;
mod groups;
mod inbox;
mod judge;
mod lifecycle;
mod operators;
mod outcomes;
mod power;
mod records;
mod release;
mod submit;
mod sweep;
mod tokens;
mod transitions;
mod waiting;

pub(super) use admin::{unknown_agents, write};
pub(super) use agents::{agents, find_agents, places, seen};
pub(super) use audit::page as audit;
pub(super) use groups::page as groups;
pub(super) use inbox::take;
pub(super) use lifecycle::look_up;
pub(super) use operators::page as operators;
pub(super) use power::page as power;
pub(super) use records::look_up as look_up_record;
pub(super) use release::{Releasing, release, releasing};
pub(super) use submit::submit;
pub(super) use sweep::settle_loose;
pub(super) use tokens::page as tokens;
pub(super) use transitions::record;
pub(super) use waiting::page as waiting;
