//! The gateway behind the tap: how to reach it and which protocol it speaks.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use data_encoding::HEXLOWER;
use rustls_pki_types::{CertificateDer, ServerName};
use schemars::{JsonSchema, Schema, json_schema};
use serde::Deserialize;
use url::Url;

use super::address::{Host, parse_host};
use super::error::{Complaint, ConfigError, quoted};
use super::scalar::FromScalar;
use crate::admission::forwarded::Mode;
use crate::dialect::Choice;

/// The gateway of this configuration.
#[derive(Debug)]
pub struct Gateway {
    pub(super) url: GatewayUrl,
    pub(super) dialect: Dialect,
    pub(super) tls: GatewayTls,
    pub(super) forwarded: Mode,
    pub(super) allow_remote_as_local: bool,
    /// The error for the case that the gateway turns out to be on this host; `None` where that is
    /// allowed.
    pub(super) only_elsewhere: Option<ConfigError>,
    /// Error for a URL that leads to this tap itself.
    pub(super) url_place: ConfigError,
}

impl Gateway {
    /// The URL as configured, without a trailing slash; never contains credentials.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url.text
    }

    /// Whether the connection is encrypted; plain for a unix socket.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.url.scheme
    }

    /// The target to dial.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.url.target
    }

    /// Whether both are the same gateway, reached in the same way and with the same client
    /// information.
    #[must_use]
    pub fn is_reached_like(&self, other: &Self) -> bool {
        let Self {
            url,
            dialect,
            tls,
            forwarded,
            allow_remote_as_local,
            only_elsewhere: _,
            url_place: _,
        } = self;
        url.text == other.url.text
            && *dialect == other.dialect
            && *tls == other.tls
            && *forwarded == other.forwarded
            && *allow_remote_as_local == other.allow_remote_as_local
    }

    /// The protocol inside the WebSocket.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// How the gateway learns who the client is.
    #[must_use]
    pub fn forwarded(&self) -> Mode {
        self.forwarded
    }

    /// Whether [`Mode::None`] and [`Mode::Pass`] may make remote clients local.
    #[must_use]
    pub fn allow_remote_as_local(&self) -> bool {
        self.allow_remote_as_local
    }

    /// Whether the gateway sees us as its own host, as far as the URL shows: a loopback address,
    /// `localhost` or a unix socket. Another name may still resolve to loopback.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match &self.url.target {
            // Connecting to the unspecified address reaches loopback.
            Target::Tcp { host, .. } => {
                host.is_loopback() || host.ip().is_some_and(|ip| ip.is_unspecified())
            }
            Target::Unix(_) => true,
        }
    }

    /// The error, with its position, for a gateway whose name resolves to `found` on this host if
    /// that would make remote clients local; `None` where that is allowed.
    #[must_use]
    pub fn must_be_elsewhere(&self, found: &str) -> Option<ConfigError> {
        let error = self.only_elsewhere.as_ref()?;
        Some(error.with_found(format!("`{}` before {found}", self.forwarded.as_str())))
    }

    /// The error, with file and line, for a URL that leads to this socket of the tap.
    #[must_use]
    pub fn leads_to(&self, own: &str) -> ConfigError {
        self.url_place
            .with_found(format!("`{}`, where {own} listens", self.url.text))
    }

    /// How to verify the gateway; only used with [`Scheme::Https`].
    #[must_use]
    pub fn tls(&self) -> &GatewayTls {
        &self.tls
    }

    /// `host[:port]` as in a Host header, without the port if it is the scheme's default;
    /// `localhost` for a unix socket.
    #[must_use]
    pub fn authority(&self) -> String {
        match &self.url.target {
            Target::Tcp { host, port } if *port == self.url.scheme.default_port() => {
                host.to_string()
            }
            Target::Tcp { host, port } => format!("{host}:{port}"),
            Target::Unix(_) => "localhost".to_owned(),
        }
    }
}

/// Whether the connection to the gateway uses TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Plain HTTP, also `ws`.
    Http,
    /// HTTP over TLS, also `wss`.
    Https,
}

