//! The ending of one leg is passed on to the other one, and the record has both.

use wstap::session::SessionRecord;
use wstap::session::party::{Party, Phase};
use wstap::session::record::{Class, DialectFacts, SawBasis, TransportEnd};
use wstap::ws::CloseCode;

use crate::peers::close_code::After;
use crate::peers::openclaw::{Gateway, Order, Script, TOKEN, connect_request};
use crate::peers::tunnel::Do;
use crate::peers::{
    Peer, Via, close_code, echo, fin_mid_frame, fin_without_close, half_closer, never_reads,
    reset_mid_frame, tls, truncated_tls, tunnel,
};
use crate::support::certs::Validity;
use crate::support::conn::Conn;
use crate::support::deadline::{STEP, poll};
use crate::support::frame::Frame;
use crate::support::head::upgrade;
use crate::support::records::class;
use crate::support::tap::{Face, Setup, Tap};
use crate::support::wire::Ending;

/// FIN as a client of this listener sees it.
fn fin(face: Face) -> Ending {
    match face {
        Face::Plain => Ending::Fin,
        Face::Tls => Ending::TlsClose,
    }
}

async fn open(tap: &Tap, face: Face) -> Conn {
    let mut conn = tap.connect(face).await;
    conn.open("/ws").await;
    conn
}

/// How an open session's gateway leg ended, without a Close from it.
fn assert_left(record: &SessionRecord, end: TransportEnd) {
    assert_eq!(record.close.gateway, None);
    assert_eq!(record.close.transport.gateway, end);
    assert_eq!(record.close.first, Some(Party::Gateway));
    assert_eq!(record.phase, Phase::Open);
    assert_eq!(class(record), Class::GatewayLeft);
}

#[tokio::test]
async fn a_reset_in_the_middle_of_a_frame_stays_a_reset() {
    for face in Face::BOTH {
        let peer = reset_mid_frame::start(&Via::Plain).await;
        let tap = Setup::before(&peer).start().await;
        let mut conn = open(&tap, face).await;
        conn.exactly(4 + reset_mid_frame::SENT).await.unwrap();
        peer.go();
        assert_eq!(conn.rest().await.1, Ending::Rst, "{face:?}");
        let record = tap.websocket().await;
        assert_left(&record, TransportEnd::Rst);
        let open = record
            .frames
            .unwrap()
            .to_client
            .in_progress
            .expect("an unfinished frame");
        assert_eq!(open.declared, reset_mid_frame::DECLARED as u64);
        assert_eq!(open.seen, reset_mid_frame::SENT as u64);
        assert_eq!(record.close.client_saw.unwrap().code, CloseCode::ABNORMAL);
    }
}

#[tokio::test]
async fn a_fin_without_close_stays_a_fin() {
    for face in Face::BOTH {
        for mid_frame in [false, true] {
            let peer = if mid_frame {
                fin_mid_frame::start(&Via::Plain).await
            } else {
                fin_without_close::start(&Via::Plain).await
            };
            let tap = Setup::before(&peer).start().await;
            let mut conn = open(&tap, face).await;
            peer.go();
            assert_eq!(conn.rest().await.1, fin(face), "{face:?}");
            conn.finish().await;
            drop(conn);
            let record = tap.websocket().await;
            assert_left(&record, TransportEnd::Fin);
            let unfinished = record.frames.unwrap().to_client.in_progress;
            assert_eq!(unfinished.is_some(), mid_frame);
        }
    }
}

#[tokio::test]
async fn a_truncated_tls_stream_is_told_from_an_orderly_one() {
    let (ca, via) = tls::via(&["localhost"], Validity::Now);
    for (peer, wanted) in [
        (truncated_tls::start(&via).await, TransportEnd::TlsTruncated),
        (fin_without_close::start(&via).await, TransportEnd::TlsClose),
    ] {
        let tap = Setup::before(&peer)
            .gateway_ca(&ca, "localhost")
            .start()
            .await;
        let mut conn = open(&tap, Face::Plain).await;
        peer.go();
        let (frames, ending) = conn.frames_to_end().await;
        assert_eq!((frames.len(), ending), (1, Ending::Fin));
        conn.finish().await;
        drop(conn);
        assert_left(&tap.websocket().await, wanted);
    }
}

