//! The gateway's address as a client dials it.

use std::path::PathBuf;

/// The gateway's address as a client dials it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// Host without brackets.
    Tcp {
        host: String,
        port: u16,
        tls: bool,
    },
    Unix(PathBuf),
}

impl Address {
    /// Host and port, in the form of a Host header.
    pub(super) fn authority(&self) -> String {
        match self {
            Self::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tcp { host, port, .. } => format!("{host}:{port}"),
            Self::Unix(_) => "localhost".to_owned(),
        }
    }
}
