//! Loads or creates the certificates of a listener.

use jiff::Timestamp;

use super::start_error::StartError;
use crate::config::identity::Identity;
use crate::config::{Config, ListenerTls, TlsPolicy};
use crate::transport::dev_ca::{self, DevFiles};
use crate::transport::tls::{ListenerTlsState, Terminator};

/// The certificates of a listener.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The leaves and their keys; at least one. The first is the default.
    pub identities: Vec<Identity>,
    /// TLS policy: versions, and which client certificates are required.
    pub policy: TlsPolicy,
    /// The development CA's files, when it is self-signed.
    pub development: Option<DevFiles>,
}

impl Certificate {
    /// Reads or creates the configured certificates; `None` for plain HTTP. Blocks: see
    /// [`dev_ca::ensure`].
    pub(super) fn load(
        config: &Config,
        tls: &ListenerTls,
        now: Timestamp,
    ) -> Result<Option<Self>, StartError> {
        let http2 = config.http2().enabled;
        let with = |policy: &TlsPolicy| TlsPolicy {
            http2,
            ..policy.clone()
        };
        Ok(match tls {
            ListenerTls::Plain => None,
            ListenerTls::Files { identities, policy } => Some(Self {
                identities: identities.clone(),
                policy: with(policy),
                development: None,
            }),
            ListenerTls::SelfSigned { names, policy } => {
                let files = dev_ca::ensure(config.state_dir(), names, now)?;
                let mut identity = Identity::load(&files.cert, &files.key)?;
                identity.mark_signed_by_development_ca(&files.ca);
                Some(Self {
                    identities: vec![identity],
                    policy: with(policy),
                    development: Some(files),
                })
            }
        })
    }

    /// Whether it is a development certificate that is due for renewal.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        let mut all = self.identities.iter();
        self.development.is_some() && all.any(|one| dev_ca::is_due(one.not_after, now))
    }

    /// The TLS terminator that serves it.
    pub(super) fn terminator(
        &self,
        listener_state: &ListenerTlsState,
    ) -> Result<Terminator, StartError> {
        Terminator::new(self.identities.clone(), self.policy.clone(), listener_state)
            .map_err(StartError::ServerTls)
    }
}
