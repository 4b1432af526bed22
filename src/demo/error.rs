//! Why the demo could not run.

use std::io;

use crate::app::StartError;
use crate::config;

/// The demo could not run.
#[derive(Debug, thiserror::Error)]
pub(super) enum DemoError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("{0}")]
    Config(#[from] config::ConfigErrors),
    #[error("failed to run the demo: {0}")]
    Io(#[from] io::Error),
    #[error("failed to run the demo: {0}")]
    Tls(#[from] rustls::Error),
    #[error("failed to get the record of the scene \"{0}\" in time")]
    NoRecord(&'static str),
}
