//! The file as it is written: all keys, and only keys.
//!
//! This is the single source of truth about keys: reading, "did you mean", the JSON Schema and the
//! documentation tests all use it. Everything is optional here so that one mistake does not hide
//! the others; required keys are checked when the file is resolved.

pub(super) mod at;

use schemars::JsonSchema;
use serde::Deserialize;

pub(super) use at::At;

use super::address::ListenAddr;
use super::admin::AdminHost;
use super::gateway::{CertName, Dialect, Fingerprint, GatewayUrl};
use super::listen::Listen;
use super::listener::policy::{ClientAuthMode, MinVersion};
use super::origin::OriginEntry;
use super::origins::{DenyWith, MissingOrigin};
use super::paths::FilePath;
use super::scalar::{Count, Scalar, Seconds, Size, Timer};
use super::settings::{FileMode, OutputFormat, RecordFilter, ReloadOn, RepeatedRecords};
use super::trusted::ProxyNetwork;
use crate::admission::forwarded::Mode as ForwardedMode;
use crate::admission::origin::policy::Mode;

/// The configuration of wstap: one YAML document.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "wstap configuration")]
pub(super) struct FileSchema {
    /// Where to accept connections. Default: TLS with the development certificate on `[::]:8443`.
    pub(super) listeners: Option<Vec<At<ListenerSchema>>>,
    /// The gateway behind the tap.
    pub(super) gateway: Option<At<GatewaySchema>>,
    /// Which pages may connect.
    pub(super) origins: Option<OriginsSchema>,
    /// Proxies in front of the tap whose information about clients is trusted: IP addresses and
    /// networks, and `unix` for any process that connects to a unix socket.
    #[schemars(extend("default" = []))]
    pub(super) trusted_proxies: Option<Vec<At<Scalar<ProxyNetwork>>>>,
    /// Timers; durations such as `500ms`, `10s`, `1h 30m`. None may be zero.
    pub(super) timeouts: Option<TimeoutsSchema>,
    /// Options of the TCP connections of both legs.
    pub(super) tcp: Option<TcpSchema>,
    /// Limits on the resources that clients use.
    pub(super) limits: Option<LimitsSchema>,
    /// HTTP/2, on listeners with TLS.
    pub(super) http2: Option<Http2Schema>,
    /// The file with one record per session.
    pub(super) records: Option<RecordsSchema>,
    /// A listener for the operator: health, metrics, open sessions. Absent: none.
    pub(super) admin: Option<At<AdminSchema>>,
    /// What is printed for each session.
    #[schemars(extend("default" = "line"))]
    pub(super) output: Option<OutputFormat>,
    /// Whether the answer to an upgrade, and wstap's own answers, carry `X-Wstap-Session`.
    #[schemars(extend("default" = true))]
    pub(super) session_header: Option<bool>,
    /// File with the key (at least 16 bytes) for fingerprints of short secrets.
    /// Default: a random key for each run.
    pub(super) fingerprint_key_file: Option<At<FilePath>>,
    /// Folder for the development certificate. Default: `$XDG_STATE_HOME/wstap`, else
    /// `~/.local/state/wstap`.
    pub(super) state_dir: Option<At<FilePath>>,
    /// What makes a running tap read its configuration and certificates again: SIGHUP and every
    /// change of their files, or only SIGHUP.
    #[schemars(extend("default" = "change"))]
    pub(super) reload: Option<ReloadOn>,
    /// Threads that serve connections; with 1 everything runs on the main one. Default: one per CPU
    /// that the process may use.
    pub(super) workers: Option<Scalar<Count<1, 1024>>>,
}

/// One address to accept connections on.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListenerSchema {
    /// `host:port`, `unix:/path`, or `systemd:NAME` for a socket that systemd passes under that name
    /// (`systemd` for the only one).
    #[schemars(required)]
    pub(super) listen: Option<At<Scalar<Listen>>>,
    /// Permissions of the file of a unix socket, as in `chmod`; `"0660"` if not given. Only with
    /// `unix:/path`.
    pub(super) mode: Option<At<Scalar<FileMode>>>,
    /// PROXY protocol headers, version 1 and 2. Absent: no peer sends one.
    pub(super) proxy_protocol: Option<At<ProxyProtocolSchema>>,
    /// Absent: plain HTTP. Otherwise one of `self_signed` and `certificates`.
    #[serde(default, deserialize_with = "at::not_empty")]
    #[schemars(with = "ListenerTlsSchema")]
    pub(super) tls: Option<At<ListenerTlsSchema>>,
}

