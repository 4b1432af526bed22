//! The plain settings and, in their `Default`, the only place where defaults are decided.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::session::caps::Caps;

/// Every timer of the tap; none is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// From accept to the end of the PROXY header, if one is required.
    pub proxy_header: Duration,
    /// From accept to the end of the TLS handshake.
    pub tls_handshake: Duration,
    /// From the first byte of a connection to the end of a request head.
    pub request_head: Duration,
    /// Total time that we wait for a client to send a request's body; each KiB adds a second.
    pub request_body: Duration,
    /// TCP (or unix socket) connect to the gateway.
    pub connect: Duration,
    /// From the request to the gateway's answer to it.
    pub upgrade: Duration,
    /// Time without a byte in either direction.
    pub idle: Duration,
    /// From one side's FIN to the other's.
    pub half_close: Duration,
    /// From the first Close frame to the end.
    pub close: Duration,
    /// From our shutdown to the end of the last session.
    pub drain: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            proxy_header: Duration::from_secs(5),
            tls_handshake: Duration::from_secs(10),
            request_head: Duration::from_secs(10),
            request_body: Duration::from_hours(2),
            connect: Duration::from_secs(5),
            upgrade: Duration::from_secs(20),
            idle: Duration::from_hours(1),
            half_close: Duration::from_secs(30),
            close: Duration::from_secs(10),
            drain: Duration::from_secs(8),
        }
    }
}

impl Timeouts {
    /// The timers by the names of their keys, in the order of the file.
    #[must_use]
    pub fn named(&self) -> [(&'static str, Duration); 10] {
        [
            ("proxy_header", self.proxy_header),
            ("tls_handshake", self.tls_handshake),
            ("request_head", self.request_head),
            ("request_body", self.request_body),
            ("connect", self.connect),
            ("upgrade", self.upgrade),
            ("idle", self.idle),
            ("half_close", self.half_close),
            ("close", self.close),
            ("drain", self.drain),
        ]
    }
}

/// Options of the TCP connections of both legs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tcp {
    /// Silence after which keepalive probes are sent to the peer; whole seconds.
    pub keepalive: Duration,
    /// Time between two probes; whole seconds.
    pub keepalive_interval: Duration,
    /// Time without a packet from a peer that should acknowledge or answer, until the connection is
    /// given up; at least `keepalive` plus twice `keepalive_interval`.
    pub user_timeout: Duration,
}

impl Default for Tcp {
    fn default() -> Self {
        Self {
            keepalive: Duration::from_secs(30),
            keepalive_interval: Duration::from_secs(15),
            user_timeout: Duration::from_mins(2),
        }
    }
}

/// Limits on the resources that clients use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Simultaneous client connections; at least 1.
    pub connections: usize,
    /// Simultaneous connections of one client address; at least 1.
    pub per_client: usize,
    /// Simultaneous connections without an answered first request; at least 1.
    pub handshakes: usize,
    /// Bytes of a request head; at least 8192.
    pub head_bytes: usize,
    /// Header lines of a request; at least 1.
    pub headers: usize,
    /// Caps on one open session.
    pub session: Caps,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            per_client: 512,
            handshakes: 4096,
            head_bytes: 64 * 1024,
            headers: 128,
            session: Caps::default(),
        }
    }
}

/// HTTP/2 with clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Http2 {
    /// Whether it is offered on listeners with TLS.
    pub enabled: bool,
    /// Whether a stream may become a WebSocket (RFC 8441).
    pub websocket: bool,
    /// Simultaneous streams on one connection; at least 1.
    pub max_concurrent_streams: u32,
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            enabled: true,
            websocket: false,
            max_concurrent_streams: 128,
        }
    }
}

/// `listeners[].mode`, `records.mode`: the permissions of a file that the tap makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMode(pub u32);

impl FileMode {
    /// Of a socket: its owner and group may connect.
    pub const SOCKET: Self = Self(0o660);
    /// Of the records file: records contain no secrets, but addresses and paths are private.
    pub const RECORDS: Self = Self(0o600);
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// Destinations of records besides the terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records {
    /// JSON lines file; `None`: no file.
    pub path: Option<PathBuf>,
    /// Size in bytes at which the file is rotated; at least 4096.
    pub rotate_bytes: u64,
    /// Permissions of new files.
    pub mode: FileMode,
    /// Number of rotated files that are kept beside the current one.
    pub keep: u32,
    /// Which plain HTTP requests get a record.
    pub http: RecordFilter,
    /// Which connections that ended before a request get a record.
    pub connections: RecordFilter,
    /// What happens to repeated endings.
    pub repeats: RepeatedRecords,
}

impl Default for Records {
    fn default() -> Self {
        Self {
            path: None,
            rotate_bytes: 64 << 20,
            mode: FileMode::RECORDS,
            keep: 8,
            http: RecordFilter::default(),
            connections: RecordFilter::default(),
            repeats: RepeatedRecords::default(),
        }
    }
}

/// Which plain HTTP requests, or connections without a request, get a record; WebSocket attempts
/// always do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RecordFilter {
    /// Only failures.
    #[default]
    Errors,
    /// All of them.
    All,
    /// None of them.
    None,
}

impl fmt::Display for RecordFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Errors => "errors",
            Self::All => "all",
            Self::None => "none",
        })
    }
}

/// What happens to similar endings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RepeatedRecords {
    /// Beyond a limit, they become one record with a count.
    #[default]
    Join,
    /// Each ending has a record.
    Each,
}

impl fmt::Display for RepeatedRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Join => "join",
            Self::Each => "each",
        })
    }
}

/// What makes a running tap read its configuration and certificates again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReloadOn {
    /// SIGHUP, and every change of a file that the configuration was read from.
    #[default]
    Change,
    /// Only SIGHUP.
    Signal,
}

/// Threads that serve connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Workers {
    /// One per CPU that the process may use.
    #[default]
    PerCpu,
    /// This many; with one, everything runs on the main thread.
    Exactly(NonZeroUsize),
}

impl fmt::Display for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PerCpu => f.write_str("one per CPU"),
            Self::Exactly(number) => write!(f, "{number}"),
        }
    }
}

/// What is written to standard output for each session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OutputFormat {
    /// Two short lines for people.
    #[default]
    Line,
    /// The record, as one JSON object per line.
    Json,
    /// Nothing: records go only to the file, if there is one.
    None,
}

impl fmt::Display for OutputFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Line => "line",
            Self::Json => "json",
            Self::None => "none",
        })
    }
}

impl FromStr for OutputFormat {
    type Err = UnknownOutput;

    fn from_str(text: &str) -> Result<Self, UnknownOutput> {
        match text {
            "line" => Ok(Self::Line),
            "json" => Ok(Self::Json),
            "none" => Ok(Self::None),
            _ => Err(UnknownOutput),
        }
    }
}

/// The text is not the name of an output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected `line`, `json` or `none`")]
pub struct UnknownOutput;
