//! A fault, what its record must say, and the steps that many faults share.

use std::future::Future;
use std::pin::Pin;

use serde_json::Value;
use wstap::session::SessionRecord;
use wstap::session::record::{Class, Kind, Saw, SawBasis, TransportEnd};
use wstap::ws::CloseCode;

use crate::peers::openclaw::{Gateway, Script, TOKEN};
use crate::peers::{Peer, Via};
use crate::support::conn::Conn;
use crate::support::frame::Frame;
use crate::support::tap::{Face, Setup, Tap};

type Run = Pin<Box<dyn Future<Output = SessionRecord> + Send>>;

/// One fault to inject, and what its record must say.
pub struct Fault {
    pub name: &'static str,
    pub wanted: Wanted,
    /// Injects it and returns the record.
    pub inject: Box<dyn FnOnce() -> Run + Send>,
}

/// What the record of a fault must say.
#[derive(Clone, Copy)]
pub struct Wanted {
    pub rule: &'static str,
    /// What client and gateway must have observed; nothing where there was no tunnel.
    saw: [Option<Saw>; 2],
    /// A part of the evidence.
    says: Option<&'static str>,
}

/// A fault without a tunnel; [`Fault::saw`] is for those with one.
pub fn fault<I, F>(name: &'static str, rule: &'static str, inject: I) -> Fault
where
    I: FnOnce() -> F + Send + 'static,
    F: Future<Output = SessionRecord> + Send + 'static,
{
    let wanted = Wanted {
        rule,
        saw: [None, None],
        says: None,
    };
    Fault {
        name,
        wanted,
        inject: Box::new(move || Box::pin(inject())),
    }
}

impl Fault {
    /// What each end must have observed of the tunnel's ending.
    #[must_use]
    pub fn saw(mut self, client: Option<Saw>, gateway: Option<Saw>) -> Self {
        self.wanted.saw = [client, gateway];
        self
    }

    /// Some evidence must contain this.
    #[must_use]
    pub fn says(mut self, words: &'static str) -> Self {
        self.wanted.says = Some(words);
        self
    }
}

impl Wanted {
    /// The class that was injected: ids are stable, and begin with it.
    pub fn class(&self) -> Class {
        let (class, _) = self.rule.rsplit_once('.').expect("class.rule");
        serde_json::from_value(Value::from(class)).unwrap_or_else(|_| panic!("no class {class}"))
    }

    /// What is wrong with a record of this fault, other than its class.
    pub fn objections(&self, record: &SessionRecord) -> Vec<String> {
        let mut wrong = Vec::new();
        let verdict = record.verdict.as_ref().expect("a verdict");
        if verdict.rule != self.rule {
            wrong.push(format!("rule {}, not {}", verdict.rule, self.rule));
        }
        let saw = [record.close.client_saw, record.close.gateway_saw];
        for (who, (found, wanted)) in ["client", "gateway"].iter().zip(saw.iter().zip(&self.saw)) {
            if found != wanted {
                let (found, wanted) = (tell(*found), tell(*wanted));
                wrong.push(format!("the {who} saw {found}, not {wanted}"));
            }
        }
        if let Some(words) = self.says {
            let said = verdict.evidence.iter().any(|it| it.fact.contains(words));
            if !said {
                wrong.push(format!("no evidence says {words:?}"));
            }
        }
        // Without `Upgrade` it is a request like others, whose connection may be kept.
        let request = record.request.as_ref();
        let upgrade = request.is_none_or(|request| request.wants_upgrade);
        let accepted = record.kind == Kind::Websocket && upgrade;
        if accepted && record.close.transport.client == TransportEnd::None {
            wrong.push("nothing says how the client's leg ended".to_owned());
        }
        // Also what the fixtures of the rules do not show: each fault is a record of its own.
        if let Some(blank) = placeholder(&verdict.next) {
            wrong.push(format!("{blank:?} waits to be filled in: {}", verdict.next));
        }
        if wstap::verdict::decide(record) != *verdict {
            wrong.push("the record alone gives another verdict".to_owned());
        }
        wrong
    }
}

