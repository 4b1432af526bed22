//! Concludes from the kernel's tables and the engine why a connection cannot be made.

use std::net::SocketAddr;

use super::facts::described;
use super::graph::{By, Kind, Node};
use super::scan::Netns;
use super::trace::{Tracer, bind_words, port_words, published_proxy};

/// The advice of `gateway.unreachable.refused`.
const BIND: &str = "let the gateway listen beyond its own loopback (`openclaw gateway run --bind lan`, gateway.bind \
                    in openclaw.json)";

impl Tracer<'_> {
    /// Adds the reason why connections do not get from the node `at` to a listener. `edge` leads to
    /// that node, whose address is `addr`; `why` describes the failed attempt.
    pub(super) fn conclude(
        &mut self,
        edge: usize,
        at: usize,
        from: Netns,
        addr: SocketAddr,
        why: &str,
    ) {
        let Some(netns) = self.owner(from, addr) else {
            let because = format!("{why}; {}", self.nobody_words(addr));
            let next = "check that the address is the gateway's and that its host is up; to see further, run it on \
                        that host";
            self.graph.breaks(edge, &because, next);
            return;
        };
        if let Some(listener) = self.during.listener(netns, addr) {
            let node = self.listener(netns, addr, Some(listener));
            let edge = self.graph.unseen(at, node, why);
            let because = format!(
                "{why}, although {} listens there",
                bind_words(listener.local)
            );
            let next = "look for a packet filter between the two (`nft list ruleset`), or a process that accepts no \
                        connections any more";
            self.graph.breaks(edge, &because, next);
            self.holders_of(node, listener.inode);
            return;
        }
        if self.published_breaks(at, netns, addr, why) {
            return;
        }
        let others = self.during.listeners(netns, addr.port());
        let Some(other) = others.first() else {
            self.nothing_listens(at, netns, addr, why);
            return;
        };
        let node = self.listener(netns, addr, Some(*other));
        let edge = self.graph.seen(at, node, By::Proc);
        let bound: Vec<String> = others.iter().map(|it| it.local.to_string()).collect();
        let because = format!(
            "{why}: the listener of port {} is bound to {} only",
            addr.port(),
            bound.join(" and ")
        );
        let next = if other.local.ip().is_loopback() {
            BIND.to_owned()
        } else {
            format!("connect to {}, or {BIND}", other.local)
        };
        self.graph.breaks(edge, &because, &next);
        self.holders_of(node, other.inode);
    }

    /// Handles a published port that leads elsewhere or is not published at this address. Returns
    /// whether it was one.
    fn published_breaks(&mut self, at: usize, netns: Netns, addr: SocketAddr, why: &str) -> bool {
        if let Some((port, inner)) =
            (self.published_at(netns, addr)).and_then(|it| Some((it, it.inner()?)))
        {
            let label = port_words(&port);
            let node =
                Node::new(Kind::PublishedPort, &label).of(None, Some(described(port.container)));
            let node = self.graph.add(node);
            self.graph.seen(at, node, By::Engine);
            let next = self.graph.add(Node::new(Kind::Address, &inner.to_string()));
            let edge = self.graph.seen(node, next, By::Engine);
            self.conclude(edge, next, netns, inner, why);
            return true;
        }
        let published = self.facts.published(addr.port());
        let published = published.into_iter().find(|_| netns == self.host);
        let others = self.during.listeners(netns, addr.port());
        let proxy = others.iter().find_map(|it| {
            let holders = self.during.holders(it.inode);
            published_proxy(&holders).map(|(pid, _)| (pid, it.local))
        });
        let (node, bound) = match (&published, proxy) {
            (Some(port), _) => {
                let container = described(port.container);
                let label = port_words(port);
                let node = Node::new(Kind::PublishedPort, &label);
                (node.of(None, Some(container)), port.words())
            }
            (None, Some((pid, bound))) => {
                let label = format!("docker-proxy, pid {pid}, at {bound}");
                let node = Node::new(Kind::PublishedPort, &label);
                (node.of(Some(pid), None), bound.to_string())
            }
            (None, None) => return false,
        };
        let inner = published.map_or(addr.port(), |it| it.port);
        let by = if published.is_some() {
            By::Engine
        } else {
            By::Proc
        };
        let node = self.graph.add(node.at(netns));
        let edge = self.graph.seen(at, node, by);
        let because = format!("{why}: the port is published at {bound} only");
        let (ip, port) = (bracketed(addr), addr.port());
        let next = format!("publish it at that address too (`ports: [\"{ip}:{port}:{inner}\"]`)");
        self.graph.breaks(edge, &because, &next);
        true
    }

    fn nothing_listens(&mut self, at: usize, netns: Netns, addr: SocketAddr, why: &str) {
        let place = self.place_words(netns);
        let label = format!("none at port {} of {place}", addr.port());
        let node = self.graph.add(Node::new(Kind::Listener, &label).at(netns));
        let edge = self.graph.seen(at, node, By::Proc);
        let because = format!("{why}: nothing listens at port {} of {place}", addr.port());
        let is_container = place.starts_with("container");
        let next = if addr.ip().is_loopback() && is_container {
            "start the gateway (`openclaw gateway run`); if it is in another container, use its service name, as \
             127.0.0.1 is the container itself"
        } else if addr.ip().is_loopback() {
            "start the gateway (`openclaw gateway run`); in a container use its service name, as 127.0.0.1 is the \
             container itself"
        } else {
            "start the gateway, or correct the port of the URL"
        };
        self.graph.breaks(edge, &because, next);
    }

    /// The processes of a listener.
    fn holders_of(&mut self, at: usize, inode: u64) {
        let holders = self.during.holders(inode);
        let Some(first) = holders.first() else {
            let node = self.graph.add(Node::new(Kind::Process, "not seen"));
            let why_not = self.during.why_unseen();
            self.graph.unseen(at, node, &why_not);
            return;
        };
        let node = self.process_node(first);
        let node = self.graph.add(node);
        self.graph.seen(at, node, By::Proc);
    }

    /// The owner of a network namespace: a container, or else its number.
    pub(super) fn place_words(&self, netns: Netns) -> String {
        if netns == self.host {
            return "this host".to_owned();
        }
        let mut containers = self.facts.containers.iter().filter(|it| {
            let pid = self.facts.pid_of(it);
            let process = pid.and_then(|pid| self.during.processes.get(&pid));
            process.and_then(|it| it.netns) == Some(netns)
        });
        match containers.next() {
            Some(container) => described(container).words(),
            None => super::graph::netns_words(netns),
        }
    }

    fn nobody_words(&self, addr: SocketAddr) -> String {
        match self.facts.by_ip(addr.ip()) {
            Some(container) => format!(
                "by the engine the address is of {}, which is not seen from here",
                described(container).words()
            ),
            None => "no network namespace that is seen here has that address".to_owned(),
        }
    }
}

fn bracketed(addr: SocketAddr) -> String {
    match addr.ip() {
        std::net::IpAddr::V4(ip) => ip.to_string(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
    }
}
