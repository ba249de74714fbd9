//! What the benchmark and its load processes tell each other: lines on standard input and output.

use std::fmt;
use std::str::{FromStr, SplitWhitespace};

use anyhow::{Context as _, Result, bail};

use super::clock::Moment;

/// What a load process is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Agents are to connect and stay: the first one's number, and how many.
    Connect(usize, usize),
    /// Every connection is to be reset; all come back at once.
    Reset,
    /// From now on each agent sends a heartbeat every so many milliseconds.
    Ping(u64),
    /// So many TCP connections are to be open that never say a word.
    Mute(usize),
    /// Agents are to come and go, so many a second, each for so many milliseconds: the first one's number, how many
    /// there are in turn, rate and stay.
    Churn(usize, usize, u32, u64),
    /// No more agents are to come.
    Calm,
}

/// What a load process tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An agent is connected and subscribed.
    Up(Arrival),
    /// A command was delivered to an agent.
    Got(usize, Moment),
    /// An agent's connection was lost, and it will come back.
    Lost(usize),
    /// Heartbeats were answered, since this was last told.
    Pongs(u64),
    /// All the mute connections are open.
    Muted,
    /// An agent that came to leave has left.
    Left(usize),
    /// The server has closed so many mute connections, since this was last told.
    Closed(u64),
    /// The process cannot go on.
    Failed(String),
}

/// How an agent came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The agent's number.
    pub number: usize,
    /// Since when it is connected and subscribed.
    pub at: Moment,
    /// How many microseconds that took from dialling.
    pub took_us: u64,
    /// Within how many seconds it is to come back after a loss; 0 without any advice.
    pub return_secs: u64,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(first, count) => write!(f, "connect {first} {count}"),
            Self::Reset => write!(f, "reset"),
            Self::Ping(ms) => write!(f, "ping {ms}"),
            Self::Mute(count) => write!(f, "mute {count}"),
            Self::Churn(first, count, rate, stay) => write!(f, "churn {first} {count} {rate} {stay}"),
            Self::Calm => write!(f, "calm"),
        }
    }
}

impl FromStr for Order {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        let mut words = line.split_whitespace();
        Ok(match words.next() {
            Some("connect") => Self::Connect(number(&mut words)?, number(&mut words)?),
            Some("reset") => Self::Reset,
            Some("ping") => Self::Ping(number(&mut words)?),
            Some("mute") => Self::Mute(number(&mut words)?),
            Some("churn") => Self::Churn(
                number(&mut words)?,
                number(&mut words)?,
                number(&mut words)?,
                number(&mut words)?,
            ),
            Some("calm") => Self::Calm,
            other => bail!("no order: {other:?}"),
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up(Arrival { number, at: Moment(at), took_us, return_secs }) => {
                write!(f, "up {number} {at} {took_us} {return_secs}")
            }
            Self::Got(number, Moment(at)) => write!(f, "got {number} {at}"),
            Self::Lost(number) => write!(f, "lost {number}"),
            Self::Pongs(count) => write!(f, "pongs {count}"),
            Self::Muted => write!(f, "muted"),
            Self::Left(number) => write!(f, "left {number}"),
            Self::Closed(count) => write!(f, "closed {count}"),
            Self::Failed(why) => write!(f, "failed {}", why.replace('\n', " ")),
        }
    }
}

impl FromStr for Event {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        let mut words = line.split_whitespace();
        Ok(match words.next() {
            Some("up") => Self::Up(Arrival {
                number: number(&mut words)?,
                at: Moment(number(&mut words)?),
                took_us: number(&mut words)?,
                return_secs: number(&mut words)?,
            }),
            Some("got") => Self::Got(number(&mut words)?, Moment(number(&mut words)?)),
            Some("lost") => Self::Lost(number(&mut words)?),
            Some("pongs") => Self::Pongs(number(&mut words)?),
            Some("muted") => Self::Muted,
            Some("left") => Self::Left(number(&mut words)?),
            Some("closed") => Self::Closed(number(&mut words)?),
            Some("failed") => Self::Failed(words.collect::<Vec<_>>().join(" ")),
            other => bail!("no event: {other:?}"),
        })
    }
}

fn number<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    words: &mut SplitWhitespace<'_>,
) -> Result<T> {
    words.next().context("a number is missing")?.parse().context("no number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        for order in [
            Order::Connect(1, 2),
            Order::Reset,
            Order::Ping(5),
            Order::Mute(7),
            Order::Churn(1, 2, 3, 4),
            Order::Calm,
        ] {
            assert_eq!(order.to_string().parse::<Order>().unwrap(), order);
        }
        for event in [
            Event::Up(Arrival { number: 1, at: Moment(2), took_us: 3, return_secs: 4 }),
            Event::Got(1, Moment(2)),
            Event::Lost(1),
            Event::Pongs(2),
            Event::Muted,
            Event::Left(3),
            Event::Closed(4),
            Event::Failed("no luck".into()),
        ] {
            assert_eq!(event.to_string().parse::<Event>().unwrap(), event);
        }
        assert!("connect 1".parse::<Order>().is_err());
        assert!("up 1 2 3 x".parse::<Event>().is_err());
    }
}
