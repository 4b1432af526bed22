//! Looks the name up, and makes many plain TCP connections to each of its addresses.
//!
//! One connection that works proves little: one of two addresses may be dead, and a client with
//! happy eyeballs hides it. So every address is tried on its own.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout_at};

use super::address::Address;
use super::report::{Rung, Status};
use crate::session::moment::millis;
use crate::session::record::GatewayErrorKind as Kind;
use crate::session::record::gateway::{DialAttempt, Tries};
use crate::upstream::errno;
use crate::verdict::words::{error_words, human_ms};

/// Number of connections to each address.
const TRIES: u32 = 100;

/// Number of failures after which an address that has never answered is given up.
const DEAD_AFTER: u32 = 4;

/// Number of simultaneous connections. With the session's own and a look-up there are at most eight
/// sockets.
const AT_ONCE: usize = 4;

/// Time limit for one connection: one lost packet costs a second (RFC 6298 section 2).
const ONE: Duration = Duration::from_millis(1500);

/// Time limit for all connections to one address.
const ALL: Duration = Duration::from_secs(2);

/// Maximum number of addresses that are tried.
const ADDRESSES: usize = 8;

/// Time limit for the look-up of a name: the C library asks the next server after 5 s
/// (resolv.conf(5)).
const LOOK_UP: Duration = Duration::from_secs(11);

/// The result of a look-up.
#[derive(Debug)]
pub(crate) struct Found {
    /// The addresses, in the order of the resolver.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Number of further addresses, which are not tried.
    pub(crate) more: usize,
    pub(super) took: Duration,
    /// Why there are no addresses.
    pub(crate) error: Option<String>,
}

/// Looks the name up, as every program here does: with the system's resolver.
pub(crate) async fn look_up(host: &str, port: u16, deadline: Instant) -> Found {
    let started = Instant::now();
    let limit = deadline.min(started + LOOK_UP);
    let found = timeout_at(limit.into(), lookup_host((host, port))).await;
    let (mut addresses, error) = match found {
        Ok(Ok(found)) => (found.collect(), None),
        Ok(Err(error)) => (Vec::new(), Some(error.to_string())),
        Err(_) => (Vec::new(), Some("the resolver did not answer".to_owned())),
    };
    let mut seen = Vec::new();
    addresses.retain(|addr: &SocketAddr| {
        let is_new = !seen.contains(addr);
        seen.push(*addr);
        is_new
    });
    let more = addresses.len().saturating_sub(ADDRESSES);
    addresses.truncate(ADDRESSES);
    Found {
        addresses,
        more,
        took: started.elapsed(),
        error,
    }
}

/// Results of the connections to one address.
#[derive(Debug)]
pub(super) struct Tried {
    pub(super) addr: SocketAddr,
    pub(super) of: u32,
    /// Durations of the successful connections, in ascending order.
    times: Vec<Duration>,
    /// Why the last failed connection failed; `None` also if there was no answer.
    pub(super) error: Option<Kind>,
}

impl Tried {
    pub(super) fn connected(&self) -> u32 {
        u32::try_from(self.times.len()).unwrap_or(u32::MAX)
    }

    /// The failure says nothing about the gateway: this place has no address of the family, or no
    /// IPv6 route, or this process has no descriptor or port left. Clients fail at once there and
    /// go on to the next address.
    fn is_local(&self) -> bool {
        let is_own = matches!(
            self.error,
            Some(
                Kind::NoAddress
                    | Kind::OpenFiles
                    | Kind::SystemFiles
                    | Kind::Memory
                    | Kind::Watches
                    | Kind::Ports
            )
        );
        let no_ipv6 = self.error == Some(Kind::Unreachable) && self.addr.is_ipv6();
        // `localhost` has two addresses, and most servers listen on one.
        is_own || no_ipv6 || self.error == Some(Kind::Refused) && self.addr.ip().is_loopback()
    }

    /// Whether it works, or its failure is not the gateway's.
    pub(super) fn is_excused(&self) -> bool {
        self.tries().is_fine() || self.connected() == 0 && self.is_local()
    }

    pub(super) fn tries(&self) -> Tries {
        Tries {
            of: self.of,
            connected: self.connected(),
        }
    }

    /// A percentile of the successful connections' durations, in milliseconds.
    pub(super) fn percentile(&self, percent: usize) -> Option<f64> {
        let last = self.times.len().checked_sub(1)?;
        self.times.get(last * percent / 100).copied().map(millis)
    }

