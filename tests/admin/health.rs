//! `/healthz`, `/readyz` and `wstap health [--ready]`: alive, able to work, and why not.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use serde_json::{Value, json};

use super::{get, wstap};
use crate::peers::{Via, echo, tunnel};
use crate::support::deadline::{STEP, poll};
use crate::support::pty::program;
use crate::support::tap::{Face, Setup, Tap};

/// The checks of `/readyz` by their names, as `(ok, detail)`.
fn check(readiness: &Value, name: &str) -> (bool, String) {
    let all = readiness["checks"].as_array().unwrap();
    let found = all.iter().find(|check| check["name"] == name);
    let found = found.unwrap_or_else(|| panic!("no {name} in {readiness}"));
    let detail = found["detail"].as_str().unwrap().to_owned();
    (found["ok"].as_bool().unwrap(), detail)
}

async fn health(tap: &Tap, more: &[&str]) -> (i32, String, String) {
    let addr = tap.admin().to_string();
    wstap(&[&["health", "--admin", &addr], more].concat()).await
}

#[tokio::test]
async fn a_tap_that_can_work_says_so() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).admin().start().await;
    let alive = get(&tap, "/healthz").await;
    assert_eq!(alive.status(), 200);
    assert_eq!(alive.json()["status"], "ok");
    assert_eq!(alive.json()["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(alive.json()["draining"], false);
    let ready = get(&tap, "/readyz").await;
    assert_eq!(ready.status(), 200, "{}", ready.body);
    let ready = ready.json();
    assert_eq!(ready["ready"], true);
    let (ok, detail) = check(&ready, "listeners");
    assert!(ok && detail.contains(&tap.addr(Face::Tls).to_string()));
    let (ok, detail) = check(&ready, "certificates");
    assert!(ok && detail.starts_with("valid until 20"), "{detail}");
    let (ok, detail) = check(&ready, "gateway");
    assert!(ok && detail.starts_with("reached "), "{detail}");
    let (code, out, err) = health(&tap, &["--ready"]).await;
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(
        out.starts_with("ready: ") && out.lines().count() == 1,
        "{out}"
    );
    let (code, out, _) = health(&tap, &["--ready", "--json"]).await;
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &told["ready"]), (0, &json!(true)));
    let (code, out, err) = health(&tap, &[]).await;
    assert_eq!((code, err.as_str()), (0, ""));
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(out, format!("alive: wstap {version}, serving\n"));
    let (code, out, _) = health(&tap, &["--json"]).await;
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &told["status"]), (0, &json!("ok")));
}

/// The file of a running tap is broken: the tap is alive, and a restart would fail.
#[tokio::test]
async fn a_tap_whose_file_has_a_mistake_is_alive() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).admin().start().await;
    let broken = tap.folder().join("broken.yaml");
    fs::write(&broken, "listenrs: []\n").unwrap();
    let admin = tap.admin().to_string();
    let ask = |more: &[&str]| {
        let mut command = Command::new(program());
        command
            .arg("health")
            .arg("--config")
            .arg(&broken)
            .args(more);
        let output = command.env("WSTAP_ADMIN", &admin).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let (code, out, err) = ask(&[]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(
        out.starts_with("alive: ") && err.contains("listenrs"),
        "{out}{err}"
    );
    let (code, _, err) = ask(&["--ready"]);
    assert_eq!(code, Some(2), "{err}");
}

#[tokio::test]
async fn a_gateway_that_is_away_is_named_and_found_again() {
    // A port that is free, for a gateway that comes later.
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = port.local_addr().unwrap();
    drop(port);
    let tap = Setup::before_url(&format!("http://{addr}"))
        .admin()
        .start()
        .await;
    let away = get(&tap, "/readyz").await;
    assert_eq!(away.status(), 503);
    let (ok, detail) = check(&away.json(), "gateway");
    assert!(!ok && detail.contains("refused"), "{detail}");
    let (code, out, _) = health(&tap, &["--ready"]).await;
    assert_eq!(code, 1);
    assert!(
        out.starts_with("not ready: gateway could not be reached"),
        "{out}"
    );
    assert_eq!(out.lines().count(), 1);
    // The process is fine all the same.
    assert_eq!(get(&tap, "/healthz").await.status(), 200);
    let (code, out, _) = health(&tap, &[]).await;
    assert_eq!(code, 0, "{out}");
    let _peer = echo::start(&Via::At(addr)).await;
    let mut client = tap.connect(Face::Plain).await;
    client.open("/").await;
    // A session has shown that it is there: no need to wait for the next dial of the check's own.
    assert_eq!(get(&tap, "/readyz").await.status(), 200);
}

#[tokio::test]
async fn asking_often_does_not_dial_often() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).admin().start().await;
    for _ in 0..20 {
        assert_eq!(get(&tap, "/readyz").await.status(), 200);
    }
    peer.log.accepted(0).await;
    assert_eq!(peer.log.connections(), 1);
}

