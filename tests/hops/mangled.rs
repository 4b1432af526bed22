//! Proxies that change the handshake's headers, or what they say about the client.

use serde_json::json;
use wstap::session::record::Class;

use super::proxy::{Proxy, Software, Way};
use super::{Cell, Judged, Place};
use crate::peers::Via;
use crate::peers::attribution::{self, Rules};
use crate::peers::openclaw::{Gateway, Refusal, Script, TOKEN};
use crate::support::client::connect;
use crate::support::head::Head;
use crate::support::tap::{Face, Setup};

const ORIGIN: &str = "https://claw.example.com";

/// The answer to an upgrade, and the verdict on it. A client leaves after a 101 that does not match
/// its key.
async fn asks(software: Software, place: Place, way: Way) -> Option<(Head, Judged)> {
    let cell = Cell::new(software, place, way).await?;
    let mut conn = cell.connect().await;
    let head = conn.upgrade("/", &[]).await.expect("an answer");
    drop(conn);
    Some((head, cell.judged(1).await))
}

/// Nothing in the request shows it, and the client leaves without a word.
#[tokio::test]
async fn the_key_in_front() {
    for software in Software::ALL {
        let Some((head, judged)) = asks(software, Place::Front, Way::OtherKey).await else {
            continue;
        };
        assert_eq!(head.status(), 101);
        let accept = head.value("sec-websocket-accept");
        assert_ne!(accept.as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        judged
            .is("probe.websocket")
            .next("let the proxy in front of the tap pass Sec-WebSocket-* unchanged");
    }
}

#[tokio::test]
async fn the_key_behind() {
    for software in Software::ALL {
        let Some((head, judged)) = asks(software, Place::Behind, Way::OtherKey).await else {
            continue;
        };
        assert_eq!(head.status(), 502);
        match software {
            Software::Nginx => judged
                .is("hop.fault.accept_key")
                .says("nginx/1.")
                .next("take proxy_set_header and proxy_hide_header lines for Sec-WebSocket-*"),
            // It leaves no mark.
            Software::Haproxy => judged
                .is("gateway.refused.accept_key")
                .next("that no proxy in between changes Sec-WebSocket-*"),
        };
    }
}

/// `HAProxy` cannot take it out: it writes that header itself.
#[tokio::test]
async fn the_accept_key_behind_nginx() {
    if let Some((head, judged)) = asks(Software::Nginx, Place::Behind, Way::NoAccept).await {
        assert_eq!(head.status(), 502);
        judged.is("hop.fault.accept_key").says("nginx/1.");
    }
}

#[tokio::test]
async fn the_version_in_front() {
    for software in Software::ALL {
        let Some((head, judged)) = asks(software, Place::Front, Way::OtherVersion).await else {
            continue;
        };
        assert_eq!(head.status(), 426);
        judged
            .is("client.fault.upgrade")
            .next("look for a proxy between it and the tap that changes Sec-WebSocket headers");
    }
}

/// The gateway objects: with marks of nginx, and none of `HAProxy`.
#[tokio::test]
async fn a_malformed_key_or_another_version_behind() {
    let ways = [
        (Way::BadKey, "changed Sec-WebSocket-Key"),
        (Way::OtherVersion, "changed Sec-WebSocket-Version"),
    ];
    for (way, words) in ways {
        for software in Software::ALL {
            let Some((head, judged)) = asks(software, Place::Behind, way).await else {
                continue;
            };
            assert_eq!(head.status(), 400);
            match software {
                Software::Nginx => judged
                    .is("hop.fault.handshake_mangled")
                    .says(words)
                    .says("nginx/1."),
                Software::Haproxy => judged
                    .is("gateway.refused.bad_handshake")
                    .says("it had left us whole"),
            };
        }
    }
}

#[tokio::test]
async fn a_malformed_key_in_front() {
    for software in Software::ALL {
        let Some((head, judged)) = asks(software, Place::Front, Way::BadKey).await else {
            continue;
        };
        assert_eq!(head.status(), 400);
        judged.is("client.fault.upgrade");
    }
}

/// The tap sees the proxy's, and says which it was.
#[tokio::test]
async fn the_origin_in_front() {
    for software in Software::ALL {
        let gateway = Gateway::start(&Via::Plain, Script::default()).await;
        let setup = Setup::before(&gateway.peer).openclaw();
        let tap = setup.set("origins.allowed", json!([ORIGIN])).start().await;
        let proxy = Proxy::start(software, Way::OtherOrigin, tap.addr(Face::Plain)).await;
        let Some(proxy) = proxy else { continue };
        let mut conn = connect(proxy.addr).await;
        let head = conn.upgrade("/", &[("Origin", ORIGIN)]).await;
        assert_eq!(head.expect("an answer").status(), 403);
        drop(conn);
        let name = format!("{} Front OtherOrigin", software.name());
        Judged::of(&name, &tap.websocket().await)
            .is("tap.denied.origin")
            .says("http://internal");
    }
}

/// The gateway refuses an origin that the tap has not seen.
#[tokio::test]
async fn the_origin_behind() {
    let message = "origin not allowed (open the Control UI from the gateway host or allow it in \
                   gateway.controlUi.allowedOrigins)";
    let error = json!({
        "code": "INVALID_REQUEST", "message": message,
        "details": {
            "code": "CONTROL_UI_ORIGIN_NOT_ALLOWED", "reason": "origin not allowed",
        },
    });
    for software in Software::ALL {
        let script = Script {
            refusal: Some(Refusal::new(1008, message, error.clone())),
            ..Script::default()
        };
        let cell = Cell::with_script(software, Place::Behind, Way::OtherOrigin, script).await;
        let Some(cell) = cell else { continue };
        let mut conn = cell.connect().await;
        conn.upgrade("/", &[("Origin", ORIGIN)])
            .await
            .expect("a 101");
        conn.introduce(&json!({ "token": TOKEN })).await;
        conn.frames_to_end().await;
        drop(conn);
        let judged = cell.judged(1).await;
        judged.is("gateway.origin.not_allowed");
        if software == Software::Nginx {
            judged.says("stands between us and the gateway");
        }
    }
}

#[tokio::test]
async fn attribution_headers_are_added() {
    for software in Software::ALL {
        for place in Place::BOTH {
            let gateway = attribution::judge(&Via::Plain, &Rules::default()).await;
            let cell = Cell::before(software, place, Way::Attributes, gateway.addr()).await;
            let Some(cell) = cell else { continue };
            let (head, _) = cell.refused(&[]).await;
            assert_eq!(head.status(), 403, "{}", cell.name);
            let judged = cell.judged(1).await;
            assert_eq!(judged.verdict.class, Class::GatewayRefused);
            match place {
                Place::Front => judged
                    .is("gateway.refused.attribution_client")
                    .says("a proxy in front of us says that its client is at loopback"),
                Place::Behind => judged
                    .is("gateway.refused.attribution_behind")
                    .next("add no X-Forwarded-* and no X-Real-IP"),
            };
            if place == Place::Behind && software == Software::Nginx {
                judged.says("does not trust nginx/1.");
            }
        }
    }
}
