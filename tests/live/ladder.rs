//! `wstap probe` beside the six commands of OpenClaw's own troubleshooting page, against the same faults: how long
//! each takes, and whether the cause is named. A few minutes: `make probe-ladder`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use super::gateway::{Gateway, TOKEN, command, configured};
use super::{Install, turn};
use crate::peers::openclaw::{Gateway as StandIn, Script, TOKEN as STAND_IN};
use crate::peers::{Peer, Via, blurts, echo, never_answers, ok_instead_of_101, tls};
use crate::probe::{broken, command as probe, run};
use crate::support::certs::Validity;

/// `docs/help/troubleshooting.md` of 2026.9.6, "First 60 seconds", without those that write a bundle or never end.
const COMMANDS: [&[&str]; 6] = [
    &["status"],
    &["status", "--all"],
    &["gateway", "probe"],
    &["gateway", "status"],
    &["doctor", "--non-interactive"],
    &["channels", "status", "--probe"],
];

/// For one of them.
const LIMIT: Duration = Duration::from_mins(2);

const WRONG: &str = "wrong-0123456789abcdef0123456789abcdef";

/// A fault, and what names it.
struct Stack {
    name: &'static str,
    url: String,
    secret: &'static str,
    /// What the probe has to say: rung and rule; `none` for a stack in order.
    expected: (&'static str, &'static str),
    /// Any of these words in the output of one of the six commands names the cause, in lower case.
    words: &'static [&'static str],
}

/// What a stack needs while it is tested.
type Held = Box<dyn std::any::Any>;

fn url(scheme: &str, peer: &Peer) -> String {
    format!("{scheme}://localhost:{}", peer.addr().port())
}

/// The real gateway, and none.
fn without_peers(gateway: &Gateway) -> Vec<Stack> {
    let real = gateway.url().replace("http", "ws");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = nobody.local_addr().expect("its address").port();
    drop(nobody);
    vec![
        Stack {
            name: "in order",
            url: real.clone(),
            secret: TOKEN,
            expected: ("none", ""),
            words: &["reachable: yes", "connectivity probe: ok"],
        },
        Stack {
            name: "wrong token",
            url: real,
            secret: WRONG,
            expected: ("L2.auth", "gateway.auth.token_mismatch"),
            words: &["token mismatch", "token_mismatch"],
        },
        Stack {
            name: "nothing listens",
            url: format!("ws://localhost:{port}"),
            secret: TOKEN,
            expected: ("L1.tcp", "gateway.unreachable.refused"),
            words: &["econnrefused", "connection refused"],
        },
        Stack {
            name: "unknown name",
            url: "ws://no-such-host.invalid:18789".to_owned(),
            secret: TOKEN,
            expected: ("L1.name", "gateway.unreachable.dns"),
            words: &["enotfound", "eai_again", "does not resolve"],
        },
    ]
}

/// Only the CA of the expired certificate is written into this folder.
async fn with_tls(folder: &Path) -> Vec<(Stack, Held)> {
    let mut all: Vec<(Stack, Held)> = Vec::new();
    for (name, scheme, validity, rule, words) in [
        (
            "unknown CA",
            "wss",
            Validity::Now,
            "gateway.unreachable.certificate_untrusted",
            &[
                "unable to verify",
                "self-signed",
                "self signed",
                "unable to get",
            ][..],
        ),
        (
            "expired certificate",
            "wss",
            Validity::Expired,
            "gateway.unreachable.certificate_expired",
            &["expired"],
        ),
        (
            "ws to a TLS port",
            "ws",
            Validity::Now,
            "gateway.unreachable.wants_tls",
            &["tls", "https", "wss"],
        ),
    ] {
        let (ca, via) = tls::via(&["localhost"], validity);
        if validity == Validity::Expired {
            ca.write(folder);
        }
        let peer = StandIn::start(&via, Script::default()).await;
        let stack = Stack {
            name,
            url: url(scheme, &peer.peer),
            secret: STAND_IN,
            expected: ("L1.tls", rule),
            words,
        };
        all.push((stack, Box::new(peer)));
    }
    all
}

