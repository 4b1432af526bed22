//! The gateway's own web page, the Control UI, in a real browser through the tap.
//!
//! Chromium trusts the development CA by the steps of `certs/README.md`. Screenshots of the page
//! are in `target/browser`.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Value, json};
use wstap::session::SessionRecord;
use wstap::session::record::dialect::{ConnectResult, DialectFacts};
use wstap::session::record::{Class, Kind, OriginDecision};
use wstap::session::text::PeerText;

use super::gateway::{Gateway, TOKEN};
use super::turn;
use super::visitor::{Answer, Visitor};
use crate::support::browser::{Browser, Programs};
use crate::support::packages::free_port;
use crate::support::records::{class, is_websocket, rule};
use crate::support::skip::skip;
use crate::support::tap::{Face, Setup, Tap};

const TEST: &str = "live: the page in a browser";
const OTHER: &str = "https://other.example";
/// The page's own element.
const APP: &str = "document.querySelector('openclaw-app')";
/// It asks for the gateway's URL and token, as it does while it is not connected.
const FORM: &str = "document.body.innerText.includes('Gateway URL')";

#[tokio::test]
async fn the_page_works_in_a_browser_and_a_refusal_is_explained() {
    let Some((_turn, install)) = turn(TEST).await else {
        return;
    };
    let Some(programs) = Programs::find() else {
        return skip(TEST, "chromium or certutil is missing: run make fetch");
    };
    let gateway = Gateway::start(&install).await;
    let open = Door::open(&gateway, None, |setup| setup).await;
    let streams = Door::open(&gateway, None, in_streams).await;
    let closed = Door::open(&gateway, Some(OTHER), |setup| setup).await;
    let told = |setup: Setup| setup.set("origins.deny_with", "close");
    let telling = Door::open(&gateway, Some(OTHER), told).await;
    let told_in_streams = |setup| told(in_streams(setup));
    let telling_in_streams = Door::open(&gateway, Some(OTHER), told_in_streams).await;
    let doors = [&open, &streams, &closed, &telling, &telling_in_streams];
    let authorities = doors.map(|door| door.tap.dev_ca());
    let authorities = authorities.each_ref().map(PathBuf::as_path);
    let mut browser = Browser::start(&programs, &authorities).await;

    let record = works(&mut browser, &open, "control-ui.png").await;
    assert_eq!(carried_by(&record), ("GET", "http/1.1", None));
    let close = record.close.client.as_ref().and_then(|it| it.code);
    assert_eq!(close.map(|it| it.0), Some(1001));
    assert_eq!(
        (class(&record), rule(&record)),
        (Class::Ok, "ok.client_going_away")
    );
    let record = works(&mut browser, &streams, "control-ui-http2.png").await;
    assert!(
        matches!(carried_by(&record), ("CONNECT", "h2", Some(stream)) if stream > 1),
        "{:?}",
        carried_by(&record)
    );
    // It sends no Close there.
    assert_eq!(
        (class(&record), rule(&record)),
        (Class::ClientLeft, "client.left.stream")
    );
    is_refused(&mut browser, &closed).await;
    is_told(&mut browser, &telling, "control-ui-told.png").await;
    let record = is_told(
        &mut browser,
        &telling_in_streams,
        "control-ui-told-http2.png",
    );
    assert_eq!(carried_by(&record.await).0, "CONNECT");
}

fn in_streams(setup: Setup) -> Setup {
    setup.set("http2.websocket", true)
}

/// How the page's socket came: its method, what ALPN agreed on, and its stream.
fn carried_by(record: &SessionRecord) -> (&str, &str, Option<u32>) {
    let request = record.request.as_ref().expect("a request");
    let alpn = record.client.tls.as_ref().and_then(|tls| tls.alpn.as_ref());
    let alpn = alpn.map_or("", PeerText::as_str);
    let http2 = record.client.http2.as_ref();
    let stream = http2.and_then(|http2| http2.stream);
    (request.method.as_str(), alpn, stream)
}

