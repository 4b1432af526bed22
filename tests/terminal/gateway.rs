//! A gateway that goes and comes back is reported, also while no client is there.

use std::net::TcpListener;

use crate::peers::{Via, echo};
use crate::support::deadline::{STEP, poll};
use crate::support::tap::{Setup, Tap};

/// The lines about the gateway, as soon as one contains this.
async fn notices(tap: &Tap, text: &str) -> Vec<String> {
    let look = || {
        let all: Vec<String> = tap
            .stdout()
            .lines()
            .filter(|line| line.contains("Z gateway "))
            .map(str::to_owned)
            .collect();
        all.iter().any(|line| line.contains(text)).then_some(all)
    };
    let found = poll(4 * STEP, look).await;
    found.unwrap_or_else(|| panic!("no notice with {text:?} in {}", tap.stdout()))
}

#[tokio::test]
async fn an_outage_is_reported_without_a_client() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = port.local_addr().unwrap();
    drop(port);
    let mut tap = Setup::before_url(&format!("http://{addr}")).start().await;
    let told = notices(&tap, "cannot be reached: ").await;
    assert!(told[0].contains(&format!("http://{addr}")), "{told:?}");
    let _peer = echo::start(&Via::At(addr)).await;
    let told = notices(&tap, "can be reached again, after ").await;
    assert!(
        told[1].contains("nothing listened there in between"),
        "{told:?}"
    );
    assert_eq!(tap.terminate().await, Some(0));
    // Each once, and no record of either.
    assert_eq!(tap.stdout().lines().count(), 2, "{}", tap.stdout());
    assert!(tap.records().is_empty());
}

#[tokio::test]
async fn with_records_on_stdout_the_log_says_it() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = port.local_addr().unwrap();
    drop(port);
    let setup = Setup::before_url(&format!("http://{addr}")).set("output", "json");
    let mut tap = setup.start().await;
    let look = || tap.stderr().contains("cannot be reached: ").then_some(());
    assert!(poll(4 * STEP, look).await.is_some(), "{}", tap.stderr());
    assert_eq!(tap.terminate().await, Some(0));
    assert_eq!(tap.stdout(), "");
}

#[tokio::test]
async fn a_steady_gateway_is_asked_and_not_reported() {
    let peer = echo::start(&Via::Plain).await;
    let mut tap = Setup::before(&peer).start().await;
    let look = || (peer.log.connections() >= 2).then_some(());
    assert!(poll(4 * STEP, look).await.is_some(), "it was not asked");
    assert_eq!(tap.terminate().await, Some(0));
    assert_eq!(tap.stdout(), "");
    assert!(!tap.stderr().contains("reached"), "{}", tap.stderr());
}