/// Proxies that send a PROXY protocol header at the start of each connection.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProxyProtocolSchema {
    /// Peers that must send a header: IP addresses and networks, and `unix` for any process that
    /// connects to a unix socket. Headers of other peers are not read.
    #[schemars(required)]
    pub(super) from: Option<At<Vec<At<Scalar<ProxyNetwork>>>>>,
}

/// The certificates that a listener shows, and what it requires of clients. See `docs/tls.md`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListenerTlsSchema {
    /// The development certificate that wstap makes itself.
    pub(super) self_signed: Option<SelfSignedSchema>,
    /// Certificates from files. The server name that a client asks for (SNI) and the keys that it
    /// supports decide which one it gets; the first is the default.
    pub(super) certificates: Option<At<Vec<At<CertificateSchema>>>>,
    /// The oldest version of TLS that is accepted: `1.2` or `1.3`.
    #[schemars(extend("default" = "1.2"))]
    pub(super) min_version: Option<Scalar<MinVersion>>,
    /// Asks clients for certificates of their own (mTLS). Absent: none are asked for.
    #[serde(default, deserialize_with = "at::not_empty")]
    #[schemars(with = "ClientAuthSchema")]
    pub(super) client_auth: Option<At<ClientAuthSchema>>,
}

/// Which client certificates are accepted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ClientAuthSchema {
    /// PEM file with the CAs that sign clients' certificates.
    #[schemars(required)]
    pub(super) ca: Option<At<FilePath>>,
    /// Whether a client must show one; `required` if not given. If it shows one, the certificate
    /// must be valid in both cases.
    pub(super) mode: Option<ClientAuthMode>,
    /// PEM file with revocation lists (X509 CRL), one for each CA that signs clients' certificates.
    pub(super) crl: Option<At<FilePath>>,
}

/// The development certificate.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SelfSignedSchema {
    /// Names and addresses that it is valid for.
    #[schemars(extend("default" = ["localhost", "wstap"]))]
    pub(super) names: Option<At<Vec<Scalar<CertName>>>>,
}

/// A certificate and its key, both PEM files.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CertificateSchema {
    /// The certificate, followed by the intermediates.
    #[schemars(required)]
    pub(super) cert: Option<At<FilePath>>,
    /// Its private key, not encrypted.
    #[schemars(required)]
    pub(super) key: Option<At<FilePath>>,
}

/// The gateway behind the tap.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GatewaySchema {
    /// `http`, `https`, `ws` or `wss` URL without a path, or `unix:/path`. `--gateway` and
    /// `WSTAP_GATEWAY` override it.
    pub(super) url: Option<At<Scalar<GatewayUrl>>>,
    /// The protocol inside the WebSocket.
    #[schemars(extend("default" = "openclaw"))]
    pub(super) dialect: Option<Dialect>,
    /// How the gateway learns who the client is, see `docs/trust.md`.
    #[schemars(extend("default" = "auto"))]
    pub(super) forwarded: Option<At<ForwardedMode>>,
    /// Lets `forwarded: none` and `pass` make remote clients local to the gateway.
    #[schemars(extend("default" = false))]
    pub(super) allow_remote_as_local: Option<bool>,
    /// How to verify the gateway; only with `https` and `wss`.
    #[serde(default, deserialize_with = "at::not_empty")]
    #[schemars(with = "GatewayTlsSchema")]
    pub(super) tls: Option<At<GatewayTlsSchema>>,
}

/// How the gateway's certificate is verified.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GatewayTlsSchema {
    /// PEM file with the roots to trust instead of the system's.
    pub(super) ca: Option<At<FilePath>>,
    /// Name to request by SNI and to verify. Default: the host of the URL.
    pub(super) server_name: Option<Scalar<CertName>>,
    /// SHA-256 of the only certificate to accept, whatever its name, dates and issuer; not together with `ca`.
    pub(super) fingerprint: Option<At<Scalar<Fingerprint>>>,
}

