//! `wstap probe` against gateways that behave and those that do not: the rung that breaks first, and why.

mod manners;
mod namespaces;
mod paths;
mod proxy;
mod tls;
mod versions;

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::peers::openclaw::{Gateway, Refusal, Script, TOKEN};
use crate::peers::{
    Peer, Via, attribution, blurts, draining, echo, http_plain, never_answers, no_status_line,
    ok_instead_of_101, reset_before_status,
};

/// The beginning of the Control UI's page, which the gateway sends when a proxy has dropped
/// Upgrade.
const UI: &str = "<!doctype html> <html data-openclaw-control-ui-build=\"1\"><body></body>";

/// The variable that has the secret.
const VARIABLE: &str = "PROBE_SECRET";

/// A run of the program.
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// The object of `--json`.
    pub fn report(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| {
            panic!("{error}: {}{}", self.stdout, self.stderr);
        })
    }
}

/// `wstap probe` with these arguments, in an environment with nothing of the tests' own.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wstap"));
    command.arg("probe").args(arguments).kill_on_drop(true);
    for name in [
        "OPENCLAW_GATEWAY_URL",
        "OPENCLAW_CONFIG_PATH",
        "OPENCLAW_STATE_DIR",
        "GITHUB_ACTIONS",
        "OPENCLAW_PROXY_URL",
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
        "NO_PROXY",
        "no_proxy",
    ] {
        command.env_remove(name);
    }
    command.env("HOME", "/nonexistent").stdin(Stdio::null());
    command
}

/// Its output.
pub async fn output_of(mut command: Command) -> Run {
    let output = command.output().await.expect("run wstap");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Run {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// The same, without the stand-in's secret.
pub async fn run(command: Command) -> Run {
    let run = output_of(command).await;
    for stream in [&run.stdout, &run.stderr] {
        assert!(!stream.contains(TOKEN), "a secret in the output");
    }
    run
}

/// The report on a gateway, with its right secret.
async fn probed(url: &str) -> Value {
    let mut command = command(&[url, "--json", "--token-env", VARIABLE]);
    command.env(VARIABLE, TOKEN);
    run(command).await.report()
}

/// A rung of the report.
pub fn rung<'a>(report: &'a Value, id: &str) -> &'a Value {
    let rungs = report["rungs"].as_array().expect("rungs");
    let found = rungs.iter().find(|rung| rung["id"] == id);
    found.unwrap_or_else(|| panic!("no rung {id}: {report}"))
}

/// The first rung that failed, and the rule that explains it.
pub fn broken(report: &Value) -> (String, String) {
    let Some(id) = report["first_failing"].as_str() else {
        return ("none".to_owned(), String::new());
    };
    let rule = rung(report, id).pointer("/verdict/rule");
    let rule = rule.and_then(Value::as_str).unwrap_or_default();
    (id.to_owned(), rule.to_owned())
}

/// Every rung is there once, in order; those beyond a broken one were not tried.
pub fn is_whole(report: &Value) {
    let rungs = report["rungs"].as_array().expect("rungs");
    let ids: Vec<&str> = rungs
        .iter()
        .filter_map(|rung| rung["id"].as_str())
        .collect();
    assert_eq!(
        ids,
        [
            "where",
            "L1.name",
            "L1.tcp",
            "L1.proxy",
            "L1.tls",
            "L1.health",
            "L1.upgrade",
            "L1.size",
            "L1.challenge",
            "L2.auth",
            "L2.scopes",
            "L3.channels"
        ]
    );
    let text = report.to_string();
    for word in ["gateway.url", "timeouts.", "gateway.tls.ca", "the tap"] {
        assert!(!text.contains(word), "{word}: {text}");
    }
}

/// What is expected of a stack.
async fn breaks(url: &str, id: &str, rule: &str) {
    let report = probed(url).await;
    is_whole(&report);
    assert_eq!(
        broken(&report),
        (id.to_owned(), rule.to_owned()),
        "{url}: {report}"
    );
}

fn ws(peer: &Peer) -> String {
    format!("ws://{}", peer.addr())
}

#[tokio::test]
async fn a_gateway_in_order_breaks_nowhere() {
    let gateway = Gateway::start(&Via::Plain, Script::default()).await;
    let report = probed(&ws(&gateway.peer)).await;
    is_whole(&report);
    assert_eq!(
        broken(&report),
        ("none".to_owned(), String::new()),
        "{report}"
    );
    assert_eq!(rung(&report, "L2.auth")["status"], "pass");
    assert_eq!(
        rung(&report, "L2.scopes")["facts"]["granted"],
        json!(["operator.read"])
    );
    assert_eq!(rung(&report, "L3.channels")["status"], "pass");
    assert_eq!(
        rung(&report, "L1.tcp")["facts"]["addresses"][0]["connected"],
        100
    );
    assert_eq!(report["schema"], "wstap.probe/1");
}

