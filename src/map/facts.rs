//! Facts from the container engine, which is asked once, before `/proc` is read.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::graph::{InContainer, inert, kept};
use super::scan::Scan;
use crate::place::engine::{self, Container, PortBinding};

/// Maximum number of containers that are inspected.
const CONTAINERS: usize = 100;

/// Time limit for all requests.
const LIMIT: Duration = Duration::from_secs(4);

/// The containers, or why there are none.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) containers: Vec<Container>,
    /// Why some or all are missing.
    pub(super) why_not: Option<String>,
    /// Main processes, verified to be those of the containers.
    pids: HashMap<u32, usize>,
}

/// A port of the host and the one of a container that it leads to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Published<'a> {
    pub(super) container: &'a Container,
    /// `None`: all addresses; an unspecified address: all of its family.
    pub(super) host_ip: Option<IpAddr>,
    pub(super) host_port: u16,
    pub(super) port: u16,
}

impl Facts {
    /// Asks the engine, until `deadline` at most.
    pub(super) fn ask(deadline: Instant) -> Self {
        let deadline = deadline.min(Instant::now() + LIMIT);
        match engine::containers(CONTAINERS, deadline) {
            Ok((containers, 0)) => Self::new(containers, None),
            Ok((containers, more)) => {
                let why_not = format!("{more} more containers were not looked at");
                Self::new(containers, Some(why_not))
            }
            Err(error) => {
                // Only its first line: the advice after it is for another command.
                let error = error.to_string();
                let error = error.lines().next().unwrap_or_default();
                Self::new(Vec::new(), Some(inert(error)))
            }
        }
    }

    pub(super) fn new(mut containers: Vec<Container>, why_not: Option<String>) -> Self {
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        let pids = containers.iter().enumerate();
        let pids = pids
            .filter_map(|(nth, it)| Some((it.pid()?, nth)))
            .collect();
        Self {
            containers,
            why_not,
            pids,
        }
    }

    /// The container whose main process this is.
    pub(super) fn by_pid(&self, pid: u32) -> Option<&Container> {
        self.containers.get(*self.pids.get(&pid)?)
    }

    /// The main process of a container.
    pub(super) fn pid_of(&self, container: &Container) -> Option<u32> {
        let is_it = |nth: &usize| {
            self.containers
                .get(*nth)
                .is_some_and(|it| it.id == container.id)
        };
        let found = self.pids.iter().find(|(_, nth)| is_it(nth));
        found.map(|(pid, _)| *pid)
    }

    /// The container that a process is in, by its control group, which has the id as a name, or by its parents.
    pub(super) fn container_of(&self, scan: &Scan, pid: u32) -> Option<InContainer> {
        let process = scan.processes.get(&pid)?;
        let by_group = self
            .containers
            .iter()
            .find(|it| !it.id.is_empty() && process.groups.contains(&it.id));
        let by_parent = || {
            let mut line = scan.line(pid).into_iter();
            line.find_map(|it| self.by_pid(it.pid))
        };
        if let Some(container) = by_group.or_else(by_parent) {
            return Some(described(container));
        }
        let id = id_in_groups(&process.groups)?;
        Some(InContainer {
            id,
            name: None,
            project: None,
            service: None,
            image: None,
        })
    }

    /// The running container with an address.
    pub(super) fn by_ip(&self, ip: IpAddr) -> Option<&Container> {
        self.containers
            .iter()
            .find(|it| addresses(it).contains(&ip))
    }

    /// A container by its id or the beginning of its id.
    pub(super) fn by_id(&self, id: &str) -> Option<&Container> {
        let mut all = self.containers.iter();
        all.find(|it| it.id == id || (id.len() >= 12 && it.id.starts_with(id)))
    }

    /// Published ports of the host with this number that lead to running containers.
    pub(super) fn published(&self, host_port: u16) -> Vec<Published<'_>> {
        let all = self.containers.iter().flat_map(|container| {
            let ports = &container.network_settings.ports;
            bindings(container, ports)
        });
        all.filter(|it| it.host_port == host_port).collect()
    }

    /// Published ports of containers that are not running.
    pub(super) fn wanted(&self, host_port: u16) -> Vec<Published<'_>> {
        let idle = |it: &&Container| it.state.pid == 0;
        let all = self.containers.iter().filter(idle).flat_map(|container| {
            let ports = &container.host_config.port_bindings;
            bindings(container, ports)
        });
        all.filter(|it| it.host_port == host_port).collect()
    }
}

