//! Follows a connection from its client to the process at its end.
//!
//! Our connection is in the socket table of the process that accepted it, so the table identifies
//! that process, whatever translated the address on the way. A connection that this process opened
//! since then, and closed when ours ended, is the next part of the path. Nothing is concluded from
//! configuration files.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::facts::{Facts, Published};
use super::graph::{By, Graph, Kind, Node};
use super::scan::{Netns, Process, Scan};
use crate::transport::holder::{TcpSocket, TcpState};

/// Maximum number of processes on the path.
const HOPS: usize = 4;

/// The inputs and results of following a connection.
pub(super) struct Tracer<'a> {
    pub(super) graph: Graph,
    pub(super) facts: &'a Facts,
    /// The scan before the connection was made.
    pub(super) before: &'a Scan,
    /// The scan while it was open.
    pub(super) during: &'a Scan,
    /// Sockets that are new since `before` and were still open after our connection had ended.
    pub(super) persisting: &'a BTreeSet<u64>,
    /// The time was over before `persisting` was complete.
    pub(super) cut: bool,
    /// Status of the answer to the upgrade.
    pub(super) status: Option<u16>,
    /// The network namespace whose ports the engine publishes.
    pub(super) host: Netns,
    /// Listening sockets on the path, for the claims.
    pub(super) passed: Vec<(Netns, u16)>,
    /// Addresses that were followed: a process may be on the path twice.
    pub(super) followed: BTreeSet<(Netns, SocketAddr)>,
    /// Connections of processes that are not known forwarders.
    pub(super) doubted: Doubted,
    /// The doubted connections of the previous hold; `None` if there was none.
    pub(super) earlier: Option<&'a Doubted>,
}

/// Names of processes, and the addresses that they connected to while our connection was open.
pub(super) type Doubted = BTreeSet<(String, Netns, SocketAddr)>;

/// A connection, seen from the end that opened it.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    /// Network namespace of that end.
    pub(super) netns: Netns,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    /// The processes that opened it, if known.
    pub(super) makers: Vec<u32>,
}

/// The process that accepted a connection.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) node: usize,
    pub(super) pids: Vec<u32>,
    pub(super) name: String,
}

