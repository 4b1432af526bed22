//! Clients that only look, that leave before there is a tunnel, and plain requests.

use wstap::session::SessionRecord;

use super::table::{Fault, fault, first_record};
use crate::peers::{
    Peer, Via, attribution, blurts, echo, http_plain, no_status_line, ok_instead_of_101, scripted,
};
use crate::support::client::connect;
use crate::support::tap::{Face, Setup};

pub fn faults() -> Vec<Fault> {
    let mut all = that_leave();
    all.extend(that_ask());
    all
}

fn that_leave() -> Vec<Fault> {
    vec![
        fault("client: a TCP health check", "probe.tcp", || {
            left(Face::Plain, b"", false)
        }),
        fault("client: a TCP health check by RST", "probe.tcp", || {
            left(Face::Plain, b"", true)
        }),
        fault(
            "client: a TCP health check of the TLS port",
            "probe.tcp",
            || left(Face::Tls, b"", false),
        ),
        fault(
            "client: FIN in the head",
            "client.left.request_head",
            || left(Face::Plain, b"GET / HTTP/1.1\r\nHo", false),
        ),
        fault(
            "client: RST in the head",
            "client.left.request_head",
            || left(Face::Plain, b"GET / HT", true),
        ),
        fault(
            "client: FIN in the TLS handshake",
            "client.left.tls",
            || left(Face::Tls, b"\x16\x03\x01\x02\x00\x01\x00", false),
        ),
        fault(
            "client: it leaves while the answer comes",
            "client.left.answer",
            || async {
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nsome of it";
                let peer = scripted::start(&Via::Plain, answer).await;
                let tap = Setup::before(&peer).start().await;
                let mut conn = tap.connect(Face::Plain).await;
                let request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
                conn.send(request).await.unwrap();
                conn.head().await.unwrap();
                conn.exactly(10).await.unwrap();
                conn.abort();
                first_record(&tap).await
            },
        ),
    ]
}

/// Some bytes and then FIN or RST, below any TLS.
async fn left(face: Face, bytes: &[u8], abort: bool) -> SessionRecord {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let mut conn = connect(tap.addr(face)).await;
    conn.send(bytes).await.unwrap();
    if abort {
        conn.abort();
    } else {
        conn.finish().await;
        conn.rest().await;
    }
    first_record(&tap).await
}

/// A plain request and its record.
async fn asked(peer: Peer, path: &str) -> SessionRecord {
    let tap = Setup::before(&peer).openclaw().start().await;
    // What comes back, if anything does, is in the record.
    let _ = tap.connect(Face::Plain).await.get(path).await;
    first_record(&tap).await
}

/// The gateway's answer to a plain request.
fn answer(
    name: &'static str,
    rule: &'static str,
    status: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
) -> Fault {
    fault(name, rule, move || async move {
        let peer = ok_instead_of_101::answer(&Via::Plain, status, headers, body).await;
        asked(peer, "/v1/models").await
    })
}

fn that_ask() -> Vec<Fault> {
    const JSON: &[(&str, &str)] = &[("Content-Type", "application/json")];
    vec![
        fault("http: a page", "ok.http", || async {
            asked(http_plain::start(&Via::Plain).await, "/").await
        }),
        fault("http: 404", "http.error.client", || async {
            asked(http_plain::start(&Via::Plain).await, "/none").await
        }),
        answer(
            "http: 401",
            "http.error.client",
            "401 Unauthorized",
            JSON,
            r#"{"error":{"message":"Unauthorized","type":"unauthorized"}}"#,
        ),
        answer(
            "http: 500",
            "http.error.server",
            "500 Internal Server Error",
            &[],
            "",
        ),
        answer(
            "http: 503, not ready",
            "http.error.server",
            "503 Service Unavailable",
            JSON,
            r#"{"ready":false}"#,
        ),
        answer(
            "http: attribution required",
            "http.error.attribution",
            "403 Forbidden",
            JSON,
            attribution::BODY,
        ),
        fault(
            "http: FIN before the status line",
            "gateway.silent.closed",
            || async { asked(no_status_line::start(&Via::Plain).await, "/").await },
        ),
        fault(
            "http: the answer breaks off",
            "gateway.left.answer",
            || async {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nsome";
                asked(blurts::start(&Via::Plain, answer).await, "/").await
            },
        ),
        fault("http: never answered", "gateway.silent.upgrade", || async {
            let peer = crate::peers::never_answers::start(&Via::Plain).await;
            let tap = Setup::before(&peer)
                .set("timeouts.idle", "300ms")
                .start()
                .await;
            let _ = tap.connect(Face::Plain).await.get("/").await;
            first_record(&tap).await
        }),
    ]
}
