//! Happy Eyeballs (RFC 8305): all addresses of a name race, each a little after the one before.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Connection Attempt Delay (RFC 8305 §5).
pub(crate) const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Addresses of one name that are tried; a name with more is a mistake or an attack.
const ADDRESSES_MAX: usize = 16;

/// Orders addresses so that families alternate, beginning with the resolver's first choice (RFC 8305 §4).
pub(crate) fn interleave(addresses: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut seen = Vec::new();
    for address in addresses {
        if !seen.contains(&address) {
            seen.push(address);
        }
    }
    let Some(first) = seen.first().map(SocketAddr::is_ipv6) else { return seen };
    let (preferred, other): (VecDeque<_>, VecDeque<_>) =
        seen.into_iter().partition(|address| address.is_ipv6() == first);
    let mut queues = [preferred, other];
    let mut ordered = Vec::new();
    while ordered.len() < ADDRESSES_MAX && queues.iter().any(|queue| !queue.is_empty()) {
        ordered.extend(queues.iter_mut().filter_map(VecDeque::pop_front));
    }
    ordered.truncate(ADDRESSES_MAX);
    ordered
}

/// Races `connect` over the addresses: the next starts 250 ms after the last, or at once when one failed.
/// The first to succeed wins and the others are dropped; if none does, each address has its own error.
pub(crate) async fn race<T, E, F>(
    addresses: Vec<SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<(SocketAddr, T), Vec<(SocketAddr, E)>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut waiting = VecDeque::from(addresses);
    let mut running: Vec<(SocketAddr, Pin<Box<F>>)> = Vec::new();
    let mut failures = Vec::new();
    let mut next_start = Instant::now();
    loop {
        tokio::select! {
            biased;
            (index, result) = any(&mut running), if !running.is_empty() => {
                let (address, _) = running.swap_remove(index);
                match result {
                    Ok(won) => return Ok((address, won)),
                    Err(error) => failures.push((address, error)),
                }
                next_start = Instant::now();
            }
            () = sleep_until(next_start), if !waiting.is_empty() => {
                if let Some(address) = waiting.pop_front() {
                    running.push((address, Box::pin(connect(address))));
                }
                next_start = Instant::now() + ATTEMPT_DELAY;
            }
            else => return Err(failures),
        }
    }
}

/// Waits until any of the attempts ends; returns its index.
async fn any<O, F: Future<Output = O>>(running: &mut [(SocketAddr, Pin<Box<F>>)]) -> (usize, O) {
    poll_fn(|cx| {
        for (index, (_, attempt)) in running.iter_mut().enumerate() {
            if let Poll::Ready(result) = attempt.as_mut().poll(cx) {
                return Poll::Ready((index, result));
            }
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn v4(n: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n], 1))
    }
    fn v6(n: u16) -> SocketAddr {
        SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, n], 1))
    }

    #[test]
    fn families_alternate_and_doubles_go() {
        let ordered = interleave([v6(1), v6(2), v4(1), v6(1), v4(2), v4(3)]);
        assert_eq!(ordered, [v6(1), v4(1), v6(2), v4(2), v4(3)]);
        assert_eq!(interleave((0..40).map(v4)).len(), ADDRESSES_MAX);
        assert!(interleave([]).is_empty());
    }

    /// Runs a race in virtual time; each address fails or wins after its own delay, and starts are noted.
    async fn run(
        script: &[(SocketAddr, u64, bool)],
    ) -> (Result<SocketAddr, Vec<SocketAddr>>, Vec<(SocketAddr, u128)>, u128) {
        let begin = Instant::now();
        let starts = RefCell::new(Vec::new());
        let result = race(script.iter().map(|entry| entry.0).collect(), |address| {
            starts.borrow_mut().push((address, begin.elapsed().as_millis()));
            let (_, after_ms, wins) = *script.iter().find(|entry| entry.0 == address).unwrap();
            async move {
                tokio::time::sleep(Duration::from_millis(after_ms)).await;
                if wins { Ok(()) } else { Err(()) }
            }
        })
        .await;
        let took = begin.elapsed().as_millis();
        let result =
            result.map(|won| won.0).map_err(|lost| lost.into_iter().map(|(address, ())| address).collect());
        (result, starts.into_inner(), took)
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_address_delays_the_next_by_250_ms() {
        let (won, starts, took) = run(&[(v6(1), 99_999, true), (v4(1), 40, true)]).await;
        assert_eq!(won, Ok(v4(1)));
        assert_eq!(starts, [(v6(1), 0), (v4(1), 250)]);
        assert_eq!(took, 290);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_starts_the_next_at_once() {
        let (won, starts, _) = run(&[(v6(1), 10, false), (v4(1), 500, false), (v6(2), 10, true)]).await;
        assert_eq!(won, Ok(v6(2)));
        assert_eq!(starts, [(v6(1), 0), (v4(1), 10), (v6(2), 260)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_first_address_may_still_win() {
        let (won, ..) = run(&[(v6(1), 300, true), (v4(1), 5000, true)]).await;
        assert_eq!(won, Ok(v6(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_fail_each_is_told() {
        let (lost, ..) = run(&[(v6(1), 10, false), (v4(1), 20, false)]).await;
        assert_eq!(lost, Err(vec![v6(1), v4(1)]));
        assert_eq!(run(&[]).await.0, Err(vec![]));
    }
}
