//! Who connects, and whether the namespace that it shares is still that of whom it shares it with.

use super::facts::{Facts, described};
use super::graph::{InContainer, Kind, Node, netns_words};
use super::scan::{Netns, Scan};
use crate::place::Place;
use crate::place::engine::Container;
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
        place: Option<&Place>,
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
            .map(|container| sharing(container, home, facts, scan));
        let who = match (place, process) {
            (Some(Place::Netns(path)), _) => format!("namespace {}", path.display()),
            (Some(Place::Container(_) | Place::Compose(_)), _) if container.is_some() => {
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
            Some(Sharing::Stale(why, next)) => (String::new(), Some((why, next))),
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

enum Sharing {
    No,
    Host,
    /// With this container.
    Same(String),
    /// Why, and what to do.
    Stale(String, String),
}

/// A container that shares another's network keeps the namespace of its own start. When the other is restarted it has a
/// new one.
fn sharing(container: &Container, home: Netns, facts: &Facts, scan: &Scan) -> Sharing {
    let name = container.short_name();
    let again = || {
        let command = match (container.compose("service"), container.compose("project")) {
            (Some(service), Some(project)) => {
                format!("docker compose -p {project} up -d --force-recreate {service}")
            }
            _ => format!("docker restart {name}"),
        };
        format!("start {name} again, so that it joins the present one: `{command}`")
    };
    match container.host_config.network_mode.split_once(':') {
        Some(("container", id)) => {
            let Some(other) = facts.by_id(id) else {
                let short = id.get(..12).unwrap_or(id);
                // Others than were looked at may have it.
                if facts.why_not.is_some() {
                    return Sharing::No;
                }
                let why = format!(
                    "shared namespace is no longer the gateway's: {name} shares the network of container {short}, \
                     which does not exist any more"
                );
                return Sharing::Stale(why, again());
            };
            let words = described(other).words();
            let present = facts.pid_of(other).and_then(|pid| scan.processes.get(&pid));
            match present.and_then(|it| it.netns) {
                Some(netns) if netns == home => Sharing::Same(words),
                Some(netns) => {
                    let why = format!(
                        "shared namespace is no longer the gateway's: {words} was restarted and is in {}",
                        netns_words(netns)
                    );
                    Sharing::Stale(why, again())
                }
                None if other.state.pid == 0 => {
                    let why = format!(
                        "shared namespace is no longer the gateway's: {words} does not run"
                    );
                    let first = format!("start {}, then ", other.short_name());
                    Sharing::Stale(why, first + &again())
                }
                None => Sharing::No,
            }
        }
        None if container.host_config.network_mode == "host" => Sharing::Host,
        _ => Sharing::No,
    }
}
