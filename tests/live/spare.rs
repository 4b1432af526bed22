//! Connections that a browser opens in advance and never uses: nobody's fault, with a certificate that it
//! trusts.

use std::time::Duration;

use wstap::session::SessionRecord;
use wstap::session::party::Phase;
use wstap::session::record::{Class, Kind};

use super::browser::Door;
use super::gateway::Gateway;
use super::turn;
use crate::support::browser::{Browser, Programs};
use crate::support::deadline::settled;
use crate::support::records::{class, is_websocket, rule, summary};
use crate::support::skip::skip;

const TEST: &str = "live: a browser's spare connections";
/// A browser keeps connections with and without credentials apart, so that one of these is not there yet.
const PRECONNECT: &str = "for (const mode of ['anonymous', 'use-credentials']) {
    const link = document.createElement('link');
    Object.assign(link, { rel: 'preconnect', href: location.origin, crossOrigin: mode });
    document.head.append(link);
}";

#[tokio::test]
async fn spare_connections_of_a_browser_that_trusts_the_ca_are_probes() {
    let Some((_turn, install)) = turn(TEST).await else {
        return;
    };
    let Some(programs) = Programs::find() else {
        return skip(TEST, "chromium or certutil is missing: run make fetch");
    };
    let gateway = Gateway::start(&install).await;
    // Our timer ends them, or the browser does, which waits for ten seconds or until it is closed itself.
    for (http2, request_head) in [(false, "2s"), (true, "2s"), (false, "1m"), (true, "1m")] {
        let door = Door::open(&gateway, None, |setup| {
            setup
                .set("http2.enabled", http2)
                .set("timeouts.request_head", request_head)
        })
        .await;
        let ca = door.tap.dev_ca();
        let mut browser = Browser::start(&programs, &[&ca]).await;
        browser.go(&door.page()).await;
        browser
            .until("document.body.innerText.includes('Channels')")
            .await;
        browser.eval(PRECONNECT).await;
        let case = format!("http2: {http2}, {request_head}");
        if request_head == "2s" {
            let what = format!("a spare connection that our timer ended ({case})");
            let is_it = |record: &SessionRecord| is_spare(record) && rule(record) == "probe.spare";
            door.tap.wait_for(&what, is_it).await;
        } else {
            // It has opened the connection by the time a request that comes later is answered.
            browser.eval("fetch('/later').then(() => true)").await;
        }
        browser.close_page().await;
        drop(browser);
        door.tap.wait_for("the page's socket", is_websocket).await;
        let what = format!("a connection that the browser never used ({case})");
        door.tap.wait_for(&what, is_spare).await;
        let count = || u64::try_from(door.tap.records().len()).expect("few records");
        settled(Duration::from_millis(1500), count).await;
        let records = door.tap.records();
        for record in records.iter().filter(|record| is_spare(record)) {
            assert_eq!(class(record), Class::Probe, "{case}: {}", rule(record));
        }
        nothing_is_ours_or_its_fault(&records, &case);
    }
}

/// TLS was completed, and no request came.
fn is_spare(record: &SessionRecord) -> bool {
    let tls = record.client.tls.as_ref();
    let completed = tls.is_some_and(|tls| tls.failure.is_none());
    let used = record.client.http2.as_ref().map_or(0, |it| it.requests) > 0;
    record.kind == Kind::Connection && completed && record.phase >= Phase::Request && !used
}

fn nothing_is_ours_or_its_fault(records: &[SessionRecord], case: &str) {
    for record in records {
        let rule = rule(record);
        let wrong = rule.starts_with("tap.") || rule.starts_with("client.fault");
        assert!(!wrong, "{case}: {rule}\n{}", summary(records));
    }
}