#[tokio::test]
async fn a_half_closed_session_still_carries_the_other_direction() {
    for face in Face::BOTH {
        // The gateway first.
        let peer = half_closer::start(&Via::Plain).await;
        let tap = Setup::before(&peer).start().await;
        let mut conn = open(&tap, face).await;
        let (frames, ending) = conn.frames_to_end().await;
        assert_eq!((frames[0].as_text(), ending), ("that was all", fin(face)));
        conn.send_masked(Frame::text("not for me")).await.unwrap();
        assert_eq!(peer.log.data(0).await.as_text(), "not for me");
        conn.finish().await;
        assert_eq!(peer.log.ending(0).await, Ending::Fin);

        // The client first.
        let (peer, control) = tunnel::start(&Via::Plain).await;
        let tap = Setup::before(&peer).start().await;
        let mut conn = open(&tap, face).await;
        conn.finish().await;
        assert_eq!(peer.log.ending(0).await, Ending::Fin);
        control
            .send(Do::Send(Frame::text("one more thing").to_bytes()))
            .unwrap();
        assert_eq!(conn.frame().await.unwrap().as_text(), "one more thing");
        control.send(Do::Finish).unwrap();
        assert_eq!(conn.frame().await.unwrap_err(), fin(face));
        let record = tap.websocket().await;
        assert_eq!(record.close.first, Some(Party::Client));
        assert_eq!(class(&record), Class::ClientLeft);
        assert_eq!(record.close.transport.gateway, TransportEnd::Fin);
    }
}

#[tokio::test]
async fn a_client_that_goes_is_gone_for_the_gateway_in_the_same_way() {
    for (face, abort, wanted) in [
        (Face::Plain, false, TransportEnd::Fin),
        (Face::Plain, true, TransportEnd::Rst),
        (Face::Tls, false, TransportEnd::TlsTruncated),
        (Face::Tls, true, TransportEnd::Rst),
    ] {
        let (peer, control) = tunnel::start(&Via::Plain).await;
        let tap = Setup::before(&peer).start().await;
        let mut conn = open(&tap, face).await;
        if abort {
            conn.abort();
            assert_eq!(peer.log.ending(0).await, Ending::Rst, "{face:?}");
        } else {
            conn.fin();
            assert_eq!(peer.log.ending(0).await, Ending::Fin, "{face:?}");
            // Only now, so that it is certain who went first.
            control.send(Do::Finish).unwrap();
        }
        let record = tap.websocket().await;
        assert_eq!(record.close.transport.client, wanted, "{face:?}");
        assert_eq!(record.close.first, Some(Party::Client));
        assert_eq!(record.close.client, None);
        assert_eq!(class(&record), Class::ClientLeft);
        assert_eq!(record.client.tls.is_some(), face == Face::Tls);
    }
}

/// The Close that comes through must be the one that was sent.
async fn close_passes(peer: &Peer, face: Face, sent: Frame, echo: Option<Frame>) -> SessionRecord {
    let tap = Setup::before(peer).start().await;
    let mut conn = open(&tap, face).await;
    assert_eq!(conn.frame().await.unwrap(), sent);
    if let Some(echo) = echo {
        conn.send_masked(echo).await.unwrap();
    }
    conn.finish().await;
    conn.rest().await;
    drop(conn);
    tap.websocket().await
}

#[tokio::test]
async fn close_codes_and_reasons_pass_byte_for_byte() {
    for (face, code, reason, wanted) in [
        (Face::Plain, 1000, "", Class::Ok),
        (Face::Tls, 1001, "going", Class::GatewayLifecycle),
        (
            Face::Plain,
            1008,
            "pairing required: ☂ (requestId: x)",
            Class::GatewayClosed,
        ),
        (Face::Tls, 1009, "", Class::GatewayLimit),
        (Face::Plain, 1011, "oops", Class::GatewayFault),
        (Face::Tls, 1012, "service restart", Class::GatewayLifecycle),
        (
            Face::Plain,
            1013,
            "gateway starting",
            Class::GatewayLifecycle,
        ),
        (Face::Tls, 4001, "device removed", Class::GatewayClosed),
        (Face::Plain, 3000, "", Class::GatewayAuth),
    ] {
        let peer = close_code::start(&Via::Plain, Some(code), reason, After::Echo).await;
        let echo = Frame::close(code, "");
        let record = close_passes(&peer, face, Frame::close(code, reason), Some(echo)).await;
        assert_eq!(peer.log.close(0).await, (Some(code), String::new()));
        let seen = record.close.gateway.as_ref().expect("the gateway's Close");
        assert_eq!(
            (seen.code, seen.reason.as_str()),
            (Some(CloseCode(code)), reason)
        );
        let saw = record.close.client_saw.expect("the client saw it");
        assert_eq!((saw.code, saw.basis), (CloseCode(code), SawBasis::Acked));
        assert_eq!(record.close.first, Some(Party::Gateway));
        assert_eq!(record.phase, Phase::Closing);
        assert_eq!(class(&record), wanted, "{code}");
    }
}

#[tokio::test]
async fn an_empty_close_is_seen_as_1005() {
    let peer = close_code::start(&Via::Plain, None, "", After::Echo).await;
    let empty = Frame::empty_close();
    let record = close_passes(&peer, Face::Plain, empty.clone(), Some(empty)).await;
    assert_eq!(record.close.gateway.as_ref().unwrap().code, None);
    assert_eq!(record.close.client_saw.unwrap().code, CloseCode::NO_STATUS);
    assert_eq!(class(&record), Class::Ok);
}