/// Which pages may connect.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OriginsSchema {
    /// Allowed origins, `scheme://host[:port]` each, or `"*"`. Also read under the name
    /// `allowedOrigins`.
    #[serde(alias = "allowedOrigins")]
    #[schemars(extend("default" = []))]
    pub(super) allowed: Option<Vec<At<Scalar<OriginEntry>>>>,
    /// What happens to WebSocket upgrades from other origins: refused, only recorded, or not
    /// checked. Default: `report` while nothing is listed, `enforce` once something is.
    pub(super) mode: Option<Mode>,
    /// What happens to upgrades without an Origin, as native clients send them.
    #[schemars(extend("default" = "allow"))]
    pub(super) missing: Option<MissingOrigin>,
    /// How a client is refused: with a 403, or with a WebSocket that is closed at once with 1008.
    #[schemars(extend("default" = "http"))]
    pub(super) deny_with: Option<DenyWith>,
    /// The gateway's own configuration file (JSON5): what its `gateway.controlUi.allowedOrigins`
    /// and its own rules let in is allowed as well. Read again when it changes.
    pub(super) from_gateway_config: Option<At<FilePath>>,
}

/// Timers.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TimeoutsSchema {
    /// The PROXY header of a peer in `proxy_protocol.from`.
    #[schemars(extend("default" = "5s"))]
    pub(super) proxy_header: Option<Scalar<Timer>>,
    /// TLS handshake of a client.
    #[schemars(extend("default" = "10s"))]
    pub(super) tls_handshake: Option<Scalar<Timer>>,
    /// A complete request head.
    #[schemars(extend("default" = "10s"))]
    pub(super) request_head: Option<Scalar<Timer>>,
    /// Total time that the tap waits for a client to send a request's body; each KiB that arrives
    /// adds a second.
    #[schemars(extend("default" = "2h"))]
    pub(super) request_body: Option<Scalar<Timer>>,
    /// Connecting to the gateway.
    #[schemars(extend("default" = "5s"))]
    pub(super) connect: Option<Scalar<Timer>>,
    /// The gateway's answer to the upgrade.
    #[schemars(extend("default" = "20s"))]
    pub(super) upgrade: Option<Scalar<Timer>>,
    /// No byte in either direction.
    #[schemars(extend("default" = "1h"))]
    pub(super) idle: Option<Scalar<Timer>>,
    /// From the end of one side to the end of the other.
    #[schemars(extend("default" = "30s"))]
    pub(super) half_close: Option<Scalar<Timer>>,
    /// The Close handshake.
    #[schemars(extend("default" = "10s"))]
    pub(super) close: Option<Scalar<Timer>>,
    /// For open sessions at shutdown.
    #[schemars(extend("default" = "8s"))]
    pub(super) drain: Option<Scalar<Timer>>,
}

/// Options of TCP connections: how a peer that vanished without FIN or reset is detected.
/// The same for clients and the gateway.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TcpSchema {
    /// Silence after which keepalive probes are sent to the peer; whole seconds.
    #[schemars(extend("default" = "30s"))]
    pub(super) keepalive: Option<At<Scalar<Seconds>>>,
    /// Time between two probes; whole seconds.
    #[schemars(extend("default" = "15s"))]
    pub(super) keepalive_interval: Option<At<Scalar<Seconds>>>,
    /// A connection is given up if the peer acknowledges nothing, answers no probe, or reads
    /// nothing for this long. At least `keepalive` plus twice `keepalive_interval`.
    #[schemars(extend("default" = "2m"))]
    pub(super) user_timeout: Option<At<Scalar<Timer>>>,
}

/// Limits on the resources that clients use.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsSchema {
    /// Simultaneous client connections. Each stream of HTTP/2 counts like one, here and below.
    #[schemars(extend("default" = 20000))]
    pub(super) connections: Option<Scalar<Count<1>>>,
    /// Simultaneous connections of one client address (IPv6: of one /64). Behind proxies in
    /// `trusted_proxies`: sessions of the address that they name.
    #[schemars(extend("default" = 512))]
    pub(super) per_client: Option<Scalar<Count<1>>>,
    /// Simultaneous connections that are in their TLS handshake, have not sent their first request,
    /// or wait for the answer to an upgrade.
    #[schemars(extend("default" = 4096))]
    pub(super) handshakes: Option<Scalar<Count<1>>>,
    /// Size of a request head, at least `8KiB`.
    #[schemars(extend("default" = "64KiB"))]
    pub(super) head_bytes: Option<Scalar<Size<8192>>>,
    /// Header lines of a request. (The HTTP library takes no more than 32768 in all.)
    #[schemars(extend("default" = 128))]
    pub(super) headers: Option<Scalar<Count<1, 10_000>>>,
    /// Caps on each open WebSocket session; each is off unless set. A frame that would exceed one
    /// is not passed on: both ends get Close 1009, or are cut off where no Close may be sent.
    pub(super) session: Option<SessionCapsSchema>,
}

