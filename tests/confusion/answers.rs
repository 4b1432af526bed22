//! The gateway, or a server in its place, does not answer the upgrade with a proper 101.

use wstap::session::SessionRecord;

use super::table::{Fault, fault, first_record, refused, refused_by};
use crate::peers::{
    Via, attribution, blurts, draining, http_plain, missing_accept_key, never_answers,
    no_status_line, ok_instead_of_101, reset_before_status, scripted, wrong_accept_key,
};
use crate::support::head::{self, upgrade};
use crate::support::tap::{Face, Setup};

/// The beginning of the gateway's Control UI page.
const CONTROL_UI: &str = "<!doctype html> <html data-openclaw-control-ui-build=\"1\"><body></body>";

pub fn faults() -> Vec<Fault> {
    let mut all = silent();
    all.extend(switching());
    all.extend(own());
    all.extend(foreign());
    all
}

fn silent() -> Vec<Fault> {
    vec![
        fault(
            "http: FIN of a kept connection under a POST",
            "gateway.silent.kept",
            crate::kept::ended_under_a_post,
        )
        .says("may have processed it"),
        fault(
            "http: an upload that the gateway does not read",
            "gateway.silent.unread",
            crate::kept::never_read,
        ),
        fault(
            "upgrade: FIN before the status line",
            "gateway.silent.closed",
            || async {
                let peer = no_status_line::start(&Via::Plain).await;
                refused(Setup::before(&peer)).await
            },
        ),
        fault(
            "upgrade: RST before the status line",
            "gateway.silent.reset",
            || async {
                let peer = reset_before_status::start(&Via::Plain).await;
                refused(Setup::before(&peer)).await
            },
        ),
        fault(
            "upgrade: never answered",
            "gateway.silent.upgrade",
            || async {
                let peer = never_answers::start(&Via::Plain).await;
                refused(Setup::before(&peer).set("timeouts.upgrade", "300ms")).await
            },
        ),
        fault(
            "upgrade: the client gives up again and again",
            "client.left.again",
            cancels_again_and_again,
        )
        .says("no attempt at this gateway was answered"),
        fault(
            "upgrade: the client gives up",
            "client.left.upgrade",
            || async {
                let peer = never_answers::start(&Via::Plain).await;
                // A FIN that soon may be that of a client which still reads.
                let setup = Setup::before(&peer).set("timeouts.half_close", "300ms");
                let tap = setup.start().await;
                let mut conn = tap.connect(Face::Plain).await;
                conn.send(&upgrade("/", "localhost", &[])).await.unwrap();
                peer.log.head(0).await;
                conn.finish().await;
                drop(conn);
                tap.websocket().await
            },
        ),
    ]
}

/// The same client abandons three attempts before they are answered.
async fn cancels_again_and_again() -> SessionRecord {
    let peer = never_answers::start(&Via::Plain).await;
    let setup = Setup::before(&peer).set("timeouts.half_close", "300ms");
    let tap = setup.start().await;
    for attempt in 0..3_usize {
        let mut conn = tap.connect(Face::Plain).await;
        conn.send(&upgrade("/", "localhost", &[])).await.unwrap();
        peer.log.head(attempt).await;
        conn.finish().await;
        drop(conn);
        let done = |record: &SessionRecord| {
            let cancels = record.context.as_ref().and_then(|context| context.cancels);
            cancels.is_some_and(|cancels| cancels.count as usize == attempt + 1)
        };
        let record = tap.wait_for("a cancelled attempt", done).await;
        if attempt == 2 {
            return record;
        }
    }
    unreachable!("the third attempt is returned")
}

fn switching() -> Vec<Fault> {
    vec![
        fault(
            "101: a wrong accept key",
            "gateway.refused.accept_key",
            || async {
                let peer = wrong_accept_key::start(&Via::Plain).await;
                refused(Setup::before(&peer)).await
            },
        ),
        fault(
            "101: no accept key",
            "gateway.refused.accept_key",
            || async {
                let peer = missing_accept_key::start(&Via::Plain).await;
                refused(Setup::before(&peer).openclaw()).await
            },
        ),
        fault(
            "101: without Upgrade",
            "gateway.refused.bad_upgrade",
            || async {
                let peer = scripted::start(&Via::Plain, "HTTP/1.1 101 Odd\r\n\r\n").await;
                refused(Setup::before(&peer)).await
            },
        ),
        fault(
            "no HTTP: an SSH server",
            "gateway.refused.not_http",
            || async {
                let peer = blurts::start(&Via::Plain, b"SSH-2.0-OpenSSH_9.9\r\n").await;
                refused(Setup::before(&peer)).await
            },
        ),
    ]
}

/// An answer of the gateway's own (2026.9.6), under `dialect: openclaw`.
fn answer(
    name: &'static str,
    rule: &'static str,
    status: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
) -> Fault {
    fault(name, rule, move || async move {
        let peer = ok_instead_of_101::answer(&Via::Plain, status, headers, body).await;
        refused(Setup::before(&peer).openclaw()).await
    })
}