/// A tap, and the origin of the pages that come through it.
pub(super) struct Door {
    pub(super) tap: Tap,
    pub(super) origin: String,
}

impl Door {
    /// Its list names `allowed`, or else its own pages.
    pub(super) async fn open(
        gateway: &Gateway,
        allowed: Option<&str>,
        more: impl Fn(Setup) -> Setup,
    ) -> Self {
        // Its own origin has to be in its list, so its port has to be known before.
        let addr: SocketAddr = free_port();
        let origin = format!("https://localhost:{}", addr.port());
        let origins = json!({ "allowed": [allowed.unwrap_or(&origin)], "mode": "enforce" });
        let tls = json!({ "self_signed": { "names": ["localhost"] } });
        let setup = Setup::before_url(&gateway.url())
            .openclaw()
            .set(
                "listeners",
                json!([{ "listen": addr.to_string(), "tls": tls }]),
            )
            .set("origins", origins);
        let tap = more(setup).start().await;
        Self { tap, origin }
    }

    /// The page's address, with the gateway's token as the gateway's own links carry it.
    pub(super) fn page(&self) -> String {
        format!("{}/#token={TOKEN}", self.origin)
    }

    /// Another socket of the page's, and how it ends for its script.
    async fn another_socket(&self, browser: &mut Browser) -> Value {
        let script = "new Promise((done) => {
            const socket = new WebSocket(location.origin.replace('http', 'ws') + '/another');
            socket.onclose = ({ code, reason, wasClean }) => done({ code, reason, wasClean });
        })";
        browser.eval(script).await
    }

    async fn record_of_the_other_socket(&self) -> SessionRecord {
        let is_it = |record: &SessionRecord| {
            let path = record.request.as_ref().map(|request| request.path.as_str());
            is_websocket(record) && path == Some("/another")
        };
        self.tap
            .wait_for("the record of the page's socket", is_it)
            .await
    }
}

/// Returns the record of the page's socket.
async fn works(browser: &mut Browser, door: &Door, shown_in: &str) -> SessionRecord {
    browser.go(&door.page()).await;
    let hello = |frame: &Value| {
        let data = frame["response"]["payloadData"].as_str();
        data.is_some_and(|data| data.contains("\"type\":\"hello-ok\""))
    };
    browser.event("Network.webSocketFrameReceived", hello).await;
    // Its menu is there once it is connected; before it is a form that asks for the token.
    browser
        .until("document.body.innerText.includes('Channels')")
        .await;
    let title = browser.eval("document.title").await;
    assert!(
        title.as_str().is_some_and(|it| it.contains("OpenClaw")),
        "{title}"
    );
    assert_eq!(browser.eval(&format!("{APP} !== null")).await, true);
    assert_eq!(browser.eval("isSecureContext").await, true);
    // Icons and fonts come through the tap too, and are in the picture.
    browser.until("document.readyState === 'complete'").await;
    browser.eval("document.fonts.ready.then(() => true)").await;
    browser.screenshot(&picture(shown_in)).await;
    let page = browser
        .event("Network.responseReceived", |it| it["type"] == "Document")
        .await;
    assert_same_protocol(door, &page["response"]["protocol"]).await;

    browser.close_page().await;
    let record = door.tap.websocket().await;
    let origin = record.origin.as_ref().expect("an origin");
    let sent = origin.value.as_ref().map(PeerText::as_str);
    assert_eq!(sent, Some(door.origin.as_str()));
    assert_eq!(origin.decision, OriginDecision::Allowed);
    assert_eq!(origin.rule.as_deref(), Some(door.origin.as_str()));
    let dialect = record
        .dialect
        .as_ref()
        .and_then(DialectFacts::openclaw)
        .expect("a dialect");
    assert_eq!(dialect.result, ConnectResult::Accepted);
    let client = dialect
        .client
        .as_ref()
        .and_then(|client| client.id.as_ref());
    assert_eq!(client.map(PeerText::as_str), Some("openclaw-control-ui"));
    assert!(
        !door.tap.records_text().contains(TOKEN),
        "the token is in a record"
    );
    record
}

