//! Secrets never reach an output: not stdout, not stderr with everything switched on, not the
//! records file, however they came in.

use serde_json::json;

use crate::peers::openclaw::{Gateway, Script, TOKEN};
use crate::peers::{Via, http_plain};
use crate::support::frame::Frame;
use crate::support::http2::Http2;
use crate::support::records;
use crate::support::tap::{Face, Setup, Tap};

/// A secret that nothing else contains.
fn canary(place: &str) -> String {
    format!("canary-{place}-7d1e0c44b2a94f6f8f0e5c3b9a6d2f18")
}

/// No output contains any of them, nor a long part of one.
fn assert_silent(tap: &Tap, secrets: &[String]) {
    let outputs = [
        ("stdout", tap.stdout()),
        ("stderr", tap.stderr()),
        ("records", tap.records_text()),
    ];
    for (name, text) in &outputs {
        for secret in secrets {
            let half = secret.len() / 2;
            for part in [secret.as_str(), &secret[..half], &secret[half..]] {
                let Some(at) = text.find(part) else { continue };
                let around = records::tail(&text[..at], 120);
                panic!("{name} has {part:?} of {secret:?} after {around:?}");
            }
        }
    }
    let (_, stderr) = &outputs[1];
    assert!(stderr.len() > 200, "trace output was expected on stderr");
}

#[tokio::test]
async fn no_output_contains_a_secret() {
    let cases = [
        (Face::Plain, true, "text"),
        (Face::Tls, true, "json"),
        (Face::Tls, false, "text"),
        (Face::Tls, false, "json"),
    ];
    for (face, accepted, format) in cases {
        let secret = |place: &str| canary(place);
        let issued = secret("issued-device-token");
        let surface = secret("surface");
        let script = Script {
            token: (!accepted).then(|| TOKEN.to_owned()),
            hello_auth: json!({
                "method": "token", "role": "operator", "scopes": ["operator.read"],
                "deviceToken": issued, "deviceTokens": [{ "deviceToken": issued }],
            }),
            surfaces: json!({ "canvas": format!("http://localhost/__openclaw__/cap/{surface}") }),
            ..Script::default()
        };
        let gateway = Gateway::start(&Via::Plain, script).await;
        let tap = Setup::before(&gateway.peer)
            .openclaw()
            .trace()
            .env("WSTAP_LOG_FORMAT", format)
            .start()
            .await;
        let auth = json!({
            "token": secret("token"), "password": secret("password"),
            "deviceToken": secret("device-token"), "bootstrapToken": secret("bootstrap"),
        });
        let bearer = format!("Bearer {}", secret("bearer"));
        let cookie = format!("theme=dark; session={}", secret("cookie"));
        let protocols = format!("openclaw, bearer, {}", secret("subprotocol"));
        let referer = format!("https://claw.example.com/?token={}", secret("referer"));
        let target = format!(
            "/__openclaw__/cap/{}/ws?token={}&x=1",
            secret("path"),
            secret("query")
        );
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Cookie", &cookie),
            ("Sec-WebSocket-Protocol", &protocols),
            ("Referer", &referer),
            ("X-Api-Key", &secret("api-key")),
        ];
        let mut conn = tap.connect(face).await;
        let answer = conn.upgrade(&target, &headers).await.unwrap();
        assert_eq!(answer.status(), 101, "{}", answer.text());
        let first = conn.introduce(&auth).await;
        assert_eq!(first.as_text().contains(&issued), accepted);
        let more = format!(
            r#"{{"type":"req","id":"2","method":"x","params":"{}"}}"#,
            secret("rpc")
        );
        drop(conn.send_masked(Frame::text(&more)).await);
        // A reason that quotes a secret is a peer's own text, so it is not tried here.
        drop(conn.send_masked(Frame::empty_close()).await);
        conn.frames_to_end().await;
        conn.finish().await;
        drop(conn);

        // The same places on a request that is no upgrade.
        let mut plain = tap.connect(face).await;
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {bearer}\r\n\
             Cookie: {cookie}\r\nConnection: close\r\n\r\n",
        );
        plain.send(request.as_bytes()).await.unwrap();
        drop(plain.head().await);
        drop(plain);

        let record = tap.websocket().await;
        assert!(
            record.auth.len() >= 5,
            "the credentials were seen: {}",
            record.auth.len()
        );
        let places = [
            "token",
            "password",
            "device-token",
            "bootstrap",
            "bearer",
            "cookie",
            "subprotocol",
            "referer",
            "path",
            "query",
            "api-key",
            "rpc",
            "surface",
            "issued-device-token",
        ];
        let secrets: Vec<String> = places.iter().map(|place| canary(place)).collect();
        let mut tap = tap;
        assert_eq!(tap.terminate().await, Some(0));
        assert_silent(&tap, &secrets);
    }
}

#[tokio::test]
async fn no_output_contains_a_secret_of_a_request_that_is_refused() {
    let gateway = Gateway::start(&Via::Plain, Script::default()).await;
    let mut tap = Setup::before(&gateway.peer).trace().start().await;
    let secret = canary("refused");
    for bad in [
        format!("GET /?token={secret} HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {secret}\r\nX: a\r\n b\r\n\r\n"
        ),
        format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: s={secret}\r\nbroken line\r\n\r\n"),
    ] {
        let mut conn = tap.connect(Face::Plain).await;
        conn.send(bad.as_bytes()).await.unwrap();
        conn.finish().await;
        conn.rest().await;
    }
    tap.wait_for("the records", |_| true).await;
    assert_eq!(tap.terminate().await, Some(0));
    assert_eq!(tap.records().len(), 3);
    assert_silent(&tap, &[secret]);
}

/// A client that is configured wrongly can send a secret where the method belongs.
#[tokio::test]
async fn no_output_contains_a_secret_sent_as_a_method() {
    // As long as a method may be.
    let secret = canary("method")[..32].to_owned();
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer).trace().start().await;
    let valid = format!("{secret} / HTTP/1.1\r\nHost: localhost\r\n");
    let requests = [
        format!("{valid}\r\n"),
        format!("{valid}Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
        // What is no head at all.
        format!("{secret}: / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        format!("{secret}\r\n\r\n"),
        secret.clone(),
    ];
    for request in &requests {
        let mut conn = tap.connect(Face::Plain).await;
        conn.send(request.as_bytes()).await.unwrap();
        conn.finish().await;
        conn.rest().await;
    }
    let mut client = Http2::connect(&tap).await;
    let request = client.request(&secret, "/", &[]);
    client.ask(request).await.unwrap();
    let records = tap.wait_for_count(requests.len() + 1).await;
    let methods = records.iter().filter_map(|record| record.request.as_ref());
    let methods: Vec<&str> = methods.map(|it| it.method.as_str()).collect();
    let masked = format!("[masked {}]", secret.len());
    let count = methods.iter().filter(|it| **it == masked).count();
    assert!(count >= 3, "{methods:?}");
    assert_silent(&tap, &[secret]);
}
