//! The gateway's answer to a client and its log lines about it, without parts that differ between
//! connections.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, SocketAddr};

use super::clients::{Brings, Way};
use crate::live::gateway::Gateway;
use crate::live::visitor::{Answer, Visitor};
use crate::support::deadline::{STEP, poll};
use crate::support::netns::Net;

/// One connection and its outcome.
pub struct Visit {
    pub way: Way,
    pub brings: Brings,
    pub visitor: Visitor,
    /// The client's own address; `None` when it could not connect.
    pub own: Option<SocketAddr>,
    pub answer: Answer,
}

/// The same for two connections of the same kind of client, unless something between them and the gateway
/// makes a difference.
#[derive(Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The answer to the client.
    pub answer: Answer,
    /// Lines of the gateway's log that name the connection's addresses or id, its device or its `User-Agent`.
    pub log: Vec<String>,
}

impl Visit {
    /// Connects to this port.
    pub async fn make(net: &Net, port: u16, way: Way, brings: Brings) -> Self {
        let visitor = brings.visitor();
        let (own, answer) = match way.connect(net, port).await {
            Ok(conn) => {
                let own = conn.wire.tcp().and_then(|tcp| tcp.local_addr().ok());
                (own, visitor.visit(conn).await)
            }
            Err(error) => (None, Answer::Unreachable(error.kind().to_string())),
        };
        Self {
            way,
            brings,
            visitor,
            own,
            answer,
        }
    }

    /// The evidence, and the client's address as the gateway's log has it. Waits for the log.
    pub async fn evidence(&self, gateway: &Gateway) -> (Evidence, Option<SocketAddr>) {
        let answer = steady(&self.answer);
        // It does not log refusals before the upgrade.
        if matches!(answer, Answer::Http { .. } | Answer::Unreachable(_)) {
            let log = Vec::new();
            return (Evidence { answer, log }, None);
        }
        let found = poll(STEP, || self.lines(&gateway.log())).await;
        let (log, peer) = found.unwrap_or_else(|| {
            panic!(
                "the gateway's log has no end of {self:?}: {:#?}",
                gateway.log()
            )
        });
        (Evidence { answer, log }, Some(peer))
    }

    /// The lines of a log, once it has the last one.
    fn lines(&self, log: &[String]) -> Option<(Vec<String>, SocketAddr)> {
        let conn = self.conn_id(log)?;
        let short = format!("{}…{}", &conn[..8], &conn[conn.len() - 4..]);
        let opened = log
            .iter()
            .find(|line| line.starts_with("← open ") && line.ends_with(&short))?;
        // On a socket for both families it writes IPv4 as `::ffff:192.0.2.2`.
        let ip: IpAddr = value(opened, "remoteAddr")?.parse().ok()?;
        let peer = SocketAddr::new(
            ip.to_canonical(),
            value(opened, "remotePort")?.parse().ok()?,
        );
        let endpoint = format!("endpoint={} ", value(opened, "endpoint")?);
        let padded = |line: &str| format!("{line} ").contains(&endpoint);
        let device = self.visitor.device_id().unwrap_or("(no device)");
        let ours = |line: &&String| {
            // The short id is no key: it is left out of a line when it was in the one before.
            let keys = [conn.as_str(), &self.visitor.agent, device];
            padded(line) || keys.iter().any(|key| line.contains(key))
        };
        let lines: Vec<&String> = log.iter().filter(ours).collect();
        lines.iter().find(|line| line.starts_with("→ close "))?;
        let mut lines: Vec<String> = lines
            .into_iter()
            .map(|line| self.neutral(line, peer.port()))
            .collect();
        lines.sort_unstable();
        Some((lines, peer))
    }

    pub fn name(&self) -> String {
        format!("{}, {:?}", self.way.name, self.brings)
    }

    fn conn_id(&self, log: &[String]) -> Option<String> {
        if let Answer::Accepted { conn_id, .. } = &self.answer {
            return Some(conn_id.clone());
        }
        let named = |line: &&String| line.contains(&self.visitor.agent);
        let line = log
            .iter()
            .filter(named)
            .find_map(|line| value(line, "conn"));
        line.map(str::to_owned)
    }

    /// Without ids, times and the client's port.
    fn neutral(&self, line: &str, port: u16) -> String {
        let mut out = String::new();
        for word in line.split(' ') {
            let changes = ["conn=", "durationMs=", "instance=", "requestId="];
            if changes.iter().any(|name| word.starts_with(name)) {
                continue;
            }
            let word = word.replace(&format!(":{port}->"), ":PORT->");
            let word = word.replace(&self.visitor.agent, "AGENT");
            let word = match self.visitor.device_id() {
                Some(device) => word.replace(device, "DEVICE"),
                None => word,
            };
            let word = match word.strip_prefix("remotePort=") {
                Some(_) => "remotePort=PORT".to_owned(),
                None => word,
            };
            let _ = write!(out, "{}{word}", if out.is_empty() { "" } else { " " });
        }
        out
    }
}

impl fmt::Debug for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {:?}: {}", self.name(), self.own, self.answer)
    }
}

impl Evidence {
    /// In a few words.
    pub fn shown(&self) -> String {
        match &self.answer {
            Answer::Refused { details, .. } => details.clone(),
            Answer::Http { status, .. } => format!("HTTP {status}"),
            answer => answer.to_string(),
        }
    }
}

/// An answer without the ids of this connection.
fn steady(answer: &Answer) -> Answer {
    let mut answer = answer.clone();
    match &mut answer {
        Answer::Accepted { conn_id, .. } => conn_id.clear(),
        Answer::Refused { close, .. } => {
            if let Some((before, _)) = close.1.split_once(" (requestId: ") {
                close.1 = before.to_owned();
            }
        }
        _ => {}
    }
    answer
}

/// `name=value` of a line, up to the next blank.
fn value<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    let (_, rest) = line.split_once(&format!(" {name}="))?;
    rest.split(' ').next()
}
