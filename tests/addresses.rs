//! A gateway whose name has several addresses, or another one after each start.

use std::fs;
use std::net::{IpAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use wstap::session::SessionRecord;
use wstap::session::record::gateway::DialAttempt;

use crate::peers::{Peer, Via, echo};
use crate::support::frame::Frame;
use crate::support::netns::{self, HERE_PRIVATE, HERE_V4, HERE_V6, THERE_V6, test_name};
use crate::support::tap::{Face, Setup, Tap};

/// Mounts this file as `/etc/hosts`. Only inside a namespace of the test, which has its own mounts.
fn take_names_from(file: &Path) {
    let status = Command::new("mount")
        .args(["--bind".as_ref(), file.as_os_str(), "/etc/hosts".as_ref()])
        .status()
        .expect("run mount");
    assert!(status.success(), "mount: {status}");
}

/// Gives `gateway.test` these addresses. Writes in place, because the file is mounted.
fn name(file: &Path, addresses: &[IpAddr]) {
    let line = |addr| format!("{addr} gateway.test\n");
    let text: String = addresses.iter().map(line).collect();
    fs::write(file, text).expect("write the hosts file");
}

async fn peer_on(addr: IpAddr, port: u16) -> Peer {
    let listener = TcpListener::bind((addr, port)).expect("bind");
    echo::start(&Via::Bound(Arc::new(listener))).await
}

async fn session(tap: &Tap, seen: &mut usize) -> SessionRecord {
    let mut conn = tap.connect(Face::Plain).await;
    conn.open("/").await;
    conn.send_masked(Frame::close(1000, "")).await.unwrap();
    conn.rest().await;
    drop(conn);
    tap.newest(seen).await
}

fn attempts(record: &SessionRecord) -> &[DialAttempt] {
    &record.gateway.as_ref().unwrap().attempts
}

fn addr(record: &SessionRecord) -> &str {
    record.gateway.as_ref().unwrap().addr.as_deref().unwrap()
}

#[tokio::test]
async fn the_address_that_answers_is_taken_and_the_others_are_told() {
    let test = test_name!(the_address_that_answers_is_taken_and_the_others_are_told);
    let Some(net) = netns::enter("names with several addresses", test).await else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let hosts = folder.path().join("hosts");
    let (v4, private) = (IpAddr::from(HERE_V4), IpAddr::from(HERE_PRIVATE));
    name(&hosts, &[THERE_V6.into(), v4]);
    take_names_from(&hosts);
    let peer = peer_on(v4, 0).await;
    let port = peer.addr().port();
    // Packets to the other host's port are never answered, as if that host were gone.
    net.lose(port);
    let tap = Setup::before_url(&format!("http://gateway.test:{port}"))
        .set("gateway.forwarded", "overwrite")
        .start()
        .await;
    let mut seen = 0;

    let record = session(&tap, &mut seen).await;
    let [dead, won] = attempts(&record) else {
        panic!("two attempts: {:?}", attempts(&record));
    };
    assert!(dead.addr.contains(&THERE_V6.to_string()), "{dead:?}");
    assert_eq!((dead.ms, dead.error), (None, None));
    assert!(won.at_ms >= 250.0 && won.ms.is_some(), "{won:?}");
    assert_eq!(addr(&record), format!("{v4}:{port}"));
    let evidence = &record.verdict.as_ref().unwrap().evidence;
    let told = |it: &wstap::session::record::Evidence| it.fact.contains("not every address");
    assert!(evidence.iter().any(told), "{evidence:?}");

    // This host refuses at once.
    name(&hosts, &[HERE_V6.into(), v4]);
    let record = session(&tap, &mut seen).await;
    let errors: Vec<_> = attempts(&record).iter().map(|it| it.error).collect();
    assert_eq!(
        errors,
        [
            Some(wstap::session::record::GatewayErrorKind::Refused),
            None
        ]
    );

    // The gateway comes back under another address: the next dial goes there.
    let other = peer_on(private, port).await;
    name(&hosts, &[private]);
    let record = session(&tap, &mut seen).await;
    assert_eq!(addr(&record), format!("{private}:{port}"));
    assert!(attempts(&record).is_empty());
    assert_eq!((peer.log.connections(), other.log.connections()), (2, 1));
}
