//! A recording upstream on Node's HTTP parser, as the real gateway has it: it notes every request
//! that the parser saw, so that a request that was smuggled past the tap is seen as one.
//!
//! Exercises: what the tap lets through to an upstream that reads on after a refused upgrade.
//!
//! ```ignore
//! let Some(node) = NodeRecorder::start("http: smuggling", Upgrades::Refused(403)).await else { return };
//! let tap = Setup::before_url(&node.url()).start().await;
//! // … one connection, an upgrade with a second request after it …
//! let seen = node.settled().await;
//! assert_eq!(seen.len(), 1, "{seen:#?}");
//! ```
//!
//! The parser works while the test does; [`NodeRecorder::settled`] gives what it saw once it has
//! seen everything that was sent before. Node comes with the gateway (`make fetch`).

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::live::installed;
use crate::support::client::connect;
use crate::support::deadline::{STEP, poll, within};
use crate::support::skip::skip;

/// How it answers an upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrades {
    /// 101 with a correct accept key, and then it sends back what comes.
    Accepted,
    /// This status without a body; the connection is kept, and what follows is parsed.
    Refused(u16),
}

/// A request as the parser understood it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Request {
    pub method: String,
    pub url: String,
    /// `1.0` or `1.1`
    pub version: String,
    /// Name, value, name, value: in their order and spelling.
    pub headers: Vec<String>,
    /// It asked for an upgrade, and was given over as one.
    pub upgrade: bool,
    /// Bytes of its body, once that has come to its end; of an upgrade, what came together with its
    /// head.
    pub body: Option<usize>,
    id: usize,
}

/// A line of its output.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Request(Request),
    /// The body of this request has ended.
    Body {
        id: usize,
        body: usize,
    },
    /// Bytes that are no request: `HPE_…`, the parser's own name for it.
    Error {
        error: String,
    },
}

#[derive(Debug, Default)]
struct Seen {
    requests: Vec<Request>,
    errors: Vec<String>,
}

/// The running upstream. Killed when dropped.
pub struct NodeRecorder {
    addr: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    _child: Child,
}

/// The path of a request of our own, which marks the end of what came before.
const MARK: &str = "/-/recorded-up-to-here";

