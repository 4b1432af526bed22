//! Detects a `gateway.url` that leads to a socket of this tap, where every request would come back
//! to us.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use socket2::SockRef;
use tokio::net::TcpListener;

use super::start_error::StartError;
use crate::config::{Config, Target};
use crate::transport::listening::Listening;
use crate::transport::own_address;

/// A socket that this tap listens on.
#[derive(Clone, Debug)]
pub(super) struct OwnSocket {
    /// Configuration key of the socket.
    key: String,
    place: OwnPlace,
}

#[derive(Clone, Debug)]
enum OwnPlace {
    Tcp {
        addr: SocketAddr,
        /// An IPv6 socket that also accepts IPv4 clients.
        dual: bool,
    },
    Unix(PathBuf),
}

impl OwnSocket {
    pub(super) fn of(key: String, socket: &Listening) -> io::Result<Self> {
        match socket {
            Listening::Tcp(tcp) => Self::of_tcp(key, tcp),
            Listening::Unix { path, .. } => Ok(Self {
                key,
                place: OwnPlace::Unix(path.clone()),
            }),
            Listening::Redirected(redirected) => {
                let addr = redirected.local_addr()?;
                let place = OwnPlace::Tcp { addr, dual: false };
                Ok(Self { key, place })
            }
        }
    }

    pub(super) fn of_tcp(key: String, tcp: &TcpListener) -> io::Result<Self> {
        let addr = tcp.local_addr()?;
        let dual = addr.is_ipv6() && !SockRef::from(tcp).only_v6()?;
        let place = OwnPlace::Tcp { addr, dual };
        Ok(Self { key, place })
    }

    fn is_reached_at(&self, target: SocketAddr) -> bool {
        let OwnPlace::Tcp { addr, dual } = self.place else {
            return false;
        };
        let (own, wanted) = (addr.ip().to_canonical(), target.ip().to_canonical());
        let family = own.is_ipv4() == wanted.is_ipv4() || (dual && wanted.is_ipv4());
        if addr.port() != target.port() || !family {
            return false;
        }
        if own.is_unspecified() {
            return own_address::is_own(wanted);
        }
        // Connecting to the unspecified address leads to loopback.
        own == wanted || (wanted.is_unspecified() && own.is_loopback())
    }
}

/// Rejects such a URL. For a name that does not resolve yet, loop detection takes over at run time.
pub(super) async fn refuse(config: &Config, own: &[OwnSocket]) -> Result<(), StartError> {
    let gateway = config.gateway();
    let found = match gateway.target() {
        Target::Unix(path) => {
            let wanted = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            own.iter().find(|own| match &own.place {
                OwnPlace::Unix(path) => {
                    std::fs::canonicalize(path).is_ok_and(|path| path == wanted)
                }
                OwnPlace::Tcp { .. } => false,
            })
        }
        Target::Tcp { host, port } => {
            let lookup = tokio::net::lookup_host((host.to_unbracketed(), *port));
            let limit = config.timeouts().connect;
            let Ok(Ok(addresses)) = tokio::time::timeout(limit, lookup).await else {
                return Ok(());
            };
            let addresses: Vec<_> = addresses.collect();
            let mut own = own.iter();
            own.find(|own| addresses.iter().any(|addr| own.is_reached_at(*addr)))
        }
    };
    match found {
        Some(own) => Err(StartError::OwnGateway(Box::new(gateway.leads_to(&own.key)))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(addr: &str, dual: bool) -> OwnSocket {
        OwnSocket {
            key: "listeners[0]".to_owned(),
            place: OwnPlace::Tcp {
                addr: addr.parse().unwrap(),
                dual,
            },
        }
    }

    #[test]
    fn an_address_leads_to_the_sockets_that_it_reaches() {
        for (own, dual, target, reached) in [
            ("127.0.0.1:80", false, "127.0.0.1:80", true),
            ("127.0.0.1:80", false, "127.0.0.1:81", false),
            ("127.0.0.1:80", false, "127.0.0.2:80", false),
            ("127.0.0.1:80", false, "[::1]:80", false),
            ("127.0.0.1:80", false, "0.0.0.0:80", true),
            ("127.0.0.1:80", false, "[::ffff:127.0.0.1]:80", true),
            ("0.0.0.0:80", false, "127.0.0.2:80", true),
            ("0.0.0.0:80", false, "0.0.0.0:80", true),
            ("0.0.0.0:80", false, "[::1]:80", false),
            ("0.0.0.0:80", false, "203.0.113.7:80", false),
            ("[::]:80", true, "127.0.0.1:80", true),
            ("[::]:80", false, "127.0.0.1:80", false),
            ("[::]:80", true, "[::1]:80", true),
            ("[::]:80", true, "[2001:db8::7]:80", false),
            ("[::1]:80", false, "127.0.0.1:80", false),
        ] {
            let found = tcp(own, dual).is_reached_at(target.parse().unwrap());
            assert_eq!(found, reached, "{own} {dual} {target}");
        }
    }
}
