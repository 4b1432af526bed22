//! Limits of the tap's own process and host: a dial that fails because of them is never the
//! gateway's fault.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv6Addr, SocketAddr, TcpStream};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use wstap::session::SessionRecord;
use wstap::session::party::Party;
use wstap::session::record::verdict::ActOn;
use wstap::session::record::{Class, GatewayErrorKind as Kind};

use crate::peers::{Via, echo};
use crate::support::conn::Conn;
use crate::support::deadline::{STEP, poll};
use crate::support::netns::{self, test_name};
use crate::support::packages::Program;
use crate::support::records::class;
use crate::support::skip::skip;
use crate::support::tap::{Face, Setup, Tap, signal};

/// From now on the tap can open no more files: its limit is its lowest free descriptor.
pub fn no_more_descriptors(tap: &Tap) {
    let folder = format!("/proc/{}/fd", tap.pid());
    let open: BTreeSet<u64> = fs::read_dir(folder)
        .expect("read /proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    let free = (0..=1024).find(|fd| !open.contains(fd));
    let free = free.expect("a free number");
    let limit = Rlimit {
        current: Some(free),
        maximum: Some(free),
    };
    let pid = Pid::from_raw(tap.pid().try_into().expect("a pid"));
    prlimit(pid, Resource::Nofile, limit).expect("set the tap's limit of open files");
}

/// An upgrade on a connection that the tap has accepted, when it can open no more files.
pub async fn without_descriptors(setup: Setup) -> SessionRecord {
    let tap = setup.start().await;
    let conn = accepted(&tap).await;
    no_more_descriptors(&tap);
    refused(&tap, conn).await
}

/// A connection that the tap has certainly accepted.
async fn accepted(tap: &Tap) -> Conn {
    let before = tap.open_descriptors();
    let conn = tap.connect(Face::Plain).await;
    let look = || (tap.open_descriptors() > before).then_some(());
    poll(STEP, look).await.expect("the tap accepts");
    conn
}

async fn refused(tap: &Tap, mut conn: Conn) -> SessionRecord {
    let answer = conn.upgrade("/", &[]).await.expect("an answer");
    assert_eq!(answer.status(), 503, "it may work in a moment");
    let record = tap.websocket().await;
    let verdict = record.verdict.as_ref().expect("a verdict");
    assert_eq!((verdict.party, verdict.act_on), (Party::Tap, ActOn::Tap));
    assert_eq!(record.close.first, Some(Party::Tap));
    record
}

fn kind(record: &SessionRecord) -> Option<Kind> {
    Some(record.gateway.as_ref()?.error.as_ref()?.kind)
}

fn rule(record: &SessionRecord) -> &str {
    &record.verdict.as_ref().expect("a verdict").rule
}

#[tokio::test]
async fn too_few_descriptors_are_the_taps_fault_by_address_and_by_name() {
    let peer = echo::start(&Via::Plain).await;
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("http://{host}:{}", peer.addr().port());
        let record = without_descriptors(Setup::before_url(&url)).await;
        assert_eq!(kind(&record), Some(Kind::OpenFiles), "{host}");
        assert_eq!(rule(&record), "tap.fault.open_files");
        let verdict = record.verdict.as_ref().unwrap();
        assert!(verdict.next.contains("LimitNOFILE="), "{}", verdict.next);
        let limit = |it: &wstap::session::record::Evidence| it.fact.contains("may open");
        assert!(verdict.evidence.iter().any(limit), "{:?}", verdict.evidence);
    }
}

/// strace, attached to a running tap: each of its calls of `socket` fails.
struct NoSockets(Child);

impl NoSockets {
    /// Returns once every thread of the tap is attached.
    async fn begin(strace: &Program, tap: &Tap, error: &str) -> Self {
        let mut command = strace.command();
        let pid = tap.pid().to_string();
        let inject = format!("inject=socket:error={error}");
        command
            .args(["-f", "-qq", "-p", &pid, "-e", "trace=socket", "-e", &inject])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().expect("start strace");
        let mut attached = Self(child);
        let look = || {
            let ended = attached.0.try_wait().expect("wait for strace");
            assert_eq!(ended, None, "strace may not trace the tap");
            are_traced(&pid).then_some(())
        };
        poll(STEP, look).await.expect("strace attaches");
        attached
    }

    /// Returns once the tap is as before.
    async fn end(mut self, tap: &Tap) {
        signal("TERM", &self.0.id().to_string());
        let child = &mut self.0;
        let gone = poll(STEP, || child.try_wait().expect("wait for strace")).await;
        assert!(gone.is_some(), "strace is still there");
        assert!(!are_traced(&tap.pid().to_string()));
    }
}

