//! Decides by the kernel's routes which addresses are this host's own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Any port will do: nothing is sent to it.
const DISCARD: u16 = 9;

/// The source address that this host would use to connect to `ip`, or the error if it has none.
/// Connecting a UDP socket makes the kernel choose a route and a source address, and sends nothing.
pub(crate) fn source_for(ip: IpAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(SocketAddr::new(ip, DISCARD))?;
    Ok(socket.local_addr()?.ip())
}

/// Whether a connection to `ip` stays on this host: the kernel reaches its own addresses from the
/// same address, and the unspecified address means loopback.
#[must_use]
pub(crate) fn is_own(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    ip.is_loopback() || ip.is_unspecified() || source_for(ip).is_ok_and(|source| source == ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_ours_and_documentation_addresses_are_not() {
        for ours in [
            "127.0.0.1",
            "127.0.0.9",
            "0.0.0.0",
            "::1",
            "::ffff:127.0.0.1",
        ] {
            assert!(is_own(ours.parse().unwrap()), "{ours}");
        }
        for other in ["203.0.113.7", "2001:db8::7", "::ffff:203.0.113.7"] {
            assert!(!is_own(other.parse().unwrap()), "{other}");
        }
    }

    #[test]
    fn loopback_is_reached_from_loopback() {
        let source = source_for(Ipv4Addr::LOCALHOST.into()).unwrap();
        assert!(source.is_loopback());
    }
}
