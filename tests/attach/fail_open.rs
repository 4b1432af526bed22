//! Whatever happens to the tap, new connections go straight to the gateway within five seconds, and
//! connections that bypassed it are not affected.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Not as _;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::net::TcpSocket;
use tokio::time::timeout;

use super::{From, at, close, connect, echoes, session};
use crate::peers::names_its_client;
use crate::support::attached::{Attached, LONG, command, run, snapshot, status};
use crate::support::conn::Conn;
use crate::support::deadline::{STEP, poll, promised};
use crate::support::dice::Dice;
use crate::support::frame::Frame;
use crate::support::netns::{self, HERE_V4, HERE_V6, Net, test_name};
use crate::support::tap::signal;
use crate::support::wire::{Ending, Wire};

/// How soon new connections go straight to the gateway again.
const PROMISED: Duration = Duration::from_secs(5);

/// For one attempt while the tap is going down.
const ATTEMPT: Duration = Duration::from_millis(200);

/// Rounds of one test; `make attach-soak` runs it several times.
const ROUNDS: u32 = 24;

/// Whether a new local client is served, straight by the gateway.
async fn is_direct(net: &Net, to: SocketAddr) -> bool {
    let attempt = async {
        let tcp = connect(net, From::Here, to).await.ok()?;
        let own = tcp.local_addr().ok()?;
        let mut conn = Conn::bounded(Wire::Plain(tcp));
        let head = conn.upgrade("/", &[]).await.ok()?;
        let frame = conn.frame().await.ok()?;
        // The tap's own connections have another port.
        Some(head.status() == 101 && frame.as_text() == own.to_string())
    };
    timeout(ATTEMPT, attempt).await.ok().flatten() == Some(true)
}

/// Time until a new client is served without the tap, and after that twenty more are.
async fn direct_again(net: &Net, to: SocketAddr) -> Duration {
    let began = Instant::now();
    while !is_direct(net, to).await {
        let waited = began.elapsed();
        assert!(waited < promised(PROMISED), "not direct after {waited:?}");
    }
    let took = began.elapsed();
    for number in 0..20 {
        let (_, own, seen) = session(net, From::Here, to).await;
        assert_eq!(own, seen, "connection {number} after the first direct one");
    }
    took
}

/// What the tap is doing when the signal comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Busy {
    /// It waits for connections.
    Not,
    /// It relays sessions.
    Relaying,
    /// It has detached, and its sessions live on.
    Leaving,
}

/// A tapped session of a local and one of a remote client.
async fn tapped(net: &Net, to: SocketAddr) -> Vec<Conn> {
    let mut sessions = Vec::new();
    for from in [From::Here, From::There] {
        sessions.push(session(net, from, to).await.0);
    }
    sessions
}

/// Attaches, sends the signal at a random moment, and says how long it took each time. Clients use IPv4 and IPv6 in
/// turns.
async fn rounds_of(name: &str, net: &Net) -> Vec<Duration> {
    const BUSY: [Busy; 3] = [Busy::Not, Busy::Relaying, Busy::Leaving];
    let gateway = names_its_client::start("::").await;
    let families = [IpAddr::from(HERE_V4), HERE_V6.into()];
    let mut before = Vec::new();
    for ip in families {
        before.push(session(net, From::There, at(ip, gateway.port)).await.0);
    }
    let mut dice = Dice::seeded(name);
    let mut times = Vec::new();
    for round in 0..ROUNDS as usize {
        let to = at(families[round % 2], gateway.port);
        let busy = BUSY[round / 2 % BUSY.len()];
        let round = format!("round {round}, {busy:?}, {to}");
        let mut attached = Attached::start(gateway.port, LONG).await;
        let (conn, own, seen) = session(net, From::Here, to).await;
        assert_ne!(own, seen, "{round}: tapped");
        close(conn).await;
        let mut open = match busy {
            Busy::Not => Vec::new(),
            Busy::Relaying | Busy::Leaving => tapped(net, to).await,
        };
        if busy == Busy::Leaving {
            attached.signal("TERM");
            let said = || attached.stderr().contains("as requested").then_some(());
            assert!(poll(STEP, said).await.is_some(), "{}", attached.stderr());
        }
        // Anywhere between two renewals.
        tokio::time::sleep(Duration::from_millis(dice.next() % 1200)).await;
        attached.signal(name);
        let took = direct_again(net, to).await;
        if busy != Busy::Leaving {
            times.push(took);
        }
        for conn in &mut before {
            echoes(conn, &round).await;
        }
        if name == "TERM" && busy == Busy::Relaying {
            for mut conn in std::mem::take(&mut open) {
                echoes(&mut conn, &round).await;
                close(conn).await;
            }
        }
        if name == "STOP" {
            attached.signal("KILL");
        }
        attached.ended().await;
        for mut conn in open {
            // A killed tap cannot notify its clients: the next bytes that they send are answered by
            // a reset.
            let _ = conn.send_masked(Frame::text("still there?")).await;
            let (_, ending) = conn.frames_to_end().await;
            assert_ne!(ending, Ending::StillOpen, "{round}");
        }
        let told = poll(STEP, || (gateway.open() == before.len()).then_some(()));
        assert!(told.await.is_some(), "{round}: {} open", gateway.open());
    }
    times.sort_unstable();
    eprintln!(
        "{name}: direct again after {:?} (median), {:?} (slowest) in {} rounds",
        times[times.len() / 2],
        times.last().unwrap(),
        times.len()
    );
    times
}

