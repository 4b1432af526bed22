//! A gateway with TLS: its connections pass unread, or are read with its own certificate and key.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustls_pki_types::ServerName;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, ClientConnection};
use wstap::session::SessionRecord;
use wstap::session::party::{Party, Phase};
use wstap::session::record::{Kind, LastRecord, PassedAlert, TapMode, TimerKey, TransportEnd};

use super::{From, at, close, connect, echoes};
use crate::peers::names_its_client::{self, Namer};
use crate::support::attached::{self, Attached, LONG, snapshot};
use crate::support::certs::{Ca, Validity, trusting_nothing};
use crate::support::conn::Conn;
use crate::support::deadline::{STEP, poll, promised};
use crate::support::netns::{self, HERE_V4, HERE_V6, Net, test_name};
use crate::support::records::rule;
use crate::support::wire::Wire;

const NAME: &str = "gw.example";

/// A gateway with TLS, and its files.
struct Gateway {
    namer: Namer,
    ca: Ca,
    folder: TempDir,
}

impl Gateway {
    async fn start() -> Self {
        let (ca, folder) = (Ca::new(), TempDir::new().expect("a folder"));
        ca.write_leaf(folder.path(), &[NAME], Validity::Now);
        let namer = names_its_client::start_tls("::", Ca::server_of(folder.path())).await;
        Self { namer, ca, folder }
    }

    fn files(&self) -> [String; 4] {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        [
            "--cert".into(),
            path("leaf.pem"),
            "--key".into(),
            path("leaf-key.pem"),
        ]
    }
}

/// An attached tap's finding about its gateway at the start may change later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_begins_to_speak_tls_later_passes_unread() {
    let this = test_name!(a_gateway_that_begins_to_speak_tls_later_passes_unread);
    let Some(net) = netns::enter("attach: TLS later", this).await else {
        return;
    };
    let (ca, folder) = (Ca::new(), TempDir::new().expect("a folder"));
    ca.write_leaf(folder.path(), &[NAME], Validity::Now);
    // Nobody listens while it attaches.
    let held = std::net::TcpListener::bind("[::]:0").unwrap();
    let port = held.local_addr().unwrap().port();
    drop(held);
    let attached = Attached::start(port, LONG).await;
    let mut early = connect(&net, From::There, at(HERE_V4, port)).await.unwrap();
    let own = early.local_addr().unwrap();
    early.write_all(&hello()).await.unwrap();
    let refused = early.read_to_end(&mut Vec::new()).await;
    assert_eq!(
        refused.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionReset
    );
    let record = record_of(&attached, own, 1).await;
    assert_eq!(rule(&record), "gateway.unreachable.refused");
    assert_eq!(record.passthrough, None);
    let listener = TcpListener::bind(("::", port)).await.unwrap();
    let namer = names_its_client::serve_tls_on(listener, Ca::server_of(folder.path()));
    let gateway = Gateway { namer, ca, folder };
    let to = at(HERE_V4, port);
    let (mut conn, own, _) = session(&net, From::There, &gateway, to).await;
    echoes(&mut conn, "later").await;
    let open = attached::status().expect("a status")["sessions"]["open"][0].clone();
    for way in ["to_gateway", "to_client"] {
        assert!(open[way]["bytes"].as_u64() > Some(100), "{open}");
    }
    close(conn).await;
    assert_eq!(rule(&record_of(&attached, own, 2).await), "ok.passed");
}

