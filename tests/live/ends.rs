//! The gateway stops, or crashes, in the middle of a session.

use wstap::session::record::{Class, TransportEnd};

use super::gateway::{Gateway, TOKEN};
use super::turn;
use crate::support::conn::Conn;
use crate::support::frame::Frame;
use crate::support::records::class;
use crate::support::tap::{Face, Setup, Tap};
use crate::support::wire::Ending;

/// A client that has been accepted, as the command line tool is on loopback: without a device.
async fn accepted(tap: &Tap, face: Face) -> Conn {
    let mut conn = tap.connect(face).await;
    conn.open("/").await;
    conn.log_in(TOKEN).await;
    conn
}

async fn before(gateway: &Gateway) -> Tap {
    Setup::before_url(&gateway.url()).openclaw().start().await
}

#[tokio::test]
async fn a_killed_gateway_has_left() {
    let Some((_turn, install)) = turn("live: SIGKILL").await else {
        return;
    };
    let mut gateway = Gateway::start(&install).await;
    let tap = before(&gateway).await;
    let mut conn = accepted(&tap, Face::Plain).await;
    gateway.kill().await;
    let (_, ending) = conn.frames_to_end().await;
    assert!(matches!(ending, Ending::Fin | Ending::Rst), "{ending:?}");
    conn.finish().await;
    drop(conn);
    let record = tap.websocket().await;
    assert_eq!(record.close.gateway, None);
    let end = record.close.transport.gateway;
    assert!(
        matches!(end, TransportEnd::Fin | TransportEnd::Rst),
        "{end:?}"
    );
    assert_eq!(class(&record), Class::GatewayLeft);
}

#[tokio::test]
async fn a_stopped_gateway_says_so() {
    let Some((_turn, install)) = turn("live: SIGTERM").await else {
        return;
    };
    let mut gateway = Gateway::start(&install).await;
    let tap = before(&gateway).await;
    let mut conn = accepted(&tap, Face::Tls).await;
    gateway.terminate().await;
    let (frames, _) = conn.frames_to_end().await;
    let close = frames.last().and_then(Frame::as_close).expect("a Close");
    assert_eq!(close, (Some(1012), "service restart".to_owned()));
    conn.finish().await;
    drop(conn);
    let record = tap.websocket().await;
    assert_eq!(
        record
            .close
            .gateway
            .as_ref()
            .unwrap()
            .code
            .map(|code| code.0),
        Some(1012)
    );
    let shutdown = record.application().shutdown.cloned();
    let reason = shutdown
        .and_then(|shutdown| shutdown.reason)
        .expect("a reason");
    assert_eq!(reason.as_str(), "gateway stopping");
    assert_eq!(class(&record), Class::GatewayLifecycle);
}