impl Tracer<'_> {
    /// Follows `connection` from the node of its address.
    pub(super) fn follow(&mut self, mut at: usize, mut connection: Connection) {
        for _ in 0..HOPS {
            let arrived = self.arrive(at, &connection);
            let Some(next) = arrived.and_then(|it| self.onward(&it)) else {
                return;
            };
            (at, connection) = next;
        }
        let node = self.graph.add(Node::new(Kind::Process, "not followed"));
        let why_not = format!("more than {HOPS} processes on the way");
        self.graph.unseen(at, node, &why_not);
    }

    /// Follows a connection to a unix socket from the node of its path: to the listening process,
    /// and to the connections of those that accepted it.
    pub(super) fn follow_unix(
        &mut self,
        node: usize,
        label: &str,
        (peer, accepted): &(Option<u32>, Vec<u32>),
    ) {
        let listener = self.graph.add(Node::new(Kind::Listener, label));
        self.graph.seen(node, listener, By::Socket);
        let during = self.during;
        let Some(process) = peer.and_then(|pid| during.processes.get(&pid)) else {
            let node = self.graph.add(Node::new(Kind::Process, "not seen"));
            self.graph.unseen(listener, node, &during.why_unseen());
            return;
        };
        let end = self.process_node(process);
        let end = self.graph.add(end);
        // The kernel reports the listening process to the connecting one (SO_PEERCRED).
        self.graph.seen(listener, end, By::Socket);
        let mut pids = accepted.clone();
        if pids.is_empty() {
            pids.push(process.pid);
        }
        self.follow_process(end, pids, process.name.clone());
    }

    /// Follows the connections of these processes, the first of which has this node.
    fn follow_process(&mut self, node: usize, pids: Vec<u32>, name: String) {
        let arrived = Arrived { node, pids, name };
        if let Some((at, connection)) = self.onward(&arrived) {
            self.follow(at, connection);
        }
    }

    /// The accepted end of a connection that one of these processes opened.
    fn accepted(&self, connection: &Connection) -> Option<(Netns, TcpSocket)> {
        let Connection {
            netns,
            local,
            remote,
            ..
        } = *connection;
        let is_end = |socket: &TcpSocket| {
            matches!(socket.state, TcpState::Established | TcpState::CloseWait)
                && same(socket.remote, local)
        };
        let ends: Vec<(Netns, TcpSocket)> = self
            .during
            .tcp()
            .filter(|(at, socket)| is_end(socket) && !(*at == netns && same(socket.local, local)))
            .filter(|(_, socket)| {
                // See `imitates`: a tap's accepted end of our connection is not the end of its
                // onward connection.
                let mut holders = self.during.holders(socket.inode).into_iter();
                !holders.any(|it| connection.makers.contains(&it.pid))
            })
            .map(|(at, socket)| (at, *socket))
            .collect();
        let mut tapped = ends
            .iter()
            .filter(|it| self.imitates(it.1.inode, connection));
        if let Some(one) = tapped.next() {
            return Some(*one).filter(|_| tapped.next().is_none());
        }
        let direct: Vec<_> = ends
            .iter()
            .filter(|it| same(it.1.local, remote))
            .copied()
            .collect();
        match (direct.as_slice(), ends.as_slice()) {
            ([one], _) => Some(*one),
            ([], [one]) => {
                // Two networks may have the same addresses: a socket that existed before belongs to
                // another connection.
                let is_new = self.before.tcp().all(|(at, socket)| {
                    at != one.0 || !same(socket.local, one.1.local) || !is_end(socket)
                });
                is_new.then_some(*one)
            }
            (several, _) => {
                let mut foreign = several.iter().filter(|it| self.is_redirected(it.0, &it.1));
                foreign.next().copied().filter(|_| foreign.next().is_none())
            }
        }
    }

    /// Whether the process with this socket has another one with our own address: a tap in the path
    /// connects onward with its client's address, so both of its sockets look like ours.
    fn imitates(&self, inode: u64, connection: &Connection) -> bool {
        let holders = self.during.holders(inode);
        let mut alike = self.during.tcp().filter(|(_, socket)| {
            same(socket.local, connection.local) && same(socket.remote, connection.remote)
        });
        alike.any(|(_, socket)| {
            let others = self.during.holders(socket.inode);
            let mut others = others.iter();
            others.any(|it| holders.iter().any(|holder| holder.pid == it.pid))
        })
    }

    /// Whether a process other than the listener of that port accepted the connection.
    fn is_redirected(&self, netns: Netns, socket: &TcpSocket) -> bool {
        let Some(listener) = self.during.listener(netns, socket.local) else {
            return false;
        };
        // Several may share an address (SO_REUSEPORT, socket(7)).
        let listeners = self.during.listeners(netns, listener.local.port());
        let same = listeners.iter().filter(|it| it.local == listener.local);
        let own: Vec<_> = same.flat_map(|it| self.during.holders(it.inode)).collect();
        let holders = self.during.holders(socket.inode);
        !own.is_empty() && !holders.is_empty() && !self.are_related(&own, &holders)
    }

    /// Whether two sets of processes overlap, or one has parents of the other: servers accept in
    /// children, and some hand connections over.
    fn are_related(&self, some: &[&Process], others: &[&Process]) -> bool {
        let descends = |one: &Process, from: &Process| {
            let line = self.during.line(one.pid);
            line.iter().any(|it| it.pid == from.pid)
        };
        some.iter().any(|one| {
            let mut others = others.iter();
            others.any(|other| descends(one, other) || descends(other, one))
        })
    }

    /// Follows the path from the node of an address to the process there; `None` if it ends.
    fn arrive(&mut self, at: usize, connection: &Connection) -> Option<Arrived> {
        let Some((netns, socket)) = self.accepted(connection) else {
            return self.arrive_unseen(at, connection.netns, connection.remote);
        };
        let mut at = at;
        if !same(socket.local, connection.remote) {
            at = self.translated(at, connection.remote, socket.local);
            if self.owner(connection.netns, connection.remote) == Some(self.host) {
                self.passed.push((self.host, connection.remote.port()));
            }
        }
        let listener = self.during.listener(netns, socket.local);
        self.passed.push((netns, socket.local.port()));
        let mut holders = self.during.holders(socket.inode);
        if holders.is_empty() {
            let own = listener.map(|it| self.during.holders(it.inode));
            holders = own.unwrap_or_default();
        } else if self.is_redirected(netns, &socket) {
            // As `wstap attach` does.
            let label = "redirected by a packet filter, past the listener of that port";
            let nat = self.graph.add(Node::new(Kind::Nat, label).at(netns));
            self.graph.seen(at, nat, By::Socket);
            return self.process(nat, netns, &holders, By::Socket);
        }
        if let Some(proxy) = published_proxy(&holders) {
            return Some(self.docker_proxy(at, netns, proxy, By::Socket));
        }
        let node = self.listener(netns, socket.local, listener);
        self.graph.seen(at, node, By::Socket);
        self.process(node, netns, &holders, By::Proc)
    }

    /// The same if our connection is in no visible table: uses what the tables and the engine say
    /// about the address.
    pub(super) fn arrive_unseen(
        &mut self,
        at: usize,
        from: Netns,
        addr: SocketAddr,
    ) -> Option<Arrived> {
        let owner = self.owner(from, addr);
        let Some(netns) = owner else {
            let (label, why_not) = self.of_nobody(addr);
            let node = self.graph.add(Node::new(Kind::Listener, &label));
            self.graph.unseen(at, node, &why_not);
            return None;
        };
        if let Some(listener) = self.during.listener(netns, addr) {
            let holders = self.during.holders(listener.inode);
            self.passed.push((netns, addr.port()));
            if let Some(proxy) = published_proxy(&holders) {
                return Some(self.docker_proxy(at, netns, proxy, By::Proc));
            }
            let node = self.listener(netns, addr, Some(listener));
            self.graph.seen(at, node, By::Proc);
            return self.process(node, netns, &holders, By::Proc);
        }
        let published = self.published_at(netns, addr);
        if let Some((port, inner)) = published.and_then(|it| Some((it, it.inner()?))) {
            let (container, label) = (port.container, port_words(&port));
            let described = super::facts::described(container);
            let node = Node::new(Kind::PublishedPort, &label).of(None, Some(described));
            let node = self.graph.add(node);
            self.graph.seen(at, node, By::Engine);
            self.passed.push((netns, addr.port()));
            let next = self.graph.add(Node::new(Kind::Address, &inner.to_string()));
            self.graph.seen(node, next, By::Engine);
            return self.arrive_unseen(next, from, inner);
        }
        let label = format!("accepted at {addr} by something that is not seen");
        let node = self.graph.add(Node::new(Kind::Nat, &label).at(netns));
        let why_not = "the connection was made, and no socket listens there now: a packet filter redirects it, or what \
                       listened there has ended";
        self.graph.unseen(at, node, why_not);
        None
    }

    /// The network namespace in which a connection to an address ends.
    pub(super) fn owner(&self, from: Netns, addr: SocketAddr) -> Option<Netns> {
        if addr.ip().to_canonical().is_loopback() || addr.ip().is_unspecified() {
            return Some(from);
        }
        let owners = self.during.owners(addr.ip());
        // Networks that are not connected may have the same addresses. The client's own comes
        // first, then the host, which is its router, then the engine's answer.
        let mut first = [Some(from), Some(self.host), self.by_engine(addr)].into_iter();
        let first = first.find_map(|netns| netns.filter(|it| owners.contains(it)));
        first.or(match owners[..] {
            [one] => Some(one),
            _ => None,
        })
    }

    /// The network namespace of the engine's container with an address.
    fn by_engine(&self, addr: SocketAddr) -> Option<Netns> {
        let pid = self.facts.pid_of(self.facts.by_ip(addr.ip())?)?;
        self.during.processes.get(&pid)?.netns
    }

    /// Label and explanation for an address that no visible network has.
    fn of_nobody(&self, addr: SocketAddr) -> (String, String) {
        if let Some(container) = self.facts.by_ip(addr.ip()) {
            let label = super::facts::described(container).words();
            let why_not = format!(
                "by the engine the address is of this container, whose sockets are not seen: {}",
                self.during.why_unseen()
            );
            return (label, why_not);
        }
        let several = self.during.owners(addr.ip()).len();
        let why_not = if several > 1 {
            format!("{several} network namespaces have this address")
        } else {
            "no network namespace that is seen here has this address: it is another machine's, or wstap has to run on \
             the host as root, or with --pid host"
                .to_owned()
        };
        ("not seen".to_owned(), why_not)
    }

    /// The port of the host that the engine publishes at an address.
    pub(super) fn published_at(&self, netns: Netns, addr: SocketAddr) -> Option<Published<'_>> {
        let ports = self.facts.published(addr.port());
        let mut ports = ports.into_iter().filter(|it| it.takes(addr.ip()));
        ports.next().filter(|_| netns == self.host)
    }

    /// A connection that was made to one address and accepted at another.
    fn translated(&mut self, at: usize, outer: SocketAddr, inner: SocketAddr) -> usize {
        let ports = self.facts.published(outer.port());
        let port = ports.iter().find(|it| {
            it.port == inner.port()
                && super::facts::addresses(it.container).contains(&inner.ip().to_canonical())
        });
        let node = match port {
            Some(port) => {
                let container = super::facts::described(port.container);
                let label = format!("{}, as {inner}", port_words(port));
                Node::new(Kind::PublishedPort, &label).of(None, Some(container))
            }
            None => Node::new(Kind::Nat, &format!("{outer} is translated to {inner}")),
        };
        let node = self.graph.add(node);
        self.graph.seen(at, node, By::Socket);
        node
    }

    /// The node of a listener.
    pub(super) fn listener(
        &mut self,
        netns: Netns,
        addr: SocketAddr,
        socket: Option<TcpSocket>,
    ) -> usize {
        let label = socket.map_or_else(|| addr.to_string(), |it| bind_words(it.local));
        self.graph.add(Node::new(Kind::Listener, &label).at(netns))
    }

    /// Follows the path from the node of a listener to its process.
    fn process(
        &mut self,
        at: usize,
        netns: Netns,
        holders: &[&Process],
        by: By,
    ) -> Option<Arrived> {
        let Some(first) = holders.first() else {
            let node = Node::new(Kind::Process, "not seen").at(netns);
            let node = self.graph.add(node);
            let why_not = self.during.why_unseen();
            self.graph.unseen(at, node, &why_not);
            return None;
        };
        let pids: Vec<u32> = holders.iter().map(|it| it.pid).collect();
        let name = first.name.clone();
        let node = self.process_node(first);
        let node = self.graph.add(node);
        self.graph.seen(at, node, by);
        Some(Arrived { node, pids, name })
    }

    /// The node of a process.
    pub(super) fn process_node(&self, process: &Process) -> Node {
        let container = self.facts.container_of(self.during, process.pid);
        let within = (container.as_ref())
            .map_or_else(String::new, |container| format!(", {}", container.words()));
        let label = format!("{}, pid {}{within}", process.name, process.pid);
        let node = Node::new(Kind::Process, &label).of(Some(process.pid), container);
        match process.netns {
            Some(netns) => node.at(netns),
            None => node,
        }
    }

    /// The engine's own proxy, as the published port that it serves.
    fn docker_proxy(
        &mut self,
        at: usize,
        netns: Netns,
        proxy: (u32, SocketAddr),
        by: By,
    ) -> Arrived {
        let (pid, inner) = proxy;
        let container = self.facts.by_ip(inner.ip()).map(super::facts::described);
        let words = container
            .as_ref()
            .map_or_else(|| inner.to_string(), super::graph::InContainer::words);
        let label = format!("docker-proxy, pid {pid}, for {words}");
        let node = Node::new(Kind::PublishedPort, &label).at(netns);
        let node = self.graph.add(node.of(Some(pid), container));
        self.graph.seen(at, node, by);
        Arrived {
            node,
            pids: vec![pid],
            name: "docker-proxy".to_owned(),
        }
    }
}

