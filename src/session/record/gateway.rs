//! The upstream leg of a record.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::close::TransportEnd;
use super::codes::TlsAlert;
use super::frames::TcpFacts;
use super::request::HeaderFact;
use crate::session::text::PeerText;

/// How the gateway was reached and what it answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GatewayFacts {
    /// The configured target.
    pub url: String,
    /// What it is configured to speak: tells a foreign answer where there was no tunnel.
    pub expects: String,
    /// The address that was connected (or tried last).
    pub addr: Option<String>,
    /// Our end of that connection: joins with the gateway's own log.
    pub local_addr: Option<String>,
    /// Name resolution; `null` for an address or a socket path.
    pub dns: Option<DnsFacts>,
    /// Time to connect, without name resolution and TLS; over all addresses that were tried.
    pub connect_ms: Option<f64>,
    /// What became of each address, in the order in which they were tried; empty where there was
    /// one only.
    pub attempts: Vec<DialAttempt>,
    /// `null` for a plain target.
    pub tls: Option<GatewayTlsFacts>,
    /// A connection of the pool was used again (plain requests only).
    pub reused: bool,
    /// How long that one had waited for this request; `null` for a new one.
    pub kept_ms: Option<f64>,
    /// The kept connection that the request went out on first; it ended before it answered, and the
    /// request went out once more, on a new one.
    pub retried: Option<Box<RetriedFacts>>,
    /// The status of its answer.
    pub status: Option<u16>,
    /// Headers of its answer, masked as those of the request are.
    pub response_headers: Vec<HeaderFact>,
    /// From sending the request to the answer's head.
    pub upgrade_ms: Option<f64>,
    /// What the body of a refusal was.
    pub body_kind: Option<BodyKind>,
    /// Whose error page that body is, by its words: it answered itself, whatever server the head
    /// names.
    pub page_by: Option<PageBy>,
    /// What that body says of TLS where somebody expected the other.
    pub tls_words: Option<TlsWords>,
    /// The server that a foreign answer names (`nginx`, `Caddy` …).
    pub server: Option<PeerText>,
    /// The subprotocol it chose.
    pub subprotocol: Option<PeerText>,
    /// Which attribution headers went out and what the client brought.
    pub forwarded: Option<ForwardedFacts>,
    /// Why there is no usable answer.
    pub error: Option<Box<GatewayError>>,
    /// From the kernel, at the end.
    pub tcp: Option<TcpFacts>,
}

/// See [`GatewayFacts::retried`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RetriedFacts {
    /// Our end of it.
    pub local_addr: Option<String>,
    /// How long it had waited for this request.
    pub kept_ms: f64,
    /// From the request to its end.
    pub waited_ms: f64,
    /// How it ended.
    pub end: TransportEnd,
}

/// Name resolution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DnsFacts {
    /// What was asked for.
    pub name: String,
    /// How many addresses came back.
    pub addresses: u32,
    /// How long it took.
    pub ms: f64,
    /// Whose resolver was asked, where there was no address; else `null`.
    #[serde(default)]
    pub resolver: Option<Resolver>,
}

/// Whose resolver it is, by the system's configuration (`/etc/resolv.conf`). Those of container
/// engines know a container's name only while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resolver {
    /// Docker's, in the networks that users and Compose make: 127.0.0.11.
    Docker,
    /// Podman's: the search domain `dns.podman`.
    Podman,
    /// A cluster's: a search domain below `svc.cluster.local`.
    Kubernetes,
    /// Any other.
    Other,
}

/// One address of the gateway that was tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DialAttempt {
    /// Address and port.
    pub addr: String,
    /// When it was begun, after the first one.
    pub at_ms: f64,
    /// How long it took; `null` where there was no answer by the time that all was decided.
    pub ms: Option<f64>,
    /// Why it failed; `null` without an answer, and for the one that was connected.
    pub error: Option<GatewayErrorKind>,
    /// Of a probe, which tries each address several times: how often, and how often it was connected.
    #[serde(default)]
    pub tries: Option<Tries>,
}

/// How many of several connections to one address were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Tries {
    pub of: u32,
    pub connected: u32,
}

