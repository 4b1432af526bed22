//! Nobody reads its output, as with a pager or on a terminal that Ctrl-S paused: nothing waits for
//! a reader.

use std::io::Read as _;
use std::time::Duration;

use super::{From, at, close, session};
use crate::peers::names_its_client;
use crate::support::attached::{Attached, run, snapshot, status};
use crate::support::deadline::{STEP, poll, promised};
use crate::support::netns::{self, HERE_V4, test_name};
use crate::support::pipe::full_pipe;

/// How soon it ends: the last records and the last lines have a second each.
const PROMISED: Duration = Duration::from_secs(5);

/// Waits until it has renewed the redirect after it had something to print.
async fn renewed() {
    let renewed = || {
        let status = status()?;
        let number = |key: &str| status[key].as_f64();
        let started = number("ends_in_ms")? + number("checked_ms_ago")?;
        let since = Duration::from_hours(1).as_secs_f64() * 1000.0 - started;
        (status["state"] == "attached" && since > 1500.0).then_some(())
    };
    assert!(poll(STEP, renewed).await.is_some(), "{:?}", status());
}

#[tokio::test]
async fn an_output_that_nobody_reads_holds_up_neither_renewal_nor_end() {
    let this = test_name!(an_output_that_nobody_reads_holds_up_neither_renewal_nor_end);
    let Some(net) = netns::enter("attach: output that nobody reads", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    let before = snapshot();
    for way in ["TERM", "--detach"] {
        let (_reader, output) = full_pipe();
        let mut attached = Attached::launch_on(gateway.port, &["--for", "1h"], &output);
        renewed().await;
        let (conn, own, seen) = session(&net, From::Here, at(HERE_V4, gateway.port)).await;
        assert_ne!(own, seen, "{way}: tapped");
        close(conn).await;
        attached.records_once(1).await;
        if way == "TERM" {
            attached.signal(way);
        } else {
            assert!(run(&[way]).status.success());
        }
        let (status, took) = attached.ended().await;
        assert!(status.success(), "{way}: {status}");
        assert!(took < promised(PROMISED), "{way}: after {took:?}");
        assert_eq!(snapshot(), before, "{way}");
    }
    // And when its time is over.
    let (_reader, output) = full_pipe();
    let mut attached = Attached::launch_on(gateway.port, &["--for", "2s"], &output);
    let (status, took) = attached.ended().await;
    assert!(status.success(), "{status}");
    assert!(took < promised(2 * PROMISED), "after {took:?}");
    assert_eq!(snapshot(), before);
}

#[tokio::test]
async fn what_it_had_to_say_comes_when_somebody_reads_again() {
    let this = test_name!(what_it_had_to_say_comes_when_somebody_reads_again);
    let Some(net) = netns::enter("attach: output read late", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    let (mut reader, output) = full_pipe();
    let mut attached = Attached::launch_on(gateway.port, &["--for", "1h"], &output);
    drop(output);
    renewed().await;
    let (conn, ..) = session(&net, From::Here, at(HERE_V4, gateway.port)).await;
    close(conn).await;
    attached.records_once(1).await;
    let reading = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    });
    attached.signal("TERM");
    assert!(attached.ended().await.0.success());
    let text = reading.await.unwrap();
    for said in ["attached to port", "detached, as requested", "1 session,"] {
        assert!(text.contains(said), "{said}: {}", text.trim_start());
    }
}
