//! Credentials in places that the gateway does not look at, in URLs, and in odd shapes.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use wstap::session::SessionRecord;
use wstap::session::credential::{Credential, Fingerprinter, Shape};

use crate::live::{Install, installed};
use crate::peers::openclaw::{Gateway, Script, TOKEN};
use crate::peers::{Via, echo, http_plain};
use crate::support::deadline::{STEP, poll};
use crate::support::frame::Frame;
use crate::support::skip::skip;
use crate::support::tap::{Face, Setup};

const WARNING: &str = "a credential came in a URL";

fn find<'a>(record: &'a SessionRecord, place: &str) -> &'a Credential {
    let found = record.auth.iter().find(|one| one.place == place);
    found.unwrap_or_else(|| panic!("{place} is not in {:?}", record.auth))
}

#[tokio::test]
async fn bearer_and_query_token_are_ignored_on_the_websocket_and_not_elsewhere() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .openclaw()
        .set("gateway.forwarded", "pass")
        .start()
        .await;
    let mut conn = tap.connect(Face::Plain).await;
    let secret = "a-secret-of-some-length-0123456789";
    let bearer = format!("Bearer {secret}");
    let target = format!("/?token={secret}");
    conn.upgrade(&target, &[("Authorization", &bearer)])
        .await
        .unwrap();
    drop(conn);
    let record = tap.websocket().await;
    for place in ["header:authorization", "query:token"] {
        assert_eq!(find(&record, place).effective, Some(false), "{place}");
    }
    // The same secret in two places is seen to be the same.
    let [a, b] = ["header:authorization", "query:token"].map(|place| find(&record, place));
    assert_eq!(a.fingerprint, b.fingerprint);
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .openclaw()
        .set("gateway.forwarded", "pass")
        .start()
        .await;
    let mut conn = tap.connect(Face::Plain).await;
    conn.get(&target).await.unwrap();
    let record = tap
        .wait_for("the request", |record| !record.auth.is_empty())
        .await;
    assert_eq!(find(&record, "query:token").effective, None);
}

#[tokio::test]
async fn a_token_in_a_url_is_warned_of_once_per_client() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let secret = "a-secret-of-some-length-0123456789";
    for _ in 0..3 {
        let mut conn = tap.connect(Face::Plain).await;
        conn.get(&format!("/?token={secret}")).await.unwrap();
    }
    tap.wait_for("the third", |_| tap.records().len() >= 3)
        .await;
    let told = || tap.stderr().contains(WARNING).then_some(());
    poll(STEP, told).await.expect("a warning");
    let stderr = tap.stderr();
    assert_eq!(stderr.matches(WARNING).count(), 1, "{stderr}");
    assert!(
        stderr.contains("127.0.0.1") && stderr.contains("query:token"),
        "{stderr}"
    );
    assert!(!stderr.contains(secret));
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_is_warned_of() {
    let peer = http_plain::start(&Via::Plain).await;
    let proxies = vec!["127.0.0.1"];
    let setup = Setup::before(&peer).set("trusted_proxies", proxies);
    let tap = setup.start().await;
    for client in ["203.0.113.7", "203.0.113.8", "203.0.113.7"] {
        let request = format!(
            "GET /?token=abc HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {client}\r\n\r\n"
        );
        let mut conn = tap.connect(Face::Plain).await;
        conn.send(request.as_bytes()).await.unwrap();
        assert_eq!(conn.head().await.unwrap().status(), 200);
    }
    let told = || (tap.stderr().matches(WARNING).count() == 2).then_some(());
    poll(STEP, told).await.expect("two warnings");
    let stderr = tap.stderr();
    assert!(
        stderr.contains("203.0.113.7") && stderr.contains("203.0.113.8"),
        "{stderr}"
    );
}

#[tokio::test]
async fn odd_shapes_are_named() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    for (value, shape) in [
        ("abcdef%0A", Shape::Newline),
        ("%22abcdef%22", Shape::Quoted),
        ("$%7BTOKEN%7D", Shape::Placeholder),
        ("", Shape::Empty),
        ("%20abcdef", Shape::Whitespace),
    ] {
        let mut conn = tap.connect(Face::Plain).await;
        conn.get(&format!("/?token={value}")).await.unwrap();
        let has = |record: &SessionRecord| record.auth.iter().any(|one| one.shape.contains(&shape));
        tap.wait_for(value, has).await;
    }
    // In a header as well, where a proxy or a shell left the quotes on.
    let mut conn = tap.connect(Face::Plain).await;
    let request = "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer 'abcdef'\r\n\r\n";
    conn.send(request.as_bytes()).await.unwrap();
    let quoted = |record: &SessionRecord| {
        let found = record
            .auth
            .iter()
            .find(|one| one.place == "header:authorization");
        found.is_some_and(|one| one.shape == [Shape::Quoted])
    };
    tap.wait_for("the quoted one", quoted).await;
}