impl Scheme {
    /// The port if the URL has none.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// The target to dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A host, to be resolved for each connection.
    Tcp {
        /// Name or address.
        host: Host,
        /// TCP port, never 0.
        port: u16,
    },
    /// The absolute path of a unix socket.
    Unix(PathBuf),
}

/// The protocol inside the WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// The `OpenClaw` gateway protocol: connect handshake, requests, events.
    #[default]
    OpenClaw,
    /// Nothing is known about the messages.
    Plain,
}

impl From<Dialect> for Choice {
    fn from(dialect: Dialect) -> Self {
        match dialect {
            Dialect::OpenClaw => Self::OpenClaw,
            Dialect::Plain => Self::Plain,
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Choice::from(*self).profile().name)
    }
}

/// How the gateway's certificate is verified.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct GatewayTls {
    pub(super) ca: Vec<CertificateDer<'static>>,
    pub(super) server_name: Option<ServerName<'static>>,
    pub(super) fingerprint: Option<[u8; 32]>,
}

impl GatewayTls {
    /// The roots to trust instead of the system's; empty for the system's.
    #[must_use]
    pub fn ca(&self) -> &[CertificateDer<'static>] {
        &self.ca
    }

    /// The SHA-256 of the only certificate that is accepted, whatever its name and dates; `None` if
    /// any certificate is accepted that the roots vouch for.
    #[must_use]
    pub fn fingerprint(&self) -> Option<[u8; 32]> {
        self.fingerprint
    }

    /// The name to request by SNI and to verify; `None` for the host of the URL.
    #[must_use]
    pub fn server_name(&self) -> Option<&ServerName<'static>> {
        self.server_name.as_ref()
    }
}

/// A parsed gateway URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GatewayUrl {
    pub(super) text: String,
    pub(super) scheme: Scheme,
    pub(super) target: Target,
}

impl GatewayUrl {
    /// Makes the path of a unix socket absolute, with `locate`.
    pub(super) fn with_socket(self, locate: impl FnOnce(&Path) -> PathBuf) -> Self {
        let Target::Unix(path) = &self.target else {
            return self;
        };
        let path = locate(path);
        Self {
            text: format!("unix:{}", path.display()),
            target: Target::Unix(path),
            ..self
        }
    }
}

/// Schemes that an error may show. Anything else before `://` may be a misplaced secret.
const KNOWN_SCHEMES: [&str; 8] = ["ftp", "file", "tcp", "tls", "ssl", "h2", "h2c", "grpc"];

impl FromScalar for GatewayUrl {
    fn expected() -> String {
        "a URL with http, https, ws, wss or unix, such as `http://openclaw-gateway:18789`".into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let wrong = |found: &str| Complaint::new(Self::expected(), found);
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(wrong("white space in it"));
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(path);
        }
        let Some((scheme, _)) = text.split_once("://") else {
            return Err(without_scheme(text));
        };
        let written = scheme.to_ascii_lowercase();
        let scheme = match written.as_str() {
            "http" | "ws" => Scheme::Http,
            "https" | "wss" => Scheme::Https,
            other if KNOWN_SCHEMES.contains(&other) => {
                return Err(wrong(&format!("the scheme `{other}`")));
            }
            _ => return Err(wrong("another scheme")),
        };
        let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
        let host = url
            .host_str()
            .and_then(parse_host)
            .ok_or_else(|| wrong("a bad host name"))?;
        let port = url.port().unwrap_or(scheme.default_port());
        let shown_port = url
            .port()
            .map(|port| format!(":{port}"))
            .unwrap_or_default();
        let text = format!("{written}://{host}{shown_port}");
        if let Some(complaint) = extras(&url, &text) {
            return Err(complaint);
        }
        if port == 0 {
            return Err(wrong("port 0"));
        }
        Ok(Self {
            text,
            scheme,
            target: Target::Tcp { host, port },
        })
    }

    fn schema() -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^((http|https|ws|wss)://[^/?#@]+/?|unix:.+)$",
            "examples": ["http://openclaw-gateway:18789", "unix:/run/openclaw/gateway.sock"],
        })
    }
}