#[tokio::test]
async fn what_is_not_reached() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = nobody.local_addr().unwrap();
    drop(nobody);
    let refused = probed(&format!("ws://{addr}")).await;
    assert_eq!(refused["first_failing"], "L1.tcp");
    let (_, rule) = broken(&refused);
    // By the machine: in a container 127.0.0.1 is the container.
    assert!(
        [
            "gateway.unreachable.refused",
            "gateway.unreachable.loopback_in_container"
        ]
        .contains(&rule.as_str()),
        "{refused}"
    );
    breaks(
        "ws://no-such-host.invalid:18789",
        "L1.name",
        "gateway.unreachable.dns",
    )
    .await;
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("gateway.sock");
    let url = format!("unix:{}", path.display());
    breaks(&url, "L1.tcp", "gateway.unreachable.socket_missing").await;
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    breaks(&url, "L1.tcp", "gateway.unreachable.refused").await;
}

/// It is there, and this user may not open it.
#[tokio::test]
async fn a_socket_that_is_denied() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("gateway.sock");
    let _gateway = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let none = std::fs::Permissions::from_mode(0o000);
    std::fs::set_permissions(&path, none).unwrap();
    let url = format!("unix:{}", path.display());
    let as_root = std::fs::metadata(&path).unwrap().uid() == 0;
    let report = if as_root {
        // Permissions stop root only without these.
        let mut command = Command::new("setpriv");
        command.args([
            "--bounding-set=-dac_override,-dac_read_search",
            env!("CARGO_BIN_EXE_wstap"),
        ]);
        command.args(["probe", &url, "--json"]);
        run(command).await.report()
    } else {
        run(command(&[&url, "--json"])).await.report()
    };
    is_whole(&report);
    let expected = (
        "L1.tcp".to_owned(),
        "gateway.unreachable.socket_denied".to_owned(),
    );
    assert_eq!(broken(&report), expected, "{report}");
    let because = rung(&report, "L1.tcp")["because"].as_str().unwrap();
    assert!(because.contains("mode 0000, owner"), "{because}");
}

#[tokio::test]
async fn a_unix_socket_is_a_gateway_too() {
    let gateway = Gateway::start(&Via::Unix, Script::default()).await;
    let report = probed(&gateway.peer.url()).await;
    is_whole(&report);
    assert_eq!(report["first_failing"], Value::Null, "{report}");
    assert!(
        rung(&report, "L1.tcp")["because"]
            .as_str()
            .unwrap()
            .contains("is a socket, mode")
    );
}

#[tokio::test]
async fn upgrades_that_somebody_refuses() {
    let page = |status: &str, more: &str| {
        format!("HTTP/1.1 {status}\r\nConnection: close\r\n{more}\r\n").into_bytes()
    };
    for (answer, rule) in [
        (
            page("502 Bad Gateway", "Server: nginx\r\n"),
            "hop.fault.bad_gateway",
        ),
        (
            page(
                "308 Permanent Redirect",
                "Location: https://gw.example/\r\n",
            ),
            "hop.fault.redirect",
        ),
        (
            page(
                "401 Unauthorized",
                "WWW-Authenticate: Basic realm=\"x\"\r\n",
            ),
            "hop.fault.login",
        ),
    ] {
        let peer = blurts::start(&Via::Plain, &answer).await;
        breaks(&ws(&peer), "L1.upgrade", rule).await;
    }
    let stripped =
        ok_instead_of_101::start(&Via::Plain, &[("Content-Type", "text/html")], UI).await;
    breaks(
        &ws(&stripped),
        "L1.upgrade",
        "hop.fault.upgrade_stripped_behind",
    )
    .await;
    let other = http_plain::start(&Via::Plain).await;
    breaks(&ws(&other), "L1.upgrade", "hop.fault.foreign_answer").await;
    let peer = attribution::start(&Via::Plain).await;
    breaks(
        &ws(&peer),
        "L1.upgrade",
        "gateway.refused.attribution_behind",
    )
    .await;
    let peer = draining::start(&Via::Plain).await;
    breaks(
        &ws(&peer),
        "L1.upgrade",
        "gateway.lifecycle.admission_closed",
    )
    .await;
    let peer = no_status_line::start(&Via::Plain).await;
    breaks(&ws(&peer), "L1.upgrade", "gateway.silent.closed").await;
    let peer = reset_before_status::start(&Via::Plain).await;
    breaks(&ws(&peer), "L1.upgrade", "gateway.silent.reset").await;
}