impl Tries {
    /// At least 97 % of them were made.
    #[must_use]
    pub fn is_fine(&self) -> bool {
        self.of > 0 && u64::from(self.connected) * 100 >= u64::from(self.of) * 97
    }
}

/// TLS with the gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GatewayTlsFacts {
    /// For example `TLSv1.3`.
    pub version: Option<String>,
    /// The cipher suite.
    pub cipher: Option<String>,
    /// The name its certificate was checked against.
    pub server_name: String,
    /// The alert with which it refused the handshake.
    pub alert: Option<TlsAlert>,
}

/// What was done with attribution headers (Forwarded, X-Forwarded-*, X-Real-IP, Tailscale-*).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ForwardedFacts {
    /// `pass`, `overwrite` or `none`.
    pub mode: ForwardedMode,
    /// Why; `null` in records of versions that did not tell.
    #[serde(default)]
    pub why: Option<ForwardedWhy>,
    /// Names that the client brought.
    pub brought: Vec<PeerText>,
    /// What we wrote.
    #[serde(default)]
    pub sent: Vec<SentHeader>,
    /// Whether the gateway believes what we write, as far as the acceptance check knew.
    #[serde(default)]
    pub acceptance: Acceptance,
}

/// See [`ForwardedFacts::mode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ForwardedMode {
    /// Nothing added, nothing taken away.
    Pass,
    /// The client's are dropped and one set with its real address is written.
    Overwrite,
    /// The client's are dropped and nothing is added.
    None,
}

/// See [`ForwardedFacts::why`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ForwardedWhy {
    /// `pass`: a loopback client without attribution headers, of a local gateway.
    LocalClient,
    /// `pass`: attribution headers from a loopback peer that is not in `trusted_proxies`; a local
    /// gateway trusts or refuses them itself.
    LoopbackProxy,
    /// `overwrite`: the client that a peer in `trusted_proxies` names.
    TrustedChain,
    /// `overwrite`: the peer itself.
    RemoteClient,
    /// `overwrite`: the peer itself; what it brought was dropped, it is not in `trusted_proxies`.
    Stranger,
    /// `overwrite`: a client on the tap's own host, written down by the address under which a
    /// gateway elsewhere sees that host.
    OwnHost,
    /// `none`: the gateway refuses what we write, and sees all clients under our address.
    GatewayRefusedOverwrite,
    /// `pass`: the connection comes from the client's own address (`wstap attach`).
    ClientAddress,
    /// As `gateway.forwarded` says.
    Configured,
    /// `none`, and not sent at all: a remote client would have looked local to the gateway.
    WouldBeLocal,
    /// `none`, and not sent at all: its Host and Origin name loopback, which the gateway believes of
    /// whatever comes from a private address without attribution headers.
    LocalPage,
}

/// See [`ForwardedFacts::acceptance`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Acceptance {
    /// The gateway takes clients for who we say they are.
    Accepted,
    /// It answers 403: our address is not in its `gateway.trustedProxies`.
    Refused,
    /// There is no answer yet, or none that shows it: gateways before 2026.8 answer everybody alike.
    Unknown,
    /// Nobody asks: another dialect, another mode, or nothing is ever written.
    #[default]
    NotChecked,
}

/// A header that we wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SentHeader {
    /// Lower case.
    pub name: String,
    /// Its value.
    pub value: PeerText,
}

/// See [`GatewayFacts::page_by`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PageBy {
    /// nginx.
    Nginx,
    /// `HAProxy`, whose pages name nobody.
    Haproxy,
    /// `OpenResty`.
    Openresty,
    /// Cloudflare.
    Cloudflare,
    /// Apache.
    Apache,
    /// Envoy, and what is built on it.
    Envoy,
}

/// See [`GatewayFacts::tls_words`]: known phrases of error pages, and of nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TlsWords {
    /// Plain HTTP came to a port of that server that speaks TLS.
    PlainToTls,
    /// That server spoke TLS to a port behind it that does not.
    TlsToPlain,
}