/// The complaint about parts that do not belong in the URL. The parts themselves may be secrets and
/// are not shown.
fn extras(url: &Url, corrected: &str) -> Option<Complaint> {
    let mut found = Vec::new();
    let mut advice = Vec::new();
    if !url.username().is_empty() || url.password().is_some() {
        found.push("a user name or password");
        advice.push("clients bring their own credentials");
    }
    if url.path() != "/" {
        found.push("a path");
        advice.push("the client's own path is passed on");
    }
    if url.query().is_some() {
        found.push("a query");
        advice.push("the client's own query is passed on");
    }
    if url.fragment().is_some() {
        found.push("a fragment");
        advice.push("fragments are never sent");
    }
    if found.is_empty() {
        return None;
    }
    let expected = format!("`{corrected}` alone ({})", advice.join(", "));
    Some(Complaint::new(
        expected,
        format!("{} (not shown)", found.join(" and ")),
    ))
}

fn unix(path: &str) -> Result<GatewayUrl, Complaint> {
    let wrong = |found| Complaint::new("`unix:/path/of/the.sock`", found);
    let path = match path.strip_prefix("//") {
        Some(path) if path.starts_with('/') => path,
        Some(_) => return Err(wrong("a host after `unix://`")),
        None => path,
    };
    if path.is_empty() || path.ends_with('/') {
        return Err(wrong("no file name"));
    }
    Ok(GatewayUrl {
        text: format!("unix:{path}"),
        scheme: Scheme::Http,
        target: Target::Unix(PathBuf::from(path)),
    })
}

fn without_scheme(text: &str) -> Complaint {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, "18789"));
    match (parse_host(host), u16::from_str(port)) {
        (Some(host), Ok(port)) => Complaint::new(
            format!("a URL with a scheme: `http://{host}:{port}`"),
            "no scheme",
        ),
        _ => Complaint::new(GatewayUrl::expected(), "no scheme"),
    }
}

/// A name or address that a certificate can be issued for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CertName(pub(super) ServerName<'static>);

impl CertName {
    /// The name as it is written.
    pub(super) fn text(&self) -> String {
        self.0.to_str().into_owned()
    }
}

impl FromScalar for CertName {
    fn expected() -> String {
        "a host name or an IP address, such as `gateway.internal`".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        ServerName::try_from(text.to_owned())
            .map(Self)
            .map_err(|_| Complaint::new(Self::expected(), quoted(text)))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }
}

/// The SHA-256 of a certificate: 64 hexadecimal digits, with or without `sha256:` and colons, as
/// `openssl x509 -fingerprint -sha256` and OpenClaw write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fingerprint(pub(super) [u8; 32]);

impl FromScalar for Fingerprint {
    fn expected() -> String {
        "the SHA-256 of a certificate, 64 hexadecimal digits".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let complaint = || Complaint::new(Self::expected(), quoted(text));
        let digits = text.to_ascii_lowercase();
        let digits = digits.strip_prefix("sha256:").unwrap_or(&digits);
        let digits = digits.replace(':', "");
        let bytes = HEXLOWER
            .decode(digits.as_bytes())
            .map_err(|_| complaint())?;
        bytes.try_into().map(Self).map_err(|_| complaint())
    }