impl NodeRecorder {
    /// `None` when there is no Node: `test` is skipped.
    pub async fn start(test: &str, upgrades: Upgrades) -> Option<Self> {
        let Some(install) = installed() else {
            skip(test, "Node is not installed: run make fetch");
            return None;
        };
        let status = match upgrades {
            Upgrades::Accepted => 101,
            Upgrades::Refused(status) => status,
        };
        let mut child = Command::new(install.node)
            .args(["-e", include_str!("node_recorder.js"), &status.to_string()])
            // Held open: it ends when this test does, however that ends.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("start Node");
        let stdout = child.stdout.take().expect("its stdout");
        let mut lines = BufReader::new(stdout).lines();
        let first = within("the recorder", lines.next_line()).await;
        let first = first.expect("read its stdout").expect("it ended at once");
        let first: serde_json::Value = serde_json::from_str(&first).expect("its first line");
        let port = first["port"].as_u64().and_then(|port| port.try_into().ok());
        let seen = Arc::default();
        tokio::spawn(listen(lines, Arc::clone(&seen)));
        Some(Self {
            addr: (Ipv4Addr::LOCALHOST, port.expect("a port")).into(),
            seen,
            _child: child,
        })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// As `gateway.url` has it.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What it has seen of requests up to now.
    pub fn requests(&self) -> Vec<Request> {
        let mut requests = self.lock(|seen| seen.requests.clone());
        requests.retain(|request| request.url != MARK);
        requests
    }

    /// What was no request, by the parser's own names.
    pub fn errors(&self) -> Vec<String> {
        self.lock(|seen| seen.errors.clone())
    }

    /// How many requests it has seen, once it has dealt with all that reached it before.
    pub async fn count(&self) -> usize {
        self.settled().await.len()
    }

    /// Every request, once it has dealt with all that reached it before: it has answered a request
    /// of our own on another connection, which it took up later.
    pub async fn settled(&self) -> Vec<Request> {
        let marks = |seen: &Seen| {
            let marks = seen.requests.iter().filter(|request| request.url == MARK);
            marks.count()
        };
        let before = self.lock(marks);
        let answer = connect(self.addr).await.get(MARK).await;
        answer.expect("an answer of the recorder");
        let after = poll(STEP, || (self.lock(marks) > before).then_some(())).await;
        assert!(after.is_some(), "the recorder does not say what it saw");
        self.requests()
    }

    fn lock<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn listen(mut lines: Lines<BufReader<ChildStdout>>, seen: Arc<Mutex<Seen>>) {
    while let Ok(Some(line)) = lines.next_line().await {
        let line = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        match line {
            Line::Request(request) => seen.requests.push(request),
            Line::Body { id, body } => {
                let request = seen.requests.iter_mut().find(|it| it.id == id);
                request.expect("a request with this body").body = Some(body);
            }
            Line::Error { error } => seen.errors.push(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::client::connect;
    use crate::support::head;
    use crate::support::tap::{Face, Setup};

    const SECOND: &str = "GET /smuggled HTTP/1.1\r\nHost: inside\r\n\r\n";

    /// An upgrade and, in the same write, a second request.
    async fn both(node: &NodeRecorder) -> (u16, Vec<Request>) {
        let mut conn = connect(node.addr()).await;
        let mut bytes = head::upgrade("/first", "gateway", &[]);
        bytes.extend(SECOND.as_bytes());
        conn.send(&bytes).await.expect("send both");
        let status = conn.head().await.expect("an answer").status();
        if status == 101 {
            let echoed = conn.exactly(SECOND.len()).await.expect("its own bytes");
            assert_eq!(echoed, SECOND.as_bytes());
        } else {
            let second = conn.head().await.expect("a second answer");
            assert_eq!(second.status(), 200);
        }
        (status, node.settled().await)
    }

    #[tokio::test]
    async fn a_smuggled_request_is_counted() {
        let test = "the recorder: smuggled";
        for refused in [200, 403, 426] {
            let Some(node) = NodeRecorder::start(test, Upgrades::Refused(refused)).await else {
                return;
            };
            let (status, seen) = both(&node).await;
            assert_eq!(status, refused);
            let found: Vec<_> = seen.iter().map(|it| (&*it.url, it.upgrade)).collect();
            assert_eq!(found, [("/first", true), ("/smuggled", false)]);
            assert_eq!(seen[0].body, Some(SECOND.len()));
            assert_eq!(seen[1].headers, ["Host", "inside"]);
        }
    }

    #[tokio::test]
    async fn through_the_tap_the_refused_upgrade_is_all_that_arrives() {
        let test = "the recorder: through the tap";
        for refused in [200, 403, 426] {
            let Some(node) = NodeRecorder::start(test, Upgrades::Refused(refused)).await else {
                return;
            };
            let tap = Setup::before_url(&node.url()).start().await;
            for face in Face::BOTH {
                let mut conn = tap.connect(face).await;
                let mut bytes = head::upgrade("/first", "gateway", &[]);
                bytes.extend(SECOND.as_bytes());
                conn.send(&bytes).await.expect("send both");
                assert_eq!(conn.head().await.expect("an answer").status(), refused);
                conn.rest().await;
            }
            let seen = node.settled().await;
            assert!(seen.iter().all(|it| it.url == "/first"), "{seen:#?}");
            assert_eq!(node.count().await, 2);
        }
    }

    #[tokio::test]
    async fn inside_a_tunnel_nothing_is_a_request() {
        let test = "the recorder: tunnel";
        let Some(node) = NodeRecorder::start(test, Upgrades::Accepted).await else {
            return;
        };
        let (status, seen) = both(&node).await;
        assert_eq!((status, seen.len(), node.count().await), (101, 1, 1));
    }

    #[tokio::test]
    async fn bodies_and_nonsense_are_told() {
        let test = "the recorder: bodies";
        let Some(node) = NodeRecorder::start(test, Upgrades::Refused(403)).await else {
            return;
        };
        let mut conn = connect(node.addr()).await;
        let unfinished = "POST /unfinished HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nhello";
        let mut other = connect(node.addr()).await;
        other.send(unfinished.as_bytes()).await.expect("send half");
        assert_eq!(node.settled().await.pop().expect("a request").body, None);
        let posted = "POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
        conn.send(posted.as_bytes()).await.expect("send a body");
        let head = conn.head().await.expect("an answer");
        conn.body(&head).await.expect("its body");
        conn.send(b"\x00nonsense\r\n\r\n").await.expect("send it");
        assert_eq!(conn.head().await.expect("an answer").status(), 400);
        let seen = node.settled().await;
        assert_eq!((seen.len(), seen[1].body), (2, Some(5)));
        assert_eq!(node.errors(), ["HPE_INVALID_METHOD"]);
    }
}
