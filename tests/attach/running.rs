//! Established connections are left alone, and no connection is lost at either end of the time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use super::{From, at, close, echoes, session};
use crate::peers::names_its_client;
use crate::support::attached::{Attached, LONG, run, status};
use crate::support::conn::Conn;
use crate::support::deadline::{STEP, poll};
use crate::support::frame::Frame;
use crate::support::netns::{self, HERE_V4, test_name};

#[tokio::test]
async fn sessions_from_before_are_left_alone() {
    let this = test_name!(sessions_from_before_are_left_alone);
    let Some(net) = netns::enter("attach: sessions from before", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    let to = at(HERE_V4, gateway.port);
    let mut direct = Vec::new();
    for from in [From::Here, From::There] {
        direct.push(session(&net, from, to).await.0);
    }
    let mut attached = Attached::start(gateway.port, LONG).await;
    let (mut tapped, ..) = session(&net, From::There, to).await;
    for conn in direct.iter_mut().chain([&mut tapped]) {
        echoes(conn, "while attached").await;
    }
    close(tapped).await;
    attached.signal("TERM");
    assert!(attached.ended().await.0.success(), "{}", attached.stderr());
    for conn in &mut direct {
        echoes(conn, "afterwards").await;
    }
    let records = attached.records();
    assert_eq!(records.len(), 1, "of the tapped session alone");
}

/// Clients that connect, send a message, get it back and close, one after the other, until told to stop.
async fn clients(net: Arc<netns::Net>, port: u16, stop: Arc<AtomicBool>, served: Arc<AtomicU32>) {
    let mut turn = 0_u32;
    while !stop.load(Ordering::Relaxed) {
        turn += 1;
        let from = if turn.is_multiple_of(2) {
            From::Here
        } else {
            From::There
        };
        let (mut conn, own, seen) = session(&net, from, at(HERE_V4, port)).await;
        assert_eq!(own.ip(), seen.ip());
        echoes(&mut conn, &format!("turn {turn}")).await;
        close(conn).await;
        served.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_connections_across_attach_and_detach_are_all_served() {
    let this = test_name!(a_thousand_connections_across_attach_and_detach_are_all_served);
    let Some(net) = netns::enter("attach: a thousand connections", this).await else {
        return;
    };
    let net = Arc::new(net);
    let gateway = names_its_client::start("::").await;
    let (stop, served) = (Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());
    let mut all = JoinSet::new();
    for _ in 0..4 {
        let (net, stop, served) = (Arc::clone(&net), Arc::clone(&stop), Arc::clone(&served));
        all.spawn(clients(net, gateway.port, stop, served));
    }
    let mut tapped = 0_u64;
    // Attached and detached again and again, each time under a hundred more connections.
    for _ in 0..5 {
        let mut attached = Attached::start(gateway.port, LONG).await;
        let goal = served.load(Ordering::Relaxed) + 100;
        assert!(
            reach(&served, goal).await,
            "{} served",
            served.load(Ordering::Relaxed)
        );
        let detached = tokio::task::spawn_blocking(|| run(&["--detach"]))
            .await
            .unwrap();
        assert!(detached.status.success(), "{detached:?}");
        let goal = served.load(Ordering::Relaxed) + 100;
        assert!(
            reach(&served, goal).await,
            "{} served",
            served.load(Ordering::Relaxed)
        );
        assert!(attached.ended().await.0.success(), "{}", attached.stderr());
        let records = attached.records();
        let counts = records.iter().map(|it| it.repeats.map_or(1, |it| it.count));
        tapped += counts.sum::<u64>();
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(done) = all.join_next().await {
        done.expect("no connection is lost");
    }
    assert!(served.load(Ordering::Relaxed) >= 1000);
    assert!(tapped >= 300, "{tapped} were tapped");
}

/// A session of bulk messages, each of which comes back as it was sent, until told to stop; returns
/// their number.
async fn bulk(mut conn: Conn, seed: u8, stop: Arc<AtomicBool>) -> u32 {
    let (mut turns, mut salt) = (0, seed);
    while !stop.load(Ordering::Relaxed) {
        salt = salt.wrapping_add(1);
        let payload: Vec<u8> = (0..200_000_u32)
            .map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0] ^ salt)
            .collect();
        conn.send_masked(Frame::binary(payload.clone()))
            .await
            .expect("a session goes on");
        let frame = conn.frame().await.expect("an echo");
        assert!(frame.payload == payload, "other bytes came back");
        turns += 1;
    }
    close(conn).await;
    turns
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_every_new_connection_is_tapped_and_running_sessions_go_on() {
    const APART: Duration = Duration::from_millis(20);
    const EACH: u32 = 100;
    let this = test_name!(under_load_every_new_connection_is_tapped_and_running_sessions_go_on);
    let Some(net) = netns::enter("attach: under load", this).await else {
        return;
    };
    let net = Arc::new(net);
    let gateway = names_its_client::start("::").await;
    let to = at(HERE_V4, gateway.port);
    let stop = Arc::<AtomicBool>::default();
    let mut running = JoinSet::new();
    let mut before = BTreeSet::new();
    for (seed, from) in [(1, From::Here), (7, From::There)] {
        let (conn, own, _) = session(&net, from, to).await;
        before.insert(own.to_string());
        running.spawn(bulk(conn, seed, Arc::clone(&stop)));
    }
    // Fifty a second: while it attaches, while it is attached, and while it detaches.
    let phase = Arc::<AtomicU32>::default();
    let newcomers = {
        let (net, phase) = (Arc::clone(&net), Arc::clone(&phase));
        tokio::spawn(async move {
            let mut all = JoinSet::new();
            let mut every = tokio::time::interval(APART);
            let mut since_end = 0;
            for nth in 0.. {
                every.tick().await;
                let now = phase.load(Ordering::Relaxed);
                since_end += u32::from(now == 2);
                if since_end > EACH / 2 {
                    break;
                }
                let (net, phase) = (Arc::clone(&net), Arc::clone(&phase));
                all.spawn(async move {
                    let from = if nth % 2 == 0 {
                        From::Here
                    } else {
                        From::There
                    };
                    let (mut conn, own, seen) = session(&net, from, to).await;
                    assert_eq!(own.ip(), seen.ip());
                    echoes(&mut conn, "new").await;
                    close(conn).await;
                    // Whether the whole session fell into the attached time.
                    let through = now == 1 && phase.load(Ordering::Relaxed) == 1;
                    (own.to_string(), through)
                });
            }
            all.join_all().await
        })
    };
    let mut attached = Attached::start(gateway.port, LONG).await;
    phase.store(1, Ordering::Relaxed);
    attached.records_once(EACH as usize).await;
    phase.store(2, Ordering::Relaxed);
    attached.signal("TERM");
    assert!(attached.ended().await.0.success(), "{}", attached.stderr());
    let newcomers = newcomers.await.expect("no connection is lost");
    stop.store(true, Ordering::Relaxed);
    for turns in running.join_all().await {
        assert!(turns > 10, "{turns} bulk messages in all that time");
    }
    let tapped: BTreeSet<String> = attached
        .records()
        .iter()
        .map(|record| record.client.addr.clone())
        .collect();
    let through = newcomers.iter().filter(|(_, through)| *through);
    let missing: Vec<_> = through
        .clone()
        .filter(|(own, _)| !tapped.contains(own))
        .collect();
    // On a machine that is busy for seconds the redirect expires: the tap reports for how long, and the newcomers of the
    // busy seconds before may all come in that time.
    let text = attached.stderr();
    let gaps = text.split("gap_ms=").skip(1).map(|rest| {
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
        digits.unwrap().parse::<u128>().unwrap() + 3000
    });
    let excused = gaps.sum::<u128>() / APART.as_millis();
    assert!(
        missing.len() as u128 <= excused,
        "not tapped: {missing:?}\n{text}"
    );
    assert!(through.count() > 50);
    assert!(
        tapped.is_disjoint(&before),
        "a session from before was tapped"
    );
}

async fn reach(served: &AtomicU32, goal: u32) -> bool {
    let reached = || (served.load(Ordering::Relaxed) >= goal).then_some(());
    poll(STEP, reached).await.is_some()
}

#[tokio::test]
async fn new_connections_are_tapped_and_the_status_shows_them() {
    let this = test_name!(new_connections_are_tapped_and_the_status_shows_them);
    let Some(net) = netns::enter("attach: status", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    assert!(status().is_none(), "nobody is attached yet");
    let attached = Attached::start(gateway.port, LONG).await;
    let (conn, own, _) = session(&net, From::There, at(HERE_V4, gateway.port)).await;
    let seen = status().expect("a status");
    assert_eq!(seen["schema"], "wstap.attach/1");
    assert_eq!(seen["state"], "attached");
    assert_eq!(seen["port"], gateway.port);
    assert_eq!(seen["pid"], attached.pid());
    let open = seen["sessions"]["open"].as_array().expect("open sessions");
    assert!(
        open.iter().any(|it| it["client"] == own.to_string()),
        "{open:?}"
    );
    let left = seen["ends_in_ms"].as_f64().expect("milliseconds");
    let hour = Duration::from_hours(1).as_secs_f64() * 1000.0;
    assert!(left > 0.0 && left <= hour, "{left}");
    close(conn).await;
    attached.records_once(1).await;
    let seen = status().expect("a status");
    assert_eq!(seen["sessions"]["recent"][0]["client"], own.to_string());
    let page = run(&["--status"]);
    let page = String::from_utf8_lossy(&page.stdout);
    assert!(
        page.contains(&format!("attached to port {}", gateway.port)),
        "{page}"
    );
}

#[tokio::test]
async fn beyond_the_limit_of_sessions_clients_pass_by() {
    let this = test_name!(beyond_the_limit_of_sessions_clients_pass_by);
    let Some(net) = netns::enter("attach: limit of sessions", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    let _attached = Attached::start(gateway.port, &["--for", "1h", "--max-sessions", "2"]).await;
    let to = at(HERE_V4, gateway.port);
    let mut open = Vec::new();
    for _ in 0..2 {
        open.push(session(&net, From::Here, to).await.0);
    }
    let state = || status().map(|status| status["state"].clone());
    let paused = poll(STEP, || state().filter(|state| state == "paused"));
    assert!(paused.await.is_some(), "{:?}", status());
    let (mut direct, own, seen) = session(&net, From::There, to).await;
    assert_eq!(own, seen);
    assert_eq!(status().unwrap()["sessions"]["open_count"], 2);
    echoes(&mut direct, "direct").await;
    close(open.pop().unwrap()).await;
    let again = poll(STEP, || state().filter(|state| state == "attached"));
    assert!(again.await.is_some(), "{:?}", status());
    echoes(&mut direct, "still direct").await;
}