#[tokio::test]
async fn terminated() {
    let this = test_name!(terminated);
    if let Some(net) = netns::enter("attach: SIGTERM", this).await {
        let before = snapshot();
        rounds_of("TERM", &net).await;
        assert_eq!(snapshot(), before);
    }
}

#[tokio::test]
async fn killed() {
    let this = test_name!(killed);
    let Some(net) = netns::enter("attach: SIGKILL", this).await else {
        return;
    };
    let before = snapshot();
    rounds_of("KILL", &net).await;
    assert_ne!(snapshot(), before, "policy rules are left");
    // A user who may not remove them does not report them as gone.
    let detach = command(&["--detach"]);
    let output = Command::new("setpriv")
        .args(["--inh-caps=-net_admin", "--bounding-set=-net_admin"])
        .arg(detach.get_program())
        .args(detach.get_args())
        .output()
        .expect("run setpriv");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("cannot be removed"), "{text}");
    let detached = run(&["--detach"]);
    assert!(detached.status.success(), "{detached:?}");
    assert_eq!(snapshot(), before);
}

#[tokio::test]
async fn stopped() {
    let this = test_name!(stopped);
    if let Some(net) = netns::enter("attach: SIGSTOP", this).await {
        rounds_of("STOP", &net).await;
    }
}

