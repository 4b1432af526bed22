//! Faults between hosts, which need a network of our own.

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::json;
use tokio::net::TcpStream;

use super::table::{Fault, NOTHING, fault, open, refused, written};
use super::tunnel::patience;
use crate::peers::tunnel::{Control, Do};
use crate::peers::{Peer, Via, tunnel};
use crate::support::conn::Conn;
use crate::support::frame::Frame;
use crate::support::netns::{self, HERE_PRIVATE, Net, THERE_V4, THERE_V6};
use crate::support::tap::{Face, Setup, Tap};
use crate::support::wire::Wire;

pub fn faults(net: Net) -> Vec<Fault> {
    let net = Arc::new(net);
    let handle = || Arc::clone(&net);
    let (one, two, three, four, five) = (handle(), handle(), handle(), handle(), handle());
    let (six, seven, eight, nine) = (handle(), handle(), handle(), handle());
    vec![
        fault(
            "tcp: refused by another host",
            "gateway.unreachable.refused",
            || async move {
                let closed = three.listen_there(THERE_V4.into()).expect("listen there");
                let addr = closed.local_addr().expect("its address");
                drop(closed);
                refused(Setup::before_url(&format!("http://{addr}"))).await
            },
        ),
        fault(
            "tcp: a host that is not there",
            "gateway.unreachable.unreachable",
            || refused(Setup::before_url("http://192.0.2.77:18789")),
        ),
        fault(
            "http: a kept connection's packets are lost under a POST",
            "network.cut.request",
            || async move { crate::kept::lost_under_a_post(&nine).await },
        ),
        fault(
            "tcp: this host forbids it",
            "gateway.unreachable.forbidden",
            move || {
                netns::ip_here(&eight, "route add prohibit 198.51.100.77");
                refused(Setup::before_url("http://198.51.100.77:18789"))
            },
        ),
        fault("tcp: no route", "gateway.unreachable.unreachable", || {
            refused(Setup::before_url("http://198.51.100.1:18789"))
        }),
        fault(
            "network: the gateway's packets are lost",
            "network.cut.gateway",
            || async move {
                let (peer, _control, tap, mut conn) = gateway_there(&one, THERE_V4.into()).await;
                one.lose(peer.addr().port());
                conn.send_masked(Frame::text("are you there?"))
                    .await
                    .unwrap();
                conn.rest().await;
                tap.websocket().await
            },
        )
        .saw(written(1006), NOTHING),
        fault(
            "network: the client's packets are lost",
            "network.cut.client",
            || async move {
                let (_peer, control, tap, _conn) = client_there(&two).await;
                two.lose(tap.addr(Face::Plain).port());
                control
                    .send(Do::Send(Frame::text("are you there?").to_bytes()))
                    .unwrap();
                tap.websocket().await
            },
        )
        .saw(NOTHING, written(1006)),
        fault(
            "network: the gateway is gone, nothing under way",
            "network.cut.gateway_unanswered",
            || async move {
                let (peer, _control, tap, _conn) = gateway_there(&six, THERE_V4.into()).await;
                six.lose(peer.addr().port());
                tap.websocket().await
            },
        )
        .saw(written(1006), NOTHING),
        fault(
            "network: the client is gone, nothing under way",
            "network.cut.client_unanswered",
            || async move {
                let (_peer, _control, tap, _conn) = client_there(&seven).await;
                seven.lose(tap.addr(Face::Plain).port());
                tap.websocket().await
            },
        )
        .saw(NOTHING, written(1006)),
        fault(
            "network: a stall towards the gateway, the client leaves",
            "network.cut.gateway_stalled",
            || async move {
                let (peer, _control, tap, mut conn) = gateway_there(&four, THERE_V6.into()).await;
                four.lose(peer.addr().port());
                conn.send_masked(Frame::text("are you there?"))
                    .await
                    .unwrap();
                // It is sent again after 0.2 and 0.6 s, and next after 1.4 s.
                patience(1000).await;
                conn.abort();
                tap.websocket().await
            },
        )
        .saw(NOTHING, written(1006)),
        fault(
            "network: a stall towards the client, the gateway leaves",
            "network.cut.client_stalled",
            || async move {
                let (_peer, control, tap, conn) = client_there(&five).await;
                five.lose(tap.addr(Face::Plain).port());
                control
                    .send(Do::Send(Frame::text("are you there?").to_bytes()))
                    .unwrap();
                patience(1000).await;
                control.send(Do::Abort).unwrap();
                let record = tap.websocket().await;
                drop(conn);
                record
            },
        )
        .saw(written(1006), NOTHING),
    ]
}

/// The kernel then gives up after 3 s.
fn soon(setup: Setup) -> Setup {
    setup
        .set("tcp.keepalive", "1s")
        .set("tcp.keepalive_interval", "1s")
        .set("tcp.user_timeout", "3s")
}

async fn gateway_there(net: &Net, on: IpAddr) -> (Peer, Control, Tap, Conn) {
    let listener = net.listen_there(on).expect("listen there");
    let (peer, control) = tunnel::start(&Via::Bound(Arc::new(listener))).await;
    let (tap, conn) = open(soon(Setup::before(&peer)), Face::Plain).await;
    (peer, control, tap, conn)
}

async fn client_there(net: &Net) -> (Peer, Control, Tap, Conn) {
    let (peer, control) = tunnel::start(&Via::Plain).await;
    let listeners = json!([{ "listen": format!("{HERE_PRIVATE}:0") }]);
    let tap = soon(Setup::before(&peer))
        .set("listeners", listeners)
        .start()
        .await;
    let tcp = net
        .connect_from_there(tap.addr(Face::Plain))
        .expect("connect from there");
    tcp.set_nonblocking(true).expect("set non-blocking");
    let tcp = TcpStream::from_std(tcp).expect("a tokio stream");
    let mut conn = Conn::bounded(Wire::Plain(tcp));
    conn.open("/").await;
    (peer, control, tap, conn)
}
