//! Answers of gateways before 2026.8 that later ones word differently, as 2026.1 to 2026.7 send
//! them; and answers that only look like them.

use serde_json::{Value, json};

use super::refusals::token;
use super::table::{Fault, acked, fault, over, refused, written};
use crate::peers::openclaw::{Gateway, Refusal, Script, connect_request};
use crate::peers::tunnel::Do;
use crate::peers::{Via, ok_instead_of_101, scripted, tunnel};
use crate::support::frame::Frame;
use crate::support::tap::{Face, Setup};

pub fn faults() -> Vec<Fault> {
    let mut all = stopping();
    all.extend(pages());
    all.extend(refusals());
    all.push(canvas());
    all
}

/// The answer of the `ws` library while its server closes.
const CLOSING: &str = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: \
                       text/html\r\nContent-Length: 19\r\n\r\nService Unavailable";

fn answered(name: &'static str, rule: &'static str, answer: &'static str) -> Fault {
    fault(name, rule, move || async move {
        let peer = scripted::start(&Via::Plain, answer).await;
        refused(Setup::before(&peer).openclaw()).await
    })
}

fn stopping() -> Vec<Fault> {
    vec![
        answered(
            "503: the library of a gateway before 2026.8 closes",
            "gateway.lifecycle.admission_closed",
            CLOSING,
        )
        .says("exactly that of the ws library"),
        answered(
            "503: the same words with Date and Server, of nginx",
            "hop.fault.bad_gateway",
            "HTTP/1.1 503 Service Unavailable\r\nServer: nginx/1.27.0\r\nDate: Sun, 29 Nov 2026 \
             11:56:39 GMT\r\nContent-Type: text/html\r\nContent-Length: 19\r\nConnection: \
             close\r\n\r\nService Unavailable",
        )
        .says("may be its own, passed on"),
        answered(
            "503: the same words in another order",
            "hop.fault.bad_gateway",
            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 19\r\nContent-Type: text/html\r\n\
             Connection: close\r\n\r\nService Unavailable",
        ),
        answered(
            "503: the same words as text, of Traefik",
            "hop.fault.foreign_answer",
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nDate: \
             Sun, 29 Nov 2026 11:56:39 GMT\r\nContent-Length: 19\r\n\r\nService Unavailable",
        ),
        answered(
            "503: nginx's own page",
            "hop.fault.bad_gateway",
            "HTTP/1.1 503 Service Temporarily Unavailable\r\nServer: nginx/1.27.0\r\nDate: Sun, 29 \
             Nov 2026 11:56:39 GMT\r\nContent-Type: text/html\r\nContent-Length: 126\r\n\
             Connection: close\r\n\r\n<html>\r\n<head><title>503</title></head>\r\n<body>\r\n\
             <center><h1>503</h1></center>\r\n<hr><center>nginx/1.27.0</center>\r\n</body>\r\n\
             </html>\r\n ",
        ),
        answered(
            "503: HAProxy's own page, with the library's headers",
            "hop.fault.bad_gateway",
            "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: text/html\r\n\
             Content-Length: 107\r\n\r\n<html><body><h1>503 Service Unavailable</h1>\nNo server is \
             available to handle this request.\n</body></html>\n",
        ),
        answered(
            "503: Envoy, which also says it in 19 bytes",
            "hop.fault.bad_gateway",
            "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 19\r\ncontent-type: text/plain\r\n\
             date: Sun, 29 Nov 2026 11:56:39 GMT\r\nserver: envoy\r\n\r\nno healthy upstream",
        ),
        answered(
            "503: Caddy, without a body",
            "hop.fault.bad_gateway",
            "HTTP/1.1 503 Service Unavailable\r\nServer: Caddy\r\nDate: Sun, 29 Nov 2026 11:56:39 \
             GMT\r\nContent-Length: 0\r\n\r\n",
        ),
    ]
}

fn pages() -> Vec<Fault> {
    const HTML: &[(&str, &str)] = &[("Content-Type", "text/html; charset=utf-8")];
    let page = |name, body: &'static str| {
        fault(
            name,
            "hop.fault.upgrade_stripped_behind",
            move || async move {
                let peer = ok_instead_of_101::answer(&Via::Plain, "200 OK", HTML, body).await;
                refused(Setup::before(&peer).openclaw()).await
            },
        )
    };
    vec![
        page(
            "200: the Control UI of 2026.1",
            "<!doctype html>\n<html lang=\"en\">\n  <head>\n    <title>Clawdbot Control</title>\n",
        ),
        page(
            "200: the Control UI of 2026.3",
            "<!doctype html>\n<html lang=\"en\">\n  <head>\n    <title>OpenClaw Control</title>\n",
        ),
        page(
            "200: the Control UI of 2026.7",
            "<!doctype html>\n<html data-openclaw-terminal-enabled=\"false\" lang=\"en\">\n",
        ),
        fault(
            "200: a page of another server",
            "hop.fault.foreign_answer",
            || async {
                let body = "<!doctype html>\n<html><head><title>Control</title>\n";
                let peer = ok_instead_of_101::answer(&Via::Plain, "200 OK", HTML, body).await;
                refused(Setup::before(&peer).openclaw()).await
            },
        ),
    ]
}

