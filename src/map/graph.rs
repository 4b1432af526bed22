//! The parts of a map: nodes, edges, the broken edge, and the claims of ports.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::scan::Netns;
use crate::session::text::PeerText;

/// The value of `schema`.
pub(super) const SCHEMA: &str = "wstap.map/1";

/// Maximum length of a foreign text that is kept.
const LENGTH: usize = 120;

/// The whole map: one JSON object.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Map {
    /// `wstap.map/1`.
    pub schema: &'static str,
    /// When it was made.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// The URL, without parts that may be secret.
    pub target: String,
    /// Where the URL came from.
    pub taken_from: String,
    /// The client first, then in the order of a connection's path.
    pub nodes: Vec<Node>,
    /// The edges between nodes.
    pub edges: Vec<Edge>,
    /// The first broken edge; `null` if none is.
    pub broken: Option<Broken>,
    /// The owners of the gateway's port and those of webhooks.
    pub claims: Claims,
    /// How long it took.
    pub ms: f64,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// The client.
    Client,
    /// A host name.
    Name,
    /// Address and port, or the path of a unix socket.
    Address,
    /// A port of the host that an engine forwards to a container.
    PublishedPort,
    /// Address translation.
    Nat,
    /// A process that connects onward.
    Proxy,
    /// A socket that listens.
    Listener,
    /// The process at the end of the path: it opens no further connection for ours.
    Process,
}

impl Kind {
    /// The kind in words, for people.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Name => "name",
            Self::Address => "address",
            Self::PublishedPort => "published",
            Self::Nat => "nat",
            Self::Proxy => "proxy",
            Self::Listener => "listener",
            Self::Process => "process",
        }
    }
}

/// A node.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Node {
    /// Its number, from 0.
    pub id: usize,
    /// What it is.
    pub kind: Kind,
    /// In words.
    pub label: String,
    /// The network namespace that it is in, as `/proc/PID/ns/net` shows it; `null` if not known.
    pub netns: Option<String>,
    /// The process id; `null` if the node is not a process, or it is not known.
    pub pid: Option<u32>,
    /// The container; `null` outside of one, or without an engine's answer.
    pub container: Option<InContainer>,
}

impl Node {
    pub(super) fn new(kind: Kind, label: &str) -> Self {
        Self {
            id: 0,
            kind,
            label: inert(label),
            netns: None,
            pid: None,
            container: None,
        }
    }

    pub(super) fn at(self, netns: Netns) -> Self {
        let netns = Some(netns_words(netns));
        Self { netns, ..self }
    }

    pub(super) fn of(self, pid: Option<u32>, container: Option<InContainer>) -> Self {
        Self {
            pid,
            container,
            ..self
        }
    }
}

/// A container, as its engine describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct InContainer {
    /// Its id.
    pub id: String,
    /// Its name; `null` without an engine.
    pub name: Option<String>,
    /// Its Compose project.
    pub project: Option<String>,
    /// Its Compose service.
    pub service: Option<String>,
    /// The name of its image.
    pub image: Option<String>,
}

impl InContainer {
    /// `container a-gateway-1 (project a)`.
    pub(super) fn words(&self) -> String {
        let id = self.id.get(..12).unwrap_or(&self.id);
        let name = self.name.as_deref().unwrap_or(id);
        match &self.project {
            Some(project) => format!("container {name} (project {project})"),
            None => format!("container {name}"),
        }
    }
}

/// The evidence that verified an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum By {
    /// A live connection of this run.
    Socket,
    /// The kernel's files: `/proc`, and the hosts file of the place.
    Proc,
    /// The container engine's API.
    Engine,
}

impl By {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Proc => "proc",
            Self::Engine => "engine",
        }
    }
}

/// An edge.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Edge {
    /// The id of a node.
    pub from: usize,
    /// The id of a node.
    pub to: usize,
    /// Whether it was observed, not only concluded.
    pub verified: bool,
    /// The evidence; `null` if it was not verified.
    pub by: Option<By>,
    /// Why it was not verified.
    pub why_not: Option<String>,
    /// Why no connection can pass here; `null` if there is no known reason.
    pub broken: Option<String>,
}

/// The first broken edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Broken {
    /// Its index in `edges`.
    pub edge: usize,
    /// What is wrong.
    pub because: String,
    /// What to do.
    pub next: String,
}

/// The owners of the ports that matter.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub(crate) struct Claims {
    /// Containers that publish or expose the gateway's port, or have `openclaw` in their image's or service's name.
    pub gateways: Vec<Gateway>,
    /// Ports of this host: the gateway's, then those on which webhooks may come in.
    pub ports: Vec<Claim>,
    /// Why containers are missing here; `null` if all were seen.
    pub why_not: Option<String>,
}

