//! A connection to whichever of a name's addresses answers first (Happy Eyeballs, RFC 8305).
//!
//! Addresses are tried one after another, alternating between the families, each with a head start
//! over the next: a dead address costs that much and no more. The first connection wins, and the
//! other attempts are dropped. The outcome of each attempt is recorded, even if the caller gives
//! up.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};

use super::errno;
use crate::session::address;
use crate::session::moment::millis;
use crate::session::record::gateway::DialAttempt;
use crate::session::record::{GatewayError, GatewayErrorKind as Kind};

/// Delay before the next address is tried as well (RFC 8305 section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Maximum number of attempts that are recorded.
const MAX_RECORDED: usize = 16;

/// Maximum number of addresses that an error names.
const MAX_NAMED: usize = 4;

/// Alternates between the address families, in the resolver's order within each (RFC 8305 section
/// 4).
pub(super) fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv6) else {
        return addresses;
    };
    let (mut ours, mut others): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|addr| addr.is_ipv6() == first);
    ours.reverse();
    others.reverse();
    let mut turns = Vec::with_capacity(ours.len() + others.len());
    while !ours.is_empty() || !others.is_empty() {
        turns.extend(ours.pop());
        turns.extend(others.pop());
    }
    turns
}

/// Connects to the first of `addresses` that answers.
pub(super) async fn race<T, F>(
    addresses: &[SocketAddr],
    attempts: &mut Vec<DialAttempt>,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<(SocketAddr, T), GatewayError>
where
    F: Future<Output = io::Result<T>>,
{
    let started = Instant::now();
    let mut left = addresses.iter().copied().enumerate();
    let mut running = FuturesUnordered::new();
    let mut failures = Vec::new();
    let mut next_at = started;
    let mut more = true;
    while more || !running.is_empty() {
        tokio::select! {
            // Take an answer that has arrived before starting another attempt.
            biased;
            Some((number, addr, begun, result)) = running.next(), if !running.is_empty() => {
                let attempt = attempts.get_mut::<usize>(number);
                let took = Instant::now().saturating_duration_since(begun);
                match result {
                    Ok(connected) => {
                        if let Some(attempt) = attempt {
                            attempt.ms = Some(millis(took));
                        }
                        return Ok((addr, connected));
                    }
                    Err(error) => {
                        let kind = errno::of_tcp(addr.ip(), &error);
                        if let Some(attempt) = attempt {
                            attempt.ms = Some(millis(took));
                            attempt.error = Some(kind);
                        }
                        tracing::debug!(%addr, %error, ?kind, "failed to connect to an address");
                        failures.push(Failure { addr, kind, error });
                        next_at = Instant::now();
                    }
                }
            }
            () = its_turn(next_at), if more => {
                let Some((number, addr)) = left.next() else {
                    more = false;
                    continue;
                };
                let begun = Instant::now();
                next_at = begun + HEAD_START;
                if number < MAX_RECORDED {
                    attempts.push(DialAttempt {
                        tries: None,
                        addr: address::text(addr),
                        at_ms: millis(begun.saturating_duration_since(started)),
                        ms: None,
                        error: None,
                    });
                }
                let connecting = connect(addr);
                running.push(async move { (number, addr, begun, connecting.await) });
            }
        }
    }
    Err(combined_error(&failures))
}

/// Waits until an attempt is due. The runtime's timers round up to whole milliseconds: a timer that
/// is already due would delay the first attempt, and so every session, by up to a millisecond.
async fn its_turn(at: Instant) {
    if at > Instant::now() {
        sleep_until(at).await;
    }
}

/// An address that we could not connect to.
struct Failure {
    addr: SocketAddr,
    kind: Kind,
    error: io::Error,
}

/// Combines the errors: the most informative kind, with the error text of every address. If a limit
/// of our own stopped one of them, nothing is known about the gateway. A host that refuses exists,
/// a host that times out may exist, and without a route no host was reached. An address family that
/// this host lacks is the least informative: the name's other addresses decide.
fn combined_error(failures: &[Failure]) -> GatewayError {
    let kinds = failures.iter().map(|failure| failure.kind);
    let kind = kinds.min_by_key(|kind| match kind {
        kind if kind.is_own_limit() => 0,
        Kind::Refused => 1,
        Kind::ConnectTimeout => 2,
        Kind::Forbidden => 3,
        Kind::Connect => 4,
        Kind::NoAddress => 6,
        _ => 5,
    });
    let mut detail = String::new();
    for Failure { addr, kind, error } in failures.iter().take(MAX_NAMED) {
        let gap = if detail.is_empty() { "" } else { "; " };
        let _ = write!(detail, "{gap}{addr}: {error}");
        if let Some(limit) = errno::limit(*kind, Some(addr.ip())) {
            let _ = write!(detail, " ({limit})");
        }
    }
    if let Some(more) = failures
        .len()
        .checked_sub(MAX_NAMED)
        .filter(|more| *more > 0)
    {
        let _ = write!(detail, "; and {more} more");
    }
    GatewayError {
        kind: kind.unwrap_or(Kind::Dns),
        detail: if detail.is_empty() {
            "no address".to_owned()
        } else {
            detail
        },
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use rustix::io::Errno;

    use super::*;

    const REFUSED: io::ErrorKind = io::ErrorKind::ConnectionRefused;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// For each address: after how many milliseconds it answers, and how.
    async fn run(
        plan: &[(&str, u64, Option<io::ErrorKind>)],
    ) -> (Result<SocketAddr, GatewayError>, Vec<DialAttempt>, Duration) {
        let started = Instant::now();
        let mut attempts = Vec::new();
        let hosts: Vec<&str> = plan.iter().map(|(host, ..)| *host).collect();
        let connect = |addr: SocketAddr| {
            let (_, ms, error) = *plan
                .iter()
                .find(|(host, ..)| host.parse() == Ok(addr))
                .unwrap();
            async move {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                error.map_or(Ok(()), |error| Err(error.into()))
            }
        };
        let raced = race(&addresses(&hosts), &mut attempts, connect).await;
        (raced.map(|(addr, ())| addr), attempts, started.elapsed())
    }

    #[test]
    fn families_take_turns() {
        let given = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "1.1.1.2:1"]);
        let turns = addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "1.1.1.2:1", "[::3]:1"]);
        assert_eq!(interleaved(given), turns);
        let given = addresses(&["1.1.1.1:1", "1.1.1.2:1", "[::1]:1"]);
        let turns = addresses(&["1.1.1.1:1", "[::1]:1", "1.1.1.2:1"]);
        assert_eq!(interleaved(given), turns);
        assert_eq!(interleaved(Vec::new()), []);
    }

    #[tokio::test]
    async fn the_first_attempt_waits_for_no_timer() {
        let hosts = [SocketAddr::from(([127, 0, 0, 1], 1))];
        let mut attempts = Vec::new();
        let raced = race(&hosts, &mut attempts, |_| std::future::ready(Ok(())));
        assert!(raced.now_or_never().is_some_and(|won| won.is_ok()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_healthy_first_address_is_the_only_one_that_is_tried() {
        let (won, attempts, took) = run(&[("[::1]:1", 40, None), ("1.1.1.1:1", 1, None)]).await;
        assert_eq!(won.unwrap().to_string(), "[::1]:1");
        assert_eq!((attempts.len(), took.as_millis()), (1, 40));
        assert_eq!((attempts[0].ms, attempts[0].error), (Some(40.0), None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_first_address_costs_a_head_start() {
        let (won, attempts, took) =
            run(&[("[::1]:1", 60_000, None), ("1.1.1.1:1", 30, None)]).await;
        assert_eq!(won.unwrap().to_string(), "1.1.1.1:1");
        assert_eq!(took.as_millis(), 280);
        assert_eq!((attempts[0].ms, attempts[0].error), (None, None));
        assert_eq!((attempts[1].at_ms, attempts[1].ms), (250.0, Some(30.0)));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_refusal_the_next_one_is_tried_at_once() {
        let (won, attempts, took) = run(&[
            ("[::1]:1", 3, Some(REFUSED)),
            ("1.1.1.1:1", 4, Some(io::ErrorKind::NetworkUnreachable)),
            ("[::2]:1", 5, None),
        ])
        .await;
        assert_eq!(won.unwrap().to_string(), "[::2]:1");
        assert_eq!(took.as_millis(), 12);
        let errors: Vec<_> = attempts.iter().map(|attempt| attempt.error).collect();
        assert_eq!(errors, [Some(Kind::Refused), Some(Kind::Unreachable), None]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_first_address_may_still_win() {
        let (won, attempts, took) = run(&[("[::1]:1", 300, None), ("1.1.1.1:1", 100, None)]).await;
        assert_eq!(won.unwrap().to_string(), "[::1]:1");
        assert_eq!((attempts.len(), took.as_millis()), (2, 300));
    }

    #[tokio::test(start_paused = true)]
    async fn the_error_names_every_address_and_the_most_telling_kind() {
        let (failed, attempts, _) = run(&[
            ("[::1]:1", 1, Some(io::ErrorKind::NetworkUnreachable)),
            ("1.1.1.1:1", 1, Some(io::ErrorKind::TimedOut)),
            ("1.1.1.2:1", 1, Some(REFUSED)),
        ])
        .await;
        let error = failed.unwrap_err();
        assert_eq!(error.kind, Kind::Refused);
        for addr in ["[::1]:1", "1.1.1.1:1", "1.1.1.2:1"] {
            assert!(error.detail.contains(addr), "{}", error.detail);
        }
        assert_eq!(attempts.len(), 3);
        assert_eq!(run(&[]).await.0.unwrap_err().detail, "no address");
    }

    /// An address family that this host lacks does not hide the result of the other family, and a
    /// limit of our own is not hidden by a refusal of the gateway.
    #[test]
    fn what_an_address_of_one_family_came_to_does_not_hide_the_other() {
        let one = |addr: &str, errno: Errno, kind| Failure {
            addr: addr.parse().unwrap(),
            kind,
            error: io::Error::from_raw_os_error(errno.raw_os_error()),
        };
        let six = || one("[::1]:1", Errno::ADDRNOTAVAIL, Kind::NoAddress);
        let four = || one("127.0.0.1:1", Errno::CONNREFUSED, Kind::Refused);
        let full = || one("127.0.0.1:1", Errno::MFILE, Kind::OpenFiles);
        assert_eq!(combined_error(&[six(), four()]).kind, Kind::Refused);
        assert_eq!(combined_error(&[six()]).kind, Kind::NoAddress);
        for both in [[four(), full()], [full(), four()]] {
            let error = combined_error(&both);
            assert_eq!(error.kind, Kind::OpenFiles);
            assert!(
                error.detail.contains("this process may open "),
                "{}",
                error.detail
            );
        }
        let silent = one("192.0.2.1:1", Errno::TIMEDOUT, Kind::ConnectTimeout);
        assert_eq!(combined_error(&[six(), silent]).kind, Kind::ConnectTimeout);
    }

    #[tokio::test(start_paused = true)]
    async fn very_many_addresses_stay_bounded() {
        let hosts: Vec<String> = (0..60).map(|n| format!("10.0.0.{n}:1")).collect();
        let plan = hosts.iter().map(|host| (host.as_str(), 1, Some(REFUSED)));
        let plan: Vec<_> = plan.collect();
        let (failed, attempts, _) = run(&plan).await;
        assert_eq!(attempts.len(), MAX_RECORDED);
        assert!(failed.unwrap_err().detail.ends_with("; and 56 more"));
    }
}
