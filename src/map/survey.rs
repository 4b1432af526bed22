//! Makes the map: the client, the name, its addresses, one connection that is held open, and the
//! scans of `/proc` before, during and after it.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::net::{TcpStream, UnixStream};

use super::claims::{self, Sources};
use super::client::Client;
use super::enter::Entered;
use super::graph::{By, Graph, InContainer, Kind, Map, Node, SCHEMA, inert};
use super::hold::{Failure, Held, connect, connect_unix};
use super::options::Options;
use super::scan::{Netns, Scan};
use super::trace::{Connection, Doubted, Tracer};
use super::watch::Suspects;
use crate::place::netns_of;
use crate::probe::address::Address;
use crate::probe::target::Target;
use crate::probe::tcp;
use crate::probe::whereabouts::Whereabouts;
use crate::session::moment::millis;
use crate::session::record::GatewayErrorKind;
use crate::verdict::words::error_words;

/// Extra time after the budget, so that a connection that took all of it is still scanned.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// The map, within the budget.
pub(super) async fn survey(options: &Options, entered: &Entered, target: &Target) -> Map {
    let deadline = entered.started + options.budget;
    let home = netns_of("self").unwrap_or(entered.host);
    let scan = Scan::take(home, deadline);
    let (place, facts) = (options.route.place.as_ref(), &entered.facts);
    let client = Client::new(
        place,
        entered.pid,
        &entered.whereabouts,
        (&scan, home),
        facts,
    );
    let mut graph = Graph::default();
    graph.add(client.node);
    let mut survey = Survey {
        entered,
        target,
        deadline,
        home,
        graph,
        scan,
        stale: client.stale,
        passed: Vec::new(),
        at_host: None,
        status: None,
    };
    match &target.address {
        Address::Tcp { host, port, .. } => survey.tcp(host, *port).await,
        Address::Unix(path) => survey.unix(path).await,
    }
    survey.finish()
}

struct Survey<'a> {
    entered: &'a Entered,
    target: &'a Target,
    deadline: Instant,
    home: Netns,
    graph: Graph,
    /// The last scan.
    scan: Scan,
    /// Why the client's namespace is the wrong one, and what to do.
    stale: Option<(String, String)>,
    passed: Vec<(Netns, u16)>,
    /// The dialled address, if it belongs to the host.
    at_host: Option<SocketAddr>,
    /// Status of the answer to the upgrade.
    status: Option<u16>,
}

/// Observations of one connection that was held open.
struct Look {
    during: Scan,
    /// Sockets that other processes opened meanwhile and kept.
    persisting: BTreeSet<u64>,
    /// The time was over before that was known.
    cut: bool,
    status: Option<u16>,
}

/// An address that was tried.
struct Tried {
    addr: SocketAddr,
    outcome: Result<(), Failure>,
}

