//! Entry points of the fuzz targets in `tests/fuzz`: each takes any bytes, and must neither panic nor break what it
//! asserts. Only there for them, and for the test that replays their corpus.

mod packets;
mod tls;

#[cfg(test)]
mod tests;

use std::path::Path;

use crate::config::Config;

pub use crate::store::fuzzing::{store_file, store_rows};
pub use packets::{connect, packets};
pub use tls::tls;

/// Reads a configuration, and asks of a good one what is asked at start.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Config::parse(text, Path::new("wakemqd.toml")) {
        Ok(config) => {
            let bound = &config.listen.addresses;
            assert!(!bound.is_empty(), "a broker that listens nowhere");
            assert!(!config.advertised(bound, "machine").is_empty());
            config.warnings();
        }
        Err(error) => assert!(error.to_string().starts_with("wakemqd.toml"), "{error}"),
    }
}

/// The bytes of a stream in the pieces in which they come: the first byte says how long each is, 0 for one piece.
fn pieces(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (len, rest) = match data {
        [] => (1, data),
        [0, rest @ ..] => (rest.len().max(1), rest),
        [len, rest @ ..] => (usize::from(*len), rest),
    };
    rest.chunks(len)
}
