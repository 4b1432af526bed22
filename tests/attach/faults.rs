//! Faults are judged as inline: each fault of a gateway and of a client occurs once with `wstap
//! serve`, and once attached.

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use wstap::session::SessionRecord;

use super::{From, at};
use crate::peers::close_code::After;
use crate::peers::{
    Peer, Via, blurts, buried_close, close_code, draining, early_bytes, echo, fin_mid_frame,
    fin_without_close, half_closer, missing_accept_key, no_status_line, ok_instead_of_101,
    reset_before_status, reset_mid_frame, scripted, wrong_accept_key,
};
use crate::support::attached::Attached;
use crate::support::conn::Conn;
use crate::support::frame::Frame;
use crate::support::head;
use crate::support::netns::{self, HERE_V4, Net, test_name};
use crate::support::records::is_websocket;
use crate::support::tap::{Face, Setup};
use crate::support::wire::Wire;

/// A gateway that does this, or a client before one that echoes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Blurts,
    BuriedClose,
    PolicyViolation,
    TooBig,
    Restarts,
    ClosesAndResets,
    Draining,
    FinMidFrame,
    FinWithoutClose,
    HalfCloses,
    NoAcceptKey,
    NoStatusLine,
    Answers200,
    Answers403,
    ResetBeforeStatus,
    ResetMidFrame,
    WrongAcceptKey,
    ClientResets,
    ClientLeaves,
    ClientBreaksTheProtocol,
    ClientClosesWithItsOwnCode,
    None,
}

impl Fault {
    const ALL: [Self; 22] = [
        Self::Blurts,
        Self::BuriedClose,
        Self::PolicyViolation,
        Self::TooBig,
        Self::Restarts,
        Self::ClosesAndResets,
        Self::Draining,
        Self::FinMidFrame,
        Self::FinWithoutClose,
        Self::HalfCloses,
        Self::NoAcceptKey,
        Self::NoStatusLine,
        Self::Answers200,
        Self::Answers403,
        Self::ResetBeforeStatus,
        Self::ResetMidFrame,
        Self::WrongAcceptKey,
        Self::ClientResets,
        Self::ClientLeaves,
        Self::ClientBreaksTheProtocol,
        Self::ClientClosesWithItsOwnCode,
        Self::None,
    ];

    async fn gateway(self, via: &Via) -> Peer {
        let closes = |code, reason, after| close_code::start(via, Some(code), reason, after);
        match self {
            Self::Blurts => blurts::start(via, b"SSH-2.0-OpenSSH_9.2\r\n").await,
            Self::BuriedClose => buried_close::start(via, 1011, "internal error").await,
            Self::PolicyViolation => closes(1008, "unauthorized", After::Echo).await,
            Self::TooBig => closes(1009, "too big", After::Fin).await,
            Self::Restarts => closes(1012, "service restart", After::Echo).await,
            Self::ClosesAndResets => closes(1008, "slow consumer", After::Rst).await,
            Self::Draining => draining::start(via).await,
            Self::FinMidFrame => fin_mid_frame::start(via).await,
            Self::FinWithoutClose => fin_without_close::start(via).await,
            Self::HalfCloses => half_closer::start(via).await,
            Self::NoAcceptKey => missing_accept_key::start(via).await,
            Self::NoStatusLine => no_status_line::start(via).await,
            Self::Answers200 => ok_instead_of_101::start(via, &[("Server", "nginx")], "<h1>").await,
            Self::Answers403 => {
                let answer = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
                scripted::start(via, answer).await
            }
            Self::ResetBeforeStatus => reset_before_status::start(via).await,
            Self::ResetMidFrame => reset_mid_frame::start(via).await,
            Self::WrongAcceptKey => wrong_accept_key::start(via).await,
            Self::ClientResets
            | Self::ClientLeaves
            | Self::ClientBreaksTheProtocol
            | Self::ClientClosesWithItsOwnCode => early_bytes::start(via, &[]).await,
            Self::None => echo::start(via).await,
        }
    }