impl Drop for NoSockets {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Whether each thread of a process has a tracer.
fn are_traced(pid: &str) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("read /proc");
    tasks.flatten().all(|task| {
        // A thread may have ended meanwhile.
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let tracer = status.lines().find_map(|it| it.strip_prefix("TracerPid:"));
        tracer.is_none_or(|tracer| tracer.trim() != "0")
    })
}

/// What the kernel says when the host itself is out of files or of memory.
#[tokio::test]
async fn what_the_host_has_run_out_of_is_the_taps_fault() {
    let Some(strace) = Program::find("strace") else {
        return skip("limits of the host", "strace is missing: run make fetch");
    };
    let files = (Kind::SystemFiles, "tap.fault.system_files", "fs.file-max");
    let memory = (Kind::Memory, "tap.fault.memory", "net.ipv4.tcp_mem");
    for (error, host, (kind_wanted, rule_wanted, limit)) in [
        ("ENFILE", "127.0.0.1", files),
        ("ENFILE", "localhost", files),
        ("ENOMEM", "127.0.0.1", memory),
        ("ENOBUFS", "127.0.0.1", memory),
    ] {
        let peer = echo::start(&Via::Plain).await;
        let url = format!("http://{host}:{}", peer.addr().port());
        let tap = Setup::before_url(&url).start().await;
        let conn = accepted(&tap).await;
        let mut second = accepted(&tap).await;
        let none = NoSockets::begin(&strace, &tap, error).await;
        let record = refused(&tap, conn).await;
        assert_eq!(kind(&record), Some(kind_wanted), "{error} {host}");
        assert_eq!(rule(&record), rule_wanted, "{error} {host}");
        assert_eq!(class(&record), Class::TapFault);
        let verdict = record.verdict.as_ref().unwrap();
        assert!(verdict.next.contains(limit), "{}", verdict.next);
        assert!(peer.log.heads().is_empty(), "the gateway was asked");
        // Without the fault it works: nothing else was wrong.
        none.end(&tap).await;
        assert_eq!(second.upgrade("/", &[]).await.unwrap().status(), 101);
    }
}

#[tokio::test]
async fn no_free_port_is_the_taps_fault() {
    let name = test_name!(no_free_port_is_the_taps_fault);
    let Some(_net) = netns::enter("ports that have run out", name).await else {
        return;
    };
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let conn = accepted(&tap).await;
    let mut second = tap.connect(Face::Plain).await;
    fs::write("/proc/sys/net/ipv4/ip_local_port_range", "20000 20003").expect("narrow the range");
    let mut taken = Vec::new();
    while let Ok(one) = TcpStream::connect(peer.addr()) {
        taken.push(one);
        assert!(taken.len() <= 4, "the range has four ports");
    }
    let record = refused(&tap, conn).await;
    assert_eq!(kind(&record), Some(Kind::Ports));
    assert_eq!(rule(&record), "tap.fault.ports");
    let detail = &record
        .gateway
        .as_ref()
        .unwrap()
        .error
        .as_ref()
        .unwrap()
        .detail;
    assert!(detail.contains("20000-20003"), "{detail}");
    // With one free port it works: the reported limit was the only fault.
    drop(taken.pop());
    fs::write("/proc/sys/net/ipv4/ip_local_port_range", "20000 20999").expect("widen the range");
    assert_eq!(second.upgrade("/", &[]).await.unwrap().status(), 101);
}

#[tokio::test]
async fn a_family_without_an_address_is_told_as_such() {
    let name = test_name!(a_family_without_an_address_is_told_as_such);
    let Some(_net) = netns::enter("a host without IPv6", name).await else {
        return;
    };
    let peer = echo::start(&Via::Plain).await;
    let six = SocketAddr::from((Ipv6Addr::LOCALHOST, peer.addr().port()));
    let ask = async || {
        let tap = Setup::before_url(&format!("http://{six}")).start().await;
        let mut conn = tap.connect(Face::Plain).await;
        assert_eq!(conn.upgrade("/", &[]).await.unwrap().status(), 502);
        tap.websocket().await
    };
    // With IPv6 nothing listens there.
    let record = ask().await;
    assert_eq!(rule(&record), "gateway.unreachable.refused");
    fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1").expect("switch IPv6 off");
    let record = ask().await;
    assert_eq!(kind(&record), Some(Kind::NoAddress));
    assert_eq!(rule(&record), "gateway.unreachable.no_address");
    let verdict = record.verdict.as_ref().unwrap();
    assert_eq!(
        (verdict.act_on, class(&record)),
        (ActOn::Operator, Class::GatewayUnreachable)
    );
    assert!(verdict.summary.contains("no IPv6"), "{}", verdict.summary);
}
