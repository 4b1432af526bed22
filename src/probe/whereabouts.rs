//! Where the probe runs: the first rung, and the one that is most often wrong. A check from another
//! namespace sees another network.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use schemars::JsonSchema;
use serde::Serialize;
use url::Url;

use crate::app::{ephemeral_fingerprinter, host_name};
use crate::place::engine::{self, Container, EngineError};
use crate::place::sharing::{Owner, Sharing, sharing};
use crate::place::{self, NamespaceFacts};
use crate::session::text::PeerText;

/// Maximum number of lines that are kept of a hosts file.
const LINES: usize = 50;
/// Time limit for the engine to describe a container whose network is shared.
const SHARED: Duration = Duration::from_secs(1);
/// Maximum length of a text that is kept, in bytes.
const LENGTH: usize = 200;

/// Suffixes of the names of `OPENCLAW_*` variables whose values are not secret. Every other value
/// is shown as a fingerprint.
const HARMLESS: [&str; 10] = [
    "_PORT",
    "_DIR",
    "_PATH",
    "_PROFILE",
    "_HOST",
    "_BIND",
    "_MODE",
    "_LEVEL",
    "_MS",
    "_PRIVATE_WS",
];

/// Environment variables, of this process or of the one whose place was entered.
pub(crate) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Those of this process.
    pub(crate) fn own() -> Self {
        let all = std::env::vars_os();
        let text = |bytes: &std::ffi::OsStr| String::from_utf8_lossy(bytes.as_bytes()).into_owned();
        Self(
            all.map(|(name, value)| (text(&name), text(&value)))
                .collect(),
        )
    }

    /// Parses the form of `/proc/PID/environ`.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let lines = bytes.split(|byte| *byte == 0);
        let pairs = lines.filter_map(|line| {
            let text = String::from_utf8_lossy(line);
            let (name, value) = text.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        });
        Self(pairs.collect())
    }

    /// A variable that is set and not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let value = self.0.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }

    fn value(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }

    /// `OPENCLAW_*` variables, with secrets as fingerprints.
    fn shown(&self) -> BTreeMap<String, String> {
        let fingerprinter = ephemeral_fingerprinter();
        let ours = self
            .0
            .iter()
            .filter(|(name, _)| name.starts_with("OPENCLAW_"));
        let shown = ours.map(|(name, value)| {
            let is_harmless = HARMLESS.iter().any(|end| name.ends_with(end));
            let bare = name.ends_with("_URL").then(|| bare_url(value)).flatten();
            let value = bare.or_else(|| is_harmless.then(|| value.clone()));
            let hidden = || {
                fingerprinter
                    .fingerprint(self.value(name).as_bytes())
                    .into()
            };
            let value = value.unwrap_or_else(hidden);
            (kept(name), kept(&value))
        });
        shown.take(LINES).collect()
    }
}

/// Scheme, host and port of a URL: the rest may contain a secret.
fn bare_url(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let port = url
        .port()
        .map_or_else(String::new, |port| format!(":{port}"));
    Some(format!("{}://{}{port}", url.scheme(), url.host()?))
}

/// The text, inert and truncated.
fn kept(text: &str) -> String {
    PeerText::new(text, LENGTH).into()
}

/// Where the probe ran.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Whereabouts {
    /// The host's name.
    pub host: String,
    /// The container, if the probe ran in one.
    pub container: Option<InContainer>,
    /// The network namespace, as `/proc/self/ns/net` shows it.
    pub netns: String,
    /// Whether it was entered by `--in`.
    pub entered: bool,
    /// Addresses of its interfaces except loopback.
    pub addresses: Vec<String>,
    /// The `nameserver` entries of its `resolv.conf`.
    pub resolver: Vec<String>,
    /// The lines of its hosts file, without comments.
    pub hosts: Vec<String>,
    /// `OPENCLAW_*` variables; secrets as fingerprints.
    pub env: BTreeMap<String, String>,
    /// The container shares a network that the other container no longer uses: why, and what to do.
    #[serde(skip)]
    pub(super) stale: Option<(String, String)>,
}

/// A container.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct InContainer {
    /// Its id; `null` if only signs of a container were found.
    pub id: Option<String>,
    /// The name of its image; `null` if no engine was asked.
    pub image: Option<String>,
    /// The id of its image; `null` if no engine was asked.
    pub digest: Option<String>,
}

impl InContainer {
    /// Its default host name: the first twelve digits of the id.
    pub(super) fn name(&self) -> Option<&str> {
        self.id.as_deref()?.get(..12)
    }
}

impl Whereabouts {
    /// Describes the place where this process is now; `seen` is what was found out on entering it.
    pub(crate) fn here(environment: &Environment, seen: Option<NamespaceFacts>) -> Self {
        let entered = seen.is_some();
        let container_seen = seen.as_ref().and_then(|seen| seen.container.as_ref());
        let stale = container_seen.and_then(stale);
        let seen = seen.unwrap_or_else(|| NamespaceFacts {
            mounts: fs::read_to_string("/proc/self/mountinfo").unwrap_or_default(),
            ..NamespaceFacts::default()
        });
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self {
            host: host_name(),
            container: container(&seen, entered),
            netns: place::current(),
            entered,
            addresses: addresses(),
            resolver: name_servers(&text("/etc/resolv.conf")),
            hosts: hosts(&text("/etc/hosts")),
            env: environment.shown(),
            stale,
        }
    }