/// Caps on each open WebSocket session, in bytes as they are on the wire (compressed messages:
/// compressed). Bodies of plain HTTP requests are not capped.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SessionCapsSchema {
    /// Bytes in each direction, from the 101 to the end. Default: no cap.
    pub(super) bytes: Option<Scalar<Size<1>>>,
    /// Bytes of one message, all its fragments together, in either direction. Default: no cap.
    pub(super) message_bytes: Option<Scalar<Size<1>>>,
    /// Messages of the client per second, in the long run. Default: no cap.
    pub(super) messages_per_second: Option<Scalar<Count<1>>>,
    /// Messages of the client that may come at once. Default: ten seconds' worth.
    pub(super) messages_burst: Option<At<Scalar<Count<1>>>>,
    /// Bytes of the client per second, in the long run. Default: no cap.
    pub(super) bytes_per_second: Option<Scalar<Size<1>>>,
    /// Bytes of the client that may come at once; no single frame may be larger. Default: ten
    /// seconds' worth.
    pub(super) bytes_burst: Option<At<Scalar<Size<1>>>>,
}

/// HTTP/2, on listeners with TLS, see `docs/http2.md`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Http2Schema {
    /// Whether `h2` is offered to clients (ALPN), for pages and API requests.
    #[schemars(extend("default" = true))]
    pub(super) enabled: Option<bool>,
    /// Whether a WebSocket may use a stream of HTTP/2 (RFC 8441). If off, browsers open an HTTP/1.1
    /// connection for each.
    #[schemars(extend("default" = false))]
    pub(super) websocket: Option<bool>,
    /// Simultaneous requests and `WebSocket`s on one connection.
    #[schemars(extend("default" = 128))]
    pub(super) max_concurrent_streams: Option<Scalar<Count<1, 10_000>>>,
}

/// The file with one record per session.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RecordsSchema {
    /// JSON lines file. Default: no file.
    pub(super) path: Option<At<FilePath>>,
    /// Size at which the file is rotated, at least `4KiB`.
    #[schemars(extend("default" = "64MiB"))]
    pub(super) rotate_bytes: Option<Scalar<Size<4096>>>,
    /// Permissions of the files that the tap makes, as in `chmod`: with `"0640"` a log shipper in the group can read
    /// them. Files that exist keep theirs.
    #[schemars(extend("default" = "0600"))]
    pub(super) mode: Option<At<Scalar<FileMode>>>,
    /// Rotated files to keep.
    #[schemars(extend("default" = 8))]
    pub(super) keep: Option<Scalar<Count<0>>>,
    /// Which plain HTTP requests get a record.
    #[schemars(extend("default" = "errors"))]
    pub(super) http: Option<RecordFilter>,
    /// Which connections that ended before a request get a record: `errors` leaves out health checks.
    #[schemars(extend("default" = "errors"))]
    pub(super) connections: Option<RecordFilter>,
    /// What happens to similar endings of one client: beyond a limit one record with their number,
    /// so that nobody can fill the file with copies, or a record each.
    #[schemars(extend("default" = "join"))]
    pub(super) repeats: Option<RepeatedRecords>,
}

/// The admin listener.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AdminSchema {
    /// `host:port`; `127.0.0.1:8480` if not given. `--admin` and `WSTAP_ADMIN` override it. Any
    /// address except loopback needs `token_file`.
    pub(super) listen: Option<At<Scalar<ListenAddr>>>,
    /// File with the token (16 to 4096 visible ASCII characters) that every request must carry.
    pub(super) token_file: Option<At<FilePath>>,
    /// Names and addresses, without ports, that requests may be addressed to (`Host`), besides
    /// loopback names and the listener's own address.
    pub(super) hosts: Option<Vec<Scalar<AdminHost>>>,
}
