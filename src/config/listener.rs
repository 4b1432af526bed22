//! Listeners: an address, and the protocol spoken on it.

pub(in crate::config) mod policy;

use super::address::{Host, ListenAddr};
use super::error::{Complaint, ConfigError};
use super::identity::Identity;
use super::listen::Listen;
use super::scalar::FromScalar;
use super::settings::FileMode;
use crate::admission::forwarded::Trusted;

pub use policy::{ClientAuth, ClientAuthMode, MinVersion, TlsPolicy};

/// What a listener's address must be, besides being well-formed.
pub(super) const EXPECTED: &str = "an address that is free to listen on";

/// One address to accept connections on.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Where to bind.
    pub listen: Listen,
    /// Permissions of the file, for a unix socket.
    pub mode: FileMode,
    /// Peers that must send a PROXY protocol header at the start of each connection; empty if there
    /// are none.
    pub proxy_protocol: Trusted,
    /// The TLS settings.
    pub tls: ListenerTls,
    /// Where it is configured: the error for the case that nothing can listen there.
    pub(super) place: ConfigError,
}

/// Whether a listener speaks TLS, and with which certificate.
#[derive(Debug, Clone)]
pub enum ListenerTls {
    /// No TLS.
    Plain,
    /// The development certificate that wstap makes itself (kept in `state_dir`).
    SelfSigned {
        /// The names and addresses that it is valid for; at least one.
        names: Vec<String>,
        /// Requirements for TLS clients.
        policy: TlsPolicy,
    },
    /// Certificates from files.
    Files {
        /// At least one; the first is the default.
        identities: Vec<Identity>,
        /// Requirements for TLS clients.
        policy: TlsPolicy,
    },
}

impl ListenerTls {
    /// Requirements for TLS clients; `None` without TLS.
    #[must_use]
    pub fn policy(&self) -> Option<&TlsPolicy> {
        match self {
            Self::Plain => None,
            Self::SelfSigned { policy, .. } | Self::Files { policy, .. } => Some(policy),
        }
    }

    /// A listener with the development certificate, without requirements for clients.
    fn self_signed(names: Vec<String>) -> Self {
        let policy = TlsPolicy::default();
        Self::SelfSigned { names, policy }
    }
}

impl Listener {
    /// The default listener: TLS on port 8443 of every address.
    pub(super) fn fallback() -> Self {
        let host = Host::Ip(std::net::Ipv6Addr::UNSPECIFIED.into());
        let tls = ListenerTls::self_signed(default_names());
        Self::unplaced(Listen::Tcp(ListenAddr { host, port: 8443 }), tls)
    }

    /// Whether only this host can connect, as far as the configuration shows, and no peer names
    /// other clients.
    #[must_use]
    pub fn serves_this_host_only(&self) -> bool {
        self.listen.is_this_host_only() && self.proxy_protocol.is_empty()
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

    /// The error that systemd passes sockets that no listener asks for.
    #[must_use]
    pub fn missing_for(sockets: &str) -> ConfigError {
        let expected = "a `listen: systemd:NAME` for each socket from systemd";
        ConfigError::somewhere("listeners", expected, format!("none for {sockets}"))
    }

    /// Parses `--listen`: an address, or one with a scheme. TLS unless the scheme says otherwise.
    pub(super) fn from_override(text: &str) -> Result<Self, Complaint> {
        let expected = || {
            "`host:port`, or `https://host:port`, `http://host:port` (also wss and ws)".to_owned()
        };
        let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" | "wss" => true,
            "http" | "ws" => false,
            _ => return Err(Complaint::new(expected(), "another scheme")),
        };
        let has_scheme = rest.len() < text.len();
        let address = if has_scheme {
            rest.strip_suffix('/').unwrap_or(rest)
        } else {
            rest
        };
        if address.starts_with("unix:") || address.starts_with("systemd") {
            let listen = Listen::from_text(address)?;
            // No network is involved here: plain, unless the scheme asks for TLS.
            if listen.tcp().is_none() {
                let names = default_names();
                let tls = if has_scheme && secure {
                    ListenerTls::self_signed(names)
                } else {
                    ListenerTls::Plain
                };
                return Ok(Self::unplaced(listen, tls));
            }
        }
        if address.contains(['/', '?', '#']) {
            return Err(Complaint::new(expected(), "more than an address"));
        }
        let listen = ListenAddr::from_text(address).map_err(|complaint| {
            let expected = complaint.expected.replace(" (in quotes in a file)", "");
            Complaint {
                expected,
                ..complaint
            }
        })?;
        if !secure {
            return Ok(Self::unplaced(Listen::Tcp(listen), ListenerTls::Plain));
        }
        let mut names = default_names();
        if let Some(name) = listen
            .host
            .name()
            .filter(|name| !names.iter().any(|n| n == name))
        {
            names.push(name.to_owned());
        }
        let tls = ListenerTls::self_signed(names);
        Ok(Self::unplaced(Listen::Tcp(listen), tls))
    }

