//! The file of TLS secrets: only by its flag, for its owner alone, and nobody can miss it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use serde_json::json;

use super::pki::{Authority, Kind};
use super::visitor::{BOTH, client, visit};
use super::{https, setup};
use crate::peers::{Via, ok_instead_of_101, tls};
use crate::support::certs::Validity;

/// Starts the tap with `--tls-keylog keys.log` in its own folder.
const WITH_THE_FLAG: &[&str] = &["sh", "-c", "exec \"$0\" \"$@\" --tls-keylog keys.log"];

#[tokio::test]
async fn the_flag_writes_secrets_of_both_legs_and_says_so() {
    let (ca, via) = tls::via(&["localhost"], Validity::Now);
    let peer = ok_instead_of_101::start(&via, &[], "ok").await;
    let root = Authority::root("root");
    let leaf = root.server(&["gw.example"], Kind::Ec, Validity::Now);
    let tap = setup(&peer, &[&leaf], json!({}))
        .gateway_ca(&ca, "localhost")
        .admin()
        .under(WITH_THE_FLAG)
        .start()
        .await;
    let config = Arc::new(client(&root, None, BOTH));
    let visit = visit(https(&tap), &config, "gw.example", "gw.example").await;
    assert_eq!(visit.unwrap().status, 200);
    let path = tap.folder().join("keys.log");
    let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let text = fs::read_to_string(&path).unwrap();
    let count = |label: &str| text.lines().filter(|line| line.starts_with(label)).count();
    // One of the client's leg, one of the gateway's.
    assert_eq!(count("CLIENT_TRAFFIC_SECRET_0 "), 2, "labels are missing");
    let stderr = tap.stderr();
    let warning = "warning: --tls-keylog: the secrets of every TLS session are written to keys.log";
    assert!(stderr.contains(warning), "{stderr}");
    let logged = "the secrets of every TLS session are written to a file";
    assert!(stderr.contains(logged), "{stderr}");
    let answer = crate::admin::get(&tap, "/readyz").await;
    assert!(
        answer.body.contains("TLS secrets are written to keys.log"),
        "{}",
        answer.body
    );
    // None of it anywhere else.
    for line in text.lines() {
        let secret = line.rsplit(' ').next().unwrap();
        assert!(secret.len() >= 64);
        assert!(!stderr.contains(secret) && !tap.records_text().contains(secret));
    }
}

#[tokio::test]
async fn the_environment_alone_writes_nothing() {
    let peer = ok_instead_of_101::start(&Via::Plain, &[], "ok").await;
    let root = Authority::root("root");
    let leaf = root.server(&["gw.example"], Kind::Ec, Validity::Now);
    let tap = setup(&peer, &[&leaf], json!({}))
        .under(&["sh", "-c", "SSLKEYLOGFILE=keys.log exec \"$0\" \"$@\""])
        .start()
        .await;
    let config = Arc::new(client(&root, None, BOTH));
    let visit = visit(https(&tap), &config, "gw.example", "gw.example").await;
    assert_eq!(visit.unwrap().status, 200);
    assert!(!tap.folder().join("keys.log").exists());
    assert!(!tap.stderr().contains("secrets"), "{}", tap.stderr());
}

#[tokio::test]
async fn a_file_that_others_can_read_is_refused() {
    let peer = ok_instead_of_101::start(&Via::Plain, &[], "ok").await;
    let root = Authority::root("root");
    let leaf = root.server(&["gw.example"], Kind::Ec, Validity::Now);
    let setup = setup(&peer, &[&leaf], json!({})).under(WITH_THE_FLAG);
    let path = setup.path("keys.log");
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let (code, stderr) = setup.start_in_vain().await;
    assert_eq!(code, Some(2));
    let message = "wstap: failed to open the TLS key log keys.log: expected a file that only its \
                   owner can read (mode 0600), found mode 0644";
    assert!(stderr.contains(message), "{stderr}");
}
