//! The clients: from where they come, with which headers, and how to tell what the gateway took
//! them for.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::TcpStream;

use crate::live::nginx::Front;
use crate::live::visitor::{Answer, Visitor};
use crate::support::conn::Conn;
use crate::support::netns::{
    HERE_PRIVATE, HERE_V4, HERE_V6, Net, THERE_PRIVATE, THERE_V4, THERE_V6,
};
use crate::support::wire::Wire;

/// Where a connection begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Loopback4,
    Loopback6,
    /// The same host, by its network address.
    Own,
    There4,
    There6,
    TherePrivate,
}

/// A client of the table.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    pub name: &'static str,
    from: From,
    /// An nginx that runs on the gateway's host, before the gateway or before the tap.
    front: Option<Front>,
    headers: &'static [(&'static str, &'static str)],
    /// A browser that says it has loaded the page from `localhost`.
    browser: bool,
}

const fn client(name: &'static str, from: From) -> Client {
    Client {
        name,
        from,
        front: None,
        headers: &[],
        browser: false,
    }
}

impl Client {
    const fn saying(self, headers: &'static [(&'static str, &'static str)]) -> Self {
        Self { headers, ..self }
    }

    const fn behind(self, front: Front) -> Self {
        Self {
            front: Some(front),
            ..self
        }
    }

    const fn browser(self) -> Self {
        Self {
            browser: true,
            ..self
        }
    }

    /// Everybody.
    pub const ALL: &[Self] = &[
        client("loopback", From::Loopback4),
        client("loopback v6", From::Loopback6),
        client("own address", From::Own),
        client("other host", From::There4),
        client("other host v6", From::There6),
        client("other host, private", From::TherePrivate),
        client("loopback, XFF remote", From::Loopback4).saying(FOR_REMOTE),
        client("loopback, XFF loopback", From::Loopback4).saying(FOR_LOOPBACK),
        client("other host, XFF loopback", From::There4).saying(FOR_LOOPBACK),
        client("other host v6, XFF ::1", From::There6).saying(&[("X-Forwarded-For", "::1")]),
        client("other host, XFF empty", From::There4).saying(&[("X-Forwarded-For", "")]),
        client("other host, XFF twice", From::There4)
            .saying(&[("X-Forwarded-For", "127.0.0.1"), ("x-forwarded-for", "::1")]),
        client("other host, X-Real-IP", From::There4).saying(&[("X-Real-IP", "127.0.0.1")]),
        client("other host, Forwarded", From::There4)
            .saying(&[("Forwarded", "for=127.0.0.1;proto=http")]),
        client("other host, Tailscale", From::There4).saying(&[
            ("Tailscale-User-Login", "me@example.com"),
            ("X-Forwarded-For", "100.64.0.9"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "gateway.example.ts.net"),
        ]),
        client("other host, XFF nominated", From::There4).saying(NOMINATED),
        client("loopback, XFF nominated", From::Loopback4).saying(NOMINATED),
        client("loopback, browser", From::Loopback4).browser(),
        client("other host, browser", From::There4).browser(),
        client("other host, private, browser", From::TherePrivate).browser(),
        client("nginx <- loopback", From::Loopback4).behind(Front::Names),
        client("nginx <- other host", From::There4).behind(Front::Names),
        client("nginx <- other host v6", From::There6).behind(Front::Names),
        client("nginx appends <- XFF loopback", From::There4)
            .saying(FOR_LOOPBACK)
            .behind(Front::Appends),
        client("nginx mute <- other host", From::There4).behind(Front::Mute),
        client("nginx mute <- XFF remote", From::There4)
            .saying(FOR_REMOTE)
            .behind(Front::Mute),
        client("nginx nominates <- other host", From::There4).behind(Front::Nominates),
    ];

    /// The gateway takes a page from `localhost` for local when it comes from any private address
    /// without forwarding headers, for the sake of containers. A client that such headers name
    /// is remote, so this is the one locality that the tap cannot preserve.
    pub fn local_by_container_rule(&self) -> bool {
        self.browser && self.from == From::TherePrivate
    }

    /// The address that the tap may write for it: its own, or one that a proxy on the tap's host
    /// names.
    pub fn may_be_written_as(&self, address: &str) -> bool {
        let itself: IpAddr = match self.from {
            // Its host's address, as a gateway elsewhere sees it.
            From::Loopback4 | From::Loopback6 => HERE_PRIVATE.into(),
            From::Own => HERE_V4.into(),
            From::There4 => THERE_V4.into(),
            From::There6 => THERE_V6.into(),
            From::TherePrivate => THERE_PRIVATE.into(),
        };
        let local = matches!(self.from, From::Loopback4 | From::Loopback6);
        let by_proxy = (local || self.front.is_some()) && address == NAMED;
        by_proxy || address == itself.to_string()
    }