impl Survey<'_> {
    /// If the client's namespace is no longer the gateway's, this breaks the first edge when it is
    /// the reason why no connection can be made, or when the client looks for the gateway in that
    /// namespace. Otherwise it is only noted, because other addresses can be reached from there as
    /// well.
    fn judge_namespace(&mut self, breaks: bool) {
        let Some((because, next)) = self.stale.take() else {
            return;
        };
        if breaks {
            self.graph.breaks(0, &because, &next);
        } else if let Some(client) = self.graph.nodes.first_mut() {
            client.label = inert(&format!("{}; {because}", client.label));
        }
    }

    async fn tcp(&mut self, host: &str, port: u16) {
        let Some((at, addresses)) = self.name(host, port).await else {
            return;
        };
        let mut all = Vec::new();
        for addr in addresses {
            let outcome = connect(addr, self.deadline).await.map(drop);
            all.push(Tried { addr, outcome });
        }
        let works = all.iter().position(|it| it.outcome.is_ok());
        let main = works.or_else(|| all.iter().position(|it| !is_local(it)));
        let main = all.remove(main.unwrap_or_default());
        let dead = self.dead(at, &all);
        let node = self.address(&main);
        if self.tracer_owner(main.addr) == Some(self.entered.host) {
            self.at_host = Some(main.addr);
        }
        match main.outcome {
            Ok(()) => {
                self.graph.seen(at, node, By::Socket);
                self.judge_namespace(main.addr.ip().is_loopback());
                self.hold(node, main.addr).await;
            }
            Err(failure) => {
                let why = failure_words(failure);
                let edge = self.graph.unseen(at, node, &why);
                let says_something = failure != Failure::OutOfTime;
                self.judge_namespace(says_something || main.addr.ip().is_loopback());
                if !says_something {
                    return;
                }
                let why = format!("{} {why}", main.addr);
                let (home, addr) = (self.home, main.addr);
                self.trace(None, None, |tracer| {
                    tracer.conclude(edge, node, home, addr, &why);
                });
            }
        }
        for (edge, because) in dead {
            let next = "remove that address from the name, or start the gateway there: clients that try it first \
                        connect late or not at all";
            self.graph.breaks(edge, &because, next);
        }
    }

    /// The addresses of the host, and the node that they come from.
    async fn name(&mut self, host: &str, port: u16) -> Option<(usize, Vec<SocketAddr>)> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Some((0, vec![SocketAddr::new(ip, port)]));
        }
        let found = tcp::look_up(host, port, self.deadline).await;
        let node = self.graph.add(Node::new(Kind::Name, host));
        if let Some(first) = found.addresses.first() {
            let by = if Whereabouts::names_in_hosts(host) {
                By::Proc
            } else {
                By::Socket
            };
            self.graph.seen(0, node, by);
            if found.more > 0 {
                let more = format!("{first} and {} addresses more than are tried", found.more);
                tracing::debug!(more);
            }
            return Some((node, found.addresses));
        }
        let error = found.error.as_deref().unwrap_or("it has no address");
        let edge = self.graph.unseen(0, node, error);
        self.judge_namespace(true);
        let because = format!("the name {host} leads to no address here: {error}");
        let next = "correct the name; in Compose it is the name of the gateway's service, and both services must be \
                    in one network";
        self.graph.breaks(edge, &because, next);
        None
    }

    fn address(&mut self, tried: &Tried) -> usize {
        let node = Node::new(Kind::Address, &tried.addr.to_string());
        let node = match self.tracer_owner(tried.addr) {
            Some(netns) => node.at(netns),
            None => node,
        };
        self.graph.add(node)
    }

    fn tracer_owner(&mut self, addr: SocketAddr) -> Option<Netns> {
        let home = self.home;
        self.trace(None, None, |tracer| tracer.owner(home, addr))
    }

    /// Adds the other addresses, and returns the edges of those that fail for a reason outside of
    /// this place.
    fn dead(&mut self, at: usize, all: &[Tried]) -> Vec<(usize, String)> {
        let mut dead = Vec::new();
        for tried in all {
            let node = self.address(tried);
            match tried.outcome {
                Ok(()) => {
                    self.graph.seen(at, node, By::Socket);
                }
                Err(failure) => {
                    let why = failure_words(failure);
                    let edge = self.graph.unseen(at, node, &why);
                    if !is_local(tried) {
                        dead.push((edge, format!("{} {why}", tried.addr)));
                    }
                }
            }
        }
        dead
    }

    /// Holds a connection to an address, and follows it.
    async fn hold(&mut self, node: usize, addr: SocketAddr) {
        self.scan = Scan::take(self.home, self.end());
        let stream = connect(addr, self.deadline).await;
        let local = stream.as_ref().ok().and_then(|it| it.local_addr().ok());
        let (held, during) = self.held(stream.ok()).await;
        let look = self.release(held.0, during, held.1, &[]).await;
        let connection = |local: Option<SocketAddr>, netns| Connection {
            netns,
            // No connection has this address: then only the tables are searched.
            local: local.unwrap_or_else(|| SocketAddr::new(addr.ip(), 0)),
            remote: addr,
            makers: vec![std::process::id()],
        };
        let first = connection(local, self.home);
        let Some(doubted) = self.first_look(&look, |tracer| tracer.follow(node, first.clone()))
        else {
            return self.last_look(look, None, |tracer| tracer.follow(node, first));
        };
        let before = Scan::take(self.home, self.end());
        let Ok(stream) = connect(addr, self.deadline).await else {
            let doubted = Doubted::new();
            return self.last_look(look, Some(&doubted), |tracer| tracer.follow(node, first));
        };
        let second = connection(stream.local_addr().ok(), self.home);
        self.scan = before;
        let (held, during) = self.held(Some(stream)).await;
        let look = self.release(held.0, during, held.1, &[]).await;
        self.last_look(look, Some(&doubted), |tracer| tracer.follow(node, second));
    }

    /// Follows provisionally: returns the connections of processes that are not known forwarders,
    /// which a second hold must confirm; `None` if there are none.
    fn first_look(&mut self, look: &Look, work: impl FnOnce(&mut Tracer<'_>)) -> Option<Doubted> {
        let mut tracer = Tracer {
            graph: self.graph.clone(),
            facts: &self.entered.facts,
            before: &self.scan,
            during: &look.during,
            persisting: &look.persisting,
            cut: look.cut,
            status: look.status,
            host: self.entered.host,
            passed: Vec::new(),
            followed: BTreeSet::new(),
            doubted: Doubted::new(),
            earlier: None,
        };
        work(&mut tracer);
        Some(tracer.doubted).filter(|it| !it.is_empty())
    }

    /// Follows the last hold, with the result of an earlier one.
    fn last_look(
        &mut self,
        look: Look,
        earlier: Option<&Doubted>,
        work: impl FnOnce(&mut Tracer<'_>),
    ) {
        self.status = look.status;
        self.trace(Some(look), earlier, work);
    }

    /// Holds a connection open while `/proc` is scanned.
    async fn held(&self, stream: Option<TcpStream>) -> ((Option<Held>, Option<u16>), Scan) {
        let held = match stream {
            Some(stream) => Some(Held::on(stream, self.target, self.deadline).await),
            None => None,
        };
        let during = Scan::take(self.home, self.end());
        let status = held.as_ref().and_then(|it| it.status);
        ((held, status.map(|it| it.as_u16())), during)
    }

    /// When the last scan ends.
    fn end(&self) -> Instant {
        self.deadline + LAST_LOOK
    }

    /// Ends our connection, and finds the sockets that other processes opened meanwhile and keep.
    /// `pids` have accepted a connection to a unix socket.
    async fn release(
        &self,
        held: Option<Held>,
        during: Scan,
        status: Option<u16>,
        pids: &[u32],
    ) -> Look {
        let suspects = Suspects::find(&self.scan, &during, pids);
        if let Some(held) = held {
            held.release().await;
        }
        let (persisting, cut) = suspects.persisting(&during, self.end()).await;
        Look {
            during,
            persisting,
            cut,
            status,
        }
    }

    /// Lends everything to a tracer; `during` becomes the last scan.
    fn trace<T>(
        &mut self,
        look: Option<Look>,
        earlier: Option<&Doubted>,
        work: impl FnOnce(&mut Tracer<'_>) -> T,
    ) -> T {
        let none = BTreeSet::new();
        let mut tracer = Tracer {
            graph: std::mem::take(&mut self.graph),
            facts: &self.entered.facts,
            before: &self.scan,
            during: look.as_ref().map_or(&self.scan, |it| &it.during),
            persisting: look.as_ref().map_or(&none, |it| &it.persisting),
            cut: look.as_ref().is_some_and(|it| it.cut),
            status: look.as_ref().and_then(|it| it.status),
            host: self.entered.host,
            passed: Vec::new(),
            followed: BTreeSet::new(),
            doubted: Doubted::new(),
            earlier,
        };
        let done = work(&mut tracer);
        self.graph = tracer.graph;
        self.passed.extend(tracer.passed);
        if let Some(look) = look {
            self.scan = look.during;
        }
        done
    }

    async fn unix(&mut self, path: &Path) {
        let shown = self.entered.socket.clone().unwrap_or_default();
        let label = format!("unix:{shown}");
        // A socket path does not depend on the network.
        self.judge_namespace(false);
        let node = self.graph.add(Node::new(Kind::Address, &label));
        let is_socket = std::fs::metadata(path).map(|it| it.file_type().is_socket());
        match is_socket {
            Ok(true) => {}
            Ok(false) => {
                let edge = self.graph.unseen(0, node, "it is not a socket");
                let next = "correct the path, or let the gateway listen there";
                self.graph
                    .breaks(edge, &format!("{label} is not a socket"), next);
                return;
            }
            Err(error) => {
                let edge = self.graph.unseen(0, node, &error.to_string());
                let next = "correct the path, start what listens there, or mount its folder into the client's \
                            container";
                self.graph.breaks(edge, &format!("{label}: {error}"), next);
                return;
            }
        }
        self.scan = Scan::take(self.home, self.end());
        let stream = match connect_unix(path, self.deadline).await {
            Ok(stream) => stream,
            Err(error) => {
                let edge = self.graph.seen(0, node, By::Proc);
                let (because, next) = unix_words(&label, &error);
                self.graph.breaks(edge, &because, next);
                return;
            }
        };
        self.graph.seen(0, node, By::Socket);
        let (look, arrived) = self.held_unix(stream, &shown).await;
        let Some(doubted) = self.first_look(&look, |tracer| {
            tracer.follow_unix(node, &label, &arrived);
        }) else {
            return self.last_look(look, None, |tracer| {
                tracer.follow_unix(node, &label, &arrived);
            });
        };
        let before = Scan::take(self.home, self.end());
        let Ok(stream) = connect_unix(path, self.deadline).await else {
            let doubted = Doubted::new();
            return self.last_look(look, Some(&doubted), |tracer| {
                tracer.follow_unix(node, &label, &arrived);
            });
        };
        self.scan = before;
        let (look, arrived) = self.held_unix(stream, &shown).await;
        self.last_look(look, Some(&doubted), |tracer| {
            tracer.follow_unix(node, &label, &arrived);
        });
    }

    /// Holds a connection to a unix socket; also returns the listening process and those that have
    /// accepted.
    async fn held_unix(&self, stream: UnixStream, shown: &str) -> (Look, (Option<u32>, Vec<u32>)) {
        let peer = stream.peer_cred().ok().and_then(|it| it.pid());
        let peer = peer.and_then(|pid| u32::try_from(pid).ok());
        let held = Held::on(stream, self.target, self.deadline).await;
        let status = held.status.map(|it| it.as_u16());
        let during = Scan::take(self.home, self.end());
        let accepted = accepted_unix(&self.scan, &during, shown);
        let pids: Vec<u32> = accepted.iter().copied().chain(peer).collect();
        let look = self.release(Some(held), during, status, &pids).await;
        (look, (peer, accepted))
    }

    fn finish(mut self) -> Map {
        let mut nodes = self.graph.nodes.iter_mut().rev();
        let end = nodes.find(|it| it.kind == Kind::Process && it.pid.is_some());
        // A server that refuses a WebSocket may not be the gateway.
        let refusal = self.status.filter(|it| *it != 101);
        let end = match (end, refusal) {
            (Some(node), Some(status)) => {
                let advice = if (502..=504).contains(&status) {
                    ": `wstap probe` says more"
                } else {
                    ""
                };
                node.label = format!("{}, answered {status}{advice}", node.label);
                None
            }
            (end, _) => end,
        };
        let end = end
            .map(|it| (it.container.as_ref()).map_or_else(|| it.label.clone(), InContainer::words));
        let claims = Sources {
            facts: &self.entered.facts,
            scan: &self.scan,
            host: self.entered.host,
            passed: &self.passed,
            end,
            dialled: self.at_host,
        };
        let claims = claims.claims();
        if let Some(dialled) = self.at_host {
            claims::contest(&mut self.graph, &claims, &self.entered.facts, dialled);
        }
        let Graph {
            nodes,
            edges,
            broken,
        } = self.graph;
        Map {
            schema: SCHEMA,
            at: Timestamp::now(),
            target: self.target.shown(),
            taken_from: inert(&self.target.taken_from),
            nodes,
            edges,
            broken,
            claims,
            ms: millis(self.entered.started.elapsed()),
        }
    }
}

/// The failure says nothing about the gateway: `localhost` has two addresses and most servers
/// listen on one, and a place may have no IPv6.
fn is_local(tried: &Tried) -> bool {
    match tried.outcome {
        Err(Failure::Kind(GatewayErrorKind::Refused)) => tried.addr.ip().is_loopback(),
        Err(Failure::Kind(GatewayErrorKind::Unreachable)) => tried.addr.is_ipv6(),
        Err(Failure::Kind(kind)) => kind == GatewayErrorKind::NoAddress || kind.is_own_limit(),
        Err(Failure::OutOfTime) => true,
        Ok(()) | Err(Failure::NoAnswer) => false,
    }
}

fn failure_words(failure: Failure) -> String {
    match failure {
        Failure::NoAnswer => "does not answer".to_owned(),
        Failure::OutOfTime => "the time of --budget was over".to_owned(),
        Failure::Kind(GatewayErrorKind::Refused) => "refuses connections".to_owned(),
        Failure::Kind(kind) => error_words(kind).to_owned(),
    }
}

/// Processes that have accepted a connection at this path since the last scan.
fn accepted_unix(before: &Scan, during: &Scan, path: &str) -> Vec<u32> {
    let networks = during.networks.values();
    let sockets = networks.flat_map(|it| it.unix.iter());
    let accepted = sockets.filter(|it| {
        !it.listens && it.path == path && it.inode != 0 && before.holders(it.inode).is_empty()
    });
    let mut pids: Vec<u32> = accepted
        .flat_map(|it| during.holders(it.inode))
        .map(|it| it.pid)
        .collect();
    pids.dedup();
    pids
}

fn unix_words(label: &str, error: &io::Error) -> (String, &'static str) {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => (
            format!("nothing listens at {label}: its process has ended and left the file"),
            "start what listens there",
        ),
        io::ErrorKind::PermissionDenied => (
            format!("{label}: this user has no permission to open it"),
            "give the client's user the right to write to the socket and to enter its folder",
        ),
        _ => (
            format!("{label}: {error}"),
            "look whether its process still accepts connections",
        ),
    }
}