/// A container that looks like a gateway's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Gateway {
    /// It.
    pub container: InContainer,
    /// The engine's state: `running`, `created`, `exited` and the like.
    pub state: String,
}

/// The claims of a port of the host.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Claim {
    /// Its number.
    pub port: u16,
    /// What it is for.
    pub purpose: String,
    /// The process or container that has it; `null` if none has.
    pub owner: Option<Owner>,
    /// Containers that want it but are not running.
    pub wanted_by: Vec<Wanting>,
    /// The gateway that its owner leads to, in words; `null` if not known.
    pub leads_to: Option<String>,
}

/// The owner of a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Owner {
    /// In words.
    pub label: String,
    /// The process that listens.
    pub pid: Option<u32>,
    /// The container that it leads to or is in.
    pub container: Option<InContainer>,
    /// The evidence for it.
    pub by: By,
}

/// A container that wants a port but is not running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Wanting {
    /// It.
    pub container: InContainer,
    /// The engine's state: `created`, `exited` and the like.
    pub state: String,
    /// Why it could not be started, in the engine's words; `null` if it was not tried or did start.
    pub error: Option<String>,
}

/// Nodes and edges while they are found.
#[derive(Clone, Debug, Default)]
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    pub(super) edges: Vec<Edge>,
    pub(super) broken: Option<Broken>,
}

impl Graph {
    pub(super) fn add(&mut self, node: Node) -> usize {
        let id = self.nodes.len();
        self.nodes.push(Node { id, ..node });
        id
    }

    pub(super) fn seen(&mut self, from: usize, to: usize, by: By) -> usize {
        self.edge(from, to, Some(by), None)
    }

    pub(super) fn unseen(&mut self, from: usize, to: usize, why_not: &str) -> usize {
        self.edge(from, to, None, Some(why_not))
    }

    fn edge(&mut self, from: usize, to: usize, by: Option<By>, why_not: Option<&str>) -> usize {
        self.edges.push(Edge {
            from,
            to,
            verified: by.is_some(),
            by,
            why_not: why_not.map(inert),
            broken: None,
        });
        self.edges.len() - 1
    }

    /// Marks an edge as broken. The map names only the first one.
    pub(super) fn breaks(&mut self, edge: usize, because: &str, next: &str) {
        let because = inert(because);
        if let Some(edge) = self.edges.get_mut(edge) {
            edge.broken = Some(because.clone());
        }
        let next = inert(next);
        self.broken.get_or_insert(Broken {
            edge,
            because,
            next,
        });
    }
}

/// The text, inert and truncated.
pub(super) fn kept(text: &str) -> String {
    PeerText::new(text, LENGTH).into()
}

/// Makes a text of ours inert, because it contains foreign names.
pub(super) fn inert(text: &str) -> String {
    PeerText::new(text, 4 * LENGTH).into()
}

/// As `/proc/PID/ns/net` shows it.
pub(super) fn netns_words(netns: Netns) -> String {
    format!("net:[{netns}]")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    fn docs(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("docs")
            .join(name)
    }

    #[test]
    fn docs_map_schema_is_current() {
        let schema = schemars::schema_for!(Map);
        let wanted = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        let path = docs("map.schema.json");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&path, &wanted).unwrap();
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == wanted,
            "docs/map.schema.json is stale: run `make docs`"
        );
    }

    #[test]
    fn docs_map_page_names_every_field() {
        let schema = serde_json::to_value(schemars::schema_for!(Map)).unwrap();
        let page = fs::read_to_string(docs("map.md")).unwrap_or_default();
        let words: BTreeSet<&str> = page
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .collect();
        let parts = schema["$defs"].as_object().unwrap().values();
        let objects: Vec<_> = std::iter::once(&schema).chain(parts).collect();
        let names = objects.iter().filter_map(|it| it["properties"].as_object());
        let names: BTreeSet<&String> = names.flat_map(|it| it.keys()).collect();
        assert!(names.len() > 25, "{names:?}");
        for name in names {
            assert!(
                words.contains(name.as_str()),
                "docs/map.md does not name {name}"
            );
        }
    }

    #[test]
    fn the_first_broken_edge_is_the_one_that_is_named() {
        let mut graph = Graph::default();
        for label in ["a", "b\u{1b}[2J", "c"] {
            graph.add(Node::new(Kind::Address, label));
        }
        assert!(!graph.nodes[1].label.contains('\u{1b}'));
        let second = graph.seen(1, 2, By::Proc);
        let first = graph.unseen(0, 1, "why");
        graph.breaks(first, "one", "do one");
        graph.breaks(second, "two", "do two");
        let broken = graph.broken.unwrap();
        assert_eq!((broken.edge, broken.because.as_str()), (first, "one"));
        assert_eq!(graph.edges[second].broken.as_deref(), Some("two"));
    }
}
