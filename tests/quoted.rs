//! Credentials that a peer quotes are masked in every output: wherever they were seen, under both
//! dialects, at every endpoint; whole, in part, and encoded.

use data_encoding::BASE64;
use serde_json::json;

use crate::peers::openclaw::{Gateway, Refusal, Script};
use crate::peers::{Via, quoting};
use crate::support::frame::Frame;
use crate::support::tap::{Face, Setup, Tap};

/// A secret of 40 characters that shares no part with any other.
fn secret(place: &str) -> String {
    const DIGITS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut state = place.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    let mut digit = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let at = usize::try_from(state >> 40).unwrap() % DIGITS.len();
        char::from(DIGITS[at])
    };
    (0..40).map(|_| digit()).collect()
}

/// No output contains 12 characters of any of them, in either case.
fn assert_silent(outputs: &[(&str, String)], secrets: &[String]) {
    for (name, text) in outputs {
        let text = text.to_ascii_lowercase();
        for secret in secrets {
            let lower = secret.to_ascii_lowercase();
            for at in 0..=lower.len() - 12 {
                let found = text.contains(&lower[at..at + 12]);
                assert!(!found, "{name} holds a part of a secret, from {at} on");
            }
        }
    }
}

fn outputs(tap: &Tap) -> Vec<(&'static str, String)> {
    vec![
        ("stdout", tap.stdout()),
        ("stderr", tap.stderr()),
        ("records", tap.records_text()),
    ]
}

fn base64(text: &str) -> String {
    BASE64.encode(text.as_bytes())
}

const PLACES: [&str; 11] = [
    "bearer",
    "basic",
    "api-key",
    "cookie",
    "subprotocol",
    "query",
    "path",
    "hook",
    "referer",
    "set-cookie",
    "user",
];

/// A request head with credentials in every place that can hold one.
fn headers() -> Vec<(&'static str, String)> {
    vec![
        ("Authorization", format!("Bearer {}", secret("bearer"))),
        (
            "Proxy-Authorization",
            format!("Basic {}", base64(&format!("ana:{}", secret("basic")))),
        ),
        ("X-Api-Key", secret("api-key")),
        ("Cookie", format!("theme=dark; sid={}", secret("cookie"))),
        (
            "Sec-WebSocket-Protocol",
            format!("v1, bearer, {}", secret("subprotocol")),
        ),
        (
            "Referer",
            format!(
                "https://ana:{}@claw.example.com/?token={}",
                secret("user"),
                secret("referer")
            ),
        ),
        ("X-Set-Cookie", secret("set-cookie")),
    ]
}

/// The ways to quote a secret: the text, and what it shows of the secret.
fn quotes(place: &str) -> Vec<String> {
    let one = secret(place);
    let percent: Vec<String> = one.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let mut all = vec![
        format!("token {one} is wrong"),
        one[..12].to_owned(),
        format!("{}...", &one[14..30]),
        one.to_ascii_uppercase(),
        percent.concat(),
    ];
    if place == "basic" {
        all.push(base64(&format!("ana:{one}")));
    }
    all
}