async fn with_other_answers() -> Vec<(Stack, Held)> {
    let bad = b"HTTP/1.1 502 Bad Gateway\r\nServer: nginx\r\nConnection: close\r\n\r\n";
    let page = "<!doctype html> <html data-openclaw-control-ui-build=\"1\"><body></body>";
    let page_of = [("Content-Type", "text/html")];
    let mut all: Vec<(Stack, Held)> = Vec::new();
    for (name, peer, expected, words) in [
        (
            "502 of a proxy",
            blurts::start(&Via::Plain, bad).await,
            ("L1.upgrade", "hop.fault.bad_gateway"),
            &["502"][..],
        ),
        (
            "proxy drops Upgrade",
            ok_instead_of_101::start(&Via::Plain, &page_of, page).await,
            ("L1.upgrade", "hop.fault.upgrade_stripped_behind"),
            &["upgrade", "response: 200"],
        ),
        (
            "no answer to the upgrade",
            never_answers::start(&Via::Plain).await,
            ("L1.upgrade", "gateway.silent.upgrade"),
            &["handshake", "upgrade"],
        ),
        (
            "no challenge",
            echo::start(&Via::Plain).await,
            ("L1.challenge", "gateway.silent.no_challenge"),
            &["challenge"],
        ),
    ] {
        let stack = Stack {
            name,
            url: url("ws", &peer),
            secret: STAND_IN,
            expected,
            words,
        };
        all.push((stack, Box::new(peer)));
    }
    all
}

/// Seconds until one of the six commands names the cause, which that is, and seconds for all.
async fn six(install: &Install, stack: &Stack, trusted: &Path) -> (Option<(f64, String)>, f64) {
    let folder = TempDir::new().expect("a folder");
    let config = folder.path().join("openclaw.json");
    let text = json!({ "gateway": { "mode": "remote", "remote": { "url": stack.url, "token": stack.secret } } });
    fs::write(&config, text.to_string()).expect("write the configuration");
    let began = Instant::now();
    let mut named = None;
    for arguments in COMMANDS {
        let mut command = command(install, folder.path());
        command
            .envs(configured(&config))
            .args(arguments)
            .stdin(Stdio::null());
        command.env("NODE_EXTRA_CA_CERTS", trusted);
        let mut command = tokio::process::Command::from(command);
        let output = timeout(LIMIT, command.kill_on_drop(true).output()).await;
        let Ok(output) = output else {
            continue;
        };
        let output = output.expect("run the command line tool");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).to_lowercase();
        if named.is_none() && stack.words.iter().any(|word| text.contains(word)) {
            named = Some((began.elapsed().as_secs_f64(), arguments.join(" ")));
        }
    }
    (named, began.elapsed().as_secs_f64())
}

#[tokio::test]
#[ignore = "run by make probe-ladder"]
async fn beside_the_six_commands() {
    let Some((_turn, install)) = turn("live: the ladder beside the six commands").await else {
        return;
    };
    let gateway = Gateway::start(&install).await;
    // Only the expired certificate's CA is trusted, so that expiry is what is wrong with it.
    let folder = TempDir::new().expect("a folder");
    let with_peers = [with_tls(folder.path()).await, with_other_answers().await];
    let (with_peers, _held): (Vec<_>, Vec<_>) = with_peers.into_iter().flatten().unzip();
    let stacks = without_peers(&gateway).into_iter().chain(with_peers);
    let trusted = folder.path().join("test-ca.pem");
    let mut table = String::from(
        "| fault | `wstap probe` | answer | six commands | cause named by |\n|---|---:|---|---:|---|\n",
    );
    let (mut times, mut wrong) = (Vec::new(), Vec::new());
    for stack in stacks {
        let mut command = probe(&[&stack.url, "--json", "--token-env", "LADDER_SECRET"]);
        command
            .env("LADDER_SECRET", stack.secret)
            .env("SSL_CERT_FILE", &trusted);
        let began = Instant::now();
        let report: Value = run(command).await.report();
        let took = began.elapsed().as_secs_f64();
        let (rung, rule) = broken(&report);
        // In a container loopback is the container itself.
        let is_right = (rung.as_str(), rule.as_str()) == stack.expected
            || stack.name == "nothing listens"
                && rule == "gateway.unreachable.loopback_in_container";
        if !is_right {
            wrong.push(format!("{}: {rung} {rule}", stack.name));
        }
        times.push(took);
        let (named, all) = six(&install, &stack, &trusted).await;
        let named = named.map_or_else(
            || "none".to_owned(),
            |(after, by)| format!("`{by}` after {after:.0} s"),
        );
        let answer = if rule.is_empty() {
            "no rung failed".to_owned()
        } else {
            format!("`{rung}` `{rule}`")
        };
        let _ = writeln!(
            table,
            "| {} | {took:.1} s | {answer} | {all:.0} s | {named} |",
            stack.name
        );
    }
    times.sort_by(f64::total_cmp);
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    let _ = writeln!(table, "\nmedian of `wstap probe`: {median:.1} s");
    eprintln!("{table}");
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    fs::write(target.join("probe-ladder.md"), &table).expect("write the table");
    assert_eq!(wrong, Vec::<String>::new());
    assert!(median <= 5.0, "{median}");
}
