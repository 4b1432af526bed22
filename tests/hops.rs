//! Through another proxy: nginx and `HAProxy`, in front of the tap and behind it, configured right
//! and wrong in the ways that people do. The verdict has to say what the hop did.
//!
//! A cell is one proxy in one place with one configuration, and a stand-in gateway at the end
//! (`live` has the real one). Its verdict is printed, so that a run with `--no-capture` shows the
//! whole matrix.

mod answers;
mod haproxy;
mod held;
mod idle;
mod mangled;
mod nginx;
pub mod proxy;
mod right;
mod upgrade;

use std::net::SocketAddr;

use serde_json::json;
use wstap::session::SessionRecord;
use wstap::session::record::{Class, Verdict};

use self::proxy::{Proxy, Software, Way};
use crate::peers::Via;
use crate::peers::openclaw::{Gateway, Script};
use crate::support::client;
use crate::support::conn::Conn;
use crate::support::frame::Frame;
use crate::support::head::Head;
use crate::support::tap::{Face, Setup, Tap};

/// Where the proxy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Between client and tap.
    Front,
    /// Between tap and gateway.
    Behind,
}

impl Place {
    pub const BOTH: [Self; 2] = [Self::Front, Self::Behind];
}

/// One proxy, the tap, and what is at the end.
pub struct Cell {
    name: String,
    place: Place,
    proxy: Proxy,
    tap: Tap,
    /// Ended with the cell.
    _gateway: Option<Gateway>,
}

impl Cell {
    /// With the stand-in gateway. `None` where the proxy is not installed.
    pub async fn new(software: Software, place: Place, way: Way) -> Option<Self> {
        Self::with_script(software, place, way, Script::default()).await
    }

    async fn with_script(
        software: Software,
        place: Place,
        way: Way,
        script: Script,
    ) -> Option<Self> {
        let gateway = Gateway::start(&Via::Plain, script).await;
        let end = gateway.peer.addr();
        let cell = Self::before(software, place, way, end).await?;
        Some(Self {
            _gateway: Some(gateway),
            ..cell
        })
    }

    /// With something else at the end, or nothing.
    pub async fn before(
        software: Software,
        place: Place,
        way: Way,
        end: SocketAddr,
    ) -> Option<Self> {
        let setup = |url: SocketAddr| Setup::before_url(&format!("http://{url}")).openclaw();
        let (proxy, tap) = match place {
            Place::Front => {
                let tap = setup(end).start().await;
                (
                    Proxy::start(software, way, tap.addr(Face::Plain)).await?,
                    tap,
                )
            }
            Place::Behind => {
                let proxy = Proxy::start(software, way, end).await?;
                let tap = setup(proxy.addr).start().await;
                (proxy, tap)
            }
        };
        Some(Self {
            name: format!("{} {place:?} {way}", software.name()),
            place,
            proxy,
            tap,
            _gateway: None,
        })
    }

    /// A client's connection to the proxy or the tap, whichever is in front.
    async fn connect(&self) -> Conn {
        let door = match self.place {
            Place::Front => self.proxy.addr,
            Place::Behind => self.tap.addr(Face::Plain),
        };
        client::connect(door).await
    }

    /// An upgrade that is not answered with 101: the answer, whole.
    pub async fn refused(&self, more: &[(&str, &str)]) -> (Head, String) {
        let mut conn = self.connect().await;
        let head = conn.upgrade("/", more).await.expect("an answer");
        assert_ne!(head.status(), 101, "{}: {}", self.name, head.text());
        let body = conn.body(&head).await.expect("a body");
        (head, String::from_utf8_lossy(&body).into_owned())
    }

    /// A session that the gateway has accepted.
    async fn open(&self, token: &str) -> Conn {
        let mut conn = self.connect().await;
        conn.open("/").await;
        conn.log_in(token).await;
        conn
    }

    /// A whole session.
    pub async fn visit(&self, token: &str) {
        let mut conn = self.open(token).await;
        health(&mut conn).await;
        let close = Frame::empty_close();
        conn.send_masked(close).await.expect("send a Close");
        conn.frames_to_end().await;
    }

    /// Waits for this many sessions; prints and returns the verdict of the newest.
    pub async fn judged(&self, sessions: usize) -> Judged {
        let record = self
            .tap
            .websockets(sessions)
            .await
            .swap_remove(sessions - 1);
        self.told(&record)
    }

    fn told(&self, record: &SessionRecord) -> Judged {
        Judged::of(&self.name, record)
    }
}

/// A request and its answer.
async fn health(conn: &mut Conn) {
    let request = json!({ "type": "req", "id": "2", "method": "health", "params": {} });
    let request = Frame::text(&request.to_string());
    conn.send_masked(request).await.expect("send a request");
    // The real gateway sends events in between.
    let answer = loop {
        let frame = conn.frame().await.expect("its answer");
        if frame.as_text().contains(r#""id":"2""#) {
            break frame;
        }
    };
    assert!(
        answer.as_text().contains(r#""ok":true"#),
        "{}",
        answer.as_text()
    );
}

/// A verdict, and what it was about.
pub struct Judged {
    cell: String,
    verdict: Verdict,
}

impl Judged {
    /// Prints it for the matrix.
    fn of(cell: &str, record: &SessionRecord) -> Self {
        let verdict = record.verdict.clone().expect("every record has a verdict");
        eprintln!("{cell}: {} ({})", verdict.rule, verdict.summary);
        // The record alone gives the same verdict again.
        assert_eq!(wstap::verdict::decide(record), verdict);
        assert_ne!(verdict.class, Class::Unknown, "{cell}");
        Self {
            cell: cell.to_owned(),
            verdict,
        }
    }

    #[track_caller]
    pub fn is(&self, rule: &str) -> &Self {
        assert_eq!(
            self.verdict.rule, rule,
            "{}: {:#?}",
            self.cell, self.verdict
        );
        self
    }

    /// Summary or evidence has these words.
    #[track_caller]
    pub fn says(&self, words: &str) -> &Self {
        let mut facts = self.verdict.evidence.iter();
        let said = self.verdict.summary.contains(words)
            || facts.any(|evidence| evidence.fact.contains(words));
        assert!(said, "{}: no {words:?} in {:#?}", self.cell, self.verdict);
        self
    }

    /// The next action has these words.
    #[track_caller]
    pub fn next(&self, words: &str) -> &Self {
        let next = &self.verdict.next;
        assert!(
            next.contains(words),
            "{}: no {words:?} in {next:?}",
            self.cell
        );
        self
    }
}