/// Its clients give up and close before it counts as silent; it never closes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_hangs_is_told_and_its_clients_are_not_kept_for_ever() {
    let this = test_name!(a_gateway_that_hangs_is_told_and_its_clients_are_not_kept_for_ever);
    let Some(net) = netns::enter("attach: TLS hangs", this).await else {
        return;
    };
    // The kernel takes connections, and nobody accepts them.
    let gateway = std::net::TcpListener::bind(("0.0.0.0", 0)).unwrap();
    let port = gateway.local_addr().unwrap().port();
    let began = Instant::now();
    let attached = Attached::start(port, LONG).await;
    let took = began.elapsed();
    assert!(took < promised(Duration::from_secs(2)), "{took:?}");
    let mut tcp = connect(&net, From::There, at(HERE_V4, port)).await.unwrap();
    let own = tcp.local_addr().unwrap();
    tcp.write_all(&hello()).await.unwrap();
    tcp.shutdown().await.unwrap();
    let shown = attached::run(&["--status"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("(passes unread)"), "{shown}");
    drop(tcp);
    let record = record_of(&attached, own, 1).await;
    assert_eq!(rule(&record), "gateway.silent.passed");
    let timer = record.close.timer.expect("our timer");
    assert_eq!(timer.key, TimerKey::HalfClose);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_gateway_that_does_not_read_is_shown() {
    let this = test_name!(what_waits_for_a_gateway_that_does_not_read_is_shown);
    let Some(net) = netns::enter("attach: TLS waits", this).await else {
        return;
    };
    let gateway = std::net::TcpListener::bind(("0.0.0.0", 0)).unwrap();
    let port = gateway.local_addr().unwrap().port();
    let _attached = Attached::start(port, LONG).await;
    let tcp = connect(&net, From::Here, at(HERE_V4, port)).await.unwrap();
    let own = tcp.local_addr().unwrap().to_string();
    tcp.writable().await.unwrap();
    tcp.try_write(&hello()).unwrap();
    let waits = poll(STEP, || {
        while tcp.try_write(&[0; 8192]).is_ok() {}
        let status = attached::status()?;
        let open = status["sessions"]["open"].as_array()?;
        let open = open.iter().find(|it| it["client"] == own.as_str())?;
        open["to_gateway"]["waiting"].as_u64().filter(|it| *it > 0)
    });
    assert!(waits.await.is_some(), "{:?}", attached::status());
}

/// Its late answer does not hold up the tap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_gateway_with_tls_is_known_once_it_has_answered() {
    const ALERT: &[u8] = &[0x15, 3, 3, 0, 2, 2, 10];
    let this = test_name!(a_slow_gateway_with_tls_is_known_once_it_has_answered);
    let Some(net) = netns::enter("attach: slow TLS", this).await else {
        return;
    };
    let listener = TcpListener::bind(("0.0.0.0", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (hurry, hurried) = (Arc::<Notify>::default(), Arc::<AtomicU32>::default());
    let mut serving = JoinSet::new();
    {
        let (hurry, hurried) = (Arc::clone(&hurry), Arc::clone(&hurried));
        serving.spawn(async move {
            loop {
                let (mut tcp, _) = listener.accept().await.unwrap();
                let _ = tcp.read(&mut [0; 2048]).await;
                let mut rest = [0];
                tokio::select! {
                    () = hurry.notified() => {
                        let _ = tcp.write_all(ALERT).await;
                        hurried.fetch_add(1, Ordering::Relaxed);
                    }
                    // The tap gave up asking, because the machine was too busy.
                    _ = tcp.read(&mut rest) => {}
                }
            }
        });
    }
    for _ in 0..5 {
        let attached = Attached::start(port, LONG).await;
        let tls = || attached::status().expect("a status")["tls"].clone();
        assert!(tls().is_null(), "it has not answered yet");
        let answered = poll(STEP, || {
            hurry.notify_waiters();
            (hurried.load(Ordering::Relaxed) == 1).then_some(())
        });
        if answered.await.is_none() {
            attached.detach().await;
            continue;
        }
        let known = poll(STEP, || (tls() == "unread").then_some(())).await;
        assert!(known.is_some(), "{}", attached.stderr());
        let mut tcp = connect(&net, From::Here, at(HERE_V4, port)).await.unwrap();
        let own = tcp.local_addr().unwrap();
        tcp.write_all(b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n")
            .await
            .unwrap();
        let told = poll(STEP, || {
            hurry.notify_waiters();
            (hurried.load(Ordering::Relaxed) == 2).then_some(())
        });
        assert!(told.await.is_some());
        drop(tcp);
        assert!(record_of(&attached, own, 1).await.passthrough.is_some());
        return;
    }
    panic!("it never answered in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_with_tls_gets_the_answer_of_a_gateway_without() {
    const ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
    let this = test_name!(a_client_with_tls_gets_the_answer_of_a_gateway_without);
    let Some(net) = netns::enter("attach: TLS to plain", this).await else {
        return;
    };
    let listener = TcpListener::bind(("0.0.0.0", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        loop {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let _ = tcp.read(&mut [0; 2048]).await;
            let _ = tcp.write_all(ANSWER).await;
        }
    });
    let attached = Attached::start(port, LONG).await;
    let mut tcp = connect(&net, From::There, at(HERE_V4, port)).await.unwrap();
    let own = tcp.local_addr().unwrap();
    tcp.write_all(&hello()).await.unwrap();
    let mut answer = Vec::new();
    let _ = tcp.read_to_end(&mut answer).await;
    assert_eq!(answer, ANSWER, "the gateway's own words");
    drop(tcp);
    let record = record_of(&attached, own, 1).await;
    assert_eq!(rule(&record), "client.fault.passed_to_plain");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_changes_its_certificate_is_left_alone() {
    let this = test_name!(a_gateway_that_changes_its_certificate_is_left_alone);
    let Some(net) = netns::enter("attach: a renewed certificate", this).await else {
        return;
    };
    let mut gateway = Gateway::start().await;
    let port = gateway.namer.port;
    let files = gateway.files();
    let mut arguments: Vec<&str> = LONG.to_vec();
    arguments.extend(files.iter().map(String::as_str));
    let attached = Attached::start(port, &arguments).await;
    let to = at(HERE_V4, port);
    let (conn, ..) = session(&net, From::There, &gateway, to).await;
    close(conn).await;
    // Another leaf of the same CA, as after a renewal.
    drop(gateway.namer);
    gateway
        .ca
        .write_leaf(gateway.folder.path(), &[NAME], Validity::Now);
    let config = Ca::server_of(gateway.folder.path());
    let listening = poll(STEP, || std::net::TcpListener::bind(("::", port)).ok()).await;
    let listener = listening.expect("the port again");
    listener.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    gateway.namer = names_its_client::serve_tls_on(listener, config);
    let (mut conn, _) = tls(&net, From::There, to, gateway.ca.client())
        .await
        .unwrap();
    let refused = conn.upgrade("/", &[]).await.unwrap();
    assert_eq!(refused.status(), 502, "the first one shows it");
    let state = || attached::status().map(|status| status["why"].clone());
    let paused = poll(STEP, || state().filter(|why| why == "certificate"));
    assert!(paused.await.is_some(), "{:?}", attached::status());
    let (mut conn, own, seen) = session(&net, From::There, &gateway, to).await;
    assert_eq!(own, seen);
    echoes(&mut conn, "direct").await;
    drop(attached);
}

/// A TLS client of it.
async fn tls(
    net: &Net,
    from: From,
    to: SocketAddr,
    trust: Arc<ClientConfig>,
) -> std::io::Result<(Conn, SocketAddr)> {
    let tcp = connect(net, from, to).await?;
    let own = tcp.local_addr()?;
    let name = ServerName::try_from(NAME).expect("a name");
    let tls = TlsConnector::from(trust).connect(name, tcp).await?;
    Ok((Conn::bounded(Wire::Tls(Box::new(tls.into()))), own))
}

/// An open session: the client's own address, and the one that the gateway sees.
async fn session(
    net: &Net,
    from: From,
    gateway: &Gateway,
    to: SocketAddr,
) -> (Conn, SocketAddr, SocketAddr) {
    let (mut conn, own) = tls(net, from, to, gateway.ca.client()).await.expect("TLS");
    conn.open("/").await;
    let named = conn.frame().await.expect("the gateway names its client");
    let seen = named.as_text().parse().expect("an address");
    (conn, own, seen)
}

/// The record of a client at this address.
async fn record_of(attached: &Attached, own: SocketAddr, count: usize) -> SessionRecord {
    let records = attached.records_once(count).await;
    let found = records.iter().find(|it| it.client.addr == own.to_string());
    found
        .unwrap_or_else(|| panic!("no record of {own}"))
        .clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_passes_unread_and_its_transports_are_recorded() {
    let this = test_name!(it_passes_unread_and_its_transports_are_recorded);
    let Some(net) = netns::enter("attach: TLS unread", this).await else {
        return;
    };
    let gateway = Gateway::start().await;
    let port = gateway.namer.port;
    let before = snapshot();
    let mut attached = Attached::start(port, LONG).await;
    assert!(
        attached.stderr().contains("pass unread"),
        "{}",
        attached.stderr()
    );
    assert_eq!(attached::status().expect("a status")["tls"], "unread");
    let ways = [
        (From::Here, at(HERE_V4, port)),
        (From::There, at(HERE_V4, port)),
        (From::There, at(HERE_V6, port)),
    ];
    for (nth, (from, to)) in ways.into_iter().enumerate() {
        let (mut conn, own, seen) = session(&net, from, &gateway, to).await;
        assert_eq!(seen.ip(), own.ip(), "{from:?} to {to}");
        let large = "x".repeat(300_000);
        echoes(&mut conn, &large).await;
        close(conn).await;
        let record = record_of(&attached, own, nth + 1).await;
        assert_eq!(rule(&record), "ok.passed");
        assert_eq!((record.kind, record.phase), (Kind::Connection, Phase::Open));
        assert_eq!(record.tap.mode, TapMode::Attached);
        let passed = record.passthrough.as_deref().expect("what passed");
        assert_eq!(passed.sni.as_ref().map(AsRef::as_ref), Some(NAME));
        for direction in [&passed.to_gateway, &passed.to_client] {
            assert!(direction.bytes > 300_000, "{direction:?}");
            assert_eq!(direction.alert, None);
        }
        let last = passed.to_client.last_record;
        assert_eq!(last, Some(LastRecord::PerhapsAlert), "close_notify");
        let facts = record.gateway.as_ref().expect("the gateway's facts");
        assert_eq!(facts.local_addr.as_deref(), Some(&*seen.to_string()));
        assert_eq!(record.client.tls, None, "no TLS with us");
    }
    attached.signal("TERM");
    assert!(attached.ended().await.0.success(), "{}", attached.stderr());
    assert_eq!(snapshot(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_unread_is_judged_by_what_shows() {
    let this = test_name!(what_goes_wrong_unread_is_judged_by_what_shows);
    let Some(net) = netns::enter("attach: TLS faults", this).await else {
        return;
    };
    let gateway = Gateway::start().await;
    let to = at(HERE_V4, gateway.namer.port);
    let attached = Attached::start(gateway.namer.port, LONG).await;
    let mut count = 0;
    let mut expect = async |own: SocketAddr, wanted: &str| {
        count += 1;
        let record = record_of(&attached, own, count).await;
        assert_eq!(rule(&record), wanted, "{:?}", record.passthrough);
        record
    };

    let tcp = connect(&net, From::There, to).await.unwrap();
    let own = tcp.local_addr().unwrap();
    drop(tcp);
    expect(own, "probe.passed").await;

    let mut tcp = connect(&net, From::There, to).await.unwrap();
    let own = tcp.local_addr().unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    tcp.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let _ = tcp.read_to_end(&mut answer).await;
    drop(tcp);
    expect(own, "client.fault.passed_plain").await;

    // A client that does not trust the certificate says so by an alert, which TLS 1.3 encrypts.
    let tcp = connect(&net, From::There, to).await.unwrap();
    let own = tcp.local_addr().unwrap();
    let name = ServerName::try_from(NAME).unwrap();
    let refused = TlsConnector::from(trusting_nothing()).connect(name, tcp);
    assert!(refused.await.is_err());
    let record = expect(own, "client.closed.passed_tls").await;
    let passed = record.passthrough.unwrap();
    assert_eq!(passed.to_gateway.alert, Some(PassedAlert::Encrypted));

    let (conn, own, _) = session(&net, From::There, &gateway, to).await;
    conn.wire.abort();
    let record = expect(own, "client.left.passed").await;
    assert_eq!(record.close.first, Some(Party::Client));
    assert_eq!(record.close.transport.client, TransportEnd::Rst);

    // Only half of a record, then FIN.
    let (conn, own, _) = session(&net, From::There, &gateway, to).await;
    let Wire::Tls(mut tls) = conn.wire else {
        panic!("no TLS");
    };
    let tcp = tls.get_mut().0;
    tcp.write_all(&[23, 3, 3, 0, 50, 1, 2, 3]).await.unwrap();
    drop(tls);
    let record = expect(own, "client.left.passed").await;
    assert_eq!(record.close.transport.client, TransportEnd::Fin);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_fails_unread_is_told_from_a_client_that_does() {
    let this = test_name!(a_gateway_that_fails_unread_is_told_from_a_client_that_does);
    let Some(net) = netns::enter("attach: failing TLS", this).await else {
        return;
    };
    let listener = TcpListener::bind(("0.0.0.0", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut all = JoinSet::new();
        for nth in 0.. {
            let (tcp, _) = listener.accept().await.unwrap();
            all.spawn(serve_badly(tcp, nth));
        }
    });
    let to = at(HERE_V4, port);
    let attached = Attached::start(port, LONG).await;
    let wanted = [
        "client.fault.passed_tls",
        "gateway.left.passed",
        "gateway.left.passed",
        "gateway.silent.passed",
    ];
    for (nth, wanted) in wanted.into_iter().enumerate() {
        let mut tcp = connect(&net, From::There, to).await.unwrap();
        let own = tcp.local_addr().unwrap();
        let hello = hello();
        tcp.write_all(&hello).await.unwrap();
        let mut answer = Vec::new();
        // As long as a client that gives up waits.
        let waiting = tcp.read_to_end(&mut answer);
        let _ = tokio::time::timeout(Duration::from_millis(2500), waiting).await;
        drop(tcp);
        let record = record_of(&attached, own, nth + 1).await;
        assert_eq!(
            rule(&record),
            wanted,
            "{:?} {:?}",
            record.passthrough,
            record.close
        );
    }
}

/// The first connection is attach's own, which finds out what the gateway speaks.
async fn serve_badly(mut tcp: TcpStream, nth: u32) {
    let mut read = [0; 2048];
    let alert = [21, 3, 3, 0, 2, 2, 70];
    match nth {
        0 | 1 => {
            let _ = tcp.read(&mut read).await;
            let _ = tcp.write_all(&alert).await;
            let _ = tcp.shutdown().await;
        }
        // Not a byte, and FIN.
        2 => {
            let _ = tcp.read(&mut read).await;
        }
        // Half of a record, and FIN.
        3 => {
            let _ = tcp.read(&mut read).await;
            let _ = tcp.write_all(&[22, 3, 3, 1, 0, 2]).await;
        }
        // Nothing at all, until the client has left.
        _ => while tcp.read(&mut read).await.is_ok_and(|count| count > 0) {},
    }
}

/// A greeting.
fn hello() -> Vec<u8> {
    let name = ServerName::try_from(NAME).unwrap();
    let mut client = ClientConnection::new(trusting_nothing(), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_its_certificate_and_key_its_sessions_are_read() {
    let this = test_name!(with_its_certificate_and_key_its_sessions_are_read);
    let Some(net) = netns::enter("attach: TLS read", this).await else {
        return;
    };
    let gateway = Gateway::start().await;
    let port = gateway.namer.port;
    let files = gateway.files();
    let mut arguments: Vec<&str> = LONG.to_vec();
    arguments.extend(files.iter().map(String::as_str));
    let before = snapshot();
    let mut attached = Attached::start(port, &arguments).await;
    assert_eq!(attached::status().expect("a status")["tls"], "terminated");
    for (nth, from) in [From::Here, From::There].into_iter().enumerate() {
        let (mut conn, own, seen) = session(&net, from, &gateway, at(HERE_V4, port)).await;
        assert_eq!(seen.ip(), own.ip(), "{from:?}");
        echoes(&mut conn, "read").await;
        close(conn).await;
        let record = record_of(&attached, own, nth + 1).await;
        assert_eq!(rule(&record), "ok.client_closed");
        assert_eq!(record.kind, Kind::Websocket);
        assert!(record.client.tls.is_some() && record.gateway.unwrap().tls.is_some());
        assert_eq!(record.frames.unwrap().to_gateway.messages, 1);
    }
    attached.signal("TERM");
    assert!(attached.ended().await.0.success(), "{}", attached.stderr());
    assert_eq!(snapshot(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_clients_have_not_seen_is_refused() {
    let this = test_name!(a_certificate_that_clients_have_not_seen_is_refused);
    let Some(_net) = netns::enter("attach: another certificate", this).await else {
        return;
    };
    let (gateway, other) = (Gateway::start().await, Gateway::start().await);
    let plain = names_its_client::start("::").await;
    let before = snapshot();
    let mixed = |files: [String; 4], place: usize, file: &str| {
        let mut mixed = files;
        file.clone_into(&mut mixed[place]);
        mixed
    };
    let cases = [
        (
            gateway.namer.port,
            mixed(gateway.files(), 3, &other.files()[3]),
            "--key: expected the key of the certificate",
        ),
        (
            gateway.namer.port,
            mixed(gateway.files(), 1, "/missing.pem"),
            "--cert: expected a PEM file with certificates, found no file",
        ),
        (
            gateway.namer.port,
            other.files(),
            "clients would see another certificate",
        ),
        (plain.port, other.files(), "speaks plain HTTP"),
    ];
    for (port, files, words) in cases {
        let output = tokio::task::spawn_blocking(move || {
            let port = port.to_string();
            let mut arguments = vec!["--port", &port, "--for", "1h"];
            arguments.extend(files.iter().map(String::as_str));
            attached::run(&arguments)
        });
        let output = output.await.unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("nothing was changed"), "{text}");
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(words), "{text}");
        assert_eq!(snapshot(), before);
    }
}
