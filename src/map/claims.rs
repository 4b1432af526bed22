//! Several gateways on one host: which one has port 18789, and which have the ports for webhooks.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::facts::{Facts, Published, described};
use super::graph::{
    By, Claim, Claims, Gateway, Graph, InContainer, Kind, Node, Owner, Wanting, inert, kept,
};
use super::onward::is_outgoing;
use super::scan::{Netns, Scan};
use super::trace::published_proxy;
use crate::transport::holder::TcpState;

/// The gateway's port.
const GATEWAY: u16 = 18789;

/// Ports on which webhooks may come in, besides the gateway's own: the public ports of a proxy, and the default
/// listeners of channels and plugins of `OpenClaw` 2026.9.6 (its docs: channels/telegram/transports,
/// channels/msteams/configuration, channels/feishu/configuration-reference, channels/nextcloud-talk,
/// gateway/config-hooks, cli/voicecall). Every other webhook is a route on the gateway's port.
const INGRESS: [(u16, &str); 7] = [
    (443, "HTTPS"),
    (80, "HTTP"),
    (8787, "Telegram's default port"),
    (3978, "Teams's default port"),
    (3000, "Feishu's default port"),
    (8788, "default port of Nextcloud Talk and Gmail"),
    (3334, "default port of voice calls"),
];

/// Whether webhooks may come in on this port.
pub(super) fn is_ingress(claim: &Claim) -> bool {
    INGRESS.contains(&(claim.port, claim.purpose.as_str()))
}

/// Maximum number of entries.
const MOST: usize = 20;

/// The sources of the claims.
pub(super) struct Sources<'a> {
    pub(super) facts: &'a Facts,
    pub(super) scan: &'a Scan,
    pub(super) host: Netns,
    /// Listeners on the path, and the label of its last node.
    pub(super) passed: &'a [(Netns, u16)],
    pub(super) end: Option<String>,
    /// The address of the host that was dialled.
    pub(super) dialled: Option<SocketAddr>,
}

impl Sources<'_> {
    pub(super) fn claims(&self) -> Claims {
        let dialled = self.dialled.map(|it| it.port());
        let ingress = INGRESS.into_iter().filter(|it| dialled != Some(it.0));
        let dialled = dialled.filter(|port| *port != GATEWAY);
        let dialled = dialled.map(|port| (port, "the URL's port"));
        let gateway = [(GATEWAY, "gateway, webhooks")];
        let all = gateway.into_iter().chain(dialled).chain(ingress);
        let ports = all.map(|(port, purpose)| self.port(port, purpose));
        let gateways = self.gateways();
        let is_of_use = |it: &Claim| !is_ingress(it) || is_of_gateway(it, &gateways);
        Claims {
            ports: ports.filter(is_of_use).collect(),
            gateways: gateways.clone(),
            why_not: self.facts.why_not.clone(),
        }
    }

    fn gateways(&self) -> Vec<Gateway> {
        let port = format!("{GATEWAY}/tcp");
        let looks_like = self.facts.containers.iter().filter(|it| {
            let named = it.image_name().contains("openclaw")
                || it.short_name().contains("openclaw")
                || it
                    .compose("service")
                    .is_some_and(|it| it.contains("openclaw"));
            named
                || it.config.exposed_ports.contains_key(&port)
                || it.host_config.port_bindings.contains_key(&port)
        });
        let gateways = looks_like.map(|it| Gateway {
            container: described(it),
            state: kept(&it.state.status),
        });
        gateways.take(MOST).collect()
    }

    fn port(&self, port: u16, purpose: &str) -> Claim {
        let owner = self.owner(port);
        let mut wanted = self.facts.wanted(port);
        // A port is published once for each address family.
        wanted.dedup_by(|one, other| one.container.id == other.container.id);
        Claim {
            port,
            purpose: purpose.to_owned(),
            leads_to: owner.as_ref().and_then(|owner| self.leads_to(port, owner)),
            owner,
            wanted_by: wanted.iter().take(MOST).map(wanting).collect(),
        }
    }

    fn owner(&self, port: u16) -> Option<Owner> {
        if let Some(published) = self.facts.published(port).first() {
            let container = described(published.container);
            return Some(Owner {
                label: format!("{} at {}", container.words(), published.words()),
                pid: None,
                container: Some(container),
                by: By::Engine,
            });
        }
        // Several processes may have the port, each at another address.
        let dialled = self.dialled.filter(|it| it.port() == port);
        let dialled = dialled.and_then(|it| self.scan.listener(self.host, it));
        let listeners = self.scan.listeners(self.host, port);
        let listener = dialled.as_ref().or(listeners.first())?;
        let holders = self.scan.holders(listener.inode);
        if let Some((pid, inner)) = published_proxy(&holders) {
            return Some(Owner {
                label: format!("docker-proxy, pid {pid}, for {inner}"),
                pid: Some(pid),
                container: self.facts.by_ip(inner.ip()).map(described),
                by: By::Proc,
            });
        }
        let Some(first) = holders.first() else {
            return Some(Owner {
                label: format!("a process that is not seen, at {}", listener.local),
                pid: None,
                container: None,
                by: By::Proc,
            });
        };
        let container = self.facts.container_of(self.scan, first.pid);
        let within =
            (container.as_ref()).map_or_else(String::new, |it| format!(", {}", it.words()));
        Some(Owner {
            label: format!("{}, pid {}{within}", first.name, first.pid),
            pid: Some(first.pid),
            container,
            by: By::Proc,
        })
    }

    /// The gateway that the owner of a port leads to: known from the path followed through it, or
    /// from the connections that its processes have to a gateway's port now.
    fn leads_to(&self, port: u16, owner: &Owner) -> Option<String> {
        if self.passed.contains(&(self.host, port)) {
            return self.end.clone();
        }
        if port == GATEWAY {
            return owner.container.as_ref().map(InContainer::words);
        }
        let pids = self.processes(port, owner);
        let mut gateways = BTreeSet::new();
        for (netns, socket) in self.scan.tcp() {
            let is_to_gateway = socket.remote.port() == GATEWAY
                && socket.state == TcpState::Established
                && is_outgoing(self.scan, netns, socket);
            let holders = self.scan.holders(socket.inode);
            if is_to_gateway && holders.iter().any(|it| pids.contains(&it.pid)) {
                gateways.insert(self.listening(netns, socket.remote));
            }
        }
        let only = gateways.pop_first()?;
        gateways.is_empty().then_some(only)
    }

    /// The listener at the address of a connection.
    fn listening(&self, from: Netns, addr: SocketAddr) -> String {
        if let Some(container) = self.facts.by_ip(addr.ip()) {
            return described(container).words();
        }
        let own = addr.ip().is_loopback().then_some(from);
        let netns = own.or_else(|| match self.scan.owners(addr.ip())[..] {
            [one] => Some(one),
            _ => None,
        });
        let listener = netns.and_then(|netns| self.scan.listener(netns, addr));
        let holders = listener.map(|it| self.scan.holders(it.inode));
        let first = holders.as_ref().and_then(|it| it.first());
        match first {
            Some(first) => match self.facts.container_of(self.scan, first.pid) {
                Some(container) => container.words(),
                None => format!("{}, pid {}", first.name, first.pid),
            },
            None => addr.to_string(),
        }
    }

    /// The processes of an owner: those that listen, or those of its container.
    fn processes(&self, port: u16, owner: &Owner) -> BTreeSet<u32> {
        let main = (owner.container.as_ref())
            .and_then(|it| self.facts.by_id(&it.id))
            .and_then(|it| self.facts.pid_of(it))
            .and_then(|pid| self.scan.processes.get(&pid));
        let netns = main.and_then(|it| it.netns);
        if let Some(netns) = netns.filter(|it| *it != self.host) {
            let all = self.scan.processes.values();
            return all
                .filter(|it| it.netns == Some(netns))
                .map(|it| it.pid)
                .collect();
        }
        let listeners = self.scan.listeners(self.host, port);
        let holders = listeners.iter().flat_map(|it| self.scan.holders(it.inode));
        holders.map(|it| it.pid).collect()
    }
}