#[tokio::test]
async fn what_a_gateway_quotes_of_any_credential_is_masked() {
    let gateway = quoting::start(&Via::Plain).await;
    let mut secrets: Vec<String> = PLACES.iter().map(|place| secret(place)).collect();
    secrets.push(base64(&format!("ana:{}", secret("basic"))));
    for (openclaw, path) in [
        (true, "/"),
        (true, "/__openclaw__/worker"),
        (true, "/desktop/observe"),
        (true, "/node-portal/attach"),
        (true, "/plugin"),
        (false, "/any"),
    ] {
        let setup = Setup::before(&gateway).trace().admin();
        let setup = if openclaw { setup.openclaw() } else { setup };
        let mut tap = setup.start().await;
        let target = format!(
            "{path}?token={}&next=/__openclaw__/cap/{}/hooks/{}",
            secret("query"),
            secret("path"),
            secret("hook"),
        );
        let capability = format!(
            "/__openclaw__/cap/{}/hooks/{}?token={}",
            secret("path"),
            secret("hook"),
            secret("query")
        );
        let mut count = 0;
        for place in PLACES {
            for quote in quotes(place) {
                let mut more = headers();
                more.push(("X-Quote", quote.clone()));
                // The client quotes the secret as well.
                more.push(("User-Agent", format!("agent/1 ({quote})")));
                let more: Vec<(&str, &str)> = more
                    .iter()
                    .map(|(name, value)| (*name, value.as_str()))
                    .collect();
                let in_path = matches!(place, "path" | "hook");
                let target = if in_path { &capability } else { &target };
                let mut conn = tap.connect(Face::Plain).await;
                let answer = conn.upgrade(target, &more).await.unwrap();
                assert_eq!(answer.status(), 101);
                let close =
                    Frame::close(1008, &format!("you said {}", &quote[..quote.len().min(60)]));
                drop(conn.send_masked(close).await);
                conn.frames_to_end().await;
                count += 1;
            }
        }
        let records = tap.websockets(count).await;
        assert!(
            records.iter().all(|record| {
                let close = record.close.gateway.as_ref().expect("the gateway's Close");
                close.reason.as_str().contains("[masked ")
            }),
            "a reason without a mask"
        );
        // A request that is not an upgrade.
        let mut conn = tap.connect(Face::Plain).await;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {0}\r\n\
             X-Quote: {0}\r\nConnection: close\r\n\r\n",
            secret("bearer"),
        );
        conn.send(request.as_bytes()).await.unwrap();
        conn.rest().await;
        tap.wait_for_count(count + 1).await;
        assert_eq!(tap.terminate().await, Some(0));
        assert_silent(&outputs(&tap), &secrets);
    }
}

#[tokio::test]
async fn what_is_quoted_of_secrets_in_frames_is_masked() {
    let token = secret("frame-token");
    let issued = secret("frame-issued");
    let surface = secret("frame-surface");
    let error = json!({
        "code": "INVALID_REQUEST", "message": format!("bad token {}", &token[..16]),
        "details": { "code": "AUTH_TOKEN_MISMATCH", "reason": token.to_ascii_uppercase() },
    });
    let refusing = Script {
        refusal: Some(Refusal::new(
            1008,
            &format!("unauthorized: {}", &token[8..30]),
            error,
        )),
        ..Script::default()
    };
    let accepting = Script {
        token: None,
        hello_auth: json!({ "role": "operator", "deviceTokens": [{ "deviceToken": issued }] }),
        surfaces: json!({ "canvas": format!("http://localhost/__openclaw__/cap/{surface}") }),
        ..Script::default()
    };
    let gateway = Gateway::start(&Via::Plain, refusing).await;
    let mut tap = Setup::before(&gateway.peer)
        .openclaw()
        .trace()
        .start()
        .await;
    let auth = json!({ "token": token });
    let mut conn = tap.connect(Face::Plain).await;
    // The head comes before the frame that reveals the secret that it quotes.
    let agent = format!("agent ({})", &token[..20]);
    conn.upgrade("/", &[("User-Agent", &agent)]).await.unwrap();
    conn.introduce(&auth).await;
    conn.frames_to_end().await;
    tap.websockets(1).await;
    gateway.becomes(accepting);
    let mut conn = tap.connect(Face::Plain).await;
    conn.upgrade("/", &[]).await.unwrap();
    conn.introduce(&auth).await;
    let method = format!(
        r#"{{"type":"req","id":"2","method":"x.{}","params":{{}}}}"#,
        &issued[..14]
    );
    conn.send_masked(Frame::text(&method)).await.unwrap();
    let reason = format!("{} {}", &issued[20..34], &surface[..30]);
    conn.send_masked(Frame::close(4000, &reason)).await.unwrap();
    conn.frames_to_end().await;
    tap.websockets(2).await;
    assert_eq!(tap.terminate().await, Some(0));
    assert_silent(&outputs(&tap), &[token, issued, surface]);
}