/// Whose the body of an answer that is not a 101 seems to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BodyKind {
    /// `OpenClaw`: `proxy_attribution_required`.
    Attribution,
    /// `OpenClaw`: `Gateway websocket admission closed`.
    AdmissionClosed,
    /// `Service Unavailable`, as the `ws` library of Node says it when its server is closing: `OpenClaw`
    /// before 2026.8 while it stops. Other servers can say the same.
    LibraryClosing,
    /// `OpenClaw`: `Too many unauthenticated sockets`.
    TooManySockets,
    /// `OpenClaw`: `Gateway websocket handlers unavailable`.
    HandlersUnavailable,
    /// `OpenClaw`: one of its other services (worker, desktop, portal) is not there.
    ServiceUnavailable,
    /// `OpenClaw`: the Control UI page.
    ControlUi,
    /// `OpenClaw`: another answer in its known form.
    Gateway,
    /// HTML of somebody else.
    Html,
    /// JSON of somebody else.
    Json,
    /// Text of somebody else.
    Text,
    /// Nothing.
    Empty,
    /// None of these.
    Other,
}

/// Why the gateway gave no usable answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GatewayError {
    /// For rules.
    pub kind: GatewayErrorKind,
    /// For people: what was found, with the system's error.
    pub detail: String,
}

/// See [`GatewayError::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GatewayErrorKind {
    /// The name has no address, or the resolver failed.
    Dns,
    /// ECONNREFUSED.
    Refused,
    /// No route, network down.
    Unreachable,
    /// The connect timer fired.
    ConnectTimeout,
    /// No such socket file.
    SocketMissing,
    /// The socket file may not be opened.
    SocketDenied,
    /// Connecting failed otherwise.
    Connect,
    /// EMFILE: this process may not open more files.
    OpenFiles,
    /// ENFILE: the whole system may not.
    SystemFiles,
    /// ENOMEM, ENOBUFS: the kernel has no memory for another socket.
    Memory,
    /// ENOSPC of epoll: `fs.epoll.max_user_watches` is reached.
    Watches,
    /// EADDRNOTAVAIL where this host has an address: every local port for the target is taken.
    Ports,
    /// EADDRNOTAVAIL or EAFNOSUPPORT where this host has no address of the target's family.
    NoAddress,
    /// EACCES, EPERM of a TCP connection: this host's own packet filter or routes forbid it.
    Forbidden,
    /// EAGAIN of a unix socket: too many connections wait to be accepted.
    Backlog,
    /// The far end does not speak TLS.
    NotTls,
    /// The connection ended or was reset inside the TLS handshake.
    TlsCut,
    /// We speak plain HTTP and the far end wants TLS.
    WantsTls,
    /// Its certificate is not signed by a CA we trust.
    CertificateUntrusted,
    /// Its certificate is not the one of `gateway.tls.fingerprint`.
    CertificatePin,
    /// Its certificate is expired or not yet valid.
    CertificateExpired,
    /// Its certificate is for another name.
    CertificateName,
    /// TLS failed otherwise.
    Tls,
    /// The connection ended before a status line.
    ClosedBeforeStatus,
    /// It was reset before a status line.
    ResetBeforeStatus,
    /// The kernel gave the connection up before a status line: what was sent was no longer acknowledged.
    Unacknowledged,
    /// The kernel gave the connection up before a status line: all that was sent was acknowledged, and
    /// for `tcp.user_timeout` the gateway read nothing of what had yet to be sent.
    Unread,
    /// What came on its TLS connection before a status line was no TLS, or was a fatal alert.
    TlsBroken,
    /// What came is no HTTP answer.
    NotHttp,
    /// The upgrade timer fired.
    UpgradeTimeout,
    /// A 101 whose `Sec-WebSocket-Accept` is wrong or missing.
    AcceptKey,
    /// A 101 that does not say `Upgrade: websocket`.
    BadUpgrade,
    /// The answer's body broke off.
    BodyIncomplete,
    /// Anything else.
    Other,
}

impl GatewayErrorKind {
    /// A limit of the tap's process or host kept us from dialling: nothing is known of the gateway.
    #[must_use]
    pub fn is_own_limit(self) -> bool {
        matches!(
            self,
            Self::OpenFiles | Self::SystemFiles | Self::Memory | Self::Watches | Self::Ports
        )
    }
}
