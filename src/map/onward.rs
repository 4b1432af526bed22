//! Follows the path from a process to the next one: the connection that it opened for ours, or why
//! none is known.

use std::collections::HashMap;

use super::graph::{By, Kind, Node};
use super::scan::{Netns, Scan};
use super::trace::{Arrived, Connection, Doubted, Tracer, published_proxy};
use crate::transport::holder::{TcpSocket, TcpState};

/// Names of programs that forward: a connection that they open while ours is open is for ours, and
/// without one the path does not end at the gateway.
const FORWARDERS: [&str; 10] = [
    "caddy",
    "cloudflared",
    "docker-proxy",
    "envoy",
    "haproxy",
    "nginx",
    "rootlessport",
    "tailscaled",
    "traefik",
    "wstap",
];

impl Tracer<'_> {
    /// Follows a process to the address that it connected to for us; `None` if the path ends.
    pub(super) fn onward(&mut self, arrived: &Arrived) -> Option<(usize, Connection)> {
        if self.cut || self.during.cut {
            let node = self.graph.add(Node::new(Kind::Address, "not known"));
            let why_not = format!(
                "the time of --budget was over before it was seen where {} connects to",
                arrived.name
            );
            self.graph.unseen(arrived.node, node, &why_not);
            return None;
        }
        let new = self.new_connections(&arrived.pids);
        let made: Vec<Connection> = distinct(&new, &[TcpState::Established, TcpState::CloseWait]);
        let trying: Vec<Connection> = distinct(&new, &[TcpState::SynSent]);
        let is_published = arrived.name == "docker-proxy";
        let made = if is_forwarder(&arrived.name) {
            made
        } else {
            self.of_both_holds(arrived, made, &trying)?
        };
        match (made.as_slice(), trying.as_slice()) {
            ([one], _) => {
                self.forwards(arrived);
                self.followed.insert((one.netns, one.remote));
                let node = Node::new(Kind::Address, &one.remote.to_string());
                let node = self.graph.add(node);
                self.graph.seen(arrived.node, node, By::Socket);
                let makers = arrived.pids.clone();
                let one = one.clone();
                Some((node, Connection { makers, ..one }))
            }
            ([], [one]) if is_forwarder(&arrived.name) => {
                self.forwards(arrived);
                let node = Node::new(Kind::Address, &one.remote.to_string());
                let node = self.graph.add(node);
                let edge = self.graph.seen(arrived.node, node, By::Socket);
                let why = format!("{} gets no answer from {}", arrived.name, one.remote);
                self.conclude(edge, node, one.netns, one.remote, &why);
                None
            }
            ([], []) if is_published => self.published_end(arrived),
            ([], []) => {
                self.end(arrived);
                None
            }
            (several, _) => {
                let node = self.graph.add(Node::new(Kind::Address, "not known"));
                let why_not = format!(
                    "{} opened connections to {} addresses while ours was open: {}",
                    arrived.name,
                    several.len().max(trying.len()),
                    words(several.iter().chain(&trying))
                );
                self.graph.unseen(arrived.node, node, &why_not);
                None
            }
        }
    }

    /// For a process that is not a known forwarder, keeps only connections that it also made in an
    /// earlier hold; `None` if that ends the path. A gateway calls models and channels at any time,
    /// so a single connection that came and went with ours may be a coincidence, and one that was
    /// only attempted proves nothing.
    fn of_both_holds(
        &mut self,
        arrived: &Arrived,
        made: Vec<Connection>,
        trying: &[Connection],
    ) -> Option<Vec<Connection>> {
        let key = |it: &Connection| (arrived.name.clone(), it.netns, it.remote);
        self.doubted.extend(made.iter().map(key));
        let nothing = Doubted::new();
        let earlier = match self.earlier {
            Some(earlier) => earlier,
            // A second hold must confirm the connections of this one.
            None if !made.is_empty() => return Some(made),
            None => &nothing,
        };
        let (both, once): (Vec<_>, Vec<_>) =
            made.into_iter().partition(|it| earlier.contains(&key(it)));
        if !both.is_empty() {
            return Some(both);
        }
        if once.is_empty() && trying.is_empty() {
            self.end(arrived);
            return None;
        }
        let node = self.graph.add(Node::new(Kind::Address, "not known"));
        let why_not = format!(
            "{} also connected to {} meanwhile, which may have nothing to do with ours: it was not seen in two \
             connections of ours",
            arrived.name,
            words(once.iter().chain(trying))
        );
        self.graph.unseen(arrived.node, node, &why_not);
        None
    }

    /// docker-proxy without an onward connection: follows its arguments instead.
    fn published_end(&mut self, arrived: &Arrived) -> Option<(usize, Connection)> {
        let pid = *arrived.pids.first()?;
        let process = self.during.processes.get(&pid)?;
        let netns = process.netns?;
        let (_, inner) = published_proxy(&[process])?;
        let node = self.graph.add(Node::new(Kind::Address, &inner.to_string()));
        let edge = self.graph.seen(arrived.node, node, By::Proc);
        let owner = self.owner(netns, inner);
        let listens = owner.is_some_and(|it| self.during.listener(it, inner).is_some());
        if listens {
            self.arrive_unseen(node, netns, inner);
            return None;
        }
        let why = format!("docker-proxy connects to {inner}");
        self.conclude(edge, node, netns, inner, &why);
        None
    }

    /// Handles a process without an onward connection.
    fn end(&mut self, arrived: &Arrived) {
        let failed = self
            .status
            .is_some_and(|status| (502..=504).contains(&status));
        // Servers answer 503 too, as OpenClaw does while it stops: only from a forwarder does it
        // mean that the path is broken.
        if !is_forwarder(&arrived.name) {
            return;
        }
        self.forwards(arrived);
        let node = self.graph.add(Node::new(Kind::Address, "not known"));
        let why_not = format!(
            "{} opened no connection that stayed while ours was open",
            arrived.name
        );
        let edge = self.graph.unseen(arrived.node, node, &why_not);
        if failed {
            let because = format!(
                "{} answered {}: it gets no connection to what it forwards to",
                arrived.name,
                self.status.unwrap_or_default()
            );
            let next = "look in the proxy's error log for the address that it tried, then run `wstap map` from \
                        the proxy's place to that address (`--in`)";
            self.graph.breaks(edge, &because, next);
        }
    }

    fn forwards(&mut self, arrived: &Arrived) {
        if let Some(node) = self.graph.nodes.get_mut(arrived.node)
            && node.kind == Kind::Process
        {
            node.kind = Kind::Proxy;
        }
    }

    /// TCP connections that these processes made since `before` and ended with ours.
    fn new_connections(&self, pids: &[u32]) -> Vec<(Netns, TcpSocket)> {
        let sockets: HashMap<u64, (Netns, TcpSocket)> = self
            .during
            .tcp()
            .filter(|(_, socket)| socket.inode != 0)
            .map(|(netns, socket)| (socket.inode, (netns, *socket)))
            .collect();
        let processes = pids.iter().filter_map(|pid| self.during.processes.get(pid));
        let inodes = processes.flat_map(|it| it.sockets.iter());
        let inodes = inodes
            .filter(|it| self.before.holders(**it).is_empty() && !self.persisting.contains(it));
        let new = inodes.filter_map(|inode| sockets.get(inode).copied());
        new.filter(|(netns, socket)| {
            is_outgoing(self.during, *netns, socket)
                && !self.followed.contains(&(*netns, socket.remote))
        })
        .collect()
    }
}

fn is_forwarder(name: &str) -> bool {
    FORWARDERS.contains(&name)
}

/// Whether this end opened the connection: nothing listens at its own address.
pub(super) fn is_outgoing(scan: &Scan, netns: Netns, socket: &TcpSocket) -> bool {
    let connects = !matches!(socket.state, TcpState::Listen | TcpState::Other);
    connects && scan.listener(netns, socket.local).is_none()
}

/// Addresses with a connection in one of these states, each once.
fn distinct(sockets: &[(Netns, TcpSocket)], states: &[TcpState]) -> Vec<Connection> {
    let mut found: Vec<Connection> = Vec::new();
    for (netns, socket) in sockets.iter().filter(|it| states.contains(&it.1.state)) {
        let known = |it: &Connection| it.netns == *netns && it.remote == socket.remote;
        if !found.iter().any(known) {
            found.push(Connection {
                netns: *netns,
                local: socket.local,
                remote: socket.remote,
                makers: Vec::new(),
            });
        }
    }
    found
}

fn words<'a>(connections: impl Iterator<Item = &'a Connection>) -> String {
    let all: Vec<String> = connections
        .take(4)
        .map(|it| it.remote.to_string())
        .collect();
    all.join(", ")
}