/// Many programs listen on such a port, so it counts only if it leads to a gateway, or if a
/// container in the Compose project of one has or wants it.
fn is_of_gateway(claim: &Claim, gateways: &[Gateway]) -> bool {
    let is_with_gateway = |it: &InContainer| {
        let mut projects = gateways.iter().map(|it| &it.container.project);
        it.project.is_some() && projects.any(|project| *project == it.project)
    };
    let owner = claim.owner.as_ref().and_then(|it| it.container.as_ref());
    claim.leads_to.is_some()
        || owner.is_some_and(is_with_gateway)
        || claim
            .wanted_by
            .iter()
            .any(|it| is_with_gateway(&it.container))
}

fn wanting(published: &Published<'_>) -> Wanting {
    let state = &published.container.state;
    Wanting {
        container: described(published.container),
        state: kept(&state.status),
        error: Some(inert(&state.error)).filter(|it| !it.is_empty()),
    }
}

/// Breaks the edge from a contested port of this path to the container that could not get it: one
/// that wants the dialled address, and whose port was taken according to the engine.
pub(super) fn contest(graph: &mut Graph, claims: &Claims, facts: &Facts, dialled: SocketAddr) {
    let port = dialled.port();
    let Some(claim) = claims.ports.iter().find(|it| it.port == port) else {
        return;
    };
    let Some(owner) = &claim.owner else {
        return;
    };
    let is_port = |it: &&Node| {
        matches!(
            it.kind,
            Kind::PublishedPort | Kind::Address | Kind::Listener
        )
    };
    let published = graph.nodes.iter().find(|it| it.kind == Kind::PublishedPort);
    let Some(from) = published.or_else(|| graph.nodes.iter().find(is_port)) else {
        return;
    };
    let from = from.id;
    for wanting in &claim.wanted_by {
        let Some(error) = &wanting.error else {
            continue;
        };
        let loses = |it: &Published<'_>| {
            it.container.id == wanting.container.id
                && it.container.state.port_is_taken()
                && it.takes(dialled.ip())
        };
        if !facts.wanted(port).iter().any(loses) {
            continue;
        }
        let words = wanting.container.words();
        let label = format!("{words}, {}", wanting.state);
        let node = Node::new(Kind::Listener, &label);
        let node = graph.add(node.of(None, Some(wanting.container.clone())));
        let edge = graph.seen(from, node, By::Engine);
        let has =
            (owner.container.as_ref()).map_or_else(|| owner.label.clone(), InContainer::words);
        let because = format!(
            "{words} wants host port {port} too, and {has} has it: the engine could not start it ({})",
            // Engines put the cause last.
            error.rsplit(": ").next().unwrap_or(error)
        );
        let next = format!(
            "give one of the two another host port (`ports:` in its Compose file), then start {} again",
            wanting.container.name.as_deref().unwrap_or("it")
        );
        graph.breaks(edge, &because, &next);
    }
}