/// A refusal without `details`, of a client with this auth on a page with this Origin.
fn told(
    name: &'static str,
    rule: &'static str,
    message: &'static str,
    origin: Option<&'static str>,
    auth: Value,
) -> Fault {
    fault(name, rule, move || async move {
        let error = json!({ "code": "INVALID_REQUEST", "message": message });
        let reason = crate::support::records::cut(message, 120);
        let script = Script {
            refusal: Some(Refusal::new(1008, reason, error)),
            ..Script::default()
        };
        let gateway = Gateway::start(&Via::Plain, script).await;
        let tap = Setup::before(&gateway.peer).openclaw().start().await;
        let mut conn = tap.connect(Face::Plain).await;
        let headers: Vec<_> = origin
            .map(|origin| ("Origin", origin))
            .into_iter()
            .collect();
        let answer = conn.upgrade("/", &headers).await;
        assert_eq!(answer.expect("an answer").status(), 101);
        let request = connect_request(&auth)
            .as_text()
            .replace("2026.9.6", "2026.2.17");
        conn.introduce_with(Frame::text(&request)).await;
        conn.frame().await.expect("the Close");
        conn.send_masked(Frame::close(1008, reason)).await.unwrap();
        over(tap, conn).await
    })
    .saw(acked(1008), written(1008))
}

fn refusals() -> Vec<Fault> {
    const ORIGIN: &str = "origin not allowed (open the Control UI from the gateway host or allow it in \
                          gateway.controlUi.allowedOrigins)";
    const SECURE: &str = "control ui requires HTTPS or localhost (secure context)";
    const DEVICE: &str = "unauthorized: device token mismatch (rotate/reissue device token)";
    vec![
        told(
            "2026.3: an origin, refused without a reason",
            "gateway.origin.not_allowed",
            ORIGIN,
            Some("http://evil.example"),
            token(),
        ),
        told(
            "2026.3: no origin, refused without a reason",
            "gateway.origin.invalid",
            ORIGIN,
            None,
            token(),
        ),
        told(
            "2026.3: the origin null, refused without a reason",
            "gateway.origin.invalid",
            ORIGIN,
            Some("null"),
            token(),
        ),
        told(
            "2026.1: the Control UI over plain http",
            "gateway.auth.control_ui_insecure",
            SECURE,
            Some("http://192.168.1.20:18789"),
            token(),
        ),
        told(
            "2026.1: the Control UI on localhost, without a device",
            "gateway.auth.control_ui_no_device",
            SECURE,
            Some("http://127.0.0.1:18789"),
            token(),
        ),
        told(
            "2026.2: a wrong shared token, called a device token",
            "gateway.auth.token_mismatch",
            DEVICE,
            None,
            token(),
        )
        .says("OpenClaw 2026.2 says so"),
        told(
            "a wrong device token, without a code",
            "gateway.auth.device_token_mismatch",
            DEVICE,
            None,
            json!({ "deviceToken": "device-token-0123456789abcdef0123456789" }),
        ),
    ]
}

/// The service at `/__openclaw__/ws` before 2026.4 says nothing until a canvas changes.
fn canvas() -> Fault {
    fault(
        "2026.3: a client of the silent canvas service leaves",
        "ok.client_closed",
        || async {
            let (peer, control) = tunnel::start(&Via::Plain).await;
            let tap = Setup::before(&peer).openclaw().start().await;
            let mut conn = tap.connect(Face::Plain).await;
            conn.open("/__openclaw__/ws").await;
            conn.send_masked(Frame::empty_close()).await.unwrap();
            // Two bytes of header and the masking key.
            peer.log.bytes(0, 6).await;
            control
                .send(Do::Send(Frame::empty_close().to_bytes()))
                .unwrap();
            control.send(Do::Finish).unwrap();
            over(tap, conn).await
        },
    )
    .saw(written(1005), acked(1005))
}
