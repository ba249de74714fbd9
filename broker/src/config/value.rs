//! Values that say what is allowed when they are wrong.

use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// What went wrong for good.
    Error,
    /// Also what a person should look at.
    Warn,
    /// Also what happens, but not for each connection.
    #[default]
    Info,
    /// Also what happens on each connection.
    Debug,
    /// Also each packet.
    Trace,
}

/// Reads a whole number from `MIN` to `MAX`.
pub(super) fn ranged<'de, const MIN: u64, const MAX: u64, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: TryFrom<u64>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_i64(Ranged::<MIN, MAX, T>(PhantomData))
}

struct Ranged<const MIN: u64, const MAX: u64, T>(PhantomData<T>);

impl<const MIN: u64, const MAX: u64, T: TryFrom<u64>> Visitor<'_> for Ranged<MIN, MAX, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number, {MIN} to {MAX}")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<T, E> {
        let inside = u64::try_from(value).ok().filter(|value| (MIN..=MAX).contains(value));
        inside
            .and_then(|value| T::try_from(value).ok())
            .ok_or_else(|| E::invalid_value(Unexpected::Signed(value), &self))
    }
}

/// Reads a list of addresses with at least one.
pub(super) fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SocketAddr>, D::Error> {
    let addresses = addresses_or_none(deserializer)?;
    if addresses.is_empty() {
        return Err(D::Error::custom("at least one address is needed"));
    }
    Ok(addresses)
}

/// Reads a list of addresses.
pub(super) fn addresses_or_none<'de, D>(deserializer: D) -> Result<Vec<SocketAddr>, D::Error>
where
    D: Deserializer<'de>,
{
    let addresses = Vec::<Address>::deserialize(deserializer)?;
    Ok(addresses.into_iter().map(|address| address.0.0).collect())
}

/// Reads a value out of a text. The visitor itself must refuse it, or the error would name the place of the list
/// around it.
pub(super) fn text<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_str(Text(PhantomData))
}

struct Text<T>(PhantomData<T>);

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text in quotation marks")
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<T, E> {
        value.parse().map_err(E::custom)
    }
}

/// Reads a list of networks; an address alone is a network of one.
pub(super) fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let networks = Vec::<Network>::deserialize(deserializer)?;
    Ok(networks.into_iter().map(|network| network.0.0).collect())
}

#[derive(serde::Deserialize)]
struct Network(#[serde(deserialize_with = "text")] Nameable);

struct Nameable(IpNet);

impl FromStr for Nameable {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map(Self).map_err(|_| {
            format!(
                "`{text}` is no address and no network; `192.0.2.7`, `192.0.2.0/24` and `2001:db8::/64` are"
            )
        })
    }
}

#[derive(serde::Deserialize)]
struct Address(#[serde(deserialize_with = "text")] Listenable);

struct Listenable(SocketAddr);

impl FromStr for Listenable {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| {
            format!("`{text}` is not an address to listen on; IP:PORT is, as `0.0.0.0:8883` or `[::]:8883`")
        })
    }
}