fn own() -> Vec<Fault> {
    const TEXT: &[(&str, &str)] = &[("Content-Type", "text/plain; charset=utf-8")];
    const JSON: &[(&str, &str)] = &[("Content-Type", "application/json; charset=utf-8")];
    const PAGE: &[(&str, &str)] = &[("Content-Type", "text/html; charset=utf-8")];
    vec![
        answer(
            "403: attribution required",
            "gateway.refused.attribution_behind",
            "403 Forbidden",
            JSON,
            attribution::BODY,
        ),
        answer(
            "503: the gateway is draining",
            "gateway.lifecycle.admission_closed",
            "503 Service Unavailable",
            TEXT,
            draining::BODY,
        ),
        answer(
            "503: handlers not attached yet",
            "gateway.lifecycle.handlers_unavailable",
            "503 Service Unavailable",
            TEXT,
            "Gateway websocket handlers unavailable",
        ),
        answer(
            "503: too many unauthenticated sockets",
            "gateway.limit.preauth_sockets",
            "503 Service Unavailable",
            TEXT,
            "Too many unauthenticated sockets",
        ),
        answer(
            "503: the upgrade handler failed",
            "gateway.refused.upgrade_failed",
            "503 Service Unavailable",
            &[],
            "",
        ),
        answer(
            "400: a mangled handshake",
            "gateway.refused.bad_handshake",
            "400 Bad Request",
            &[
                ("Sec-WebSocket-Version", "13, 8"),
                ("Content-Type", "text/html"),
            ],
            "Missing or invalid Sec-WebSocket-Key header",
        ),
        answer(
            "400: Connection without Upgrade",
            "gateway.refused.bad_handshake",
            "400 Bad Request",
            TEXT,
            "Bad Request",
        ),
        answer(
            "401: a ticket is wanted",
            "gateway.refused.credential",
            "401 Unauthorized",
            &[],
            "",
        ),
        answer(
            "429: too many failed attempts",
            "gateway.refused.rate_limited",
            "429 Too Many Requests",
            &[("Content-Type", "application/json"), ("Retry-After", "60")],
            r#"{"error":{"message":"Too many failed authentication attempts. Please try again later.","type":"rate_limited"}}"#,
        )
        .says("its Retry-After says 60.0 s"),
        answer(
            "431: a head too large for Node",
            "gateway.limit.head",
            "431 Request Header Fields Too Large",
            &[],
            "",
        ),
        answer(
            "200: the Control UI, Upgrade stripped behind us",
            "hop.fault.upgrade_stripped_behind",
            "200 OK",
            PAGE,
            CONTROL_UI,
        ),
        fault(
            "plain: an unbranded 404",
            "gateway.refused.other",
            || async {
                let peer = http_plain::start(&Via::Plain).await;
                refused(Setup::before(&peer)).await
            },
        ),
        fault(
            "200: the Control UI, Upgrade stripped before us",
            "hop.fault.upgrade_stripped",
            stripped_before_us,
        ),
    ]
}

