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
    /// The protocol that it is configured to speak: helps to recognise a foreign answer if there
    /// was no tunnel.
    pub expects: String,
    /// The address that we connected to (or tried last).
    pub addr: Option<String>,
    /// Our end of that connection: joins with the gateway's own log.
    pub local_addr: Option<String>,
    /// Name resolution; `null` for an address or a socket path.
    pub dns: Option<DnsFacts>,
    /// Time until a connection was made, over all addresses that were tried; without name
    /// resolution and TLS.
    pub connect_ms: Option<f64>,
    /// The outcome for each address, in the order in which they were tried; empty if there was only
    /// one.
    pub attempts: Vec<DialAttempt>,
    /// TLS with the gateway; `null` for a plain target.
    pub tls: Option<GatewayTlsFacts>,
    /// Whether a connection from the pool was reused (plain requests only).
    pub reused: bool,
    /// How long that connection had been idle before this request; `null` for a new one.
    pub kept_ms: Option<f64>,
    /// The kept connection on which the request was sent first; it ended before it answered, and
    /// the request was sent again on a new one.
    pub retried: Option<Box<RetriedFacts>>,
    /// The status of its answer.
    pub status: Option<u16>,
    /// Headers of its answer, masked like those of the request.
    pub response_headers: Vec<HeaderFact>,
    /// Time from sending the request to the head of the answer.
    pub upgrade_ms: Option<f64>,
    /// The kind of the body of a refusal.
    pub body_kind: Option<BodyKind>,
    /// The server that wrote the error page in that body, judged by the page's text: that server
    /// itself answered, whatever the head names.
    pub page_by: Option<PageBy>,
    /// What that body says about a mix-up of plain HTTP and TLS.
    pub tls_words: Option<TlsWords>,
    /// The server that a foreign answer names (`nginx`, `Caddy` …).
    pub server: Option<PeerText>,
    /// The subprotocol it chose.
    pub subprotocol: Option<PeerText>,
    /// Which attribution headers were sent and which ones the client brought.
    pub forwarded: Option<ForwardedFacts>,
    /// Why there is no usable answer.
    pub error: Option<Box<GatewayError>>,
    /// Counters from the kernel, read at the end.
    pub tcp: Option<TcpFacts>,
}

/// See [`GatewayFacts::retried`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RetriedFacts {
    /// Our end of that connection.
    pub local_addr: Option<String>,
    /// How long it had been idle before this request.
    pub kept_ms: f64,
    /// Time from the request to the end of the connection.
    pub waited_ms: f64,
    /// How it ended.
    pub end: TransportEnd,
}

/// Name resolution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DnsFacts {
    /// The name that was looked up.
    pub name: String,
    /// How many addresses came back.
    pub addresses: u32,
    /// How long the lookup took, in milliseconds.
    pub ms: f64,
    /// Whose resolver was asked, if it returned no address; otherwise `null`.
    #[serde(default)]
    pub resolver: Option<Resolver>,
}

/// Whose resolver it is, according to the system's configuration (`/etc/resolv.conf`). The
/// resolvers of container engines know a container's name only while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resolver {
    /// Docker's, in networks that users and Compose create: 127.0.0.11.
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
    /// When it was begun, in milliseconds after the first attempt.
    pub at_ms: f64,
    /// How long it took; `null` if there was no answer before the dial was decided.
    pub ms: Option<f64>,
    /// Why it failed; `null` if there was no answer, and for the address that we connected to.
    pub error: Option<GatewayErrorKind>,
    /// For a probe, which tries each address several times: the number of tries, and of those that
    /// connected.
    #[serde(default)]
    pub tries: Option<Tries>,
}

/// How many of several connections to one address succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Tries {
    pub of: u32,
    pub connected: u32,
}

impl Tries {
    /// Whether at least 97 % of them succeeded.
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
    /// The alert with which the gateway refused the handshake.
    pub alert: Option<TlsAlert>,
}

/// What was done with attribution headers (Forwarded, X-Forwarded-*, X-Real-IP, Tailscale-*).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ForwardedFacts {
    /// `pass`, `overwrite` or `none`.
    pub mode: ForwardedMode,
    /// The reason; `null` in records of versions that did not record it.
    #[serde(default)]
    pub why: Option<ForwardedWhy>,
    /// Names of the headers that the client brought.
    pub brought: Vec<PeerText>,
    /// Headers that we wrote.
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
    /// Nothing added, nothing removed.
    Pass,
    /// The client's headers are dropped and one set with its real address is written.
    Overwrite,
    /// The client's headers are dropped and nothing is added.
    None,
}

