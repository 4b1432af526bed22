//! Two paths side by side, and the same path again and again.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::time::timeout;

use super::{VARIABLE, command, is_whole, run, ws};
use crate::peers::openclaw::{Gateway, Script, TOKEN};
use crate::peers::{Via, blurts};
use crate::support::deadline::STEP;

const BAD_GATEWAY: &[u8] =
    b"HTTP/1.1 502 Bad Gateway\r\nServer: nginx\r\nX-Hop: 1\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn where_two_paths_differ() {
    let gateway = Gateway::start(&Via::Plain, Script::default()).await;
    let hop = blurts::start(&Via::Plain, BAD_GATEWAY).await;
    let (direct, by_hop) = (ws(&gateway.peer), ws(&hop));
    let compared = async |first: &str, second: &str, secret: &str| -> Value {
        let mut command = command(&[
            first,
            "--json",
            "--token-env",
            VARIABLE,
            "--compare",
            second,
        ]);
        command.env(VARIABLE, secret);
        let compared = run(command).await.report();
        assert_eq!(compared["schema"], "wstap.probe.compare/1");
        is_whole(&compared["first"]);
        is_whole(&compared["second"]);
        compared
    };
    let same = compared(&direct, &direct, TOKEN).await;
    assert_eq!(same["first_differing"], Value::Null, "{same}");
    assert_eq!(same["headers"], json!([]), "{same}");

    let other = compared(&direct, &by_hop, TOKEN).await;
    assert_eq!(other["first_differing"], "L1.upgrade", "{other}");
    let server = json!({ "name": "server", "first": null, "second": "nginx" });
    assert!(
        other["headers"].as_array().unwrap().contains(&server),
        "{other}"
    );

    // A wrong secret is tried once.
    let wrong = compared(&direct, &direct, "wrong-0123456789abcdef0123456789abcdef").await;
    assert_eq!(wrong["first"]["first_failing"], "L2.auth");
    let rungs = wrong["second"]["rungs"].as_array().unwrap();
    let auth = rungs.iter().find(|rung| rung["id"] == "L2.auth").unwrap();
    assert_eq!(auth["status"], "skip", "{auth}");
    assert_eq!(wrong["first_differing"], Value::Null, "{wrong}");

    // Also if a rung below has failed.
    let proxy = blurts::start(&Via::Plain, BAD_GATEWAY).await;
    let before = gateway.peer.log.requests();
    let mut refused = command(&[
        &direct,
        "--json",
        "--token-env",
        VARIABLE,
        "--compare",
        &direct,
    ]);
    refused.env(VARIABLE, "wrong-0123456789abcdef0123456789abcdef");
    refused.env("HTTP_PROXY", ws(&proxy).replace("ws", "http"));
    let refused = run(refused).await.report();
    assert_eq!(refused["second"]["first_failing"], Value::Null, "{refused}");
    let _ = before;

    let mut text = command(&[&direct, "--token-env", VARIABLE, "--compare", &by_hop]);
    text.env(VARIABLE, TOKEN);
    let text = run(text).await;
    assert_eq!(text.code, Some(1));
    for words in [
        "> L1.upgrade   pass",
        "first rung that differs: L1.upgrade",
        "header server: (none) | nginx",
        "hop.fault.bad_gateway",
    ] {
        assert!(text.stdout.contains(words), "{words}: {}", text.stdout);
    }
}

/// A run a line each; the gateway goes away in between.
#[tokio::test]
async fn again_and_again() {
    let gateway = Gateway::start(&Via::Plain, Script::default()).await;
    let url = ws(&gateway.peer);
    let mut command = command(&[&url, "--json", "--every", "10s", "--token-env", VARIABLE]);
    command.env(VARIABLE, TOKEN).stdout(Stdio::piped());
    let mut probe = command.spawn().expect("run wstap");
    let mut lines = BufReader::new(probe.stdout.take().expect("its output")).lines();
    let mut next = async || {
        let line = timeout(STEP, lines.next_line())
            .await
            .expect("a line in time");
        let line = line.expect("text").expect("a line");
        serde_json::from_str::<Value>(&line).expect("JSON")
    };
    assert_eq!(next().await["first_failing"], Value::Null);
    drop(gateway);
    let gone = next().await;
    assert_eq!(gone["first_failing"], "L1.tcp", "{gone}");
    probe.kill().await.expect("end it");
}
