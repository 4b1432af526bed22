//! The program as somebody at a shell meets it: exit codes, what it prints, how it starts and how
//! it refuses to.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use crate::peers::{Via, echo, http_plain};
use crate::support::client::connect;
use crate::support::deadline::STEP;
use crate::support::tap::{Face, Setup, signal};

/// The program with nothing of the caller's settings.
fn wstap(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wstap"));
    command.args(args).stdin(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WSTAP_")) {
        command.env_remove(name);
    }
    command
}

fn run(args: &[&str]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = wstap(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A program that runs until it is told to end; killed by its own id when the test fails.
struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Running {
    fn start(mut command: Command, from_stdout: bool) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::channel();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (told, other): (Box<dyn Read + Send>, Box<dyn Read + Send>) = if from_stdout {
            (Box::new(out), Box::new(err))
        } else {
            (Box::new(err), Box::new(out))
        };
        std::thread::spawn(move || {
            for line in BufReader::new(told).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        std::thread::spawn(move || std::io::copy(&mut BufReader::new(other), &mut std::io::sink()));
        Self { child, lines }
    }

    /// The lines up to and with the first that contains `text`.
    fn until(&self, text: &str) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            let line = self.lines.recv_timeout(2 * STEP);
            let line = line.unwrap_or_else(|_| panic!("no line with {text:?} after {seen:?}"));
            let found = line.contains(text);
            seen.push(line);
            if found {
                return seen;
            }
        }
    }

    fn end(mut self, name: &str) -> i32 {
        signal(name, &self.child.id().to_string());
        for _ in 0..2000 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it did not end after {name}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_demo_shows_every_scene_with_the_expected_verdict() {
    let state = tempfile::tempdir().unwrap();
    let (code, out, err) = run(&[
        "demo",
        "--once",
        "--state-dir",
        state.path().to_str().unwrap(),
    ]);
    assert_eq!(code, 0, "{out}\n{err}");
    assert!(out.contains("15 of 15 verdicts as expected"), "{out}");
    assert!(!out.contains("unknown"), "{out}");
    assert!(!out.contains('\u{1b}'), "colours only on a terminal");
    // Two lines a session: what happened, and what it was about or what to do.
    let sessions = out
        .lines()
        .filter(|line| line.get(8..10) == Some("Z "))
        .count();
    assert_eq!(sessions, 15, "{out}");
}

#[test]
fn the_demo_prints_records_as_json_lines() {
    let state = tempfile::tempdir().unwrap();
    let (code, out, _) = run(&[
        "demo",
        "--once",
        "--json",
        "--state-dir",
        state.path().to_str().unwrap(),
    ]);
    assert_eq!(code, 0);
    let records: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(records.len(), 15);
    assert!(
        records
            .iter()
            .all(|record| record["schema"] == "wstap.session/1")
    );
}

#[test]
fn the_demo_stays_up_until_it_is_interrupted() {
    let state = tempfile::tempdir().unwrap();
    let command = wstap(&["demo", "--state-dir", state.path().to_str().unwrap()]);
    let demo = Running::start(command, true);
    demo.until("Ctrl-C ends it");
    assert_eq!(demo.end("INT"), 0);
}

#[test]
fn flags_alone_are_enough_to_serve() {
    let state = tempfile::tempdir().unwrap();
    let command = wstap(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--gateway",
        "http://127.0.0.1:18789",
        "--state-dir",
        state.path().to_str().unwrap(),
    ]);
    let tap = Running::start(command, false);
    let told = tap.until("forwarding to http://127.0.0.1:18789").join("\n");
    assert!(told.contains("listening on https://127.0.0.1:"), "{told}");
    assert!(told.contains("certificate sha256 "), "{told}");
    assert!(told.contains("valid until 20"), "{told}");
    assert_eq!(tap.end("TERM"), 0);
}

#[test]
fn a_certificate_of_ones_own_is_served_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["claw.example".to_owned()];
    let now = jiff::Timestamp::now();
    let files = wstap::transport::dev_ca::ensure(folder.path(), &names, now).unwrap();
    let text = format!(
        "listeners:\n  - listen: 127.0.0.1:0\n    tls: {{ certificates: [{{ cert: {}, key: {} }}] }}\n\
         gateway: {{ url: http://127.0.0.1:18789 }}\n",
        files.cert.display(),
        files.key.display(),
    );
    let config = folder.path().join("tap.yaml");
    std::fs::write(&config, text).unwrap();
    let tap = Running::start(
        wstap(&["serve", "--config", config.to_str().unwrap()]),
        false,
    );
    let told = tap.until("forwarding to").join("\n");
    let identity = wstap::config::identity::Identity::load(&files.cert, &files.key).unwrap();
    assert!(told.contains(&identity.sha256_hex()), "{told}");
    assert!(
        told.contains("claw.example") && !told.contains("development CA"),
        "{told}"
    );
    assert_eq!(tap.end("TERM"), 0);
}

#[test]
fn three_environment_variables_alone_are_enough_to_serve() {
    let state = tempfile::tempdir().unwrap();
    let mut command = wstap(&["serve"]);
    command
        .env("WSTAP_LISTEN", "127.0.0.1:0,http://127.0.0.1:0")
        .env("WSTAP_GATEWAY", "ws://127.0.0.1:18789")
        .env(
            "WSTAP_ALLOWED_ORIGINS",
            "https://a.example,https://b.example",
        )
        .env("XDG_STATE_HOME", state.path());
    let tap = Running::start(command, false);
    let told = tap.until("origins enforce").join("\n");
    assert!(told.contains("listening on https://127.0.0.1:"), "{told}");
    assert!(told.contains("listening on http://127.0.0.1:"), "{told}");
    assert!(state.path().join("wstap/dev-ca.pem").exists());
    assert_eq!(tap.end("INT"), 0);
}

#[test]
fn without_a_gateway_it_names_the_demo() {
    let (code, _, err) = run(&["serve"]);
    assert_eq!(code, 2);
    assert!(
        err.contains("no gateway configured") && err.contains("wstap demo"),
        "{err}"
    );
}

#[test]
fn a_port_in_use_is_a_clear_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let plain = format!("http://{addr}");
    let (code, out, err) = run(&[
        "serve",
        "--listen",
        &plain,
        "--gateway",
        "http://127.0.0.1:18789",
    ]);
    assert_eq!(code, 2);
    assert!(
        err.contains(&format!("failed to listen on {addr}")),
        "{err}"
    );
    assert!(
        err.starts_with("--listen: ") || err.contains("wstap: --listen: "),
        "{err}"
    );
    assert!(out.is_empty());

    // From a file: with its place, every listener that fails, and nothing made for the others.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tap.yaml");
    let text = format!(
        "listeners:\n  - listen: {addr}\n  - listen: 127.0.0.1:0\n    tls: {{ self_signed: {{ names: [a] }} }}\n  \
         - listen: no-such-name.invalid:1\ngateway: {{ url: http://127.0.0.1:1 }}\nstate_dir: {}\n",
        folder.path().join("state").display(),
    );
    std::fs::write(&file, text).unwrap();
    let (code, _, err) = run(&["serve", "--config", file.to_str().unwrap()]);
    assert_eq!(code, 2);
    assert!(
        err.contains("tap.yaml:2:13: listeners[0].listen: "),
        "{err}"
    );
    assert!(
        err.contains("tap.yaml:5:13: listeners[2].listen: "),
        "{err}"
    );
    assert!(!folder.path().join("state").exists());
}

