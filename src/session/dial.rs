//! Facts about one dial of the gateway.

use std::net::{IpAddr, SocketAddr};

use super::record::gateway::{DialAttempt, DnsFacts, GatewayTlsFacts};

/// Facts about a dial, successful or not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DialFacts {
    /// The address that we connected to, or tried last.
    pub addr: Option<String>,
    /// The local address.
    pub local_addr: Option<String>,
    /// Name resolution.
    pub dns: Option<DnsFacts>,
    /// Connect time, without name resolution and TLS.
    pub connect_ms: Option<f64>,
    /// The outcome for each address.
    pub attempts: Vec<DialAttempt>,
    /// The result of the TLS handshake.
    pub tls: Option<GatewayTlsFacts>,
}

impl DialFacts {
    /// The address under which the gateway sees us; `None` for a unix socket.
    #[must_use]
    pub fn our_ip(&self) -> Option<IpAddr> {
        let local: SocketAddr = self.local_addr.as_deref()?.parse().ok()?;
        Some(local.ip().to_canonical())
    }

    /// Whether the gateway sees this connection as coming from its own host: over loopback or a
    /// unix socket. This depends on the connected address, not on the URL.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.our_ip().is_none_or(|ip| ip.is_loopback())
    }
}
