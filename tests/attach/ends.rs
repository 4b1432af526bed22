//! The tap ends: when its time is over, when asked, and with the last tapped session.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::{From, at, close, echoes, session};
use crate::peers::names_its_client;
use crate::support::attached::{self, Attached, LONG, nft, run, snapshot, status};
use crate::support::conn::Conn;
use crate::support::deadline::{STEP, poll, promised};
use crate::support::frame::Frame;
use crate::support::netns::{self, HERE_V4, HERE_V6, test_name};
use crate::support::program::faketime;
use crate::support::skip::skip;
use crate::support::wire::Wire;

#[tokio::test]
async fn by_its_time_and_tapped_sessions_may_live_on() {
    let this = test_name!(by_its_time_and_tapped_sessions_may_live_on);
    let Some(net) = netns::enter("attach: time", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    let to = at(HERE_V4, gateway.port);
    let before = snapshot();
    let mut attached = Attached::start(gateway.port, &["--for", "3s"]).await;
    let began = Instant::now();
    let (mut tapped, ..) = session(&net, From::There, to).await;
    let over = poll(STEP, || {
        attached.stderr().contains("the time is over").then_some(())
    });
    assert!(over.await.is_some(), "{}", attached.stderr());
    let took = began.elapsed();
    let least = Duration::from_secs(2);
    assert!(
        took > least && took < promised(Duration::from_secs(4)),
        "{took:?}"
    );
    let (direct, own, seen) = session(&net, From::Here, to).await;
    assert_eq!(own, seen, "direct");
    close(direct).await;
    echoes(&mut tapped, "during the grace").await;
    close(tapped).await;
    assert!(attached.ended().await.0.success(), "{}", attached.stderr());
    assert_eq!(snapshot(), before);
    let text = attached.stderr();
    assert!(text.contains("1 tapped connection"), "{text}");
    assert!(
        text.contains("1 session") && text.contains("1 fine"),
        "{text}"
    );
}

#[tokio::test]
async fn after_the_grace_sessions_are_cut() {
    let this = test_name!(after_the_grace_sessions_are_cut);
    let Some(net) = netns::enter("attach: grace", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    let before = snapshot();
    let mut attached = Attached::start(gateway.port, &["--for", "1s", "--grace", "1s"]).await;
    let (mut tapped, ..) = session(&net, From::There, at(HERE_V4, gateway.port)).await;
    let (frames, _) = tapped.frames_to_end().await;
    let (code, _) = frames.last().and_then(Frame::as_close).expect("a Close");
    assert_eq!(code, Some(1001));
    assert!(attached.ended().await.0.success(), "{}", attached.stderr());
    assert_eq!(snapshot(), before);
}

/// For scripts: sessions and summary never mix on stdout.
#[tokio::test]
async fn sessions_and_summary_as_json_do_not_mix() {
    let this = test_name!(sessions_and_summary_as_json_do_not_mix);
    let Some(net) = netns::enter("attach: JSON", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    let is_summary = |text: &str| {
        let object: serde_json::Value = serde_json::from_str(text).expect(text);
        object["classes"][0]["class"] == "ok"
    };
    let is_record = |text: &str| {
        let object: serde_json::Value = serde_json::from_str(text).expect(text);
        object["schema"] == "wstap.session/1" && object["tap"]["mode"] == "attached"
    };
    let last_said = |attached: &Attached| attached.stderr().lines().last().unwrap().to_owned();
    for arguments in [
        &["--json"][..],
        &["--json", "--output", "none"],
        &["--json", "--output", "json"],
        &["--json", "--output", "line"],
        &["--output", "json"],
    ] {
        let mut attached = Attached::start(gateway.port, &[LONG, arguments].concat()).await;
        close(
            session(&net, From::There, at(HERE_V4, gateway.port))
                .await
                .0,
        )
        .await;
        attached.records_once(1).await;
        attached.signal("TERM");
        assert!(attached.ended().await.0.success(), "{}", attached.stderr());
        let out = attached.stdout();
        match arguments {
            ["--json"] | ["--json", _, "none"] => assert!(is_summary(&out), "{arguments:?}"),
            ["--json", _, "json"] => {
                assert!(is_record(&out), "{arguments:?}");
                assert!(is_summary(&last_said(&attached)), "{arguments:?}");
            }
            ["--json", ..] => {
                assert!(out.contains("ok") && out.contains("client saw"), "{out}");
                assert!(!out.contains("classes"), "{out}");
                assert!(is_summary(&last_said(&attached)), "{arguments:?}");
            }
            _ => {
                assert!(is_record(&out), "{arguments:?}");
                assert!(attached.stderr().contains("1 session"), "{arguments:?}");
            }
        }
    }
}

#[tokio::test]
async fn when_asked_and_a_second_time_at_once() {
    let this = test_name!(when_asked_and_a_second_time_at_once);
    let Some(net) = netns::enter("attach: asked twice", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    let before = snapshot();
    let mut attached = Attached::start(gateway.port, LONG).await;
    let (mut tapped, ..) = session(&net, From::There, at(HERE_V4, gateway.port)).await;
    attached.signal("INT");
    let said = poll(STEP, || {
        attached.stderr().contains("as requested").then_some(())
    });
    assert!(said.await.is_some(), "{}", attached.stderr());
    echoes(&mut tapped, "the first one waits").await;
    attached.signal("INT");
    tapped.frames_to_end().await;
    assert!(attached.ended().await.0.success(), "{}", attached.stderr());
    assert_eq!(snapshot(), before);
}

/// The terminal is closed, or the SSH session breaks. Under `nohup` that does not matter.
#[tokio::test]
async fn when_its_terminal_is_gone() {
    let this = test_name!(when_its_terminal_is_gone);
    let Some(net) = netns::enter("attach: SIGHUP", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    let before = snapshot();
    let mut attached = Attached::start(gateway.port, LONG).await;
    let (mut tapped, ..) = session(&net, From::There, at(HERE_V4, gateway.port)).await;
    attached.signal("HUP");
    let said = poll(STEP, || {
        attached.stderr().contains("as requested").then_some(())
    });
    assert!(said.await.is_some(), "{}", attached.stderr());
    echoes(&mut tapped, "during the grace").await;
    close(tapped).await;
    assert!(attached.ended().await.0.success(), "{}", attached.stderr());
    assert_eq!(snapshot(), before);

    let nohup = Attached::launch_under(&["nohup"], gateway.port, LONG);
    let attached = nohup.begun().await;
    attached.signal("HUP");
    let (conn, own, seen) = session(&net, From::There, at(HERE_V6, gateway.port)).await;
    assert_eq!(own, seen);
    close(conn).await;
    attached.records_once(1).await;
    assert_eq!(status().expect("still attached")["state"], "attached");
    attached.detach().await;
}

#[tokio::test]
async fn a_second_detach_cuts_the_sessions() {
    let this = test_name!(a_second_detach_cuts_the_sessions);
    let Some(net) = netns::enter("attach: detached twice", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    let before = snapshot();
    let mut attached = Attached::start(gateway.port, LONG).await;
    let (mut tapped, ..) = session(&net, From::There, at(HERE_V4, gateway.port)).await;
    assert!(run(&["--detach"]).status.success());
    echoes(&mut tapped, "the first one waits").await;
    let said = poll(STEP, || {
        let output = run(&["--detach"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.contains("are cut now").then_some(())
    });
    assert!(said.await.is_some());
    tapped.frames_to_end().await;
    assert!(attached.ended().await.0.success(), "{}", attached.stderr());
    assert_eq!(snapshot(), before);
}

#[tokio::test]
async fn a_flush_of_the_ruleset_is_survived_and_reported() {
    let this = test_name!(a_flush_of_the_ruleset_is_survived_and_reported);
    let Some(net) = netns::enter("attach: nft flush ruleset", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    let nft_runs = |words: &str| {
        let done = nft().command().args(words.split(' ')).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    nft_runs("add table ip somebodys");
    let attached = Attached::start(gateway.port, LONG).await;
    nft_runs("flush ruleset");
    let noticed = poll(STEP, || {
        let output = run(&["--status"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // The page is 80 columns wide.
        let words: Vec<&str> = text.split_whitespace().collect();
        let text = words.join(" ");
        text.contains("removed: ip somebodys").then_some(text)
    });
    let text = noticed.await.expect("the status reports it");
    assert!(text.contains("The redirect is still in place"), "{text}");
    let (conn, own, seen) = session(&net, From::Here, at(HERE_V4, gateway.port)).await;
    assert_ne!(own, seen, "still tapped");
    close(conn).await;
    attached.records_once(1).await;
}

/// The machine's own clock is never set: the library fakes the wall clock alone.
#[tokio::test]
async fn on_time_while_the_wall_clock_steps() {
    let this = test_name!(on_time_while_the_wall_clock_steps);
    let Some(_net) = netns::enter("attach: steps of the wall clock", this).await else {
        return;
    };
    let Some(library) = faketime() else {
        return skip("attach: steps of the wall clock", "there is no libfaketime");
    };
    let gateway = names_its_client::start("::").await;
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    for step in ["+3600", "-3600"] {
        std::fs::write(&clock, "+0").unwrap();
        let port = gateway.port.to_string();
        let stderr = folder.path().join("stderr");
        let said = || std::fs::read_to_string(&stderr).unwrap_or_default();
        let mut child = attached::command(&["--port", &port, "--for", "4s"])
            .env("LD_PRELOAD", &library)
            .env("FAKETIME_TIMESTAMP_FILE", &clock)
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("FAKETIME_NO_CACHE", "1")
            .stderr(std::fs::File::create(&stderr).unwrap())
            .spawn()
            .unwrap();
        let began = poll(STEP, || {
            said().contains("attached to port").then(Instant::now)
        })
        .await;
        let began = began.unwrap_or_else(|| panic!("not attached: {}", said()));
        std::fs::write(&clock, step).unwrap();
        // The program sees the step.
        let stepped = poll(STEP, || {
            let status = status()?;
            let at: jiff::Timestamp = status["sessions"]["at"].as_str()?.parse().ok()?;
            let off = at.as_second() - jiff::Timestamp::now().as_second();
            (off.abs() > 3000).then_some(())
        });
        assert!(stepped.await.is_some(), "{step}");
        let over = poll(STEP, || {
            said().contains("the time is over").then(Instant::now)
        })
        .await;
        let took = over.expect("it ends").duration_since(began);
        let (least, most) = (Duration::from_secs(3), promised(Duration::from_secs(5)));
        assert!(took > least && took < most, "{step}: {took:?}");
        poll(STEP, || child.try_wait().unwrap())
            .await
            .expect("it exits");
    }
}

/// A session of a remote client from this port; 0: any.
async fn from_there(net: &netns::Net, port: u16, to: SocketAddr) -> (Conn, SocketAddr, SocketAddr) {
    let tcp = net.connect_from_there_at(port, to).expect("connect");
    tcp.set_nonblocking(true).unwrap();
    let tcp = TcpStream::from_std(tcp).unwrap();
    let own = tcp.local_addr().unwrap();
    let mut conn = Conn::bounded(Wire::Plain(tcp));
    conn.open("/").await;
    let named = conn.frame().await.expect("the gateway names its client");
    (conn, own, named.as_text().parse().expect("an address"))
}

/// A port of a tapped connection that is over is free for a direct one, while others keep the table.
#[tokio::test]
async fn during_the_grace_a_port_is_used_again_directly() {
    let this = test_name!(during_the_grace_a_port_is_used_again_directly);
    let Some(net) = netns::enter("attach: a port used again in the grace", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    for ip in [IpAddr::from(HERE_V4), HERE_V6.into()] {
        let to = at(ip, gateway.port);
        let mut attached = Attached::start(gateway.port, LONG).await;
        let (kept, ..) = session(&net, From::There, to).await;
        let (tapped, own, _) = from_there(&net, 0, to).await;
        close(tapped).await;
        attached.records_once(1).await;
        attached.signal("TERM");
        let leaving = || status().filter(|status| status["state"] == "leaving");
        assert!(poll(STEP, leaving).await.is_some(), "{:?}", status());
        // Connection tracking keeps the ended connection for some seconds more.
        let began = Instant::now();
        let mut direct = loop {
            let (conn, again, seen) = from_there(&net, own.port(), to).await;
            assert_eq!(again, own);
            if seen == own {
                break conn;
            }
            let waited = began.elapsed();
            assert!(
                waited < promised(Duration::from_secs(15)),
                "{seen}, not {own}"
            );
            close(conn).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        };
        close(kept).await;
        attached.ended().await;
        echoes(&mut direct, "it outlives the table").await;
        close(direct).await;
    }
}
