//! A gateway that announced a shutdown, and what the next callers meet.

use std::net::{SocketAddr, TcpStream};

use wstap::session::SessionRecord;
use wstap::session::record::Kind;

use super::auth::verdict;
use crate::peers::openclaw::{Gateway, Order, Script, TOKEN};
use crate::peers::{Peer, Via, blurts, reset_before_status, scripted};
use crate::support::conn::Conn;
use crate::support::deadline::{STEP, poll};
use crate::support::records::is_websocket;
use crate::support::tap::{Face, Setup, Tap};

/// What answers at the gateway's address after the announcement.
#[derive(Clone, Copy, Debug)]
pub enum Then {
    Nobody,
    Reset,
    Fin,
    /// A proxy that cannot reach it.
    BadGateway,
    /// A process that accepts the upgrade and exits.
    EndsInHandshake,
}

impl Then {
    /// Makes something else listen there from now on, for as long as the returned value lives.
    async fn begin(self, addr: SocketAddr) -> Option<Peer> {
        is_gone(addr).await;
        let via = Via::At(addr);
        Some(match self {
            Self::Nobody => return None,
            Self::Reset => reset_before_status::start(&via).await,
            Self::Fin => blurts::start(&via, b"").await,
            Self::BadGateway => {
                let page = "<html><center><h1>502 Bad Gateway</h1></center><hr><center>nginx\
                            </center></html>";
                let head = "HTTP/1.1 502 Bad Gateway\r\nServer: nginx\r\nContent-Type: text/html";
                let length = page.len();
                let answer = format!("{head}\r\nContent-Length: {length}\r\n\r\n{page}");
                scripted::start(&via, &answer).await
            }
            Self::EndsInHandshake => crate::peers::leaves_after::start(&via, vec![], false).await,
        })
    }
}

async fn is_gone(addr: SocketAddr) {
    let gone = poll(STEP, || TcpStream::connect(addr).is_err().then_some(())).await;
    assert!(gone.is_some(), "the gateway still listens");
}

/// A session that gets this announcement, and its tap. The session's client does not answer.
async fn told(reason: &str) -> (SocketAddr, Tap, Conn) {
    let gateway = Gateway::start(&Via::Plain, Script::default()).await;
    let tap = Setup::before(&gateway.peer)
        .openclaw()
        .set("records.http", "all")
        .start()
        .await;
    let mut conn = tap.connect(Face::Plain).await;
    conn.open("/").await;
    conn.log_in(TOKEN).await;
    gateway.tell(Order::Shutdown {
        reason: reason.to_owned(),
    });
    loop {
        let frame = conn.frame().await.expect("the Close");
        if frame.opcode == crate::support::frame::CLOSE {
            break;
        }
    }
    (gateway.peer.addr(), tap, conn)
}

/// Record of a caller that came after the announcement.
pub async fn caller_after(reason: &str, then: Then) -> SessionRecord {
    let (addr, tap, mut first) = told(reason).await;
    first.frames_to_end().await;
    first.finish().await;
    drop(first);
    tap.websocket().await;
    let _peer = then.begin(addr).await;
    let mut conn = tap.connect(Face::Plain).await;
    drop(conn.upgrade("/", &[]).await);
    conn.frames_to_end().await;
    drop(conn);
    tap.websockets(2).await.pop().expect("a record")
}

#[tokio::test]
async fn whatever_the_next_caller_meets_it_is_the_announced_restart() {
    for then in [Then::Nobody, Then::Reset, Then::Fin, Then::BadGateway] {
        let record = caller_after("gateway restarting", then).await;
        let verdict = verdict(&record);
        assert_eq!(verdict.rule, "gateway.lifecycle.restarting", "{then:?}");
    }
    let record = caller_after("gateway restarting", Then::EndsInHandshake).await;
    assert_eq!(verdict(&record).rule, "gateway.lifecycle.lost_in_restart");
}

#[tokio::test]
async fn an_announced_stop_is_no_restart() {
    for (then, rule) in [
        (Then::Reset, "gateway.lifecycle.stopping"),
        (Then::BadGateway, "gateway.lifecycle.stopping"),
        (Then::EndsInHandshake, "gateway.lifecycle.lost_in_stop"),
        (Then::Nobody, "gateway.unreachable.refused"),
    ] {
        let record = caller_after("gateway stopping", then).await;
        assert_eq!(verdict(&record).rule, rule, "{then:?}");
    }
}

/// Stalled clients answer late, so their records come later still.
#[tokio::test]
async fn the_announcement_is_known_before_the_record_of_the_session_that_got_it() {
    let (addr, tap, first) = told("gateway restarting").await;
    let _peer = Then::Reset.begin(addr).await;
    let mut conn = tap.connect(Face::Plain).await;
    drop(conn.upgrade("/", &[]).await);
    drop(conn);
    let record = tap.websocket().await;
    assert_eq!(verdict(&record).rule, "gateway.lifecycle.restarting");
    let kept = tap.records().into_iter().filter(is_websocket).count();
    assert_eq!(kept, 1, "the first session is still open");
    drop(first);
}

#[tokio::test]
async fn a_plain_request_after_it_is_explained_by_it_too() {
    let (addr, tap, first) = told("gateway restarting").await;
    let _peer = Then::Reset.begin(addr).await;
    let mut conn = tap.connect(Face::Plain).await;
    let (answer, _) = conn.get("/healthz").await.expect("an answer");
    assert!(answer.first_line().contains(" 502 "));
    drop(conn);
    let is_request = |record: &SessionRecord| record.kind == Kind::Http;
    let record = tap.wait_for("a plain request", is_request).await;
    assert_eq!(verdict(&record).rule, "gateway.lifecycle.restarting");
    drop(first);
}

/// The session that shows it is open, and has no record yet.
#[tokio::test]
async fn a_gateway_that_keeps_a_session_which_came_since_is_back() {
    let (addr, tap, first) = told("gateway restarting").await;
    is_gone(addr).await;
    let script = Script {
        most: 1,
        ..Script::default()
    };
    let _gateway = Gateway::start(&Via::At(addr), script).await;
    let mut back = tap.connect(Face::Plain).await;
    back.open("/").await;
    back.log_in(TOKEN).await;
    let mut conn = tap.connect(Face::Plain).await;
    drop(conn.upgrade("/", &[]).await);
    drop(conn);
    let record = tap.websocket().await;
    assert_eq!(verdict(&record).rule, "gateway.silent.closed");
    drop((first, back));
}

/// Without an announcement the same is the gateway's silence.
#[tokio::test]
async fn without_an_announcement_a_reset_is_no_restart() {
    let peer = reset_before_status::start(&Via::Plain).await;
    let tap = Setup::before(&peer).openclaw().start().await;
    let mut conn = tap.connect(Face::Plain).await;
    drop(conn.upgrade("/", &[]).await);
    drop(conn);
    let record = tap.websocket().await;
    assert_eq!(verdict(&record).rule, "gateway.silent.reset");
}