    /// Whether any line of the hosts file has this name.
    pub(crate) fn names_in_hosts(name: &str) -> bool {
        let text = fs::read_to_string("/etc/hosts").unwrap_or_default();
        let mut words = text
            .lines()
            .flat_map(|line| without_comment(line).split_whitespace().skip(1));
        words.any(|word| word.eq_ignore_ascii_case(name))
    }
}

/// Whether this place has the network that another container has left.
fn stale(container: &Container) -> Option<(String, String)> {
    let owner = |id: &str| match engine::container(id, SHARED) {
        Ok(other) => Ok(Some(Owner {
            words: format!("container {}", kept(other.short_name())),
            runs: other.state.pid != 0,
            netns: other.pid().and_then(place::netns_of),
        })),
        Err(EngineError::NoContainer(_)) => Ok(None),
        Err(_) => Err(()),
    };
    match sharing(container, place::netns_of("self")?, owner) {
        Sharing::Stale { why, next } => Some((why, next)),
        Sharing::No | Sharing::Host | Sharing::Same(_) => None,
    }
}

fn without_comment(line: &str) -> &str {
    line.split('#').next().unwrap_or_default().trim()
}

fn container(seen: &NamespaceFacts, entered: bool) -> Option<InContainer> {
    if let Some(container) = &seen.container {
        let text = |text: &str| Some(kept(text)).filter(|text| !text.is_empty());
        return Some(InContainer {
            id: text(&container.id),
            image: text(container.image_name()),
            digest: text(&container.image),
        });
    }
    let id = id_in_mounts(&seen.mounts);
    let marks = ["/.dockerenv", "/run/.containerenv"];
    let is_marked = !entered
        && marks
            .iter()
            .any(|path| fs::exists(path).unwrap_or_default());
    (id.is_some() || is_marked).then_some(InContainer {
        id,
        image: None,
        digest: None,
    })
}

/// The id of a container, from the files that Docker and Podman mount over `/etc/hosts` and its like:
/// `…/containers/ID/hosts`, `…/overlay-containers/ID/userdata/hosts`.
fn id_in_mounts(mounts: &str) -> Option<String> {
    let roots = mounts.lines().filter_map(|line| line.split(' ').nth(3));
    let mut parts = roots
        .filter(|root| root.contains("containers/"))
        .flat_map(|root| root.split('/'));
    let is_id = |part: &&str| part.len() == 64 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    parts.find(is_id).map(str::to_owned)
}

fn addresses() -> Vec<String> {
    let Ok(all) = getifaddrs() else {
        return Vec::new();
    };
    let ips = all.filter_map(|interface| {
        let address = interface.address?;
        if let Some(v4) = address.as_sockaddr_in() {
            return Some(std::net::IpAddr::V4(v4.ip()));
        }
        Some(std::net::IpAddr::V6(address.as_sockaddr_in6()?.ip()))
    });
    let mut ips: Vec<_> = ips.filter(|ip| !ip.is_loopback()).take(LINES).collect();
    ips.sort();
    ips.dedup();
    ips.iter().map(ToString::to_string).collect()
}

fn name_servers(text: &str) -> Vec<String> {
    let lines = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"));
    lines.map(|rest| kept(rest.trim())).take(LINES).collect()
}

fn hosts(text: &str) -> Vec<String> {
    let lines = text.lines().map(without_comment);
    lines
        .filter(|line| !line.is_empty())
        .map(kept)
        .take(LINES)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_shown_by_their_fingerprints() {
        let environment = Environment::parse(
            b"OPENCLAW_GATEWAY_TOKEN=canary-0123456789abcdef0123456789\0OPENCLAW_GATEWAY_PORT=18789\0\
              OPENCLAW_GATEWAY_URL=wss://u:canary@gw:1/x?token=canary\0OPENCLAW_NEW_THING=canary\0PATH=/bin\0",
        );
        let shown = environment.shown();
        assert!(!format!("{shown:?}").contains("canary"), "{shown:?}");
        assert!(shown["OPENCLAW_GATEWAY_TOKEN"].starts_with("sha256:"));
        assert_eq!(shown["OPENCLAW_GATEWAY_PORT"], "18789");
        assert_eq!(shown["OPENCLAW_GATEWAY_URL"], "wss://gw:1");
        assert!(!shown.contains_key("PATH"));
    }

    #[test]
    fn containers_are_known_by_their_mounts() {
        let id = "1f".repeat(32);
        for root in [
            format!("/var/lib/docker/containers/{id}/hosts"),
            format!("/containers/storage/overlay-containers/{id}/userdata/hosts"),
        ] {
            let mounts = format!(
                "22 1 8:1 / / rw - ext4 a rw\n29 22 8:1 {root} /etc/hosts rw - ext4 a rw\n"
            );
            assert_eq!(id_in_mounts(&mounts), Some(id.clone()));
        }
        assert_eq!(id_in_mounts("22 1 8:1 / / rw - ext4 a rw\n"), None);
        let elsewhere = format!("29 22 8:1 /{id} /etc/hosts rw - ext4 a rw\n");
        assert_eq!(id_in_mounts(&elsewhere), None);
    }

    #[test]
    fn files_are_read_without_comments() {
        assert_eq!(
            hosts("# a\n127.0.0.1 localhost # b\n\n ::1 ip6\n"),
            ["127.0.0.1 localhost", "::1 ip6"]
        );
        assert_eq!(
            name_servers("search a\nnameserver 10.0.0.1\n#nameserver x\n"),
            ["10.0.0.1"]
        );
    }
}
