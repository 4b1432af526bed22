//! Real programs that verify our certificate, and real TLS health checks.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;
use wstap::session::SessionRecord;
use wstap::session::record::{Class, Confidence};

use super::endings::development;
use super::{Book, https, said};
use crate::live::{cli, installed};
use crate::support::deadline::poll;
use crate::support::packages::{Program, Running};
use crate::support::records::class;
use crate::support::skip::skip;

/// Longer than a program takes to start on a busy machine.
const LIMIT: Duration = Duration::from_mins(1);

async fn run(mut command: Command) -> String {
    let command = command.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(LIMIT, command.output()).await.expect("in time");
    let output = output.expect("start the program");
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

fn names_the_file(record: &SessionRecord, ca: &Path) {
    let (_, text) = said(record);
    let line = format!("`NODE_EXTRA_CA_CERTS={}`", ca.display());
    assert!(text.contains(&line), "{text}");
}

/// Sends an HTTPS request and opens a WebSocket. Prints the code of its error, or `ok`.
const NODE: &str = "
const [url, kind] = process.argv.slice(1);
if (kind === 'https') {
    require('https').get(url, (answer) => { answer.resume(); console.log('ok'); process.exit(); })
        .on('error', (error) => { console.log(error.code); process.exit(); });
} else {
    const socket = new WebSocket(url.replace('https', 'wss'));
    socket.onopen = () => { console.log('ok'); process.exit(); };
    socket.onerror = () => { console.log('error'); process.exit(); };
}";

#[tokio::test]
async fn node_says_nothing_and_is_told_which_file_to_trust() {
    let Some(install) = installed() else {
        return skip("tls: Node", "Node is not installed: run make fetch");
    };
    for kind in ["https", "websocket"] {
        let (_peer, tap) = development().await;
        let mut book = Book(0);
        let node = |trusting: bool| {
            let mut command = Command::new(&install.node);
            let url = format!("https://localhost:{}/", https(&tap).port());
            command.args(["-e", NODE, &url, kind]);
            command.env_remove("NODE_EXTRA_CA_CERTS");
            if trusting {
                command.env("NODE_EXTRA_CA_CERTS", tap.dev_ca());
            }
            run(command)
        };
        for confidence in [Confidence::Possible, Confidence::Likely] {
            let said = node(false).await;
            assert!(!said.contains("ok"), "{said}");
            let record = book.next(&tap).await;
            let verdict = record.verdict.as_ref().unwrap();
            assert_eq!(
                (&*verdict.rule, verdict.confidence),
                ("tap.certificate.untrusted", confidence),
                "{kind}: {said}"
            );
            names_the_file(&record, &tap.dev_ca());
        }
        // The verdict's advice works. The gateway opens no WebSocket: it answers 200.
        let said = node(true).await;
        let record = book.next(&tap).await;
        assert!(record.request.is_some(), "{kind}: {said}");
        assert_ne!(class(&record), Class::TapCertificate);
    }
}

#[tokio::test]
async fn the_openclaw_cli_says_nothing_and_is_told_which_file_to_trust() {
    let Some(install) = installed() else {
        return skip(
            "tls: the OpenClaw CLI",
            "it is not installed: run make fetch",
        );
    };
    let (_peer, tap) = development().await;
    let url = format!("wss://localhost:{}", https(&tap).port());
    let call = async |ca: Option<&Path>| {
        let token = "token-of-a-test-0123456789abcdef0123456789";
        cli::call(&install, "health", &url, token, ca).await
    };
    // It keeps trying for a while: what it says in the end is not needed.
    let first = tokio::select! {
        record = async { Book(0).next(&tap).await } => record,
        _ = call(None) => Book(0).next(&tap).await,
    };
    let verdict = first.verdict.as_ref().unwrap();
    assert_eq!(verdict.rule, "tap.certificate.untrusted", "{verdict:#?}");
    names_the_file(&first, &tap.dev_ca());
    // The verdict's advice works: now it asks, and the gateway here opens no WebSocket.
    let ca = tap.dev_ca();
    let asked = || {
        let mut records = tap.records().into_iter();
        records.find(|record| record.request.is_some())
    };
    let asked = tokio::select! {
        record = poll(LIMIT, asked) => record.expect("a request"),
        output = call(Some(&ca)) => {
            poll(LIMIT, asked).await.unwrap_or_else(|| panic!("no request: {output:?}"))
        }
    };
    assert_ne!(class(&asked), Class::TapCertificate);
}

#[tokio::test]
async fn openssl_and_curl_blame_the_certificate_however_they_say_it() {
    let clients: [(&str, &[&str]); 2] = [
        (
            "openssl",
            &[
                "s_client",
                "-verify_return_error",
                "-servername",
                "localhost",
                "-connect",
            ],
        ),
        ("curl", &["-sS", "--resolve", "none:1:127.0.0.1"]),
    ];
    for (name, words) in clients {
        let Some(program) = Program::find(name) else {
            skip("tls: programs that verify", &format!("{name} is missing"));
            continue;
        };
        for version in ["1.2", "1.3"] {
            let (_peer, tap) = development().await;
            let port = https(&tap).port();
            let mut command = program.command();
            command.args(words);
            match name {
                "openssl" => command
                    .arg(format!("localhost:{port}"))
                    .arg(if version == "1.2" {
                        "-tls1_2"
                    } else {
                        "-tls1_3"
                    }),
                _ => command
                    .args(["--tls-max", version, "--noproxy", "*"])
                    .arg(format!("https://localhost:{port}/")),
            };
            let output = run(command.into()).await;
            let record = Book(0).next(&tap).await;
            assert_eq!(
                class(&record),
                Class::TapCertificate,
                "{name} {version}: {output}"
            );
            names_the_file(&record, &tap.dev_ca());
        }
    }
}

/// `check ssl verify none`: it does not verify the certificate.
#[tokio::test]
async fn the_check_of_haproxy_is_a_probe_once_its_interval_shows() {
    let Some(program) = Program::find("haproxy") else {
        return skip("tls: the check of HAProxy", "it is missing: run make fetch");
    };
    let (_peer, tap) = development().await;
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("haproxy.cfg");
    let text = format!(
        "defaults
    mode tcp
    timeout connect 5s
    timeout client 1m
    timeout server 1m
frontend in
    bind unix@{}
    default_backend out
backend out
    server up {} ssl verify none check inter 2s
",
        folder.path().join("socket").display(),
        https(&tap)
    );
    fs::write(&config, text).unwrap();
    let mut command = program.command();
    command.arg("-db").arg("-f").arg(&config);
    let haproxy = Running::start(command, folder);
    let found = poll(LIMIT, || {
        let found = tap
            .records()
            .into_iter()
            .find(|it| class(it) == Class::Probe);
        found.map(|record| (tap.records().len(), record))
    })
    .await;
    let (count, record) =
        found.unwrap_or_else(|| panic!("{:#?} {}", tap.records(), haproxy.stderr()));
    assert!(count >= 4, "{count} checks show no interval");
    assert_eq!(record.verdict.unwrap().rule, "probe.tls");
}
