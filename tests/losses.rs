//! Packets that are lost without an ICMP message on the way to a client or a gateway on another host.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;
use wstap::session::record::Verdict;

use crate::peers::Via;
use crate::peers::openclaw::{Gateway, Order, Script, TOKEN};
use crate::support::conn::Conn;
use crate::support::frame::Frame;
use crate::support::netns::{self, HERE_SWITCHED, Net, Switch, THERE_SWITCHED, test_name};
use crate::support::tap::{Face, Setup};
use crate::support::wire::Wire;

/// The verdict on a session when the other host accepts no packets above `mtu` and the gateway then
/// sends this many bytes.
async fn lost(net: &Net, switch: &Switch, mtu: u32, size: usize) -> Verdict {
    let gateway = Gateway::start(&Via::Plain, Script::default()).await;
    let tap = Setup::before(&gateway.peer)
        .openclaw()
        .set(
            "listeners",
            json!([{ "listen": format!("{HERE_SWITCHED}:0") }]),
        )
        .set("gateway.allow_remote_as_local", true)
        .set("gateway.forwarded", "none")
        // Long enough for the kernel to send again a few times.
        .set("timeouts.idle", "2s")
        .set("timeouts.close", "100ms")
        .start()
        .await;
    let addr: SocketAddr = tap.addr(Face::Plain);
    let stream = net.connect_from_there(addr).expect("connect from there");
    stream.set_nonblocking(true).expect("set non-blocking");
    let stream = tokio::net::TcpStream::from_std(stream).expect("a tokio socket");
    let mut conn = Conn::patient(Wire::Plain(stream));
    conn.open("/").await;
    conn.log_in(TOKEN).await;

    switch.narrow(mtu);
    gateway.tell(Order::Send(Frame::text(&"x".repeat(size))));
    // Our own timer gives up on the session.
    let record = tap.websocket().await;
    switch.narrow(1500);
    drop(conn);
    // Prints the retransmissions, in case the rule is another one.
    eprintln!("{:?} {:?}", record.client.tcp, record.close);
    record.verdict.expect("a verdict")
}

#[tokio::test]
async fn what_the_path_swallows_is_told_by_its_size() {
    let test = test_name!(what_the_path_swallows_is_told_by_its_size);
    let Some(net) = netns::enter("packets that are lost", test).await else {
        return;
    };
    let switch = net.switch();
    let large = lost(&net, &switch, 1280, 1400).await;
    assert_eq!(large.rule, "network.cut.large_messages", "{large:#?}");
    let any = lost(&net, &switch, 100, 300).await;
    assert_eq!(any.rule, "network.cut.client_stalled", "{any:#?}");
}

/// The verdict on an upgrade when the gateway's host accepts no packets above `mtu` and the request
/// has this much padding. `patience`: the client leaves after it; without it the tap's timer ends
/// the wait.
async fn unanswered(
    net: &Net,
    switch: &Switch,
    mtu: u32,
    padding: usize,
    patience: Option<Duration>,
) -> Verdict {
    let listener = net
        .listen_there(THERE_SWITCHED.into())
        .expect("listen there");
    let gateway = Gateway::start(&Via::Bound(Arc::new(listener)), Script::default()).await;
    let tap = Setup::before(&gateway.peer)
        .openclaw()
        .set("gateway.allow_remote_as_local", true)
        .set("gateway.forwarded", "none")
        .set("timeouts.upgrade", "2s")
        .set("timeouts.half_close", "100ms")
        .start()
        .await;
    let mut conn = tap.connect(Face::Plain).await;
    switch.narrow(mtu);
    let request = format!(
        "GET / HTTP/1.1\r\nHost: gw\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Padding: {}\r\n\r\n",
        "0".repeat(padding)
    );
    conn.send(request.as_bytes()).await.expect("send");
    match patience {
        Some(patience) => {
            let _ = timeout(patience, conn.head()).await;
        }
        None => assert_eq!(conn.head().await.expect("an answer").status(), 504),
    }
    drop(conn);
    let record = tap.websocket().await;
    switch.narrow(1500);
    eprintln!(
        "{:?} {:?}",
        record.gateway.as_ref().map(|it| it.tcp),
        record.close
    );
    record.verdict.expect("a verdict")
}

/// The gateway is not blamed for a silence that is the path's.
#[tokio::test]
async fn a_request_that_does_not_arrive_is_no_silence_of_the_gateway() {
    let test = test_name!(a_request_that_does_not_arrive_is_no_silence_of_the_gateway);
    let Some(net) = netns::enter("upgrades that are lost", test).await else {
        return;
    };
    let switch = net.switch();
    // Long enough for the kernel to send again twice.
    let patience = Duration::from_millis(1500);
    for (mtu, padding, rule) in [
        (1280, 1250, "network.cut.large_request"),
        (100, 100, "network.cut.request"),
    ] {
        for patience in [None, Some(patience)] {
            let verdict = unanswered(&net, &switch, mtu, padding, patience).await;
            assert_eq!(verdict.rule, rule, "{patience:?} {verdict:#?}");
        }
    }
}