fn foreign() -> Vec<Fault> {
    const NGINX: &[(&str, &str)] = &[("Server", "nginx/1.27.0"), ("Content-Type", "text/html")];
    vec![
        fault(
            "answer: what is behind us goes round",
            "hop.fault.loop",
            || async {
                let status = "508 Loop Detected";
                let peer = ok_instead_of_101::answer(&Via::Plain, status, &[], "round").await;
                refused(Setup::before(&peer).openclaw()).await
            },
        ),
        answer(
            "nginx: 502",
            "hop.fault.bad_gateway",
            "502 Bad Gateway",
            NGINX,
            "<html><center><h1>502 Bad Gateway</h1></center><hr><center>nginx</center></html>",
        )
        .says("nginx"),
        answer(
            "nginx: 504",
            "hop.fault.bad_gateway",
            "504 Gateway Time-out",
            NGINX,
            "<html><center><h1>504 Gateway Time-out</h1></center></html>",
        )
        .says("nginx"),
        answer(
            "Caddy: 502 without a body",
            "hop.fault.bad_gateway",
            "502 Bad Gateway",
            &[("Server", "Caddy")],
            "",
        )
        .says("Caddy"),
        answer(
            "Envoy: 503",
            "hop.fault.bad_gateway",
            "503 Service Unavailable",
            &[("Server", "envoy"), ("Content-Type", "text/plain")],
            "upstream connect error or disconnect/reset before headers",
        )
        .says("Envoy"),
        answer(
            "HAProxy: 503, which names nobody",
            "hop.fault.bad_gateway",
            "503 Service Unavailable",
            &[("Cache-Control", "no-cache"), ("Content-Type", "text/html")],
            "<html><body><h1>503 Service Unavailable</h1>\nNo server is available to handle this request.\n</body></html>\n",
        ),
        answer(
            "Traefik: 502, which names nobody",
            "hop.fault.bad_gateway",
            "502 Bad Gateway",
            &[("Content-Type", "text/plain; charset=utf-8")],
            "Bad Gateway",
        ),
        answer(
            "Traefik: 404, which names nobody",
            "hop.fault.foreign_answer",
            "404 Not Found",
            &[("Content-Type", "text/plain; charset=utf-8")],
            "404 page not found\n",
        ),
        answer(
            "Cloudflare: 403",
            "hop.fault.login",
            "403 Forbidden",
            &[
                ("Server", "cloudflare"),
                ("CF-RAY", "8c0-FRA"),
                ("Content-Type", "text/html"),
            ],
            "<html>Sorry, you have been blocked</html>",
        )
        .says("Cloudflare"),
        answer(
            "nginx: Basic auth",
            "hop.fault.login",
            "401 Unauthorized",
            &[
                ("Server", "nginx"),
                ("WWW-Authenticate", "Basic realm=\"x\""),
            ],
            "<html>401</html>",
        )
        .says("no credential"),
        fault(
            "nginx: Basic auth, and another credential was sent",
            "hop.fault.login",
            || async {
                let headers = [
                    ("Server", "nginx"),
                    ("WWW-Authenticate", "Basic realm=\"x\""),
                ];
                let page = "<html>401</html>";
                let peer =
                    ok_instead_of_101::answer(&Via::Plain, "401 Unauthorized", &headers, page)
                        .await;
                let tap = Setup::before(&peer).openclaw().start().await;
                refused_by(&tap, &[("Authorization", "Basic bWU6bm90IHRoaXMgb25l")]).await
            },
        )
        .says("at header:authorization (Basic)"),
        answer(
            "nginx: 429 with Retry-After",
            "hop.fault.rate_limited",
            "429 Too Many Requests",
            &[
                ("Server", "nginx"),
                ("Retry-After", "30"),
                ("Content-Type", "text/html"),
            ],
            "<html><h1>429 Too Many Requests</h1></html>",
        )
        .says("its Retry-After says 30.0 s"),
        answer(
            "nginx: 431",
            "hop.fault.too_large",
            "431 Request Header Fields Too Large",
            NGINX,
            "<html><h1>431</h1></html>",
        ),
        answer(
            "Envoy: a bare 403",
            "hop.fault.upgrade_not_enabled",
            "403 Forbidden",
            &[("Server", "envoy")],
            "",
        ),
        answer(
            "nginx: plain HTTP to its TLS port",
            "gateway.unreachable.wants_tls",
            "400 Bad Request",
            NGINX,
            "<html>\r\n<head><title>400 The plain HTTP request was sent to HTTPS port</title></head>",
        )
        .says("plain HTTP came to a port that speaks TLS"),
        answer(
            "Go: plain HTTP to its TLS port",
            "gateway.unreachable.wants_tls",
            "400 Bad Request",
            &[],
            "Client sent an HTTP request to an HTTPS server.\n",
        ),
        answer(
            "Envoy: TLS to a plain upstream",
            "hop.fault.upstream_scheme",
            "503 Service Unavailable",
            &[("Server", "envoy"), ("Content-Type", "text/plain")],
            "upstream connect error or disconnect/reset before headers. reset reason: connection failure, transport failure reason: TLS_error:|268435703:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER:TLS_error_end",
        )
        .says("the error page that came back says so"),
        answer(
            "a redirect to a login",
            "hop.fault.redirect",
            "302 Found",
            &[("Location", "/oauth2/start?rd=%2F")],
            "",
        )
        .says("its Location is \"/oauth2/start?rd=[masked 1]\""),
        answer(
            "nginx: 301 to https",
            "hop.fault.redirect",
            "301 Moved Permanently",
            &[("Server", "nginx"), ("Location", "https://gateway.test/")],
            "",
        )
        .says("https://gateway.test/"),
        answer(
            "Apache: a page with 200",
            "hop.fault.foreign_answer",
            "200 OK",
            &[
                ("Server", "Apache/2.4.62 (Debian)"),
                ("Content-Type", "text/html"),
            ],
            "<html>It works!</html>",
        )
        .says("Apache"),
        answer(
            "another application: a JSON 404",
            "hop.fault.foreign_answer",
            "404 Not Found",
            &[("Content-Type", "application/json")],
            r#"{"detail":"Not Found"}"#,
        ),
        fault(
            "nginx: 502 to a plain request",
            "hop.fault.http_answer",
            || async {
                let body = "<html>502 Bad Gateway</html>";
                let peer =
                    ok_instead_of_101::answer(&Via::Plain, "502 Bad Gateway", NGINX, body).await;
                let tap = Setup::before(&peer).openclaw().start().await;
                tap.connect(Face::Plain).await.get("/").await.unwrap();
                first_record(&tap).await
            },
        ),
    ]
}

/// A proxy that dropped the hop-by-hop headers and left the key.
async fn stripped_before_us() -> SessionRecord {
    let headers = [("Content-Type", "text/html; charset=utf-8")];
    let peer = ok_instead_of_101::start(&Via::Plain, &headers, CONTROL_UI).await;
    let tap = Setup::before(&peer).openclaw().start().await;
    let mut conn = tap.connect(Face::Plain).await;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 203.0.113.9\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n\r\n",
        head::KEY
    );
    conn.send(request.as_bytes()).await.unwrap();
    conn.head().await.expect("an answer");
    drop(conn);
    tap.websocket().await
}
