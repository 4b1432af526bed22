//! Where a listener listens: a TCP address, a unix socket, or a socket that systemd passes.

use std::fmt;
use std::path::{Path, PathBuf};

use schemars::{Schema, json_schema};

use super::address::{Host, ListenAddr, parse_port};
use super::error::{Complaint, quoted};
use super::scalar::FromScalar;

/// Longest path of a unix socket on Linux: `sun_path` has 108 bytes, and the last one is NUL.
const LONGEST_PATH: usize = 107;

/// Longest name of a passed socket (systemd.socket(5), `FileDescriptorName`).
const LONGEST_NAME: usize = 255;

/// `listeners[].listen`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Listen {
    /// `host:port`.
    Tcp(ListenAddr),
    /// `unix:/path`; absolute.
    Unix(PathBuf),
    /// `systemd:NAME`: the sockets that systemd passes under this name; `systemd`: the only one,
    /// whatever its name.
    Systemd(Option<String>),
}

impl Listen {
    /// The TCP address; `None` for the others.
    #[must_use]
    pub fn tcp(&self) -> Option<&ListenAddr> {
        match self {
            Self::Tcp(addr) => Some(addr),
            Self::Unix(_) | Self::Systemd(_) => None,
        }
    }

    /// The host of the TCP address.
    #[must_use]
    pub fn host(&self) -> Option<&Host> {
        self.tcp().map(|addr| &addr.host)
    }

    /// Whether only this host can connect, as far as the configuration shows; for a passed socket
    /// it does not.
    #[must_use]
    pub fn is_this_host_only(&self) -> bool {
        match self {
            Self::Tcp(addr) => addr.host.is_loopback(),
            Self::Unix(_) => true,
            Self::Systemd(_) => false,
        }
    }

    /// Makes the path of a unix socket absolute, with `locate`.
    pub(super) fn with_socket(
        self,
        locate: impl FnOnce(&Path) -> PathBuf,
    ) -> Result<Self, Complaint> {
        let Self::Unix(path) = self else {
            return Ok(self);
        };
        let path = locate(&path);
        too_long(&path).map_or(Ok(Self::Unix(path)), Err)
    }

    /// Whether two listeners cannot both have this address.
    #[must_use]
    pub fn is_exclusive(&self) -> bool {
        self.tcp().is_none_or(|addr| addr.port != 0)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Systemd(Some(name)) => write!(f, "systemd:{name}"),
            Self::Systemd(None) => f.write_str("systemd"),
        }
    }
}

impl FromScalar for Listen {
    fn expected() -> String {
        ListenAddr::expected()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(path).map(Self::Unix);
        }
        if text == "systemd" {
            return Ok(Self::Systemd(None));
        }
        match text.strip_prefix("systemd:") {
            // A host may have this name, but then it has a port.
            Some(rest) if parse_port(rest).is_none() => name(rest),
            _ => ListenAddr::from_text(text).map(Self::Tcp),
        }
    }

    fn from_number(number: u64) -> Result<Self, Complaint> {
        ListenAddr::from_number(number).map(Self::Tcp)
    }

    fn schema() -> Schema {
        json_schema!({
            "type": "string",
            "examples": ["[::]:8443", "127.0.0.1:8443", "unix:/run/wstap/wstap.sock", "systemd:https"],
        })
    }
}

fn unix(path: &str) -> Result<PathBuf, Complaint> {
    let wrong = |found: &str| Err(Complaint::new("`unix:/path/of/the.sock`", found));
    let path = match path.strip_prefix("//") {
        Some(rest) if rest.starts_with('/') => rest,
        Some(_) => return wrong("a host after `unix://`"),
        None => path,
    };
    if path.starts_with('@') || path.contains('\0') {
        return wrong("an abstract socket, which everybody on this host could connect to");
    }
    if path.is_empty() || path.ends_with('/') {
        return wrong("no file name");
    }
    let path = PathBuf::from(path);
    too_long(&path).map_or(Ok(path), Err)
}

/// The complaint if a path is too long for a unix socket.
fn too_long(path: &Path) -> Option<Complaint> {
    let length = path.as_os_str().len();
    let expected =
        format!("a path of at most {LONGEST_PATH} bytes, which is all that a unix socket can have");
    (length > LONGEST_PATH).then(|| Complaint::new(expected, format!("{length} bytes")))
}

/// A name as systemd allows it: ASCII without control characters and `:`.
fn name(text: &str) -> Result<Listen, Complaint> {
    let legal = |byte: u8| byte.is_ascii_graphic() && byte != b':' || byte == b' ';
    if text.is_empty() || text.len() > LONGEST_NAME || !text.bytes().all(legal) {
        let expected = "`systemd:NAME` with the `FileDescriptorName` of the socket unit";
        return Err(Complaint::new(expected, quoted(text)));
    }
    Ok(Listen::Systemd(Some(text.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_written_back() {
        for text in [
            "[::]:8443",
            "unix:/run/wstap.sock",
            "unix:tap.sock",
            "systemd",
            "systemd:https",
        ] {
            assert_eq!(Listen::from_text(text).unwrap().to_string(), text);
        }
        let short = Listen::from_text("unix:///run/wstap.sock").unwrap();
        assert_eq!(short.to_string(), "unix:/run/wstap.sock");
        assert!(Listen::from_text("systemd:8443").unwrap().tcp().is_some());
        let longest = format!("unix:/{}", "x".repeat(106));
        assert!(Listen::from_text(&longest).is_ok());
    }

    #[test]
    fn bad_places_get_advice() {
        let long = format!("unix:/{}", "x".repeat(107));
        for (text, expected) in [
            ("unix:", "`unix:/path"),
            ("unix:/run/", "`unix:/path"),
            ("unix://run/wstap.sock", "`unix:/path"),
            ("unix:@wstap", "`unix:/path"),
            (&long, "at most 107 bytes"),
            ("systemd:", "`FileDescriptorName`"),
            ("systemd:a:b", "`FileDescriptorName`"),
            ("systemd:\u{7}", "`FileDescriptorName`"),
            ("8443", "`[::]:8443`"),
        ] {
            let complaint = Listen::from_text(text).unwrap_err();
            assert!(
                complaint.expected.contains(expected),
                "{text}: {complaint:?}"
            );
        }
    }
}