#[tokio::test]
async fn a_stopped_tap_is_detached_from_another_shell() {
    let this = test_name!(a_stopped_tap_is_detached_from_another_shell);
    let Some(net) = netns::enter("attach: stopped and detached", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    let to = at(HERE_V4, gateway.port);
    let before = snapshot();
    let mut attached = Attached::start(gateway.port, LONG).await;
    attached.signal("STOP");
    let output = run(&["--status", "--port", &gateway.port.to_string()]);
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("does not answer") && text.contains("--detach"),
        "{text}"
    );
    let output = run(&["--detach"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(snapshot(), before);
    assert!(is_direct(&net, to).await);
    // It was told to end, and ends once it goes on.
    attached.ended().await;
    assert_eq!(snapshot(), before);
}

#[tokio::test]
async fn a_tap_that_goes_on_is_attached_again() {
    let this = test_name!(a_tap_that_goes_on_is_attached_again);
    let Some(net) = netns::enter("attach: stopped and continued", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    let to = at(HERE_V4, gateway.port);
    let attached = Attached::start(gateway.port, LONG).await;
    let (mut tapped, ..) = session(&net, From::There, to).await;
    attached.signal("STOP");
    direct_again(&net, to).await;
    attached.signal("CONT");
    echoes(&mut tapped, "it was only late").await;
    let state = || status().filter(|status| status["state"] == "attached");
    assert!(poll(STEP, state).await.is_some(), "{:?}", status());
    assert!(!is_direct(&net, to).await);
    let reported = || (attached.stderr().contains("the redirect was renewed late")).then_some(());
    assert!(
        poll(STEP, reported).await.is_some(),
        "{}",
        attached.stderr()
    );
}

#[tokio::test]
async fn a_tap_without_descriptors_lets_clients_pass() {
    let this = test_name!(a_tap_without_descriptors_lets_clients_pass);
    let Some(net) = netns::enter("attach: no descriptors", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    let to = at(HERE_V4, gateway.port);
    let attached = Attached::start(gateway.port, LONG).await;
    let limit = |files: usize| {
        let pid = Pid::from_raw(attached.pid().cast_signed());
        let limit = Rlimit {
            current: u64::try_from(files).ok(),
            maximum: Some(4096),
        };
        prlimit(pid, Resource::Nofile, limit).expect("set the limit of open files");
    };
    // Fewer than it has: not one more can be opened, not even for a question by `--status`.
    limit(10);
    // The first client that it cannot accept ends the redirect, which would not expire for two seconds more.
    let took = direct_again(&net, to).await;
    assert!(
        took < promised(Duration::from_millis(1500)),
        "after {took:?}"
    );
    let text = attached.stderr();
    assert!(
        text.contains("new connections go straight to the gateway until"),
        "{text}"
    );
    limit(4096);
    let state = || status().filter(|status| status["state"] == "attached");
    assert!(poll(STEP, state).await.is_some(), "{:?}", status());
}

#[tokio::test]
async fn without_its_policy_rules_remote_clients_pass() {
    let this = test_name!(without_its_policy_rules_remote_clients_pass);
    let Some(net) = netns::enter("attach: policy rules removed", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    let to = at(HERE_V4, gateway.port);
    // Each family alone: the check of the other one still passes.
    for family in ["-4", "-6"] {
        let mut attached = Attached::start(gateway.port, LONG).await;
        netns::ip_here(&net, &format!("{family} rule flush protocol 77"));
        direct_again(&net, to).await;
        for ip in [IpAddr::from(HERE_V4), HERE_V6.into()] {
            let (_, own, seen) = session(&net, From::There, at(ip, gateway.port)).await;
            assert_eq!(own, seen, "{family}: {ip}");
        }
        let paused = status().expect("a status");
        assert_eq!(paused["state"], "paused", "{family}: {paused}");
        attached.signal("TERM");
        attached.ended().await;
    }
}

#[tokio::test]
async fn sessions_are_told_when_the_table_is_gone() {
    let this = test_name!(sessions_are_told_when_the_table_is_gone);
    let Some(net) = netns::enter("attach: the holder of the table killed", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    let to = at(HERE_V4, gateway.port);
    let before = snapshot();
    let mut attached = Attached::start(gateway.port, LONG).await;
    let mut tapped = Vec::new();
    for from in [From::Here, From::There] {
        tapped.push(session(&net, from, to).await.0);
    }
    signal("KILL", &attached.nft_child());
    for conn in &mut tapped {
        let (_, ending) = conn.frames_to_end().await;
        assert_ne!(ending, Ending::StillOpen);
    }
    let (status, _) = attached.ended().await;
    assert!(!status.success());
    assert!(
        attached.stderr().contains("has ended"),
        "{}",
        attached.stderr()
    );
    direct_again(&net, to).await;
    assert_eq!(snapshot(), before);
}

/// A session from this port of 127.0.0.1, which may have been used before.
async fn from_port(port: u16, to: SocketAddr) -> (Conn, u16) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(at(Ipv4Addr::LOCALHOST, port)).unwrap();
    let own = socket.local_addr().unwrap().port();
    let tcp = socket.connect(to).await;
    let tcp = tcp.expect("not to the port of a tap that is gone");
    let mut conn = Conn::bounded(Wire::Plain(tcp));
    conn.open("/").await;
    conn.frame().await.expect("the gateway names its client");
    (conn, own)
}

/// Ports that the clients of a tap that is gone use again must not lead to its port.
#[tokio::test]
async fn ports_of_the_last_taps_clients_can_be_used_again() {
    let this = test_name!(ports_of_the_last_taps_clients_can_be_used_again);
    let Some(_net) = netns::enter("attach: ports used again", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    let to = at(Ipv4Addr::LOCALHOST, gateway.port);
    let mut attached = Attached::start(gateway.port, LONG).await;
    let (tapped, port) = from_port(0, to).await;
    // The connection ends untracked: the kernel keeps its entry for days.
    attached.signal("STOP");
    let nft = attached.nft_child();
    signal("KILL", &nft);
    let gone = poll(STEP, || {
        snapshot().contains("wstap_attach").not().then_some(())
    });
    assert!(gone.await.is_some(), "{}", snapshot());
    tapped.abort();
    attached.signal("KILL");
    attached.ended().await;
    let _again = Attached::start(gateway.port, LONG).await;
    close(from_port(port, to).await.0).await;
}