#[tokio::test]
async fn what_was_copied_along_with_a_token_is_told_from_a_wrong_token() {
    let gateway = Gateway::start(&Via::Plain, Script::default()).await;
    let tap = Setup::before(&gateway.peer).openclaw().start().await;
    let mut conn = tap.connect(Face::Plain).await;
    conn.upgrade("/", &[]).await.unwrap();
    conn.log_in(TOKEN).await;
    conn.send_masked(Frame::close(1000, "")).await.unwrap();
    conn.frames_to_end().await;
    let works = tap.websocket().await;
    let works = find(&works, "frame:connect.params.auth.token")
        .fingerprint
        .clone();
    let mut seen = tap.records().len();
    for (token, form, inside) in [
        (format!("Bearer {TOKEN}"), "take `Bearer ` off", true),
        (
            format!("OPENCLAW_GATEWAY_TOKEN={TOKEN}\n"),
            "keep what follows the `=`",
            true,
        ),
        (format!("'{TOKEN}'"), "take the quotes off", true),
        (
            format!("http://127.0.0.1:18789/#token={TOKEN}"),
            "keep what follows `token=`",
            true,
        ),
        (
            "Bearer another-token-0123456789abcdef012345".to_owned(),
            "if the gateway refuses that too",
            false,
        ),
        (
            "__OPENCLAW_REDACTED__".to_owned(),
            "`openclaw config get` and logs hide secrets",
            false,
        ),
    ] {
        let mut conn = tap.connect(Face::Plain).await;
        conn.upgrade("/", &[]).await.unwrap();
        conn.introduce(&json!({ "token": token })).await;
        conn.frames_to_end().await;
        conn.finish().await;
        let record = tap.newest(&mut seen).await;
        let verdict = record.verdict.as_ref().unwrap();
        assert_eq!(verdict.rule, "gateway.auth.token_mismatch");
        assert!(verdict.next.contains(form), "{}", verdict.next);
        let inner = find(&record, "frame:connect.params.auth.token")
            .inner
            .as_deref();
        assert_eq!(inner == Some(works.as_str()), inside, "{form}");
        let told = verdict
            .evidence
            .iter()
            .any(|one| one.fact.contains("without that it is"));
        assert_eq!(told, inside, "{form}");
    }
    // A token that ends with `=`, or begins with letters and `=`, does not have this shape.
    for token in [
        "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTE=",
        "Ab3=kJd82mLq0Wz7xPvRt61",
    ] {
        let mut conn = tap.connect(Face::Plain).await;
        conn.upgrade("/", &[]).await.unwrap();
        conn.introduce(&json!({ "token": token })).await;
        conn.frames_to_end().await;
        conn.finish().await;
        let record = tap.newest(&mut seen).await;
        let one = find(&record, "frame:connect.params.auth.token");
        assert!(
            one.shape.is_empty() && one.inner.is_none(),
            "{:?}",
            one.shape
        );
        // It is the client's other token, and nothing else is reported about it.
        assert_eq!(
            record.verdict.unwrap().rule,
            "gateway.auth.token_two_sources"
        );
    }
}

#[tokio::test]
async fn the_pages_own_requests_carry_no_credential() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer).openclaw().start().await;
    let targets = [
        "/sw.js?v=2026.9.6-release-eb377ac59e6c-2026-09-23T16-33-12.144Z",
        "/assets/app-sidebar-session-catalog-render-s2YVszJl.js",
        "/chat?session=agent:main:main",
    ];
    for target in targets {
        let mut conn = tap.connect(Face::Plain).await;
        conn.get(target).await.unwrap();
        drop(conn);
    }
    let records = tap.wait_for_count(targets.len()).await;
    for record in &records {
        assert!(record.auth.is_empty(), "{:?}", record.auth);
        let path = record.request.as_ref().unwrap().path.as_str().to_owned();
        let shown = targets.contains(&path.as_str()) || path == "/chat?session=[masked 15]";
        assert!(shown, "{path}");
    }
    assert!(!tap.stderr().contains(WARNING), "{}", tap.stderr());
}

const SECRET: &str = "gateway-secret-0123456789abcdef01234567";

/// The command of a verdict's next action that prints the fingerprint of the gateway's own value.
async fn gateway_command() -> String {
    let gateway = Gateway::start(&Via::Plain, Script::default()).await;
    let tap = Setup::before(&gateway.peer).openclaw().start().await;
    let mut conn = tap.connect(Face::Plain).await;
    conn.upgrade("/", &[]).await.unwrap();
    let token = "another-token-0123456789abcdef012345";
    conn.introduce(&json!({ "token": token })).await;
    conn.frames_to_end().await;
    conn.finish().await;
    let next = tap.websocket().await.verdict.expect("a verdict").next;
    let command = next.split('`').nth(1).expect("a command");
    assert!(command.starts_with("node -e '"), "{command}");
    command.to_owned()
}

