//! Who connects, from where and as what, with and without the tap.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::TcpStream;

use crate::live::visitor::Visitor;
use crate::support::conn::Conn;
use crate::support::netns::{HERE_PRIVATE, HERE_SWITCHED, HERE_V4, HERE_V6, Net};
use crate::support::wire::Wire;

/// The page that the gateway of these tests allows.
pub const PAGE: &str = "http://localhost:5173";

/// Another token than the gateway's.
pub const WRONG: &str = "wrong-token-0123456789abcdef0123456789abcdef";

/// Where a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// In the gateway's namespace.
    Here,
    /// On another host.
    There,
}

/// A client's host and the address that it dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    pub name: &'static str,
    pub from: From,
    pub to: IpAddr,
}

const fn way(name: &'static str, from: From, to: IpAddr) -> Way {
    Way { name, from, to }
}

impl Way {
    pub const LOOPBACK: Self = way("loopback", From::Here, IpAddr::V4(Ipv4Addr::LOCALHOST));
    pub const LOOPBACK_V6: Self = way("loopback v6", From::Here, IpAddr::V6(Ipv6Addr::LOCALHOST));
    /// The gateway's host, by its address in the network.
    pub const OWN: Self = way("own address", From::Here, IpAddr::V4(HERE_V4));
    pub const OWN_PRIVATE: Self = way("own private address", From::Here, IpAddr::V4(HERE_PRIVATE));
    pub const REMOTE: Self = way("other host", From::There, IpAddr::V4(HERE_V4));
    pub const REMOTE_PRIVATE: Self =
        way("other host, private", From::There, IpAddr::V4(HERE_PRIVATE));
    pub const REMOTE_V6: Self = way("other host v6", From::There, IpAddr::V6(HERE_V6));

    const OWN_V6: Self = way("own address v6", From::Here, IpAddr::V6(HERE_V6));

    /// Over a bridge.
    pub const BRIDGED: Self = way("bridge", From::There, IpAddr::V4(HERE_SWITCHED));

    pub const ALL: [Self; 9] = [
        Self::LOOPBACK,
        Self::LOOPBACK_V6,
        Self::OWN,
        Self::OWN_PRIVATE,
        Self::REMOTE,
        Self::REMOTE_PRIVATE,
        Self::REMOTE_V6,
        Self::OWN_V6,
        Self::BRIDGED,
    ];

    /// A connection to this port.
    pub async fn connect(self, net: &Net, port: u16) -> io::Result<Conn> {
        let to = SocketAddr::new(self.to, port);
        let tcp = match self.from {
            From::Here => TcpStream::connect(to).await?,
            From::There => {
                let tcp = net.connect_from_there(to)?;
                tcp.set_nonblocking(true)?;
                TcpStream::from_std(tcp)?
            }
        };
        Ok(Conn::bounded(Wire::Plain(tcp)))
    }
}

/// What a client brings. Each shows its locality in another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brings {
    /// The right token alone: a local client keeps its scopes, a remote one has none.
    Token,
    /// The right token and a new device: a local one is approved at once.
    NewDevice,
    /// A wrong token: the refusal's advice is for local or for remote clients.
    WrongToken,
    /// A page from `localhost`: from a private address it counts as local.
    Page,
    /// A header that only a trusted proxy may send.
    ForwardedFor,
}

impl Brings {
    pub const ALL: [Self; 5] = [
        Self::Token,
        Self::NewDevice,
        Self::WrongToken,
        Self::Page,
        Self::ForwardedFor,
    ];

    pub fn visitor(self) -> Visitor {
        let visitor = Visitor::command_line();
        match self {
            Self::Token => visitor,
            Self::NewDevice => visitor.with_new_device(),
            Self::WrongToken => visitor.with_token(WRONG),
            Self::Page => Visitor::browser(PAGE).host("localhost").with_new_device(),
            Self::ForwardedFor => visitor.header("X-Forwarded-For", "127.0.0.1"),
        }
    }
}
