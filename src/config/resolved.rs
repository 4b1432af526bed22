//! The resolved configuration.

use std::fmt;
use std::path::{Path, PathBuf};

use super::admin::Admin;
use super::files::Named;
use super::gateway::Gateway;
use super::listener::Listener;
use super::origins::Origins;
use super::secret::FingerprintKey;
use super::settings::{Http2, Limits, OutputFormat, Records, ReloadOn, Tcp, Timeouts, Workers};
use super::warnings::warning::Warning;
use super::written::Written;
use crate::admission::forwarded::Trusted;

/// The resolved configuration.
pub struct Config {
    pub(super) listeners: Vec<Listener>,
    pub(super) gateway: Gateway,
    pub(super) origins: Origins,
    pub(super) trusted_proxies: Trusted,
    pub(super) timeouts: Timeouts,
    pub(super) tcp: Tcp,
    pub(super) limits: Limits,
    pub(super) http2: Http2,
    pub(super) records: Records,
    pub(super) admin: Option<Admin>,
    pub(super) output: OutputFormat,
    pub(super) session_header: bool,
    pub(super) fingerprint_key: Option<FingerprintKey>,
    pub(super) state_dir: PathBuf,
    pub(super) tls_keylog: Option<PathBuf>,
    pub(super) reload_on: ReloadOn,
    pub(super) workers: Workers,
    pub(super) files: Vec<Named>,
    pub(super) written: Written,
    pub(super) warnings: Vec<Warning>,
}

impl Config {
    /// Where to accept connections; at least one.
    #[must_use]
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// The gateway behind the tap.
    #[must_use]
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Which pages may connect.
    #[must_use]
    pub fn origins(&self) -> &Origins {
        &self.origins
    }

    /// The proxies whose information about clients is trusted.
    #[must_use]
    pub fn trusted_proxies(&self) -> &Trusted {
        &self.trusted_proxies
    }

    /// Whether only this host can connect to the tap, as far as the listeners' addresses show, and
    /// no peer names other clients by PROXY protocol.
    #[must_use]
    pub fn serves_this_host_only(&self) -> bool {
        self.listeners.iter().all(Listener::serves_this_host_only)
    }

    /// Where the secrets of TLS sessions are written (`--tls-keylog`), if anywhere.
    #[must_use]
    pub fn tls_keylog(&self) -> Option<&Path> {
        self.tls_keylog.as_deref()
    }

    /// Every timer.
    #[must_use]
    pub fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// Options of TCP connections.
    #[must_use]
    pub fn tcp(&self) -> Tcp {
        self.tcp
    }

    /// Bounds on what clients may occupy.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// HTTP/2 with clients.
    #[must_use]
    pub fn http2(&self) -> Http2 {
        self.http2
    }

    /// Destinations of records besides the terminal.
    #[must_use]
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// The admin listener, if there is one.
    #[must_use]
    pub fn admin(&self) -> Option<&Admin> {
        self.admin.as_ref()
    }

    /// What is printed for each session.
    #[must_use]
    pub fn output(&self) -> OutputFormat {
        self.output
    }

    /// Whether answers carry `X-Wstap-Session`.
    #[must_use]
    pub fn session_header(&self) -> bool {
        self.session_header
    }

    /// The key for fingerprints of short secrets; `None` if this run uses a random one.
    #[must_use]
    pub fn fingerprint_key(&self) -> Option<&FingerprintKey> {
        self.fingerprint_key.as_ref()
    }

    /// Folder for files that wstap creates; it may not exist yet.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// What makes a running tap reload its configuration.
    #[must_use]
    pub fn reload_on(&self) -> ReloadOn {
        self.reload_on
    }

    /// Number of threads that serve connections.
    #[must_use]
    pub fn workers(&self) -> Workers {
        self.workers
    }

    /// The file itself, and the certificates and keys that were read for it.
    #[must_use]
    pub fn files(&self) -> &[Named] {
        &self.files
    }

    /// Warnings about legal but odd settings, in no particular order.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("listeners", &self.listeners)
            .field("gateway", &self.gateway.url())
            .field("timeouts", &self.timeouts)
            .field("limits", &self.limits)
            .field("http2", &self.http2)
            .finish_non_exhaustive()
    }
}