    fn unplaced(listen: Listen, tls: ListenerTls) -> Self {
        let place = ConfigError::somewhere("listeners", EXPECTED, "");
        Self {
            listen,
            mode: FileMode::SOCKET,
            proxy_protocol: Trusted::default(),
            tls,
            place,
        }
    }
}

/// The names of the development certificate if none are configured.
pub(super) fn default_names() -> Vec<String> {
    vec!["localhost".to_owned(), "wstap".to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_choose_tls() {
        for text in [
            "127.0.0.1:8443",
            "https://127.0.0.1:8443/",
            "WSS://127.0.0.1:8443",
        ] {
            let listener = Listener::from_override(text).unwrap();
            assert_eq!(listener.listen.to_string(), "127.0.0.1:8443");
            assert!(
                matches!(&listener.tls, ListenerTls::SelfSigned { names, .. } if names == &default_names())
            );
        }
        for text in ["http://[::]:80", "ws://[::]:80/"] {
            let listener = Listener::from_override(text).unwrap();
            assert!(matches!(listener.tls, ListenerTls::Plain));
        }
    }

    #[test]
    fn sockets_without_a_network_are_plain_unless_told() {
        for (text, place, plain) in [
            ("unix:/run/tap.sock", "unix:/run/tap.sock", true),
            ("http://unix:/run/tap.sock", "unix:/run/tap.sock", true),
            ("https://unix:/run/tap.sock", "unix:/run/tap.sock", false),
            ("systemd", "systemd", true),
            ("wss://systemd:tap", "systemd:tap", false),
            ("systemd:8443", "systemd:8443", false),
        ] {
            let listener = Listener::from_override(text).unwrap();
            assert_eq!(listener.listen.to_string(), place);
            assert_eq!(matches!(listener.tls, ListenerTls::Plain), plain, "{text}");
        }
    }

    #[test]
    fn a_host_name_joins_the_names() {
        let names = |text| match Listener::from_override(text).unwrap().tls {
            ListenerTls::SelfSigned { names, .. } => names,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            names("tap.internal:1"),
            ["localhost", "wstap", "tap.internal"]
        );
        assert_eq!(names("localhost:1"), ["localhost", "wstap"]);
    }

    #[test]
    fn bad_addresses_are_refused() {
        for (text, expected) in [
            ("ftp://x:1", "`host:port`, or"),
            ("https://x:1/path", "`host:port`, or"),
            ("https://127.0.0.1", "`host:port`"),
            ("8443", "`[::]:8443`"),
            ("", "`host:port`"),
        ] {
            let complaint = Listener::from_override(text).unwrap_err();
            assert!(
                complaint.expected.contains(expected),
                "{text}: {complaint:?}"
            );
        }
        let complaint = Listener::from_override("https://me:hunter2@h:1").unwrap_err();
        assert!(!format!("{complaint:?}").contains("hunter2"));
    }
}
