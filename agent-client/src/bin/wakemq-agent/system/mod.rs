//! What the program wants of the operating system, one module for each family.

#[cfg(not(unix))]
mod other;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
pub(crate) use other::{ended, kill_all, shell};
#[cfg(unix)]
pub(crate) use unix::{ended, kill_all, shell};