#[test]
fn every_mistake_of_a_configuration_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.yaml");
    let text = "listeners: [{ listen: nonsense }]\ngatway: {}\ngateway: { url: \"ftp://x\" }\n\
                timeouts: { idle: 10, connect: soon }\n";
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    for command in ["serve", "check"] {
        let (code, out, err) = run(&[command, "--config", file]);
        let told = format!("{out}{err}");
        assert_eq!(code, 2, "{told}");
        for place in [
            "bad.yaml:1:23: listeners[0].listen: ",
            "bad.yaml:2:1: gatway: ",
            "bad.yaml:3:17: gateway.url: ",
            "bad.yaml:4:19: timeouts.idle: ",
            "bad.yaml:4:32: timeouts.connect: ",
        ] {
            assert!(told.contains(place), "{place} in {told}");
        }
    }
    let (code, out, _) = run(&["check", "--config", file, "--json"]);
    assert_eq!(code, 2);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["ok"], false);
    assert_eq!(report["errors"].as_array().unwrap().len(), 5);
}

#[test]
fn the_shipped_configurations_pass_the_check() {
    for name in ["config/minimal.yaml", "config/full.yaml"] {
        let mut command = wstap(&["check", "--config", name]);
        let output = command
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
}

#[test]
fn a_fingerprint_is_that_of_sha256sum() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("openclaw.json");
    let token = "0123456789abcdef0123456789abcdef";
    std::fs::write(
        &file,
        format!("{{gateway: {{auth: {{token: '{token}'}}}}}}"),
    )
    .unwrap();
    let (code, out, err) = run(&[
        "fingerprint",
        "--file",
        file.to_str().unwrap(),
        "--key",
        "gateway.auth.token",
    ]);
    assert_eq!(code, 0, "{err}");
    // printf %s 0123456789abcdef0123456789abcdef | sha256sum | cut -c1-8
    assert!(out.starts_with("sha256:3eb1bd43"), "{out}");
    assert!(!out.contains(token) && !err.contains(token));
}

#[tokio::test]
async fn output_that_nobody_reads_costs_records_and_never_traffic() {
    let peer = http_plain::start(&Via::Plain).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tap.yaml");
    let text = format!(
        "listeners: [{{ listen: 127.0.0.1:0 }}]\ngateway: {{ url: \"{}\" }}\nrecords: {{ http: all, repeats: each }}\noutput: json\n",
        peer.url(),
    );
    std::fs::write(&file, text).unwrap();
    let mut command = wstap(&["serve", "--config", file.to_str().unwrap()]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Both pipes stay open, and after the first lines neither is read: what `docker logs` does to
    // a container when it hangs.
    let _unread = child.stdout.take().unwrap();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("listening on http://") {
        line.clear();
        assert!(err.read_line(&mut line).unwrap() > 0);
    }
    let addr = line
        .trim()
        .trim_start_matches("listening on http://")
        .parse()
        .unwrap();
    let child = Running {
        child,
        lines: mpsc::channel().1,
    };
    // More than a pipe and the queue of stdout hold together.
    let mut conn = connect(addr).await;
    for _ in 0..5000 {
        let (head, _) = conn.get("/healthz").await.expect("traffic goes on");
        assert_eq!(head.status(), 200);
    }
    assert_eq!(child.end("TERM"), 0);
}

#[tokio::test]
async fn the_output_of_none_prints_no_session_and_the_file_has_it() {
    for (output, prints) in [("none", false), ("line", true), ("json", true)] {
        let peer = echo::start(&Via::Plain).await;
        let mut tap = Setup::before(&peer).set("output", output).start().await;
        let mut conn = tap.connect(Face::Plain).await;
        conn.open("/").await;
        drop(conn);
        tap.websocket().await;
        assert_eq!(tap.terminate().await, Some(0));
        let printed = tap.stdout();
        assert_eq!(!printed.is_empty(), prints, "{output}: {printed}");
    }
}
