//! The other end of a client connection, as far as the connection itself shows it: before any
//! request header is read.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::forwarded::trusted::Trusted;
use crate::session::address;
use crate::session::record::client::Process;

/// The other end of a client connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A client that connected by TCP; the address is canonical.
    Inet(SocketAddr),
    /// A process of this host that connected to a unix socket.
    Unix(Process),
    /// A client that came through a proxy listed in `proxy_protocol.from`.
    Relayed {
        /// The client that the proxy's header named, canonical; `None` where it named none.
        client: Option<SocketAddr>,
        /// The proxy, canonical; `None` when it connected to a unix socket.
        proxy: Option<SocketAddr>,
    },
}

/// A unix socket has no address; its other end is on this host.
const THIS_HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

impl Peer {
    /// A client that connected by TCP.
    #[must_use]
    pub fn inet(addr: SocketAddr) -> Self {
        Self::Inet(canonical(addr))
    }

    /// The client behind this peer, which is a proxy that sent a PROXY header.
    #[must_use]
    pub fn relaying(self, client: Option<SocketAddr>) -> Self {
        let proxy = match self {
            Self::Inet(addr) => Some(addr),
            Self::Unix(_) => None,
            Self::Relayed { proxy, .. } => proxy,
        };
        Self::Relayed {
            client: client.map(canonical),
            proxy,
        }
    }

    /// The peer's address, canonical. A loopback address named by a proxy means that proxy's own
    /// host; if the proxy names no client, the proxy is the nearest known hop.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        match self {
            Self::Inet(addr) => addr.ip(),
            Self::Unix(_) => THIS_HOST,
            Self::Relayed { client, proxy } => client
                .map(|client| client.ip())
                .filter(|ip| !ip.is_loopback())
                .or(proxy.map(|proxy| proxy.ip()))
                .unwrap_or(THIS_HOST),
        }
    }

    /// Its port, if it has one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Inet(addr) => Some(addr.port()),
            Self::Unix(_) => None,
            Self::Relayed { client, .. } => client.map(|client| client.port()),
        }
    }

    /// It is relayed by PROXY protocol: never local, whatever the header claims.
    #[must_use]
    pub fn is_relayed(&self) -> bool {
        matches!(self, Self::Relayed { .. })
    }

    /// It is a process of this host, which a gateway on this host would take for local without us
    /// as well.
    #[must_use]
    pub fn is_on_this_host(&self) -> bool {
        !self.is_relayed() && self.ip().is_loopback()
    }

    /// Whether it is believed about its clients. A relayed client that is named as loopback never
    /// is.
    #[must_use]
    pub fn is_in(&self, trusted: &Trusted) -> bool {
        match self {
            Self::Inet(addr) => trusted.contains(addr.ip()),
            Self::Unix(_) => trusted.has_unix(),
            Self::Relayed { client, .. } => client
                .is_some_and(|client| !client.ip().is_loopback() && trusted.contains(client.ip())),
        }
    }

    /// Its text form, for records.
    #[must_use]
    pub fn text(&self) -> String {
        self.addr().map_or_else(|| "unix".to_owned(), address::text)
    }

    /// The client's address; for a relayed client, the proxy's if its own is not known.
    fn addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Inet(addr) => Some(*addr),
            Self::Unix(_) => None,
            Self::Relayed { client, proxy } => client.or(*proxy),
        }
    }
}

/// `address:port`, or `unix`; for a relayed client, the proxy's address if its own is not known.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.addr() {
            Some(addr) => addr.fmt(f),
            None => f.write_str("unix"),
        }
    }
}

fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIX: Peer = Peer::Unix(Process { pid: None, uid: 0 });

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn relayed(client: &str, proxy: &str) -> Peer {
        Peer::inet(addr(proxy)).relaying(Some(addr(client)))
    }

    #[test]
    fn who_came_through_a_proxy_is_never_on_this_host() {
        for claimed in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            for proxy in ["127.0.0.1:2", "[::1]:2", "10.0.0.5:2"] {
                let peer = relayed(claimed, proxy);
                assert!(!peer.is_on_this_host(), "{claimed} by {proxy}");
                assert_eq!(peer.ip(), addr(proxy).ip());
            }
            assert!(!UNIX.relaying(Some(addr(claimed))).is_on_this_host());
        }
        assert!(!UNIX.relaying(None).is_on_this_host());
        assert!(UNIX.is_on_this_host());
        assert!(Peer::inet(addr("[::ffff:127.0.0.1]:1")).is_on_this_host());
    }

    #[test]
    fn loopback_in_the_word_of_a_proxy_gains_no_trust() {
        let trusted: Trusted = ["127.0.0.0/8", "10.0.0.0/8"]
            .iter()
            .map(|net| net.parse::<ipnet::IpNet>().unwrap())
            .collect();
        assert!(!relayed("127.0.0.1:1", "10.0.0.5:2").is_in(&trusted));
        // The proxy itself is in the list, and named nobody.
        assert!(
            !Peer::inet(addr("10.0.0.5:2"))
                .relaying(None)
                .is_in(&trusted)
        );
        assert!(relayed("10.1.1.1:1", "192.0.2.1:2").is_in(&trusted));
        assert!(!relayed("203.0.113.9:1", "10.0.0.5:2").is_in(&trusted));
        assert!(!UNIX.is_in(&trusted));
        assert!(UNIX.is_in(&trusted.clone().with_unix()));
    }

    #[test]
    fn it_is_shown_as_what_is_known_of_it() {
        assert_eq!(UNIX.to_string(), "unix");
        assert_eq!(UNIX.text(), "unix");
        assert_eq!(UNIX.relaying(None).to_string(), "unix");
        let peer = Peer::inet(addr("[::ffff:10.0.0.5]:2"));
        assert_eq!(peer.to_string(), "10.0.0.5:2");
        assert_eq!(peer.text(), "10.0.0.5:2");
        assert_eq!(peer.relaying(None).to_string(), "10.0.0.5:2");
        let client = peer.relaying(Some(addr("[2001:db8::1]:7")));
        assert_eq!(client.to_string(), "[2001:db8::1]:7");
        assert_eq!(client.port(), Some(7));
    }
}
