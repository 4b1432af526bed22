//! The client, and whether the namespace that it shares with another container is still the
//! other's.

use super::facts::{Facts, described};
use super::graph::{InContainer, Kind, Node, netns_words};
use super::scan::{Netns, Scan};
use crate::place::NamespaceOwner;
use crate::place::sharing::{Owner, Sharing, sharing};
use crate::probe::whereabouts::Whereabouts;

/// The client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) node: Node,
    /// Why its namespace is the wrong one, and what to do.
    pub(super) stale: Option<(String, String)>,
}

impl Client {
    pub(super) fn new(
        place: Option<&NamespaceOwner>,
        pid: Option<u32>,
        whereabouts: &Whereabouts,
        (scan, home): (&Scan, Netns),
        facts: &Facts,
    ) -> Self {
        let process = pid.and_then(|pid| scan.processes.get(&pid));
        let by_pid = pid.and_then(|pid| facts.container_of(scan, pid));
        let own = || {
            let id = whereabouts.container.as_ref()?.id.as_deref()?;
            Some(facts.by_id(id).map_or_else(|| bare(id), described))
        };
        let container = by_pid.or_else(own);
        let shares = (container.as_ref())
            .and_then(|it| facts.by_id(&it.id))
            .map(|container| sharing(container, home, |id| owner_of(id, facts, scan)));
        let who = match (place, process) {
            (Some(NamespaceOwner::Netns(path)), _) => format!("namespace {}", path.display()),
            (Some(NamespaceOwner::Container(_) | NamespaceOwner::Compose(_)), _)
                if container.is_some() =>
            {
                String::new()
            }
            (_, Some(process)) => format!("{}, pid {}", process.name, process.pid),
            _ => format!("here, host {}", whereabouts.host),
        };
        let within =
            (container.as_ref()).map_or_else(String::new, |it| format!(", {}", it.words()));
        let (network, stale) = match shares {
            Some(Sharing::Same(other)) => (format!(", network of {other}"), None),
            Some(Sharing::Host) => (", network of the host".to_owned(), None),
            Some(Sharing::Stale { why, next }) => (String::new(), Some((why, next))),
            Some(Sharing::No) | None => (String::new(), None),
        };
        let label = format!("{who}{within}{network}, {}", netns_words(home));
        let label = label.trim_start_matches(", ");
        Self {
            node: Node::new(Kind::Client, label).at(home).of(pid, container),
            stale,
        }
    }
}

fn bare(id: &str) -> InContainer {
    InContainer {
        id: id.to_owned(),
        name: None,
        project: None,
        service: None,
        image: None,
    }
}

/// The container of this id, as far as it can be seen.
fn owner_of(id: &str, facts: &Facts, scan: &Scan) -> Result<Option<Owner>, ()> {
    let Some(other) = facts.by_id(id) else {
        // A container that was not inspected may have it.
        return if facts.why_not.is_some() {
            Err(())
        } else {
            Ok(None)
        };
    };
    let process = facts.pid_of(other).and_then(|pid| scan.processes.get(&pid));
    Ok(Some(Owner {
        words: described(other).words(),
        runs: other.state.pid != 0,
        netns: process.and_then(|it| it.netns),
    }))
}
