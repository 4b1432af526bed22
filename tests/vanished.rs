//! Peers on another host that are gone without a word: no FIN, no reset, no packet any more. The
//! kernel finds them, by keepalive where nothing is under way, by the user timeout where something
//! is, and the record says so.

use std::sync::Arc;

use serde_json::json;
use tokio::net::TcpStream;
use wstap::session::SessionRecord;
use wstap::session::party::{Leg, Party};
use wstap::session::record::{Class, TransportEnd};

use crate::peers::tunnel::{Control, Do};
use crate::peers::{Peer, Via, tunnel};
use crate::support::conn::Conn;
use crate::support::frame::Frame;
use crate::support::netns::{self, HERE_PRIVATE, Net, THERE_V4, test_name};
use crate::support::records::class;
use crate::support::tap::{Face, Setup, Tap};
use crate::support::wire::Wire;

struct Session {
    peer: Peer,
    control: Control,
    tap: Tap,
    conn: Conn,
}

/// An open session whose peer of `far` is on the other host.
async fn session(net: &Net, far: Leg) -> Session {
    let listen = match far {
        Leg::Client => HERE_PRIVATE.to_string(),
        Leg::Gateway => "127.0.0.1".to_owned(),
    };
    let via = match far {
        Leg::Client => Via::Plain,
        Leg::Gateway => {
            let listener = net.listen_there(THERE_V4.into()).expect("listen there");
            Via::Bound(Arc::new(listener))
        }
    };
    let (peer, control) = tunnel::start(&via).await;
    let tap = Setup::before(&peer)
        .set("listeners", json!([{ "listen": format!("{listen}:0") }]))
        .set("tcp.keepalive", "1s")
        .set("tcp.keepalive_interval", "1s")
        .set("tcp.user_timeout", "3s")
        .start()
        .await;
    let mut conn = match far {
        Leg::Gateway => tap.connect(Face::Plain).await,
        Leg::Client => {
            let tcp = net.connect_from_there(tap.addr(Face::Plain));
            let tcp = tcp.expect("connect from there");
            tcp.set_nonblocking(true).expect("set non-blocking");
            let tcp = TcpStream::from_std(tcp).expect("a tokio stream");
            Conn::bounded(Wire::Plain(tcp))
        }
    };
    conn.open("/").await;
    Session {
        peer,
        control,
        tap,
        conn,
    }
}

/// The peer of `far` vanishes; with `data` something is then sent to it.
async fn vanished(net: &Net, far: Leg, data: bool) -> SessionRecord {
    let mut session = session(net, far).await;
    let hello = Frame::text("are you there?");
    match far {
        Leg::Client => {
            net.lose(session.tap.addr(Face::Plain).port());
            if data {
                session.control.send(Do::Send(hello.to_bytes())).unwrap();
            }
        }
        Leg::Gateway => {
            net.lose(session.peer.addr().port());
            if data {
                session.conn.send_masked(hello).await.unwrap();
            }
        }
    }
    session.tap.websocket().await
}

#[tokio::test]
async fn a_peer_that_is_gone_without_a_word_is_found() {
    let test = test_name!(a_peer_that_is_gone_without_a_word_is_found);
    let Some(net) = netns::enter("peers that vanish", test).await else {
        return;
    };
    let ((a, b), (c, d)) = tokio::join!(
        async {
            tokio::join!(
                vanished(&net, Leg::Client, false),
                vanished(&net, Leg::Gateway, false)
            )
        },
        async {
            tokio::join!(
                vanished(&net, Leg::Client, true),
                vanished(&net, Leg::Gateway, true)
            )
        },
    );
    check(&a, Leg::Client, "network.cut.client_unanswered");
    check(&b, Leg::Gateway, "network.cut.gateway_unanswered");
    check(&c, Leg::Client, "network.cut.client");
    check(&d, Leg::Gateway, "network.cut.gateway");
}

fn check(record: &SessionRecord, far: Leg, rule: &str) {
    let ends = &record.close.transport;
    let (end, cause, first, tcp) = match far {
        Leg::Client => (
            ends.client,
            &ends.client_cause,
            Party::Client,
            record.client.tcp,
        ),
        Leg::Gateway => (
            ends.gateway,
            &ends.gateway_cause,
            Party::Gateway,
            record.gateway.as_ref().unwrap().tcp,
        ),
    };
    let verdict = record.verdict.as_ref().expect("a verdict");
    assert_eq!(verdict.rule, rule, "{tcp:?} {ends:?}");
    assert_eq!(end, TransportEnd::Timeout, "{rule}");
    assert!(cause.as_ref().unwrap().contains("timed out"), "{cause:?}");
    assert_eq!(
        (record.close.first, class(record)),
        (Some(first), Class::NetworkCut)
    );
    let named = |it: &wstap::session::record::Evidence| it.fact.contains("keepalive probes");
    assert!(verdict.evidence.iter().any(named), "{:?}", verdict.evidence);
}
