//! The admin listener: its address, who may send requests, and under which host names.
//!
//! Its answers are not for everybody, so a token is required beyond loopback. Any page can make a
//! browser on this host send requests to it, by pointing its own name here (DNS rebinding), so the
//! Host header must be a name that the operator uses.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use schemars::{Schema, json_schema};

use super::address::{Host, ListenAddr, parse_host, parse_port};
use super::error::{Complaint, ConfigError, quoted};
use super::scalar::FromScalar;
use super::secret::AdminToken;

/// The port if none is configured.
const PORT: u16 = 8480;

/// What `admin.listen` must be, besides being well-formed.
pub(super) const EXPECTED: &str = "an address that is free to listen on";

/// A configured admin listener.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Where to bind.
    pub listen: ListenAddr,
    /// The token that every request must carry; there always is one if other hosts can connect.
    pub token: Option<AdminToken>,
    /// Names that requests may use besides loopback names and the address that they reached.
    pub(super) hosts: Vec<Host>,
    /// Where it is configured: the error for the case that nothing can listen there.
    pub(super) place: ConfigError,
}

impl Admin {
    /// The address if the section has none.
    pub(super) fn default_listen() -> ListenAddr {
        let host = Host::Ip(Ipv4Addr::LOCALHOST.into());
        ListenAddr { host, port: PORT }
    }

    /// The listener to ask, from `wstap health --admin ADDR`.
    pub fn from_flags(listen: &str, token_file: Option<&Path>) -> Result<Self, String> {
        let flag_error =
            |flag: &str,
             Complaint {
                 expected, found, ..
             }| { format!("{flag}: expected {expected}, found {found}") };
        let listen = ListenAddr::from_text(listen.trim())
            .map_err(|complaint| flag_error("--admin", complaint))?;
        let token = token_file.map(AdminToken::read).transpose();
        Ok(Self {
            listen,
            token: token.map_err(|complaint| flag_error("--token-file", complaint))?,
            hosts: Vec::new(),
            place: ConfigError::somewhere("admin.listen", EXPECTED, ""),
        })
    }

    /// The default listener of a tap with `admin: {}`.
    pub fn by_default(token_file: Option<&Path>) -> Result<Self, String> {
        Self::from_flags(&Self::default_listen().to_string(), token_file)
    }

    /// The complaint about a listener that others can reach and that has no token.
    pub(super) fn open_to_others(listen: &ListenAddr) -> Complaint {
        let expected = "a loopback address such as `127.0.0.1:8480`, or a token for everybody \
                        else: add `token_file: /run/secrets/wstap-admin` under `admin`";
        Complaint::new(expected, format!("`{listen}` without a token"))
    }

    /// The error that nothing can listen here, with what to do, and with file, line and key if
    /// there is a file.
    #[must_use]
    pub fn cannot_listen(
        &self,
        failed: impl Into<String>,
        advice: impl Into<String>,
    ) -> ConfigError {
        self.place.with_failure(failed, advice)
    }

    /// Whether a Host header (`name`, `name:port`) names this listener, for a request that came to
    /// the address `reached`: accepted are loopback names, that address, the address that it
    /// listens on, and `hosts`.
    #[must_use]
    pub fn is_known_as(&self, header: &str, reached: IpAddr) -> bool {
        let Some(host) = host_of(header) else {
            return false;
        };
        host.is_loopback()
            || host
                .ip()
                .is_some_and(|ip| ip.to_canonical() == reached.to_canonical())
            || same(&host, &self.listen.host)
            || self.hosts.iter().any(|known| same(&host, known))
    }
}

/// The host of a Host header, whatever its port.
fn host_of(header: &str) -> Option<Host> {
    if let Some(host) = parse_host(header) {
        return Some(host);
    }
    let (host, port) = header.rsplit_once(':')?;
    if !port.is_empty() {
        parse_port(port)?;
    }
    parse_host(host)
}

fn same(one: &Host, other: &Host) -> bool {
    match (one, other) {
        (Host::Name(one), Host::Name(other)) => {
            let bare = |name: &str| name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
            bare(one) == bare(other)
        }
        (Host::Ip(one), Host::Ip(other)) => one.to_canonical() == other.to_canonical(),
        _ => false,
    }
}

/// A name of `admin.hosts`.
#[derive(Debug)]
pub(super) struct AdminHost(pub(super) Host);

impl FromScalar for AdminHost {
    fn expected() -> String {
        "a host name or an IP address without a port, such as `tap.internal`".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let found = if text.contains('@') {
            "a text with `@`".to_owned()
        } else {
            quoted(text)
        };
        let bracketed = format!("[{text}]");
        parse_host(text)
            .or_else(|| parse_host(&bracketed))
            .map(Self)
            .ok_or_else(|| Complaint::new(Self::expected(), found))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "examples": ["tap.internal"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admin(listen: &str, hosts: &[&str]) -> Admin {
        let hosts = hosts
            .iter()
            .map(|host| AdminHost::from_text(host).unwrap().0)
            .collect();
        Admin {
            hosts,
            ..Admin::from_flags(listen, None).unwrap()
        }
    }

    #[test]
    fn only_names_that_the_operator_knows_pass() {
        let admin = admin("0.0.0.0:8480", &["Tap.internal", "fd00::1"]);
        let reached: IpAddr = "10.0.0.5".parse().unwrap();
        for host in [
            "localhost",
            "LOCALHOST:8480",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:8480",
            "10.0.0.5:8480",
            "tap.internal",
            "TAP.internal.:8480",
            "[fd00::1]:80",
        ] {
            assert!(admin.is_known_as(host, reached), "{host}");
        }
        for host in [
            "",
            ":8480",
            "evil.example",
            "evil.example:8480",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.6",
            "tap.internal:http",
            "localhost:99999",
            "me@localhost",
            "::1",
            "localhost, evil.example",
        ] {
            assert!(!admin.is_known_as(host, reached), "{host}");
        }
    }

    #[test]
    fn a_name_that_it_listens_under_is_known() {
        let reached: IpAddr = "192.0.2.1".parse().unwrap();
        assert!(admin("gw:1", &[]).is_known_as("GW:1", reached));
        assert!(!admin("gw:1", &[]).is_known_as("gw.example:1", reached));
    }

    #[test]
    fn hosts_have_no_port() {
        for text in ["tap:8480", "http://tap", "me:hunter2@tap", "*", ""] {
            let complaint = AdminHost::from_text(text).unwrap_err();
            assert!(complaint.expected.contains("without a port"), "{text}");
            assert!(!complaint.found.contains("hunter2"));
        }
    }
}