/// Pasted into a shell, it prints a fingerprint or a name, and never a secret: neither of the value nor
/// of a line that cannot be read.
#[tokio::test]
async fn the_command_for_the_gateways_host_never_prints_a_secret() {
    const CANNOT: &str = "unreadable";
    let Some(install) = installed() else {
        return skip(
            "the command for the gateway's host",
            "Node is not installed: run make fetch",
        );
    };
    let command = gateway_command().await;
    let home = tempfile::TempDir::new().expect("a temporary folder");
    let file = home.path().join(".openclaw/openclaw.json");
    fs::create_dir_all(file.parent().unwrap()).expect("create a folder");
    for (token, printed) in [
        (format!("\"{SECRET}\""), digits(SECRET)),
        (format!("' {SECRET} ', // JSON5"), digits(SECRET)),
        // What the gateway takes from a variable.
        ("\"$GATEWAY_SECRET\"".to_owned(), digits(SECRET)),
        ("\"${GATEWAY_SECRET}\"".to_owned(), digits(SECRET)),
        ("\" ${GATEWAY_SECRET} \"".to_owned(), digits(SECRET)),
        ("\"$NOT_SET\"".to_owned(), "NOT_SET:unset".to_owned()),
        ("\"${NOT_SET}\"".to_owned(), "NOT_SET:unset".to_owned()),
        ("\"$EMPTY_ONE\"".to_owned(), "EMPTY_ONE:unset".to_owned()),
        // What it takes as it is.
        ("\"$not_a_name\"".to_owned(), digits("$not_a_name")),
        ("\"${not_a_name}\"".to_owned(), digits("${not_a_name}")),
        (
            "\"${GATEWAY_SECRET\"".to_owned(),
            digits("${GATEWAY_SECRET"),
        ),
        (
            "\"$GATEWAY_SECRET}\"".to_owned(),
            digits("$GATEWAY_SECRET}"),
        ),
        (
            format!("\"$A{}\"", "B".repeat(128)),
            digits(&format!("$A{}", "B".repeat(128))),
        ),
        // A reference: where the secret is.
        (
            "{ source: 'exec', provider: 'vault', id: 'gateway/token' }".to_owned(),
            "exec:gateway/token".to_owned(),
        ),
        // No secret that the gateway would take, or a file that cannot be read.
        (format!("{{ value: \"{SECRET}\" }}"), CANNOT.to_owned()),
        (format!("[\"{SECRET}\"]"), CANNOT.to_owned()),
        ("20261121".to_owned(), CANNOT.to_owned()),
        ("null".to_owned(), CANNOT.to_owned()),
        (SECRET.to_owned(), CANNOT.to_owned()),
        (SECRET.replace('-', "_"), CANNOT.to_owned()),
        (format!("\"{SECRET}\" \"{SECRET}\""), CANNOT.to_owned()),
        (format!("\"{SECRET}"), CANNOT.to_owned()),
    ] {
        let config = format!("{{ gateway: {{ auth: {{\n token: {token}\n}} }} }}");
        fs::write(&file, config).expect("write the configuration");
        let (out, err) = paste(&install, home.path(), &command);
        let leaks = [&out, &err]
            .iter()
            .any(|text| text.contains(SECRET) || text.contains(&SECRET.replace('-', "_")));
        assert!(
            !leaks,
            "a secret is printed for a case that should print {printed}"
        );
        assert_eq!((out.trim(), err.as_str()), (printed.as_str(), ""));
    }
    fs::remove_file(&file).expect("remove the configuration");
    assert_eq!(paste(&install, home.path(), &command).0.trim(), CANNOT);
}

/// The first eight digits of a value's SHA-256, as records have them.
fn digits(value: &str) -> String {
    let print = Fingerprinter::ephemeral([0; 32]).fingerprint(value.as_bytes());
    if let Some(digits) = print.as_str().strip_prefix("sha256:") {
        return digits.to_owned();
    }
    // A short one has a keyed fingerprint; coreutils hash it all the same.
    let script = r#"printf %s "$0" | sha256sum | cut -c1-8"#;
    let output = Command::new("sh").args(["-c", script, value]).output();
    let output = output.expect("run sha256sum");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// What a shell on the gateway's host prints.
fn paste(install: &Install, home: &Path, command: &str) -> (String, String) {
    let bin = install.node.parent().expect("a folder").display();
    let path = format!("{bin}:/usr/local/bin:/usr/bin:/bin");
    let output = Command::new("sh")
        .args(["-c", command])
        .env_clear()
        .env("PATH", path)
        .env("HOME", home)
        .env("GATEWAY_SECRET", SECRET)
        .env("EMPTY_ONE", "")
        .output()
        .expect("run a shell");
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    (out, err)
}
