//! What is known of a dial of the gateway.

use std::net::{IpAddr, SocketAddr};

use super::record::gateway::{DialAttempt, DnsFacts, GatewayTlsFacts};

/// What is known of a dial, successful or not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DialFacts {
    /// The address that was connected, or tried last.
    pub addr: Option<String>,
    /// Our end.
    pub local_addr: Option<String>,
    /// Name resolution.
    pub dns: Option<DnsFacts>,
    /// Time to connect, without name resolution and TLS.
    pub connect_ms: Option<f64>,
    /// What became of each address.
    pub attempts: Vec<DialAttempt>,
    /// What TLS agreed.
    pub tls: Option<GatewayTlsFacts>,
}

impl DialFacts {
    /// The address that the gateway sees us under; `None` for a unix socket.
    #[must_use]
    pub fn our_ip(&self) -> Option<IpAddr> {
        let local: SocketAddr = self.local_addr.as_deref()?.parse().ok()?;
        Some(local.ip().to_canonical())
    }

    /// Whether the gateway sees this connection as coming from its own host: over loopback or a
    /// unix socket. Decided by what was connected, whatever the URL says.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.our_ip().is_none_or(|ip| ip.is_loopback())
    }
}