fn bindings<'a>(
    container: &'a Container,
    ports: &'a std::collections::BTreeMap<String, Option<Vec<PortBinding>>>,
) -> impl Iterator<Item = Published<'a>> {
    ports.iter().flat_map(move |(inner, outer)| {
        let port = inner.strip_suffix("/tcp").and_then(|it| it.parse().ok());
        let outer = outer.iter().flatten();
        outer.filter_map(move |binding| {
            Some(Published {
                container,
                host_ip: binding.host_ip.parse().ok(),
                host_port: binding.host_port.parse().ok()?,
                port: port?,
            })
        })
    })
}

impl Published<'_> {
    /// Whether it takes connections to this address.
    pub(super) fn takes(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.host_ip
            .is_none_or(|it| it == ip || (it.is_unspecified() && it.is_ipv4() == ip.is_ipv4()))
    }

    /// Where it leads to.
    pub(super) fn inner(&self) -> Option<SocketAddr> {
        let ip = addresses(self.container).into_iter().next()?;
        Some(SocketAddr::new(ip, self.port))
    }

    /// `127.0.0.1:18789`.
    pub(super) fn words(&self) -> String {
        match self.host_ip {
            Some(ip) => SocketAddr::new(ip, self.host_port).to_string(),
            None => format!("*:{}", self.host_port),
        }
    }
}

/// Addresses of a container in its networks.
pub(super) fn addresses(container: &Container) -> Vec<IpAddr> {
    let networks = container.network_settings.networks.values();
    let texts = networks.flat_map(|it| [&it.ip, &it.ipv6]);
    texts.filter_map(|text| text.parse().ok()).collect()
}

/// Describes a container for the map.
pub(super) fn described(container: &Container) -> InContainer {
    InContainer {
        id: kept(&container.id),
        name: Some(kept(container.short_name())),
        project: container.compose("project").map(kept),
        service: container.compose("service").map(kept),
        image: Some(kept(container.image_name())),
    }
}

/// The id of a container in a control group's path: 64 digits, with or without what an engine writes around it.
fn id_in_groups(groups: &str) -> Option<String> {
    let words = groups.split(|c: char| !c.is_ascii_alphanumeric());
    let is_id = |it: &&str| it.len() == 64 && it.bytes().all(|byte| byte.is_ascii_hexdigit());
    words.into_iter().find(is_id).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_without_an_engine_are_known_by_their_groups() {
        let id = "1f".repeat(32);
        for groups in [
            format!("0::/system.slice/docker-{id}.scope\n"),
            format!("9:cpu:/docker/{id}\n"),
            format!("0::/../libpod-{id}.scope/container"),
        ] {
            assert_eq!(id_in_groups(&groups), Some(id.clone()));
        }
        assert_eq!(id_in_groups("0::/user.slice/user-0.slice\n"), None);
    }

    #[test]
    fn published_ports_are_read_as_engines_write_them() {
        let text = r#"{"Id": "c0de", "Name": "/gw", "Config": {"Labels": null, "Image": "openclaw:local"},
            "State": {"Status": "running", "Pid": 0}, "HostConfig": {"NetworkMode": "bridge", "PortBindings": null},
            "NetworkSettings": {"Ports": {"18789/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18789"},
            {"HostIp": "::", "HostPort": "18790"}], "53/udp": [{"HostIp": "", "HostPort": "18789"}], "80/tcp": null},
            "Networks": {"n": {"IPAddress": "172.18.0.2", "GlobalIPv6Address": "", "DNSNames": null}}}}"#;
        let facts = Facts::new(vec![serde_json::from_str(text).unwrap()], None);
        let [one] = facts.published(18789)[..] else {
            panic!("{facts:?}");
        };
        assert!(one.takes("127.0.0.1".parse().unwrap()));
        assert!(!one.takes("192.0.2.1".parse().unwrap()));
        assert_eq!(one.inner(), Some("172.18.0.2:18789".parse().unwrap()));
        let other = facts.published(18790)[0];
        assert_eq!(other.words(), "[::]:18790");
        assert!(other.takes("2001:db8::1".parse().unwrap()));
        assert!(!other.takes("192.0.2.1".parse().unwrap()));
        assert!(facts.by_ip("172.18.0.2".parse().unwrap()).is_some());
    }
}
