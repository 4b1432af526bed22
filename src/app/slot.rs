//! What is spoken on a listener, in a place where a reload can change it.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;

use super::{Certificate, StartError, certificate, server_config};
use crate::config::{Config, ListenerTls};
use crate::transport::tls;

/// What a reload has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    Info(String),
    Warn(String),
}

impl Told {
    pub(super) fn tell(&self) {
        match self {
            Self::Info(line) => tracing::info!("reload: {line}"),
            Self::Warn(line) => tracing::warn!("reload: {line}"),
        }
    }
}

/// The TLS of one configured listener, which may have several sockets.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    /// As configured.
    name: String,
    /// Read for each connection; `None` in it for plain HTTP.
    pub(super) tls: Arc<ArcSwapOption<ServerConfig>>,
    certificate: Arc<ArcSwapOption<Certificate>>,
}

/// What a slot is to hold.
pub(super) struct Change {
    tls: Option<Arc<ServerConfig>>,
    certificate: Option<Arc<Certificate>>,
}

impl Slot {
    pub(super) fn new(
        name: String,
        config: &Config,
        wanted: &ListenerTls,
    ) -> Result<Self, StartError> {
        let slot = Self {
            name,
            tls: Arc::default(),
            certificate: Arc::default(),
        };
        let change = slot.prepare(config, wanted)?;
        slot.tls.store(change.tls);
        slot.certificate.store(change.certificate);
        Ok(slot)
    }

    /// The certificate that is shown now.
    pub(super) fn certificate(&self) -> Option<Arc<Certificate>> {
        self.certificate.load_full()
    }

    /// Everything that can fail.
    pub(super) fn prepare(
        &self,
        config: &Config,
        wanted: &ListenerTls,
    ) -> Result<Change, StartError> {
        let certificate = certificate(config, wanted)?;
        let before = self.certificate();
        let http2 = config.http2().enabled;
        let offered = self.tls.load();
        if let (Some(new), Some(old)) = (&certificate, &before)
            && new.identity.certified.cert == old.identity.certified.cert
            && offered
                .as_ref()
                .is_some_and(|it| tls::offers_http2(it) == http2)
        {
            // Tickets of clients stay good.
            return Ok(Change {
                tls: self.tls.load_full(),
                certificate: before,
            });
        }
        let tls = certificate.as_ref().map(|it| server_config(it, http2));
        Ok(Change {
            tls: tls.transpose()?,
            certificate: certificate.map(Arc::new),
        })
    }

    /// For the connections that come from now on.
    pub(super) fn replace(&self, change: Change) -> Option<Told> {
        let Change { tls, certificate } = change;
        self.tls.store(tls);
        let before = self.certificate.swap(certificate.clone());
        let name = &self.name;
        match (before, certificate) {
            (Some(old), Some(new)) if old.identity.sha256 != new.identity.sha256 => {
                let (old, new) = (old.identity.sha256_hex(), new.identity.sha256_hex());
                Some(Told::Warn(format!(
                    "{name}: the certificate is another one now; clients that pin the old one \
                     refuse it: sha256 {old} -> {new}"
                )))
            }
            (None, Some(_)) => Some(Told::Info(format!("{name}: speaks TLS now"))),
            (Some(_), None) => Some(Told::Warn(format!("{name}: speaks plain HTTP now"))),
            _ => None,
        }
    }
}
