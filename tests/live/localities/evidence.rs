//! The gateway's log lines about each visit.

use std::collections::{HashMap, HashSet};

use super::clients::Visit;
use crate::live::visitor::Answer;

/// The lines that matter, by the keys that find them.
#[derive(Default)]
pub struct Evidence {
    /// `← open`: the peer's address, by the connection's shortened id.
    opened: HashMap<String, String>,
    /// `closed before connect`: the peer, and what it was forwarded for, by the user agent.
    closed: HashMap<String, (String, String)>,
    /// `→ close`: the gateway's own reason, by both ends of the connection.
    causes: HashMap<String, String>,
    /// Devices that were approved without anybody being asked.
    approved: HashSet<String>,
}

impl Evidence {
    pub fn of(log: &[String]) -> Self {
        let mut evidence = Self::default();
        for line in log {
            evidence.take(line);
        }
        evidence
    }

    fn take(&mut self, line: &str) -> Option<()> {
        if line.starts_with("← open ") {
            let conn = value(line, "conn")?;
            self.opened.insert(conn, value(line, "remoteAddr")?);
        } else if line.starts_with("closed before connect ") {
            let told = (value(line, "peer")?, value(line, "fwd")?);
            self.closed.insert(value(line, "ua")?, told);
        } else if line.starts_with("→ close ") {
            let cause = value(line, "cause")?;
            self.causes.insert(value(line, "endpoint")?, cause);
        } else if line.starts_with("device pairing auto-approved ") {
            self.approved.insert(value(line, "device")?);
        }
        Some(())
    }

    /// What it says of a visit with a device; `None` when it does not say what it should.
    pub fn about(&self, visit: &Visit) -> Option<String> {
        let agent = &visit.visitor.agent;
        let device = visit.visitor.device_id()?;
        match &visit.answer {
            Answer::Accepted { conn_id, .. } => {
                let short = format!("{}…{}", &conn_id[..8], &conn_id[conn_id.len() - 4..]);
                let peer = self.opened.get(&short)?;
                let approved = self.approved.contains(device);
                approved.then(|| format!("peer {peer}: device auto-approved"))
            }
            Answer::Refused { .. } => {
                let (ends, forwarded) = self.closed.get(agent)?;
                let cause = self.causes.get(ends)?;
                let (peer, _) = ends.split_once("->")?.0.rsplit_once(':')?;
                Some(format!("peer {peer} fwd {forwarded}: {cause}"))
            }
            // It does not log what it refuses before the upgrade.
            Answer::Http { .. }
            | Answer::Closed { .. }
            | Answer::Nothing(_)
            | Answer::Unreachable(_) => {
                let nothing = !self.closed.contains_key(agent);
                nothing.then(|| "(nothing)".to_owned())
            }
        }
    }
}

/// `name=value` of a line; a value may hold blanks, up to the next name.
fn value(line: &str, name: &str) -> Option<String> {
    let (_, rest) = line.split_once(&format!(" {name}="))?;
    let value = match rest.split_once('=') {
        Some((value, _)) => value.rsplit_once(' ')?.0,
        None => rest,
    };
    Some(value.to_owned())
}

#[test]
fn values_may_hold_blanks() {
    let line = "closed before connect peer=a:1->b:2 fwd=127.0.0.1, 192.0.2.2 ua=x code=1005";
    assert_eq!(value(line, "fwd").as_deref(), Some("127.0.0.1, 192.0.2.2"));
    assert_eq!(value(line, "code").as_deref(), Some("1005"));
    assert_eq!(value(line, "none"), None);
}
