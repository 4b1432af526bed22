//! Addresses to listen on and to dial: hosts with ports, without resolving anything.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use schemars::{Schema, json_schema};

use super::error::{Complaint, quoted};
use super::scalar::FromScalar;

/// A host name or an IP address. Displays as in a URL: IPv6 in brackets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name that has yet to be resolved.
    Name(String),
    /// An address.
    Ip(IpAddr),
}

impl Host {
    /// The host name; `None` for an address.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            Self::Ip(_) => None,
        }
    }

    /// The address; `None` for a name.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Name(_) => None,
            Self::Ip(address) => Some(*address),
        }
    }

    /// Whether only this machine can reach it: a loopback address or `localhost`.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Name(name) => name.eq_ignore_ascii_case("localhost"),
            Self::Ip(address) => address.to_canonical().is_loopback(),
        }
    }

    /// The form for resolvers, which want IPv6 addresses without brackets.
    #[must_use]
    pub fn to_unbracketed(&self) -> String {
        match self {
            Self::Name(name) => name.clone(),
            Self::Ip(address) => address.to_string(),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(address)) => address.fmt(f),
            Self::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// The address that a listener binds to: `127.0.0.1:8443`, `[::]:8443`, `localhost:0`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListenAddr {
    /// Name or address; a name may resolve to several addresses.
    pub host: Host,
    /// TCP port; 0 lets the system choose one.
    pub port: u16,
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl FromScalar for ListenAddr {
    fn expected() -> String {
        "`host:port`, such as `[::]:8443` or `127.0.0.1:8443`".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let wrong = || Complaint::new(Self::expected(), shown(text));
        if text.contains("://") {
            let expected = "`host:port` without a scheme (the `tls` key chooses TLS)";
            return Err(Complaint::new(expected, "a URL"));
        }
        if text.starts_with("unix:") {
            return Err(Complaint::new(Self::expected(), "a unix socket"));
        }
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(every_address(text, "a port alone"));
        }
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            let expected = format!("an IPv6 address in brackets and a port: `[{address}]:8443`");
            return Err(Complaint::new(expected, quoted(text)));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        if host.is_empty() || host == "*" {
            return Err(every_address(port, "no host"));
        }
        if let Ok(address) = host.parse::<Ipv6Addr>() {
            let expected = format!("an IPv6 address in brackets: `[{address}]:{port}`");
            return Err(Complaint::new(expected, quoted(text)));
        }
        let host = parse_host(host).ok_or_else(wrong)?;
        let port = parse_port(port).ok_or_else(|| {
            Complaint::new("a port from 0 to 65535 after the last colon", shown(text))
        })?;
        Ok(Self { host, port })
    }

    fn from_number(number: u64) -> Result<Self, Complaint> {
        Err(every_address(&number.to_string(), "a port alone"))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "examples": ["[::]:8443", "127.0.0.1:8443"] })
    }
}

fn every_address(port: &str, found: &str) -> Complaint {
    let port = parse_port(port).unwrap_or(8443);
    let expected =
        format!("`host:port`; for every address write `[::]:{port}` (in quotes in a file)");
    Complaint::new(expected, found)
}

/// A text that should be an address; one with `@` may hold a password and is not shown.
fn shown(text: &str) -> String {
    if text.contains('@') {
        "a text with `@`".to_owned()
    } else {
        quoted(text)
    }
}

/// A host as written in a URL: a name, an IPv4 address or an IPv6 address in brackets.
pub(super) fn parse_host(text: &str) -> Option<Host> {
    if let Some(inner) = text.strip_prefix('[') {
        let address: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
        return Some(Host::Ip(address.into()));
    }
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Some(Host::Ip(address.into()));
    }
    is_name(text).then(|| Host::Name(text.to_owned()))
}

/// Letters, digits, `-` and `_` (used by Compose services) in labels of 1 to 63; the last label
/// must not be a number, because that would be a broken IPv4 address.
fn is_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let legal = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let last_is_number = name
        .rsplit('.')
        .next()
        .is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    name.len() <= 253 && name.split('.').all(legal) && !last_is_number
}

pub(super) fn parse_port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written_back() {
        for text in [
            "[::]:8443",
            "127.0.0.1:0",
            "localhost:80",
            "my_host.internal:65535",
        ] {
            assert_eq!(ListenAddr::from_text(text).unwrap().to_string(), text);
        }
        assert!(ListenAddr::from_text("[::1]:1").unwrap().host.is_loopback());
        assert_eq!(
            ListenAddr::from_text("[::1]:1")
                .unwrap()
                .host
                .to_unbracketed(),
            "::1"
        );
    }

    #[test]
    fn bad_addresses_get_advice() {
        for (text, expected) in [
            ("8443", "`[::]:8443`"),
            (":9000", "`[::]:9000`"),
            ("*:9000", "`[::]:9000`"),
            ("::1", "`[::1]:8443`"),
            ("::1:80:8443", "`[::1:80:8443]:8443`"),
            ("localhost", "`host:port`"),
            ("localhost:", "a port from"),
            ("localhost:99999", "a port from"),
            ("localhost:+80", "a port from"),
            ("300.1.1.1:80", "`host:port`"),
            ("a b:80", "`host:port`"),
            ("[::1:80", "`host:port`"),
            ("https://x:1", "without a scheme"),
            ("", "`host:port`"),
        ] {
            let complaint = ListenAddr::from_text(text).unwrap_err();
            assert!(
                complaint.expected.contains(expected),
                "{text}: {complaint:?}"
            );
        }
        assert!(
            !ListenAddr::from_text("me:pw@h")
                .unwrap_err()
                .found
                .contains("pw")
        );
    }
}
