//! `/sessions` and `wstap sessions`: open sessions, while they are open, and none of their secrets.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;

use serde_json::{Value, json};

use super::{get, wstap};
use crate::peers::openclaw::connect_request;
use crate::peers::{Via, close_code, echo, never_answers, pusher, tunnel};
use crate::support::client::connect_thin;
use crate::support::deadline::{STEP, within};
use crate::support::frame::Frame;
use crate::support::head;
use crate::support::tap::{Face, Setup, Tap, signal};

async fn sessions(tap: &Tap) -> Value {
    let answer = get(tap, "/sessions").await;
    assert_eq!(answer.status(), 200);
    answer.json()
}

/// The open sessions, as soon as they are as they should be.
async fn open(tap: &Tap, what: &str, is_it: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    within(what, async {
        loop {
            let open = sessions(tap).await["open"].as_array().unwrap().clone();
            if is_it(&open) {
                return open;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_session_that_hangs_is_seen_while_it_hangs() {
    // It accepts the upgrade and never says a word: no challenge, no hello.
    let (peer, _control) = tunnel::start(&Via::Plain).await;
    let tap = Setup::before(&peer).openclaw().admin().start().await;
    let mut client = tap.connect(Face::Tls).await;
    client.open("/ws").await;
    let request = connect_request(&json!({ "token": "x" }));
    client.send_masked(request).await.unwrap();
    let said = |open: &[Value]| open.iter().any(|one| one["to_gateway"]["messages"] == 1);
    let all = open(&tap, "the message of the client", said).await;
    let hung = &all[0];
    assert_eq!((all.len(), &hung["kind"]), (1, &json!("websocket")));
    assert_eq!(hung["phase"], "handshake");
    assert_eq!(hung["path"], "/ws");
    assert_eq!(
        hung["to_client"],
        json!({ "messages": 0, "bytes": 0, "waiting": 0, "last_ms_ago": null })
    );
    assert!(hung["to_gateway"]["bytes"].as_u64().unwrap() > 50);
    assert!(hung["to_gateway"]["last_ms_ago"].as_f64().unwrap() >= 0.0);
    assert!(tap.records().is_empty(), "there is no record yet");
    let older = |open: &[Value]| open[0]["idle_ms"].as_f64() > hung["idle_ms"].as_f64();
    let all = open(&tap, "time to pass", older).await;
    assert!(all[0]["age_ms"].as_f64() > hung["age_ms"].as_f64());
    assert_eq!(all[0]["to_gateway"]["bytes"], hung["to_gateway"]["bytes"]);
    // Every field has its line in the documentation.
    let docs = include_str!("../../docs/admin.md");
    let told = sessions(&tap).await;
    let objects = [&told, hung, &hung["to_client"]];
    for field in objects.iter().flat_map(|it| it.as_object().unwrap().keys()) {
        assert!(docs.contains(&format!("`{field}`")), "{field}");
    }
    // The command shows the same.
    let admin = tap.admin().to_string();
    let (code, out, err) = wstap(&["sessions", "--admin", &admin]).await;
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("1 open at "), "{out}");
    assert!(
        out.contains("handshake") && out.contains("gateway silent"),
        "{out}"
    );
    assert!(out.lines().all(|line| line.chars().count() <= 80), "{out}");
    let (code, out, _) = wstap(&["sessions", "--json", "--admin", &admin]).await;
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &told["open"][0]["id"]), (0, &hung["id"]));
    // And its record has the same id, in the end.
    client.abort();
    let record = tap.websocket().await;
    assert_eq!(json!(record.id), hung["id"]);
    open(&tap, "no open session", <[Value]>::is_empty).await;
}

#[tokio::test]
async fn phases_before_the_tunnel_are_seen_too() {
    let peer = never_answers::start(&Via::Plain).await;
    let tap = Setup::before(&peer).admin().start().await;
    let addr = tap.addr(Face::Plain).to_string();
    let mut waiting = tap.connect(Face::Plain).await;
    let request = head::upgrade("/slow", &addr, &[]);
    waiting.send(&request).await.unwrap();
    let dialled = |open: &[Value]| open.iter().any(|one| one["phase"] == "upgrade");
    let all = open(&tap, "the upgrade", dialled).await;
    assert_eq!(all[0]["path"], "/slow");
    assert_eq!(all[0]["host"], addr.as_str());
    assert_eq!(all[0]["client"], waiting_addr(&waiting));
}

fn waiting_addr(conn: &crate::support::conn::Conn) -> String {
    conn.wire.tcp().unwrap().local_addr().unwrap().to_string()
}

#[tokio::test]
async fn what_is_stuck_before_a_slow_client_is_shown() {
    let (peer, _pushed) = pusher::start(&Via::Plain, 1000).await;
    let tap = Setup::before(&peer).admin().start().await;
    let mut slow = connect_thin(tap.addr(Face::Plain)).await;
    slow.open("/").await;
    let stuck = |open: &[Value]| {
        open.iter()
            .any(|one| one["to_client"]["waiting"].as_u64() > Some(0))
    };
    open(&tap, "bytes that wait", stuck).await;
    let page = get(&tap, "/metrics").await.body;
    let waits = |line: &&str| line.starts_with("wstap_buffered_bytes{direction=\"to_client\"} ");
    let line = page.lines().find(waits).unwrap();
    assert!(!line.ends_with(" 0"), "{line}");
}

#[tokio::test]
async fn recent_sessions_have_their_verdict() {
    let after = close_code::After::Echo;
    let peer = close_code::start(&Via::Plain, Some(1012), "restart", after).await;
    let tap = Setup::before(&peer).admin().start().await;
    for _ in 0..3 {
        let mut conn = tap.connect(Face::Plain).await;
        conn.open("/").await;
        conn.frame().await.unwrap();
        conn.send_masked(Frame::close(1012, "")).await.unwrap();
        conn.rest().await;
    }
    let records = tap.websockets(3).await;
    let told = sessions(&tap).await;
    let recent = told["recent"].as_array().unwrap();
    assert_eq!(recent.len(), 3);
    let last = records.last().unwrap();
    assert_eq!(recent[0]["id"], json!(last.id), "the last one first");
    assert_eq!(recent[0]["verdict"]["class"], "gateway.lifecycle");
    assert_eq!(
        recent[0]["verdict"]["next"],
        json!(last.verdict.as_ref().unwrap().next)
    );
}

#[tokio::test]
async fn no_secret_is_shown() {
    let canary = "canary-7d1e0c44b2a94f6f8f0e5c3b9a6d2f18";
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .openclaw()
        .admin()
        .trace()
        .start()
        .await;
    // The last segment does not look like a key: it is masked because it quotes one.
    let part = &canary[7..21];
    let target = format!("/__openclaw__/cap/{canary}/ws/{part}?token={canary}&x=1");
    let bearer = format!("Bearer {canary}");
    let protocols = format!("bearer, {canary}");
    let cookie = format!("session={canary}");
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Cookie", &cookie),
        ("Sec-WebSocket-Protocol", &protocols),
    ];
    let mut conn = tap.connect(Face::Plain).await;
    conn.upgrade(&target, &headers).await.unwrap();
    let request = connect_request(&json!({ "token": canary, "password": canary }));
    conn.send_masked(request).await.unwrap();
    let said = |open: &[Value]| open.iter().any(|one| one["to_gateway"]["messages"] == 1);
    open(&tap, "the connect request", said).await;
    let admin = tap.admin().to_string();
    let mut told = vec![
        get(&tap, "/sessions").await.body,
        wstap(&["sessions", "--admin", &admin]).await.1,
        wstap(&["sessions", "--json", "--admin", &admin]).await.1,
    ];
    assert!(told[0].contains("/__openclaw__/cap/"), "{}", told[0]);
    conn.abort();
    tap.websocket().await;
    for path in ["/sessions", "/metrics", "/readyz", "/healthz"] {
        told.push(get(&tap, path).await.body);
    }
    // Nor what a client of the listener itself sends.
    told.push(get(&tap, &format!("/{canary}?token={canary}")).await.body);
    told.push(tap.stderr());
    told.push(tap.stdout());
    let half = &canary[canary.len() / 2..];
    for text in told {
        assert!(!text.contains(half) && !text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn follow_goes_on_until_ctrl_c() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).admin().start().await;
    let mut child = Command::new(env!("CARGO_BIN_EXE_wstap"))
        .args(["sessions", "--follow", "--admin", &tap.admin().to_string()])
        .env_remove("WSTAP_CONFIG")
        .env_remove("WSTAP_ADMIN")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, lines) = mpsc::channel();
    let out = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let id = child.id().to_string();
    let seen = tokio::task::spawn_blocking(move || {
        let first = lines.recv_timeout(STEP).unwrap();
        let second = lines.recv_timeout(STEP).unwrap();
        signal("INT", &id);
        let status = child.wait().unwrap();
        (first, second, status.code())
    });
    let (first, second, code) = within("the command", seen).await.unwrap();
    assert!(first.starts_with("0 open at ") && second.starts_with("0 open at "));
    assert!(
        !first.contains('\u{1b}'),
        "no terminal, no control characters"
    );
    assert_eq!(code, Some(0));
}