/// A placeholder that an action leaves to be filled in. A word that is part of a name, such as
/// `OPENCLAW_CONFIG_PATH`, is none.
fn placeholder(action: &str) -> Option<&str> {
    const BLANKS: [&str; 6] = ["HOST", "PORT", "NAME", "FILE", "PATH", "REQUEST-ID"];
    let in_a_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    let mut words = action.split(|c| !in_a_word(c));
    let marks = ["<", "…`"].into_iter();
    words
        .find(|word| BLANKS.contains(word))
        .or_else(|| marks.into_iter().find(|mark| action.contains(mark)))
}

fn tell(saw: Option<Saw>) -> String {
    saw.map_or_else(
        || "nothing".to_owned(),
        |saw| format!("{} {:?}", saw.code.0, saw.basis),
    )
}

/// That end answered it.
pub const fn acked(code: u16) -> Option<Saw> {
    saw(code, SawBasis::Acked)
}

/// It was written to that end's connection, and no more is known.
pub const fn written(code: u16) -> Option<Saw> {
    saw(code, SawBasis::Written)
}

/// A Close was under way and that end was gone.
pub const fn undelivered() -> Option<Saw> {
    saw(1006, SawBasis::Undelivered)
}

/// That end went first.
pub const NOTHING: Option<Saw> = None;

#[expect(
    clippy::unnecessary_wraps,
    reason = "compared with a field that is an option"
)]
const fn saw(code: u16, basis: SawBasis) -> Option<Saw> {
    Some(Saw {
        code: CloseCode(code),
        basis,
    })
}

/// An open session of `dialect: plain` before this peer.
pub async fn open(setup: Setup, face: Face) -> (Tap, Conn) {
    let tap = setup.start().await;
    let mut conn = tap.connect(face).await;
    conn.open("/").await;
    (tap, conn)
}

/// The same before a peer with nothing set.
pub async fn open_before(peer: &Peer) -> (Tap, Conn) {
    open(Setup::before(peer), Face::Plain).await
}

/// A session that a stand-in gateway has accepted.
pub async fn accepted(gateway: &Gateway) -> (Tap, Conn) {
    accepted_by(Setup::before(&gateway.peer)).await
}

/// The same with more set.
pub async fn accepted_by(setup: Setup) -> (Tap, Conn) {
    let (tap, mut conn) = open(setup.openclaw(), Face::Plain).await;
    conn.log_in(TOKEN).await;
    (tap, conn)
}

/// A stand-in gateway that behaves.
pub async fn gateway() -> Gateway {
    Gateway::start(&Via::Plain, Script::default()).await
}

/// Reads to the end, ends cleanly, and returns the upgrade attempt's record.
pub async fn over(tap: Tap, mut conn: Conn) -> SessionRecord {
    conn.rest().await;
    conn.finish().await;
    drop(conn);
    tap.websocket().await
}

/// Answers the gateway's Close with this one; then as [`over`].
pub async fn answered(tap: Tap, mut conn: Conn, answer: Frame) -> SessionRecord {
    conn.frame().await.expect("the gateway's Close");
    conn.send_masked(answer).await.unwrap();
    over(tap, conn).await
}

/// An upgrade that opens no tunnel.
pub async fn refused(setup: Setup) -> SessionRecord {
    let tap = setup.start().await;
    refused_by(&tap, &[]).await
}

/// The same with more headers.
pub async fn refused_by(tap: &Tap, headers: &[(&str, &str)]) -> SessionRecord {
    let mut conn = tap.connect(Face::Plain).await;
    let answer = conn.upgrade("/ws", headers).await.expect("an answer");
    assert_ne!(answer.status(), 101, "no tunnel");
    conn.rest().await;
    tap.websocket().await
}

/// Bytes to a listener, everything that comes back, and the first record of any kind.
pub async fn said(setup: Setup, face: Face, bytes: &[u8]) -> SessionRecord {
    let tap = setup.start().await;
    let mut conn = tap.connect(face).await;
    conn.send(bytes).await.unwrap();
    conn.rest().await;
    first_record(&tap).await
}

pub async fn first_record(tap: &Tap) -> SessionRecord {
    tap.wait_for("a record", |_| true).await
}