    /// Connects to a gateway or a tap, first without a device, then with a new one.
    pub async fn meet(&self, net: &Net, door: Door) -> Meeting {
        // The page always has a device, so a browser has only one visit.
        let visitors = if self.browser {
            vec![Visitor::browser(PAGE).host("localhost").with_new_device()]
        } else {
            let bare = Visitor::command_line();
            vec![bare, Visitor::command_line().with_new_device()]
        };
        let mut visits = Vec::new();
        for visitor in visitors {
            let headers = self.headers.iter();
            let visitor = headers.fold(visitor, |visitor, (name, value)| {
                visitor.header(name, value)
            });
            visits.push(self.visit(net, door, visitor).await);
        }
        Meeting(visits)
    }

    async fn visit(&self, net: &Net, door: Door, visitor: Visitor) -> Visit {
        let (dialled, visitor) = match self.front {
            None => (self.from.dial(net, door).await, visitor),
            Some(front) => {
                let visitor = visitor.target(&format!("/to/{}/", door.local));
                let nginx = (Ipv4Addr::LOCALHOST, front.port()).into();
                (self.from.dial(net, Door { local: nginx }).await, visitor)
            }
        };
        let answer = match dialled {
            Ok(conn) => visitor.visit(conn).await,
            Err(error) => Answer::Unreachable(error.to_string()),
        };
        Visit { visitor, answer }
    }
}

/// Where a gateway, a tap or an nginx listens.
#[derive(Clone, Copy, Debug)]
pub struct Door {
    /// Its address for those on the same host. The others have only its port from it.
    pub local: SocketAddr,
}

/// The origin that the gateway of these tests allows.
pub const PAGE: &str = "http://localhost:5173";

const NAMED: &str = "203.0.113.7";
const FOR_REMOTE: &[(&str, &str)] = &[("X-Forwarded-For", NAMED)];
const FOR_LOOPBACK: &[(&str, &str)] = &[("X-Forwarded-For", "127.0.0.1")];
/// A proxy that follows the letter removes what `Connection` names (RFC 9110 section 7.6.1).
const NOMINATED: &[(&str, &str)] = &[
    ("X-Forwarded-For", NAMED),
    ("Connection", "X-Forwarded-For"),
];

impl From {
    async fn dial(self, net: &Net, door: Door) -> io::Result<Conn> {
        let to: IpAddr = match self {
            // As any client of `localhost`: the other address when nobody listens on this one.
            Self::Loopback6 if door.local.ip().is_loopback() => {
                let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, door.local.port()));
                if let Ok(tcp) = TcpStream::connect(v6).await {
                    return Ok(Conn::bounded(Wire::Plain(tcp)));
                }
                Ipv4Addr::LOCALHOST.into()
            }
            Self::Loopback4 | Self::Loopback6 => door.local.ip(),
            Self::Own | Self::There4 => HERE_V4.into(),
            Self::There6 => HERE_V6.into(),
            Self::TherePrivate => HERE_PRIVATE.into(),
        };
        let to = SocketAddr::new(to, door.local.port());
        let tcp = match self {
            Self::Loopback4 | Self::Loopback6 | Self::Own => TcpStream::connect(to).await?,
            Self::There4 | Self::There6 | Self::TherePrivate => {
                let tcp = net.connect_from_there(to)?;
                tcp.set_nonblocking(true)?;
                TcpStream::from_std(tcp)?
            }
        };
        Ok(Conn::bounded(Wire::Plain(tcp)))
    }
}

/// One connection and its outcome.
pub struct Visit {
    pub visitor: Visitor,
    pub answer: Answer,
}

/// Both connections of a client. The last one has a device.
pub struct Meeting(pub Vec<Visit>);

/// What a client is to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locality {
    /// Scopes without a device, and a new device is approved at once.
    Local,
    /// No scopes without a device, and a new device has to be approved.
    Remote,
    /// No upgrade.
    Refused(u16),
    /// No connection.
    Unreachable,
}

impl Meeting {
    pub fn with_device(&self) -> &Visit {
        self.0.last().expect("a visit")
    }

    pub fn locality(&self) -> Locality {
        let found: Vec<_> = self.0.iter().map(Visit::locality).collect();
        let one = found.iter().all(|locality| *locality == found[0]);
        assert!(
            one && found[0].is_some(),
            "neither local nor remote: {}",
            self.shown()
        );
        found[0].expect("checked above")
    }

    pub fn shown(&self) -> String {
        let answers: Vec<String> = self
            .0
            .iter()
            .map(|visit| visit.answer.to_string())
            .collect();
        answers.join(" | ")
    }
}

impl Visit {
    fn locality(&self) -> Option<Locality> {
        let device = self.visitor.device_id().is_some();
        match &self.answer {
            Answer::Accepted { scopes, .. } if device || !scopes.is_empty() => {
                Some(Locality::Local)
            }
            Answer::Accepted { .. } => Some(Locality::Remote),
            Answer::Refused { details, .. } if details == "PAIRING_REQUIRED" => {
                Some(Locality::Remote)
            }
            Answer::Http { status, .. } => Some(Locality::Refused(*status)),
            Answer::Unreachable(_) => Some(Locality::Unreachable),
            Answer::Refused { .. } | Answer::Closed { .. } | Answer::Nothing(_) => None,
        }
    }
}
