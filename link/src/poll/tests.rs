//! A session against a scripted broker over real sockets, in virtual time.

mod broker;
mod posting;
mod replaced;
mod trials;
mod waiting;
