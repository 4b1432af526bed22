//! Why the app could not be started.

use std::io;

use crate::config::ConfigError;
use crate::config::identity::IdentityError;
use crate::transport::dev_ca::DevCaError;
use crate::transport::tls::key_log::KeyLogError;
use crate::upstream::tls::TlsSetupError;

/// The app could not be started. Nothing is left half started.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each says what failed")]
pub enum StartError {
    #[error("{}", lines(.0))]
    Listen(Vec<ConfigError>),
    #[error("{}", .0.with_advice_line())]
    Locality(Box<ConfigError>),
    #[error("{}", .0.with_advice_line())]
    OwnGateway(Box<ConfigError>),
    #[error(transparent)]
    DevCertificate(#[from] DevCaError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("failed to set up TLS for listeners: {0}")]
    ServerTls(rustls::Error),
    #[error(transparent)]
    KeyLog(#[from] KeyLogError),
    #[error(transparent)]
    GatewayTls(#[from] TlsSetupError),
    #[error(
        "failed to open the records file {path}: {source}\n  to do: let uid {} write there, or name \
         another file by --records",
        rustix::process::geteuid().as_raw()
    )]
    Records { path: String, source: io::Error },
    #[error("failed to start: {0}")]
    System(#[from] io::Error),
}

fn lines(errors: &[ConfigError]) -> String {
    errors
        .iter()
        .map(ConfigError::with_advice_line)
        .collect::<Vec<_>>()
        .join("\n")
}