#[tokio::test]
async fn a_close_decides_whatever_tcp_does_afterwards() {
    let peer = close_code::start(&Via::Plain, Some(1011), "broken", After::Fin).await;
    let sent = Frame::close(1011, "broken");
    let record = close_passes(&peer, Face::Tls, sent.clone(), None).await;
    assert_eq!(class(&record), Class::GatewayFault);

    let peer = close_code::start(&Via::Plain, Some(1011), "broken", After::Rst).await;
    let tap = Setup::before(&peer).start().await;
    let mut conn = open(&tap, Face::Plain).await;
    assert_eq!(conn.frame().await.unwrap(), sent);
    peer.go();
    assert_eq!(conn.rest().await.1, Ending::Rst);
    let record = tap.websocket().await;
    assert_eq!(record.close.transport.gateway, TransportEnd::Rst);
    assert_eq!(class(&record), Class::GatewayFault);
}

#[tokio::test]
async fn the_clients_close_reaches_the_gateway() {
    for face in Face::BOTH {
        let peer = echo::start(&Via::Plain).await;
        let tap = Setup::before(&peer).start().await;
        let mut conn = open(&tap, face).await;
        conn.send_masked(Frame::close(1000, "all done"))
            .await
            .unwrap();
        assert_eq!(conn.frame().await.unwrap(), Frame::close(1000, "all done"));
        assert_eq!(conn.frame().await.unwrap_err(), fin(face));
        assert_eq!(peer.log.close(0).await, (Some(1000), "all done".to_owned()));
        conn.finish().await;
        drop(conn);
        let record = tap.websocket().await;
        assert_eq!(record.close.first, Some(Party::Client));
        assert_eq!(class(&record), Class::Ok);
    }
}

#[tokio::test]
async fn what_a_client_says_about_itself_proves_nothing() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let mut conn = open(&tap, Face::Plain).await;
    conn.send_masked(Frame::close(1008, "unauthorized"))
        .await
        .unwrap();
    conn.frames_to_end().await;
    drop(conn);
    let record = tap.websocket().await;
    assert_eq!(class(&record), Class::ClientClosed);
}

/// hyper finds the end of the connection right after the head and drops the request unseen.
#[tokio::test]
async fn a_client_that_goes_at_once_is_recorded_once() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    for count in 1..=40 {
        let mut conn = tap.connect(Face::Plain).await;
        let (head, abort) = match count % 4 {
            0 => (upgrade("/", "localhost", &[]), true),
            1 => (upgrade("/", "localhost", &[]), false),
            2 => (
                b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_vec(),
                true,
            ),
            _ => (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), false),
        };
        conn.send(&head).await.unwrap();
        if abort {
            conn.abort();
        } else {
            drop(conn);
        }
        let look = || Some(tap.records().len()).filter(|found| *found >= count);
        let found = poll(STEP, look).await;
        assert_eq!(found, Some(count), "records of as many connections");
    }
}

#[tokio::test]
async fn a_client_that_goes_while_the_gateway_does_not_read() {
    let peer = never_reads::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let mut conn = open(&tap, Face::Plain)
        .await
        .with_limit(std::time::Duration::from_millis(500));
    let blocked = conn.send_masked(Frame::binary(vec![0; 64 << 20])).await;
    assert!(blocked.is_err(), "64 MiB cannot fit");
    conn.abort();
    let record = tap.websocket().await;
    assert_eq!(record.close.transport.client, TransportEnd::Rst);
    assert_eq!(class(&record), Class::ClientLeft);
    assert!(record.latency.unwrap().blocked_ms.to_gateway > 0.0);
}

#[tokio::test]
async fn the_application_inside_is_told_from_its_end() {
    for (order, wanted) in [
        (
            Order::Shutdown {
                reason: "gateway stopping".to_owned(),
            },
            Class::GatewayLifecycle,
        ),
        (Order::Fin, Class::GatewayLeft),
        (Order::Die, Class::GatewayLeft),
    ] {
        let gateway = Gateway::start(&Via::Plain, Script::default()).await;
        let tap = Setup::before(&gateway.peer).openclaw().start().await;
        let mut conn = open(&tap, Face::Tls).await;
        conn.frame().await.unwrap();
        let auth = serde_json::json!({ "token": TOKEN });
        conn.send_masked(connect_request(&auth)).await.unwrap();
        assert!(conn.frame().await.unwrap().as_text().contains("hello-ok"));
        gateway.tell(order.clone());
        conn.frames_to_end().await;
        conn.finish().await;
        drop(conn);
        let record = tap.websocket().await;
        assert_eq!(class(&record), wanted, "{order:?}");
        let dialect = record
            .dialect
            .as_ref()
            .and_then(DialectFacts::openclaw)
            .expect("a dialect");
        let shutdown = dialect.shutdown.as_ref().and_then(|it| it.reason.clone());
        let announced = matches!(order, Order::Shutdown { .. });
        assert_eq!(
            shutdown.is_some_and(|it| it.as_str() == "gateway stopping"),
            announced
        );
    }
}
