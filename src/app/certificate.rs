//! From a listener's configuration to what it serves TLS with.

use jiff::Timestamp;

use super::StartError;
use crate::config::identity::Identity;
use crate::config::{Config, ListenerTls, TlsPolicy};
use crate::transport::dev_ca::{self, DevFiles};
use crate::transport::tls::{Lasting, Terminator};

/// The certificates of a listener.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The leaves and their keys; at least one. The first is the default.
    pub identities: Vec<Identity>,
    /// What clients have to bring.
    pub policy: TlsPolicy,
    /// The development CA's files, when it is self-signed.
    pub development: Option<DevFiles>,
}

impl Certificate {
    /// Reads or makes what the configuration wants; `None` for plain HTTP.
    pub(super) fn load(config: &Config, tls: &ListenerTls) -> Result<Option<Self>, StartError> {
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
                let files = dev_ca::ensure(config.state_dir(), names, Timestamp::now())?;
                Some(Self {
                    identities: vec![Identity::load(&files.cert, &files.key)?],
                    policy: with(policy),
                    development: Some(files),
                })
            }
        })
    }

    /// What serves it.
    pub(super) fn terminator(&self, lasting: &Lasting) -> Result<Terminator, StartError> {
        Terminator::new(self.identities.clone(), self.policy.clone(), lasting)
            .map_err(StartError::ServerTls)
    }
}
