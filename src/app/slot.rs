//! A listener's TLS settings, kept where a reload can replace them.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;

use super::certificate::Certificate;
use super::start_error::StartError;
use crate::config::{Config, ListenerTls};
use crate::transport::tls::leaves::{Leaves, leaf_change};
use crate::transport::tls::{ListenerTlsState, Terminator};

/// A line that a reload logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ReloadNote {
    Info(String),
    Warn(String),
}

impl ReloadNote {
    /// Logs it, with the prefix `what`.
    pub(super) fn log(&self, what: &str) {
        match self {
            Self::Info(line) => tracing::info!("{what}: {line}"),
            Self::Warn(line) => tracing::warn!("{what}: {line}"),
        }
    }
}

/// The TLS of one configured listener, which may have several sockets.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    /// The listener's address, as configured.
    name: String,
    /// Read for each connection; holds `None` for plain HTTP.
    pub(super) tls: Arc<ArcSwapOption<Terminator>>,
    /// Its certificates, as metrics and the log show them; empty for plain HTTP.
    pub(super) leaves: Leaves,
    certificate: Arc<ArcSwapOption<Certificate>>,
    /// Kept across reloads, so that clients' tickets stay valid.
    listener_state: ListenerTlsState,
}

/// The new contents of a slot.
pub(super) struct Change {
    tls: Option<Arc<Terminator>>,
    certificate: Option<Arc<Certificate>>,
}

impl Slot {
    pub(super) fn new(
        name: String,
        config: &Config,
        wanted: &ListenerTls,
        listener_state: ListenerTlsState,
    ) -> Result<Self, StartError> {
        let slot = Self {
            name,
            tls: Arc::default(),
            leaves: Leaves::new(Vec::new()),
            certificate: Arc::default(),
            listener_state,
        };
        let change = slot.prepare(config, wanted, Timestamp::now())?;
        slot.put(change);
        Ok(slot)
    }

    /// The certificate that is shown now.
    pub(super) fn certificate(&self) -> Option<Arc<Certificate>> {
        self.certificate.load_full()
    }

    /// Does every part of a change that can fail. Blocks.
    pub(super) fn prepare(
        &self,
        config: &Config,
        wanted: &ListenerTls,
        now: Timestamp,
    ) -> Result<Change, StartError> {
        let certificate = Certificate::load(config, wanted, now)?;
        let tls = certificate
            .as_ref()
            .map(|it| it.terminator(&self.listener_state));
        Ok(Change {
            tls: tls.transpose()?.map(Arc::new),
            certificate: certificate.map(Arc::new),
        })
    }

    /// A new development certificate, if the present one expires soon. Blocks.
    pub(super) fn renewal(
        &self,
        config: &Config,
        wanted: &ListenerTls,
        now: Timestamp,
    ) -> Result<Option<Change>, StartError> {
        let shown = self.certificate();
        if !shown.is_some_and(|certificate| certificate.is_due(now)) {
            return Ok(None);
        }
        self.prepare(config, wanted, now).map(Some)
    }

    /// Applies a change to the connections that come from now on.
    pub(super) fn replace(&self, change: Change) -> Option<ReloadNote> {
        let (before, shown) = (self.certificate(), self.leaves.now());
        self.put(change);
        let name = &self.name;
        match (before, self.certificate()) {
            (None, Some(_)) => Some(ReloadNote::Info(format!("{name}: speaks TLS now"))),
            (Some(_), None) => Some(ReloadNote::Warn(format!("{name}: speaks plain HTTP now"))),
            _ => leaf_change(&shown, &self.leaves.now())
                .map(|line| ReloadNote::Warn(format!("{name}: {line}"))),
        }
    }

    fn put(&self, change: Change) {
        let Change { tls, certificate } = change;
        let leaves = tls.as_ref().map(|tls| tls.leaves()).unwrap_or_default();
        self.tls.store(tls);
        self.certificate.store(certificate);
        self.leaves.swap(leaves);
    }
}