/// `0.0.0.0:18789 (every IPv4 address)`.
pub(super) fn bind_words(bound: SocketAddr) -> String {
    match bound.ip() {
        ip if ip.is_loopback() => format!("{bound} (loopback only)"),
        ip if ip.is_unspecified() && ip.is_ipv4() => format!("{bound} (every IPv4 address)"),
        ip if ip.is_unspecified() => format!("{bound} (every address)"),
        _ => format!("{bound} (this address only)"),
    }
}

/// `port 127.0.0.1:18789 of the host leads to container gw:18789`.
pub(super) fn port_words(port: &Published<'_>) -> String {
    let container = super::facts::described(port.container).words();
    format!(
        "host port {} leads to port {} of {container}",
        port.words(),
        port.port
    )
}

/// docker-proxy among these processes, and its target. Its arguments contain no secret.
pub(super) fn published_proxy(holders: &[&Process]) -> Option<(u32, SocketAddr)> {
    let proxy = holders.iter().find(|it| it.name == "docker-proxy")?;
    // Any process can take this name.
    let program = std::fs::read_link(format!("/proc/{}/exe", proxy.pid)).ok()?;
    if !program.file_name()?.to_str()?.starts_with("docker-proxy") {
        return None;
    }
    let arguments = super::scan::arguments_of_proxy(proxy.pid);
    Some((proxy.pid, container_address(&arguments)?))
}

fn container_address(arguments: &[String]) -> Option<SocketAddr> {
    let value = |name: &str| {
        let at = arguments.iter().position(|it| it == name)?;
        arguments.get(at + 1)
    };
    let ip = value("-container-ip")?.parse().ok()?;
    let port = value("-container-port")?.parse().ok()?;
    Some(SocketAddr::new(ip, port))
}

/// IPv4 addresses in IPv6 sockets are the same.
fn same(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() == other.port() && one.ip().to_canonical() == other.ip().to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_proxy_names_its_container() {
        let arguments = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let line = "/usr/bin/docker-proxy -proto tcp -host-ip 127.0.0.1 -host-port 1 -container-ip 172.18.0.2 \
                    -container-port 18789 -use-listen-fd";
        let found = container_address(&arguments(line));
        assert_eq!(found, Some("172.18.0.2:18789".parse().unwrap()));
        for wrong in ["", "-container-ip", "-container-ip x -container-port 1"] {
            assert_eq!(container_address(&arguments(wrong)), None, "{wrong}");
        }
    }
}
