//! Missing requirements and conflicts are reported before the first change.

use std::process::{Command, Output};

use crate::peers::names_its_client;
use crate::support::attached::{self, Attached, LONG, snapshot};
use crate::support::netns::{self, test_name};

/// Refused with these words, and nothing has changed.
fn refuses(output: &Output, before: &str, words: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} in {text}");
    }
    assert_eq!(snapshot(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_is_said_and_nothing_changes() {
    let this = test_name!(what_is_missing_is_said_and_nothing_changes);
    let Some(_net) = netns::enter("attach: what is missing", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    let port = gateway.port.to_string();
    let arguments = ["--port", &port, "--for", "1h"];
    let before = snapshot();

    let folder = tempfile::tempdir().unwrap();
    let output = attached::command(&arguments)
        .env("PATH", folder.path())
        .output()
        .unwrap();
    let words = [
        "no program nft",
        "package nftables",
        "no program ip",
        "--local-only",
    ];
    refuses(&output, &before, &words);

    // Without capabilities, as in a container that runs as a non-root user.
    let program = attached::command(&arguments);
    let output = Command::new("setpriv")
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--bounding-set=-all",
        ])
        .arg(program.get_program())
        .args(program.get_args())
        .output()
        .unwrap();
    refuses(&output, &before, &["SO_MARK", "NET_ADMIN", "--cap-add"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_tap_is_refused() {
    let this = test_name!(a_second_tap_is_refused);
    let Some(_net) = netns::enter("attach: a second tap", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    let _attached = Attached::start(gateway.port, LONG).await;
    let output = attached::run(&["--port", "18789", "--for", "1h"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text.contains("another wstap") && text.contains("--detach"),
        "{text}"
    );
    assert!(
        attached::status().is_some(),
        "the first one is still attached"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_firewall_that_would_drop_redirected_connections_is_named() {
    let this = test_name!(a_firewall_that_would_drop_redirected_connections_is_named);
    let Some(_net) = netns::enter("attach: a firewall", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    let port = gateway.port.to_string();
    let rules = "add table inet wall; add chain inet wall input { type filter hook input priority 0; policy drop; }; \
                 add rule inet wall input iif lo accept";
    let done = attached::nft().command().arg(rules).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let before = snapshot();
    let output = attached::run(&["--port", &port, "--for", "1h"]);
    refuses(
        &output,
        &before,
        &["inet wall input", "--tap-port", "--local-only"],
    );
    // Both remedies that the message names work.
    drop(Attached::start(gateway.port, &["--for", "1h", "--local-only"]).await);
    drop(Attached::start(gateway.port, &["--for", "1h", "--tap-port", "18790"]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dry_run_is_what_nft_takes() {
    let this = test_name!(the_dry_run_is_what_nft_takes);
    let Some(_net) = netns::enter("attach: dry run", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    let port = gateway.port.to_string();
    let before = snapshot();
    for more in [&[][..], &["--local-only"]] {
        let mut arguments = vec!["--port", &port, "--dry-run"];
        arguments.extend(more);
        let output = attached::run(&arguments);
        assert!(output.status.success(), "{output:?}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &output.stdout).unwrap();
        let checked = attached::nft()
            .command()
            .args(["-c", "-f"])
            .arg(file.path())
            .output()
            .unwrap();
        assert!(checked.status.success(), "{checked:?}");
        assert_eq!(snapshot(), before);
    }
}