#[tokio::test]
async fn gateways_that_say_nothing() {
    let silent = never_answers::start(&Via::Plain).await;
    breaks(&ws(&silent), "L1.upgrade", "gateway.silent.upgrade").await;
    let other = echo::start(&Via::Plain).await;
    breaks(&ws(&other), "L1.challenge", "gateway.silent.no_challenge").await;
}

#[tokio::test]
async fn secrets_that_are_wrong_or_missing() {
    let gateway = Gateway::start(&Via::Plain, Script::default()).await;
    let url = ws(&gateway.peer);
    let mut wrong = command(&[&url, "--json", "--token-env", VARIABLE]);
    wrong.env(VARIABLE, "wrong-0123456789abcdef0123456789abcdef");
    let report = run(wrong).await;
    assert_eq!(report.code, Some(1));
    assert!(
        !report.stdout.contains("wrong-01"),
        "a secret in the output"
    );
    let report = report.report();
    is_whole(&report);
    let at_auth = |rule: &str| ("L2.auth".to_owned(), rule.to_owned());
    assert_eq!(broken(&report), at_auth("gateway.auth.token_mismatch"));
    let missing = run(command(&[&url, "--json"])).await.report();
    assert_eq!(broken(&missing), at_auth("gateway.auth.token_missing"));
    // By a layer's own code.
    let by_layer = run(command(&[&url, "--json", "--exit-by-layer"])).await;
    assert_eq!(by_layer.code, Some(11));
    assert_eq!(
        gateway
            .peer
            .log
            .heads()
            .iter()
            .filter(|head| head.value("upgrade").is_some())
            .count(),
        6,
        "a small one and a large one each"
    );
}

#[tokio::test]
async fn refusals_of_the_gateway() {
    let refuses = async |code: u16, message: &str, details: Value| {
        let error = json!({ "code": "INVALID_REQUEST", "message": message, "details": details });
        let script = Script {
            refusal: Some(Refusal::new(code, message, error)),
            ..Script::default()
        };
        let gateway = Gateway::start(&Via::Plain, script).await;
        let report = probed(&ws(&gateway.peer)).await;
        is_whole(&report);
        broken(&report)
    };
    let found = refuses(
        1008,
        "unauthorized: too many failed authentication attempts (retry later)",
        json!({ "code": "AUTH_RATE_LIMITED", "authReason": "rate_limited" }),
    );
    assert_eq!(
        found.await,
        ("L2.auth".to_owned(), "gateway.auth.rate_limited".to_owned())
    );
    let found = refuses(
        1008,
        "pairing required: device is not approved yet (requestId: 7d0c2a1e-3f4b-4a6d-9a51-0d3b1d2ac3bd)",
        json!({ "code": "PAIRING_REQUIRED", "reason": "not-paired" }),
    );
    assert_eq!(
        found.await,
        (
            "L2.auth".to_owned(),
            "gateway.pairing.not_paired".to_owned()
        )
    );
}

/// A client without a device that is not local: the gateway is healthy, and grants nothing.
#[tokio::test]
async fn empty_scopes_are_no_fault() {
    let script = Script {
        hello_auth: json!({ "method": "token", "role": "operator", "scopes": [] }),
        ..Script::default()
    };
    let gateway = Gateway::start(&Via::Plain, script).await;
    let report = probed(&ws(&gateway.peer)).await;
    is_whole(&report);
    assert_eq!(report["first_failing"], Value::Null, "{report}");
    let scopes = rung(&report, "L2.scopes");
    assert_eq!(scopes["status"], "skip");
    assert!(
        scopes["because"]
            .as_str()
            .unwrap()
            .starts_with("no device; the secret is accepted")
    );
    assert_eq!(rung(&report, "L3.channels")["status"], "skip");
}

/// What the gateway says is shown, and neither moves the cursor nor repeats the secret.
#[tokio::test]
async fn what_the_gateway_says_is_inert() {
    let scopes = json!([
        "operator.read",
        "\n  FAIL  L1.tcp  forged",
        "\u{9b}31m",
        TOKEN
    ]);
    let script = Script {
        hello_auth: json!({ "method": "token", "role": "operator", "scopes": scopes }),
        ..Script::default()
    };
    let gateway = Gateway::start(&Via::Plain, script).await;
    for form in ["--json", "--budget=20s"] {
        let mut command = command(&[&ws(&gateway.peer), form, "--token-env", VARIABLE]);
        command.env(VARIABLE, TOKEN);
        let run = run(command).await;
        assert!(!run.stdout.contains("\n  FAIL"), "{}", run.stdout);
        assert!(!run.stdout.contains('\u{9b}'), "{}", run.stdout);
        assert!(run.stdout.contains("[masked]"), "{}", run.stdout);
    }
}