#[tokio::test]
async fn a_draining_tap_is_alive_and_not_ready() {
    let (peer, _control) = tunnel::start(&Via::Plain).await;
    let mut tap = Setup::before(&peer)
        .admin()
        .set("timeouts.drain", "4s")
        .start()
        .await;
    // It does not answer our Close, so that the drain takes its time.
    let mut client = tap.connect(Face::Plain).await;
    client.open("/").await;
    assert_eq!(get(&tap, "/readyz").await.status(), 200);
    tap.signal_term();
    let _close = client.frame().await.unwrap();
    let draining = get(&tap, "/readyz").await;
    assert_eq!(draining.status(), 503);
    let (ok, detail) = check(&draining.json(), "running");
    assert_eq!((ok, detail.as_str()), (false, "shutting down"));
    assert_eq!(get(&tap, "/healthz").await.json()["draining"], true);
    let (code, out, _) = health(&tap, &[]).await;
    assert!(code == 0 && out.ends_with("shutting down\n"), "{out}");
    assert_eq!(tap.exited(STEP).await.code(), Some(0));
}

#[tokio::test]
async fn health_reads_the_taps_own_configuration() {
    let peer = echo::start(&Via::Plain).await;
    let setup = Setup::before(&peer).admin();
    let tap = setup.start().await;
    // The same file, with the port that the system chose.
    let file = tap.folder().join("known.yaml");
    let config = format!(
        "{{ gateway: {{ url: '{}' }}, admin: {{ listen: '{}' }} }}",
        peer.url(),
        tap.admin()
    );
    fs::write(&file, config).unwrap();
    let name = file.to_string_lossy().into_owned();
    let (code, out, err) = wstap(&["health", "--config", &name]).await;
    assert_eq!(code, 0, "{out}{err}");
    // Without the section it says which line is missing.
    fs::write(&file, format!("gateway: {{ url: '{}' }}", peer.url())).unwrap();
    let (code, _, err) = wstap(&["health", "--config", &name]).await;
    assert_eq!(code, 2);
    assert!(err.contains("admin: { listen: 127.0.0.1:8480 }"), "{err}");
    // Nobody there, and somebody else there.
    let addr = tap.admin().to_string();
    drop(tap);
    let gone = poll(STEP, || {
        std::net::TcpStream::connect(&addr).is_err().then_some(())
    })
    .await;
    assert!(gone.is_some());
    for (more, start) in [
        (&[][..], "not alive: failed to reach"),
        (&["--json"], "{\"alive\":false,\"error\":\"failed to reach"),
        (&["--ready"], "not ready: failed to reach"),
    ] {
        let (code, out, _) = wstap(&[&["health", "--admin", &addr], more].concat()).await;
        assert_eq!(code, 1);
        assert!(out.starts_with(start), "{out}");
    }
}
