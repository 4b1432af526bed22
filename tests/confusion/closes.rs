//! Close frames: of either party, with each code, and with everything that can become of them.

use super::table::{
    Fault, accepted, acked, answered, fault, gateway, open, open_before, over, written,
};
use crate::peers::close_code::After;
use crate::peers::openclaw::Order;
use crate::peers::tunnel::Do;
use crate::peers::{Via, close_code, echo, tunnel};
use crate::support::frame::Frame;
use crate::support::tap::{Face, Setup};

pub fn faults() -> Vec<Fault> {
    let mut all = by_the_gateway();
    all.extend(by_an_openclaw_gateway());
    all.extend(by_the_client());
    all
}

/// The gateway closes a plain session and the client echoes the code.
fn closed(name: &'static str, rule: &'static str, code: u16, reason: &'static str) -> Fault {
    fault(name, rule, move || async move {
        let peer = close_code::start(&Via::Plain, Some(code), reason, After::Echo).await;
        let (tap, conn) = open_before(&peer).await;
        answered(tap, conn, Frame::close(code, "")).await
    })
    .saw(acked(code), written(code))
}

fn by_the_gateway() -> Vec<Fault> {
    vec![
        closed("gateway: Close 1000", "ok.gateway_closed", 1000, "done"),
        closed(
            "gateway: Close 1001",
            "gateway.lifecycle.going_away",
            1001,
            "",
        ),
        closed("gateway: Close 1002", "gateway.closed.protocol", 1002, ""),
        closed("gateway: Close 1003", "gateway.closed.protocol", 1003, ""),
        closed("gateway: Close 1007", "gateway.closed.protocol", 1007, ""),
        closed("gateway: Close 1008", "gateway.closed.code", 1008, "policy"),
        closed(
            "gateway: Close 1009",
            "gateway.limit.message_too_big",
            1009,
            "",
        ),
        closed("gateway: Close 1010", "gateway.closed.code", 1010, ""),
        closed(
            "gateway: Close 1011",
            "gateway.fault.internal",
            1011,
            "oops",
        ),
        closed(
            "gateway: Close 1012",
            "gateway.lifecycle.restart_or_stop",
            1012,
            "",
        ),
        closed(
            "gateway: Close 1013",
            "gateway.lifecycle.unavailable",
            1013,
            "",
        ),
        closed("gateway: Close 1014", "hop.fault.close_1014", 1014, ""),
        closed("gateway: Close 3000", "gateway.auth.unauthorized", 3000, ""),
        closed(
            "gateway: Close 3008",
            "gateway.closed.timeout",
            3008,
            "idle",
        ),
        closed("gateway: Close 3003", "gateway.auth.forbidden", 3003, ""),
        closed("gateway: Close 3001", "gateway.closed.code", 3001, ""),
        closed(
            "gateway: Close 4001",
            "gateway.closed.code",
            4001,
            "device removed",
        ),
        closed("gateway: Close 4008", "gateway.closed.code", 4008, ""),
        closed("gateway: Close 4013", "gateway.closed.code", 4013, ""),
        closed("gateway: Close 1005", "gateway.fault.close_code", 1005, ""),
        closed("gateway: Close 1006", "gateway.fault.close_code", 1006, ""),
        closed("gateway: Close 1015", "gateway.fault.close_code", 1015, ""),
        closed("gateway: Close 999", "gateway.fault.close_code", 999, ""),
        fault("gateway: an empty Close", "ok.gateway_closed", || async {
            let peer = close_code::start(&Via::Plain, None, "", After::Echo).await;
            let (tap, conn) = open_before(&peer).await;
            answered(tap, conn, Frame::empty_close()).await
        })
        .saw(acked(1005), written(1005)),
    ]
}

/// The gateway closes a session that it had accepted.
fn kicked(name: &'static str, rule: &'static str, code: u16, reason: &'static str) -> Fault {
    fault(name, rule, move || async move {
        let gateway = gateway().await;
        let (tap, conn) = accepted(&gateway).await;
        gateway.tell(Order::Send(Frame::close(code, reason)));
        answered(tap, conn, Frame::close(code, reason)).await
    })
    .saw(acked(code), written(code))
}