    /// The attempt in the form of a record.
    pub(super) fn attempt(&self) -> DialAttempt {
        DialAttempt {
            addr: self.addr.to_string(),
            at_ms: 0.0,
            ms: self.percentile(50),
            error: self.error,
            tries: Some(self.tries()),
        }
    }
}

/// Connects to each address, one after the other.
pub(super) async fn connect(addresses: &[SocketAddr], deadline: Instant) -> Vec<Tried> {
    let mut all = Vec::new();
    for addr in addresses {
        all.push(connect_to(*addr, deadline).await);
    }
    all
}

async fn connect_to(addr: SocketAddr, deadline: Instant) -> Tried {
    let limit = deadline.min(Instant::now() + ALL);
    let mut tried = Tried {
        addr,
        of: 0,
        times: Vec::new(),
        error: None,
    };
    let (mut begun, mut running) = (0, JoinSet::new());
    loop {
        let most = if tried.times.is_empty() {
            DEAD_AFTER
        } else {
            TRIES
        };
        while begun < most && running.len() < AT_ONCE && Instant::now() < limit {
            begun += 1;
            running.spawn(once(addr, deadline));
        }
        // Wait for connections that are under way when the time is over: they would count as lost.
        let Some(ended) = running.join_next().await else {
            break;
        };
        tried.of += 1;
        match ended {
            Ok(Ok(took)) => tried.times.push(took),
            Ok(Err(kind)) => tried.error = kind,
            Err(_) => {}
        }
    }
    tried.times.sort();
    tried
}

/// One connection, closed at once. `Err(None)` means that there was no answer.
async fn once(addr: SocketAddr, deadline: Instant) -> Result<Duration, Option<Kind>> {
    let started = Instant::now();
    let limit = deadline.min(started + ONE);
    let connected = tokio::select! {
        connected = TcpStream::connect(addr) => connected,
        () = sleep_until(limit.into()) => return Err(None),
    };
    let took = started.elapsed();
    match connected {
        Ok(_) => Ok(took),
        Err(error) => Err(Some(errno::of_tcp(addr.ip(), &error))),
    }
}

/// The rung of the connections and their results.
pub(super) fn rung(tried: &[Tried], status: Status) -> Rung {
    let words: Vec<String> = tried.iter().map(tried_words).collect();
    let mut facts = Map::new();
    let each: Vec<Value> = tried
        .iter()
        .map(|tried| {
            json!({
                "addr": tried.addr.to_string(), "tried": tried.of, "connected": tried.connected(),
                "p50_ms": tried.percentile(50), "p99_ms": tried.percentile(99), "error": tried.error,
            })
        })
        .collect();
    facts.insert("addresses".to_owned(), json!(each));
    Rung::new("L1.tcp", status, words.join("; ")).facts(facts)
}

fn tried_words(tried: &Tried) -> String {
    let (addr, of, connected) = (tried.addr, tried.of, tried.connected());
    let error = match tried.error {
        Some(kind) => format!("; last failure: {}", error_words(kind)),
        None if connected < of => "; last failure: no answer".to_owned(),
        None => String::new(),
    };
    match tried.percentile(50).zip(tried.percentile(99)) {
        Some((p50, p99)) => format!(
            "{addr}: {connected} of {of} connected, p50 {}, p99 {}{error}",
            human_ms(p50),
            human_ms(p99)
        ),
        None => format!("{addr}: 0 of {of} connected{error}"),
    }
}

/// A unix socket's file and its folder.
#[derive(Debug, Default)]
pub(super) struct SocketFile {
    /// Kind, mode and owner of each, or why it could not be read.
    pub(super) words: Vec<String>,
}

impl SocketFile {
    /// Reads the metadata of both.
    pub(super) fn look(address: &Address) -> Option<Self> {
        use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

        let Address::Unix(path) = address else {
            return None;
        };
        let mut words = Vec::new();
        for part in [path.parent(), Some(path.as_path())].into_iter().flatten() {
            words.push(match std::fs::metadata(part) {
                Ok(found) => {
                    let kind = match found.file_type() {
                        kind if kind.is_socket() => "a socket",
                        kind if kind.is_dir() => "a folder",
                        _ => "neither a socket nor a folder",
                    };
                    format!(
                        "{} is {kind}, mode {:04o}, owner {}:{}",
                        part.display(),
                        found.mode() & 0o7777,
                        found.uid(),
                        found.gid()
                    )
                }
                Err(error) => format!("{}: {error}", part.display()),
            });
        }
        Some(Self { words })
    }
}