    fn schema() -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^([Ss][Hh][Aa]256:)?([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_in_every_way_that_tools_write_it() {
        let plain = "463e9a4fb000b3f30956b666b90b90100138b1f19c9b78de0cc8dc7c82d0e480";
        let pairs: Vec<&str> = (0..32).map(|at| &plain[2 * at..2 * at + 2]).collect();
        let colons = pairs.join(":");
        let read = |text: &str| Fingerprint::from_text(text).ok();
        let wanted = read(plain);
        assert!(wanted.is_some());
        for text in [
            plain.to_uppercase(),
            format!("sha256:{plain}"),
            colons.to_uppercase(),
            format!("SHA256:{colons}"),
        ] {
            assert_eq!(read(&text), wanted, "{text}");
        }
        for wrong in [
            "",
            "sha256:",
            &plain[1..],
            "zz3e9a4f",
            &format!("{plain}00"),
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    fn gateway(text: &str) -> Gateway {
        Gateway {
            url: GatewayUrl::from_text(text).unwrap(),
            dialect: Dialect::default(),
            tls: GatewayTls::default(),
            forwarded: Mode::default(),
            allow_remote_as_local: false,
            only_elsewhere: None,
            url_place: ConfigError::somewhere("gateway.url", "", ""),
        }
    }

    #[test]
    fn urls_are_understood() {
        for (text, shown, scheme, authority, port) in [
            (
                "http://gw:18789",
                "http://gw:18789",
                Scheme::Http,
                "gw:18789",
                18789,
            ),
            (
                "ws://gw:18789/",
                "ws://gw:18789",
                Scheme::Http,
                "gw:18789",
                18789,
            ),
            ("WSS://Gw", "wss://gw", Scheme::Https, "gw", 443),
            (
                "https://[::1]:443/",
                "https://[::1]",
                Scheme::Https,
                "[::1]",
                443,
            ),
            (
                "http://127.0.0.1",
                "http://127.0.0.1",
                Scheme::Http,
                "127.0.0.1",
                80,
            ),
            (
                "wss://10.0.0.1:80",
                "wss://10.0.0.1:80",
                Scheme::Https,
                "10.0.0.1:80",
                80,
            ),
        ] {
            let gateway = gateway(text);
            assert_eq!(gateway.url(), shown);
            assert_eq!(gateway.scheme(), scheme);
            assert_eq!(gateway.authority(), authority);
            assert!(matches!(gateway.target(), Target::Tcp { port: p, .. } if *p == port));
        }
    }

    #[test]
    fn unix_sockets_are_plain() {
        for text in ["unix:/run/gw.sock", "unix:///run/gw.sock"] {
            let gateway = gateway(text);
            assert_eq!(gateway.url(), "unix:/run/gw.sock");
            assert_eq!(gateway.target(), &Target::Unix("/run/gw.sock".into()));
            assert_eq!(gateway.scheme(), Scheme::Http);
            assert_eq!(gateway.authority(), "localhost");
        }
    }

    #[test]
    fn bad_urls_get_advice() {
        for (text, expected, found) in [
            ("gw:18789", "`http://gw:18789`", "no scheme"),
            ("gw", "`http://gw:18789`", "no scheme"),
            ("", "a URL with http", "no scheme"),
            ("ftp://gw", "a URL with http", "the scheme `ftp`"),
            ("http://", "a URL with http", "empty host"),
            ("http://gw:0", "a URL with http", "port 0"),
            ("http://gw:99999", "a URL with http", "invalid port number"),
            ("http://gw /", "a URL with http", "white space in it"),
            ("http://gw/path", "`http://gw` alone", "a path (not shown)"),
            (
                "http://gw?a=b#c",
                "`http://gw` alone",
                "a query and a fragment (not shown)",
            ),
            (
                "unix://run/gw.sock",
                "`unix:/path/of/the.sock`",
                "a host after `unix://`",
            ),
            ("unix:", "`unix:/path/of/the.sock`", "no file name"),
        ] {
            let complaint = GatewayUrl::from_text(text).unwrap_err();
            assert!(
                complaint.expected.contains(expected),
                "{text}: {complaint:?}"
            );
            assert_eq!(complaint.found, found, "{text}");
        }
    }

    #[test]
    fn credentials_are_never_echoed() {
        for text in [
            "http://hunter2:hunter2@gw:18789",
            "http://hunter2@gw/hunter2?token=hunter2#hunter2",
            "hunter2:hunter2@gw",
            "hunter2@gw:80",
            "hunter2:hunter2://gw",
            "http://hunter2:hunter2@:80",
            "http://gw/hunter2 hunter2",
            "unix://hunter2:hunter2@gw/",
        ] {
            let complaint = GatewayUrl::from_text(text).unwrap_err();
            assert!(
                !format!("{complaint:?}").contains("hunter2"),
                "{complaint:?}"
            );
        }
    }
}