/// It announces its shutdown first.
fn shutdown(name: &'static str, rule: &'static str, payload: &'static str) -> Fault {
    fault(name, rule, move || async move {
        let gateway = gateway().await;
        let (tap, mut conn) = accepted(&gateway).await;
        let event = format!(r#"{{"type":"event","event":"shutdown","payload":{payload}}}"#);
        gateway.tell(Order::Send(Frame::text(&event)));
        conn.frame().await.expect("the event");
        gateway.tell(Order::Send(Frame::close(1012, "service restart")));
        answered(tap, conn, Frame::close(1012, "")).await
    })
    .saw(acked(1012), written(1012))
}

fn by_an_openclaw_gateway() -> Vec<Fault> {
    vec![
        kicked(
            "openclaw: device removed",
            "gateway.lifecycle.device_removed",
            4001,
            "device removed",
        ),
        kicked(
            "openclaw: auth changed",
            "gateway.lifecycle.auth_changed",
            4001,
            "gateway auth changed",
        ),
        kicked(
            "openclaw: policy changed",
            "gateway.lifecycle.policy_changed",
            4001,
            "gateway policy changed",
        ),
        kicked(
            "openclaw: operator role changed",
            "gateway.lifecycle.invalidated",
            4001,
            "operator role changed",
        ),
        kicked(
            "openclaw: the origin was taken off the list",
            "gateway.origin.changed",
            1008,
            "origin not allowed",
        ),
        kicked(
            "openclaw: a slow consumer",
            "gateway.limit.slow_consumer_close",
            1008,
            "slow consumer",
        ),
        kicked(
            "openclaw: repeated unauthorized calls",
            "gateway.auth.repeated_calls",
            1008,
            "repeated unauthorized calls",
        ),
        kicked(
            "openclaw: a small message called too big",
            "gateway.limit.smaller_limit",
            1009,
            "",
        ),
        kicked(
            "openclaw: 1008 for a new reason",
            "gateway.closed.code",
            1008,
            "so it is",
        ),
        kicked(
            "openclaw: Close 1013",
            "gateway.lifecycle.unavailable",
            1013,
            "",
        ),
        shutdown(
            "openclaw: a restart",
            "gateway.lifecycle.restart",
            r#"{"reason":"gateway restarting","restartExpectedMs":1500}"#,
        ),
        shutdown(
            "openclaw: a stop",
            "gateway.lifecycle.stop",
            r#"{"reason":"gateway stopping"}"#,
        ),
    ]
}

/// The client closes a plain session and the gateway echoes it.
fn client(name: &'static str, rule: &'static str, code: u16, reason: &'static str) -> Fault {
    fault(name, rule, move || async move {
        let peer = echo::start(&Via::Plain).await;
        let (tap, mut conn) = open_before(&peer).await;
        conn.send_masked(Frame::close(code, reason)).await.unwrap();
        over(tap, conn).await
    })
    .saw(written(code), acked(code))
}

fn by_the_client() -> Vec<Fault> {
    vec![
        client("client: Close 1000", "ok.client_closed", 1000, ""),
        client("client: Close 1001", "ok.client_going_away", 1001, ""),
        client("client: Close 1002", "client.closed.protocol", 1002, ""),
        client("client: Close 1007", "client.closed.protocol", 1007, ""),
        client(
            "client: Close 1008",
            "client.closed.code",
            1008,
            "unauthorized",
        ),
        client("client: Close 1009", "client.closed.too_big", 1009, ""),
        client("client: Close 1011", "client.closed.code", 1011, ""),
        client(
            "client: Close 3000",
            "client.closed.code",
            3000,
            "unauthorized",
        ),
        client(
            "client: Close 4008",
            "client.closed.connect_failed",
            4008,
            "connect failed",
        ),
        client("client: Close 4013", "client.closed.code", 4013, ""),
        fault("client: an empty Close", "ok.client_closed", || async {
            let peer = echo::start(&Via::Plain).await;
            let (tap, mut conn) = open_before(&peer).await;
            conn.send_masked(Frame::empty_close()).await.unwrap();
            over(tap, conn).await
        })
        .saw(written(1005), acked(1005)),
        fault("client: Close 1006", "client.fault.close_code", || async {
            let (peer, control) = tunnel::start(&Via::Plain).await;
            let (tap, mut conn) = open_before(&peer).await;
            conn.send_masked(Frame::close(1006, "")).await.unwrap();
            peer.log.bytes(0, 8).await;
            let close = Frame::close(1002, "").to_bytes();
            control.send(Do::Send(close)).unwrap();
            control.send(Do::Finish).unwrap();
            over(tap, conn).await
        })
        .saw(written(1002), written(1006)),
        fault(
            "openclaw: tick timeout",
            "client.closed.tick_timeout",
            || async {
                let gateway = gateway().await;
                let (tap, mut conn) = accepted(&gateway).await;
                conn.send_masked(Frame::close(4000, "tick timeout"))
                    .await
                    .unwrap();
                over(tap, conn).await
            },
        )
        .saw(written(1005), acked(4000)),
        fault(
            "openclaw: the client cancels before hello",
            "client.left.cancelled",
            || async {
                let gateway = gateway().await;
                let (tap, mut conn) =
                    open(Setup::before(&gateway.peer).openclaw(), Face::Tls).await;
                conn.frame().await.expect("the challenge");
                conn.send_masked(Frame::empty_close()).await.unwrap();
                over(tap, conn).await
            },
        )
        .saw(written(1005), acked(1005)),
        fault(
            "openclaw: the client closes when it is done",
            "ok.client_closed",
            || async {
                let gateway = gateway().await;
                let (tap, mut conn) = accepted(&gateway).await;
                conn.send_masked(Frame::empty_close()).await.unwrap();
                over(tap, conn).await
            },
        )
        .saw(written(1005), acked(1005)),
    ]
}