/// See [`ForwardedFacts::why`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ForwardedWhy {
    /// `pass`: a loopback client without attribution headers, at a local gateway.
    LocalClient,
    /// `pass`: attribution headers from a loopback peer that is not in `trusted_proxies`; a local
    /// gateway trusts or refuses them itself.
    LoopbackProxy,
    /// `overwrite`: the client named by a peer in `trusted_proxies`.
    TrustedChain,
    /// `overwrite`: the address of the peer itself.
    RemoteClient,
    /// `overwrite`: the address of the peer itself; its headers were dropped, because it is not in
    /// `trusted_proxies`.
    Stranger,
    /// `overwrite`: a client on the tap's own host, given the address under which a gateway
    /// elsewhere sees that host.
    OwnHost,
    /// `none`: the gateway refuses our headers, so it sees all clients under our address.
    GatewayRefusedOverwrite,
    /// `pass`: the connection comes from the client's own address (`wstap attach`).
    ClientAddress,
    /// As set in `gateway.forwarded`.
    Configured,
    /// `none`, and the request was not sent: a remote client would have looked local to the
    /// gateway.
    WouldBeLocal,
    /// `none`, and the request was not sent: its Host and Origin name loopback, and the gateway
    /// trusts that in any request from a private address without attribution headers.
    LocalPage,
}

/// See [`ForwardedFacts::acceptance`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Acceptance {
    /// The gateway accepts the client addresses that we send.
    Accepted,
    /// The gateway answers 403: our address is not in its `gateway.trustedProxies`.
    Refused,
    /// There is no answer yet, or none that shows it: gateways before 2026.8 answer all requests
    /// alike.
    Unknown,
    /// Not checked: another dialect, another mode, or headers are never written.
    #[default]
    NotChecked,
}

/// A header that we wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SentHeader {
    /// The name in lower case.
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
    /// Plain HTTP was sent to a TLS port of that server.
    PlainToTls,
    /// That server spoke TLS to a plain port behind it.
    TlsToPlain,
}

/// Who seems to have written the body of an answer that is not a 101.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BodyKind {
    /// `OpenClaw`: `proxy_attribution_required`.
    Attribution,
    /// `OpenClaw`: `Gateway websocket admission closed`.
    AdmissionClosed,
    /// `Service Unavailable`, as Node's `ws` library says when its server is closing: `OpenClaw`
    /// before 2026.8 while it stops. Other servers can send the same.
    LibraryClosing,
    /// `OpenClaw`: `Too many unauthenticated sockets`.
    TooManySockets,
    /// `OpenClaw`: `Gateway websocket handlers unavailable`.
    HandlersUnavailable,
    /// `OpenClaw`: one of its other services (worker, desktop, portal) is not available.
    ServiceUnavailable,
    /// `OpenClaw`: the Control UI page.
    ControlUi,
    /// `OpenClaw`: another answer in its known form.
    Gateway,
    /// HTML from another server.
    Html,
    /// JSON from another server.
    Json,
    /// Text from another server.
    Text,
    /// An empty body.
    Empty,
    /// None of these.
    Other,
}

/// Why the gateway gave no usable answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GatewayError {
    /// The kind, for rules.
    pub kind: GatewayErrorKind,
    /// For people: what was found, with the error of the system.
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
    /// Connecting failed in another way.
    Connect,
    /// EMFILE: this process may not open more files.
    OpenFiles,
    /// ENFILE: the whole system may not open more files.
    SystemFiles,
    /// ENOMEM, ENOBUFS: the kernel has no memory for another socket.
    Memory,
    /// ENOSPC from epoll: `fs.epoll.max_user_watches` is reached.
    Watches,
    /// EADDRNOTAVAIL although this host has an address: every local port for the target is taken.
    Ports,
    /// EADDRNOTAVAIL or EAFNOSUPPORT because this host has no address of the target's family.
    NoAddress,
    /// EACCES or EPERM on a TCP connection: this host's own packet filter or routes forbid it.
    Forbidden,
    /// EAGAIN on a unix socket: too many connections wait to be accepted.
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
    /// TLS failed in another way.
    Tls,
    /// The connection ended before a status line.
    ClosedBeforeStatus,
    /// It was reset before a status line.
    ResetBeforeStatus,
    /// The kernel gave up on the connection before a status line: sent bytes were no longer
    /// acknowledged.
    Unacknowledged,
    /// The kernel gave up on the connection before a status line: all sent bytes were acknowledged,
    /// but for `tcp.user_timeout` the gateway did not read what had yet to be sent.
    Unread,
    /// The bytes on its TLS connection before a status line were not TLS, or were a fatal alert.
    TlsBroken,
    /// The bytes that came are not an HTTP answer.
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
    /// Whether a limit of the tap's process or host prevented the dial: nothing is known of the
    /// gateway.
    #[must_use]
    pub fn is_own_limit(self) -> bool {
        matches!(
            self,
            Self::OpenFiles | Self::SystemFiles | Self::Memory | Self::Watches | Self::Ports
        )
    }
}