    /// A session over this connection.
    async fn visit(self, mut conn: Conn, peer: &Peer) {
        let request = head::upgrade("/", "localhost", &[]);
        if conn.send(&request).await.is_err() {
            return;
        }
        let Ok(answer) = conn.head().await else {
            return;
        };
        if answer.status() != 101 {
            let _ = conn.rest().await;
            return;
        }
        // Attach's own request for `/healthz` may be waiting too.
        peer.go();
        peer.go();
        match self {
            Self::ClientResets => return conn.abort(),
            Self::ClientLeaves => return conn.finish().await,
            Self::ClientBreaksTheProtocol => {
                // An unmasked frame.
                let _ = conn.send_frame(&Frame::text("not masked")).await;
                return conn.finish().await;
            }
            Self::ClientClosesWithItsOwnCode => {
                let _ = conn.send_masked(Frame::close(4321, "enough")).await;
            }
            Self::None => {
                let _ = conn.send_masked(Frame::close(1000, "")).await;
            }
            _ => {}
        }
        while let Ok(frame) = conn.frame().await {
            if frame.opcode == crate::support::frame::CLOSE {
                let _ = conn
                    .send_masked(Frame::new(frame.opcode, frame.payload))
                    .await;
            }
        }
        conn.finish().await;
    }
}

/// The facts that have to be the same.
fn judged(record: &SessionRecord) -> Value {
    let verdict = record.verdict.as_ref().expect("a verdict");
    let close = serde_json::to_value(&record.close).expect("JSON");
    json!({
        "rule": verdict.rule,
        "confidence": verdict.confidence,
        "party": verdict.party,
        "act_on": verdict.act_on,
        "phase": record.phase,
        "first": close["first"],
        "gateway": [close["gateway"]["code"], close["gateway"]["reason"]],
    })
}

async fn connect(to: SocketAddr) -> Conn {
    Conn::bounded(Wire::Plain(TcpStream::connect(to).await.expect("connect")))
}

async fn inline(fault: Fault) -> Value {
    let peer = fault.gateway(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    fault
        .visit(connect(tap.addr(Face::Plain)).await, &peer)
        .await;
    judged(&tap.websocket().await)
}

/// With a client on another host: its connection to the gateway keeps its address.
async fn attached(net: &Net, fault: Fault) -> Value {
    let peer = fault.gateway(&Via::At(at(HERE_V4, 0))).await;
    let port = peer.addr().port();
    let attached = Attached::start(port, &["--for", "1h", "--grace", "0s"]).await;
    let tcp = super::connect(net, From::There, at(HERE_V4, port)).await;
    let conn = Conn::bounded(Wire::Plain(tcp.expect("connect")));
    fault.visit(conn, &peer).await;
    let records = attached.records_once(1).await;
    let record = records.iter().find(|it| is_websocket(it));
    let record = record.unwrap_or_else(|| panic!("{fault:?}: {records:?}"));
    let judged = judged(record);
    attached.detach().await;
    judged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closes_and_ends_of_a_gateway_are_judged_as_inline() {
    let this = test_name!(closes_and_ends_of_a_gateway_are_judged_as_inline);
    let Some(net) = netns::enter("attach: ends of a gateway", this).await else {
        return;
    };
    are_judged_as_inline(&net, &Fault::ALL[..10]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_and_faults_of_clients_are_judged_as_inline() {
    let this = test_name!(answers_and_faults_of_clients_are_judged_as_inline);
    let Some(net) = netns::enter("attach: answers, and faults of clients", this).await else {
        return;
    };
    are_judged_as_inline(&net, &Fault::ALL[10..]).await;
}

async fn are_judged_as_inline(net: &Net, faults: &[Fault]) {
    let mut inlines = JoinSet::new();
    for fault in faults.iter().copied() {
        inlines.spawn(async move { (fault, inline(fault).await) });
    }
    let inlines = inlines.join_all().await;
    let mut wrong = Vec::new();
    for fault in faults.iter().copied() {
        let began = Instant::now();
        let attached = attached(net, fault).await;
        let (_, inline) = inlines.iter().find(|(of, _)| *of == fault).expect("judged");
        eprintln!("{fault:?}: {}, {:?}", attached["rule"], began.elapsed());
        if attached != *inline {
            wrong.push(format!(
                "{fault:?}:\nattached {attached:#}\ninline {inline:#}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