/// Browser and record name the same protocol, whatever the tap offers by ALPN. A tap with HTTP/2
/// answers this page with `h2`; sockets stay on HTTP/1.1 without `http2.websocket`.
async fn assert_same_protocol(door: &Door, spoken: &Value) {
    let is_page = |record: &SessionRecord| {
        let path = record.request.as_ref().map(|request| request.path.as_str());
        record.kind == Kind::Http && path == Some("/")
    };
    let record = door.tap.wait_for("the page's own record", is_page).await;
    let version = record.request.as_ref().map(|it| it.http_version.as_str());
    let (version_of_record, alpn) = match spoken.as_str() {
        Some("h2") => ("HTTP/2", "h2"),
        Some("http/1.1") => ("HTTP/1.1", "http/1.1"),
        other => panic!("an unknown protocol: {other:?}"),
    };
    assert!(
        version.is_some_and(|it| it.starts_with(version_of_record)),
        "{version:?}"
    );
    let tls = record.client.tls.as_ref().expect("TLS");
    assert_eq!(tls.alpn.as_ref().map(PeerText::as_str), Some(alpn));
}

/// Refused with 403: the script sees 1006 and no reason, the record and the answer say why.
async fn is_refused(browser: &mut Browser, door: &Door) {
    browser.go(&door.page()).await;
    let seen = door.another_socket(browser).await;
    assert_eq!(
        seen,
        json!({ "code": 1006, "reason": "", "wasClean": false })
    );
    assert_denied(door, &door.record_of_the_other_socket().await);
    browser.until(FORM).await;
    browser.screenshot(&picture("control-ui-refused.png")).await;

    // The answer that a browser hides from its scripts, as any other client sees it.
    let visitor = Visitor::browser(&door.origin).target("/by-hand");
    let answer = visitor.visit(door.tap.connect(Face::Tls).await).await;
    let Answer::Http { status: 403, body } = &answer else {
        panic!("{answer}");
    };
    assert!(body.starts_with("wstap: "), "{body}");
    let line = format!("origins: {{ allowed: [\"{}\"] }}", door.origin);
    assert!(body.contains(&line), "{body}");
}

/// Refused with a Close: the script sees why.
async fn is_told(browser: &mut Browser, door: &Door, shown_in: &str) -> SessionRecord {
    browser.go(&door.page()).await;
    let seen = door.another_socket(browser).await;
    assert_eq!(
        (&seen["code"], &seen["wasClean"]),
        (&json!(1008), &json!(true))
    );
    let reason = seen["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("wstap: origin"), "{reason}");
    // And its reader, below "Raw error".
    browser.until(FORM).await;
    let told = "document.body.textContent.includes('wstap: origin not in origins.allowed')";
    assert_eq!(browser.eval(told).await, true);
    let open = "document.querySelectorAll('details').forEach((it) => { it.open = true })";
    browser.eval(open).await;
    browser.screenshot(&picture(shown_in)).await;
    let record = door.record_of_the_other_socket().await;
    assert_denied(door, &record);
    record
}

fn assert_denied(door: &Door, record: &SessionRecord) {
    assert_eq!(
        (class(record), rule(record)),
        (Class::TapDenied, "tap.denied.origin")
    );
    let origin = record.origin.as_ref().expect("an origin");
    assert_eq!(origin.decision, OriginDecision::Denied);
    let verdict = record.verdict.as_ref().expect("a verdict");
    let line = format!("`origins: {{ allowed: [\"{}\"] }}`", door.origin);
    assert!(verdict.next.contains(&line), "{}", verdict.next);
}

fn picture(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/browser");
    folder.join(name)
}