/// It granted what the call needs, and ended in its middle.
#[tokio::test]
async fn a_gateway_that_dies_in_the_call_is_no_pass() {
    let script = Script {
        dies: true,
        ..Script::default()
    };
    let gateway = Gateway::start(&Via::Plain, script).await;
    let report = probed(&ws(&gateway.peer)).await;
    is_whole(&report);
    assert_eq!(rung(&report, "L2.scopes")["status"], "pass", "{report}");
    let expected = ("L3.channels".to_owned(), "gateway.left.reset".to_owned());
    assert_eq!(broken(&report), expected, "{report}");
}

/// Without a URL: the environment's, and the output says so.
#[tokio::test]
async fn the_environment_names_the_gateway() {
    let gateway = Gateway::start(&Via::Plain, Script::default()).await;
    let mut command = command(&[]);
    command.env("OPENCLAW_GATEWAY_URL", ws(&gateway.peer));
    command.env("OPENCLAW_GATEWAY_TOKEN", TOKEN);
    let run = run(command).await;
    assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    assert!(
        run.stdout.contains("from OPENCLAW_GATEWAY_URL; secret of"),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout.lines().all(|line| line.len() <= 80),
        "{}",
        run.stdout
    );
}

#[tokio::test]
async fn six_lines_for_a_chat() {
    let gateway = Gateway::start(&Via::Plain, Script::default()).await;
    let run = run(command(&[&ws(&gateway.peer), "--short"])).await;
    assert!(run.stdout.lines().count() <= 6, "{}", run.stdout);
    assert!(
        run.stdout
            .contains("FAIL L2.auth (gateway.auth.token_missing)"),
        "{}",
        run.stdout
    );
    assert!(run.stdout.contains("\nnext: "), "{}", run.stdout);
}

/// Of a gateway that refuses the secret, in every form.
#[tokio::test]
async fn reports_for_others() {
    let gateway = Gateway::start(&Via::Plain, Script::default()).await;
    let folder = tempfile::TempDir::new().unwrap();
    let (junit, summary) = (
        folder.path().join("probe.xml"),
        folder.path().join("summary.md"),
    );
    std::fs::write(&summary, "before\n").unwrap();
    let mut command = command(&[
        &ws(&gateway.peer),
        "--markdown",
        "--junit",
        junit.to_str().unwrap(),
    ]);
    command
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_STEP_SUMMARY", &summary);
    let run = run(command).await;
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(
        run.stdout.contains("| `L2.auth` | FAIL | refused"),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout
            .contains("**L2.auth** `gateway.auth.token_missing`"),
        "{}",
        run.stdout
    );
    let annotation = "::error title=wstap probe%3A L2.auth (gateway.auth.token_missing)::";
    assert!(
        run.stderr.lines().any(|line| line.starts_with(annotation)),
        "{}",
        run.stderr
    );
    let text = std::fs::read_to_string(&summary).unwrap();
    assert_eq!(text, format!("before\n{}", run.stdout));
    let text = std::fs::read_to_string(&junit).unwrap();
    assert!(
        text.contains("type=\"gateway.auth.token_missing\""),
        "{text}"
    );
    assert!(
        text.contains("tests=\"12\"") && text.contains("failures=\"1\""),
        "{text}"
    );
}

#[tokio::test]
async fn the_budget_is_hard() {
    let silent = never_answers::start(&Via::Plain).await;
    let began = std::time::Instant::now();
    let run = run(command(&[&ws(&silent), "--json", "--budget", "1s"])).await;
    assert!(
        began.elapsed() < crate::support::deadline::promised(std::time::Duration::from_secs(2))
    );
    assert_eq!(run.code, Some(1));
    is_whole(&run.report());
}

#[tokio::test]
async fn what_cannot_be_probed_is_said() {
    for (arguments, words) in [
        (&["gw:18789"][..], "expected ws, wss"),
        (
            &["ws://a:1", "--token-env", "NO_SUCH_VARIABLE"],
            "is not set",
        ),
        (
            &["ws://a:1", "--token-file", "/nonexistent"],
            "No such file",
        ),
        (&["ws://a:1", "--budget", "0s"], "from 1s to 10m"),
        (&["ws://a:1", "--in", "somewhere"], "container:NAME"),
    ] {
        let run = run(command(arguments)).await;
        assert_eq!(run.code, Some(2), "{arguments:?}");
        assert!(run.stderr.contains(words), "{arguments:?}: {}", run.stderr);
    }
}
