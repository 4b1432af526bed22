//! The gateway sees each client as it would without the tap.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::Command;

use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use wstap::session::SessionRecord;
use wstap::session::record::gateway::{ForwardedMode, ForwardedWhy};
use wstap::session::record::{Class, TapMode};
use wstap::transport::redirected::MARK;

use super::{From, at, close, connect, echoes, session};
use crate::peers::names_its_client::{self, Namer};
use crate::support::attached::{Attached, LONG, command, nft, run, snapshot, status};
use crate::support::conn::Conn;
use crate::support::deadline::{STEP, poll};
use crate::support::netns::{self, HERE_PRIVATE, HERE_V4, HERE_V6, test_name};
use crate::support::records::class;
use crate::support::wire::Wire;

/// Each way to a gateway on all addresses.
fn ways() -> [(From, IpAddr); 8] {
    [
        (From::Here, Ipv4Addr::LOCALHOST.into()),
        (From::Here, Ipv6Addr::LOCALHOST.into()),
        (From::Here, HERE_V4.into()),
        (From::Here, HERE_PRIVATE.into()),
        (From::Here, HERE_V6.into()),
        (From::There, HERE_V4.into()),
        (From::There, HERE_PRIVATE.into()),
        (From::There, HERE_V6.into()),
    ]
}

#[tokio::test]
async fn every_client_keeps_its_address() {
    let this = test_name!(every_client_keeps_its_address);
    let Some(net) = netns::enter("attach: addresses", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    let before = snapshot();
    let mut attached = Attached::start(gateway.port, LONG).await;
    let mut clients = Vec::new();
    for (from, ip) in ways() {
        let (conn, own, seen) = session(&net, from, at(ip, gateway.port)).await;
        assert_eq!(seen.ip(), own.ip(), "{from:?} to {ip}");
        if from == From::There {
            assert_eq!(
                seen, own,
                "{from:?} to {ip}: a remote client keeps its port as well"
            );
        }
        clients.push((own, seen, ip));
        close(conn).await;
    }
    let records = attached.records_once(clients.len()).await;
    for (own, seen, ip) in clients {
        let of_client = |addr: SocketAddr| addr.to_string();
        let record = records.iter().find(|it| it.client.addr == of_client(own));
        let record = record.unwrap_or_else(|| panic!("no record of {own}"));
        assert_eq!(record.tap.mode, TapMode::Attached);
        assert_eq!(record.tap.listener, at(ip, gateway.port).to_string());
        assert_eq!(class(record), Class::Ok);
        let facts = record.gateway.as_ref().expect("the gateway's facts");
        assert_eq!(
            facts.addr.as_deref(),
            Some(&*at(ip, gateway.port).to_string())
        );
        // The key that joins a record with the gateway's own log.
        assert_eq!(facts.local_addr.as_deref(), Some(&*seen.to_string()));
        let forwarded = facts
            .forwarded
            .as_ref()
            .expect("what was said of the client");
        assert_eq!(forwarded.mode, ForwardedMode::Pass);
        assert_eq!(forwarded.why, Some(ForwardedWhy::ClientAddress));
    }
    attached.signal("TERM");
    assert!(attached.ended().await.0.success(), "{}", attached.stderr());
    assert_eq!(snapshot(), before);
}

/// The setting of this network namespace.
const INHERIT: &str = "/proc/sys/net/ipv4/tcp_fwmark_accept";

fn inherits() -> bool {
    let value = std::fs::read_to_string(INHERIT).expect("a setting");
    value.trim() == "1"
}

/// The gateway's sockets carry our mark only while we are attached, and only where nobody else uses
/// marks; without it remote clients are tapped all the same.
#[tokio::test]
async fn sockets_of_the_gateway_are_marked_where_nobody_else_uses_marks() {
    let this = test_name!(sockets_of_the_gateway_are_marked_where_nobody_else_uses_marks);
    let Some(net) = netns::enter("attach: marks", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    let to = at(HERE_V4, gateway.port);
    let before = snapshot();
    assert!(!inherits());
    let (old, of_old, _) = session(&net, From::There, to).await;
    let attached = Attached::start(gateway.port, LONG).await;
    assert!(inherits());
    remote_clients_are_tapped(&net, &gateway, MARK).await;
    assert_eq!(gateway.mark_of(of_old), 0, "from before");
    attached.killed().await;
    assert!(inherits(), "left by the kill");
    let (direct, own, _) = session(&net, From::There, to).await;
    assert_eq!(gateway.mark_of(own), 0, "direct");
    close(direct).await;
    // The next tap takes it over, and switches it back; so does `--detach`.
    Attached::start(gateway.port, LONG).await.detach().await;
    assert_eq!(snapshot(), before);
    Attached::start(gateway.port, LONG).await.killed().await;
    assert!(run(&["--detach"]).status.success());
    assert_eq!(snapshot(), before);
    // Also if somebody has removed the route that marks the setting as ours.
    let attached = Attached::start(gateway.port, LONG).await;
    netns::ip_here(&net, "-4 route flush table 77747");
    attached.detach().await;
    assert_eq!(snapshot(), before);
    close(old).await;
}

#[tokio::test]
async fn marks_are_not_inherited_where_somebody_may_mind() {
    let this = test_name!(marks_are_not_inherited_where_somebody_may_mind);
    let Some(net) = netns::enter("attach: marks of others", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    let nft_runs = |words: &str| {
        let done = nft().command().args(words.split(' ')).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    let somebodys = [
        "add table inet somebodys",
        "add chain inet somebodys pre { type filter hook prerouting priority -150; }",
        "add rule inet somebodys pre tcp dport 1 meta mark set 9",
    ];
    for case in ["rule", "filter", "setting"] {
        match case {
            "rule" => netns::ip_here(&net, "-6 rule add priority 9 fwmark 0x9 lookup main"),
            "filter" => somebodys.into_iter().for_each(nft_runs),
            _ => std::fs::write(INHERIT, "1").unwrap(),
        }
        let (before, own) = (snapshot(), inherits());
        let attached = Attached::start(gateway.port, LONG).await;
        assert_eq!(inherits(), own, "{case}");
        let mark = if own { MARK } else { 0 };
        remote_clients_are_tapped(&net, &gateway, mark).await;
        attached.detach().await;
        assert_eq!(snapshot(), before, "{case}");
        match case {
            "rule" => netns::ip_here(&net, "-6 rule del priority 9"),
            "filter" => nft_runs("delete table inet somebodys"),
            _ => std::fs::write(INHERIT, "0").unwrap(),
        }
    }
    let local = [LONG, &["--local-only"]].concat();
    let attached = Attached::start(gateway.port, &local).await;
    assert!(!inherits(), "local clients need no marks");
    attached.detach().await;
    // Rules that come while it is attached.
    let attached = Attached::start(gateway.port, LONG).await;
    assert!(inherits());
    somebodys.into_iter().for_each(nft_runs);
    let noticed = poll(STEP, || (!inherits()).then_some(())).await;
    assert!(noticed.is_some(), "{}", attached.stderr());
    remote_clients_are_tapped(&net, &gateway, 0).await;
    attached.detach().await;
}

/// As in most containers.
#[tokio::test]
async fn a_setting_that_cannot_be_written_is_left_alone() {
    let this = test_name!(a_setting_that_cannot_be_written_is_left_alone);
    let Some(net) = netns::enter("attach: read-only settings", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    let before = snapshot();
    Attached::start(gateway.port, LONG).await.killed().await;
    let read_only = |arguments: &[&str]| {
        let command = command(arguments);
        let script = "mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys && exec \"$0\" \"$@\"";
        let mut unshared = Command::new("unshare");
        unshared
            .args(["--mount", "sh", "-c", script])
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            unshared.env(name, value.unwrap_or_default());
        }
        unshared.output().expect("run unshare")
    };
    let port = gateway.port.to_string();
    let attached = read_only(&["--port", &port, "--for", "1s", "--grace", "1s"]);
    assert!(attached.status.success(), "{attached:?}");
    let detached = read_only(&["--detach"]);
    let text = String::from_utf8_lossy(&detached.stderr);
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(detached.status.code(), Some(1), "{text}");
    assert!(
        flat.contains("a killed one has left a setting on"),
        "{text}"
    );
    assert!(run(&["--detach"]).status.success());
    assert_eq!(snapshot(), before);
    // Read-only from the beginning.
    let dry = read_only(&["--port", &port, "--dry-run"]);
    let dry = String::from_utf8_lossy(&dry.stdout);
    assert!(dry.contains("ip rule") || dry.contains("rule add"), "{dry}");
    assert!(!dry.contains("sysctl"), "{dry}");
    let dry = run(&["--port", &port, "--dry-run"]);
    let dry = String::from_utf8_lossy(&dry.stdout);
    assert!(
        dry.contains("sysctl -w net.ipv4.tcp_fwmark_accept=1"),
        "{dry}"
    );
    drop(net);
}

/// Each keeps its address and port, and its bulk data comes back; the gateway's socket has this
/// mark.
async fn remote_clients_are_tapped(net: &netns::Net, gateway: &Namer, mark: u32) {
    for ip in [IpAddr::from(HERE_V4), HERE_V6.into()] {
        let (mut conn, own, seen) = session(net, From::There, at(ip, gateway.port)).await;
        assert_eq!(own, seen);
        assert_eq!(gateway.mark_of(own), mark, "{own}");
        echoes(&mut conn, &"bulk ".repeat(20_000)).await;
        let open = status().expect("a status")["sessions"]["open"].clone();
        let open = open.as_array().expect("a list");
        assert!(
            open.iter().any(|it| it["client"] == own.to_string()),
            "{own}"
        );
        close(conn).await;
    }
}

#[tokio::test]
async fn a_gateway_of_ipv6_alone_still_refuses_ipv4() {
    let this = test_name!(a_gateway_of_ipv6_alone_still_refuses_ipv4);
    let Some(net) = netns::enter("attach: IPv6 alone", this).await else {
        return;
    };
    let socket = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
    socket.set_only_v6(true).unwrap();
    socket.bind(&at(Ipv6Addr::UNSPECIFIED, 0).into()).unwrap();
    socket.listen(64).unwrap();
    socket.set_nonblocking(true).unwrap();
    let gateway = names_its_client::serve_on(TcpListener::from_std(socket.into()).unwrap());
    let attached = Attached::start(gateway.port, LONG).await;
    for from in [From::Here, From::There] {
        let refused = connect(&net, from, at(HERE_V4, gateway.port)).await;
        let kind = refused.map(|_| ()).unwrap_err().kind();
        assert_eq!(kind, ErrorKind::ConnectionRefused, "{from:?}");
        let (conn, own, seen) = session(&net, from, at(HERE_V6, gateway.port)).await;
        assert_eq!(own.ip(), seen.ip());
        close(conn).await;
    }
    attached.records_once(2).await;
}

/// Its link is part of a link-local address, which no connection of ours can keep.
#[tokio::test]
async fn a_link_local_client_goes_straight_to_the_gateway() {
    let this = test_name!(a_link_local_client_goes_straight_to_the_gateway);
    let Some(net) = netns::enter("attach: link-local", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    let attached = Attached::start(gateway.port, LONG).await;
    let to = net.here_link_local(gateway.port);
    let (mut conn, own, seen) = session(&net, From::There, to).await;
    assert_eq!((seen.ip(), seen.port()), (own.ip(), own.port()));
    echoes(&mut conn, "direct").await;
    close(conn).await;
    // Of two connections, one is tapped.
    let (conn, own, _) = session(&net, From::There, at(HERE_V6, gateway.port)).await;
    close(conn).await;
    let records = attached.records_once(1).await;
    let clients: Vec<&str> = records.iter().map(|it| it.client.addr.as_str()).collect();
    assert_eq!(clients, [own.to_string()]);
}

/// Disables or enables IPv6 for one interface of this namespace, or for all.
fn ipv6(interface: &str, enabled: bool) {
    let path = format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6");
    std::fs::write(path, if enabled { "0" } else { "1" }).expect("write a setting");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_ipv6_as_engines_make_containers() {
    let this = test_name!(without_ipv6_as_engines_make_containers);
    let Some(net) = netns::enter("attach: no IPv6", this).await else {
        return;
    };
    ipv6("all", false);
    let gateway = names_its_client::start("::").await;
    let before = snapshot();
    let mut attached = Attached::start(gateway.port, LONG).await;
    for (from, ip) in ways().into_iter().filter(|(_, ip)| ip.is_ipv4()) {
        let (conn, own, seen) = session(&net, from, at(ip, gateway.port)).await;
        assert_eq!(seen.ip(), own.ip(), "{from:?} to {ip}");
        close(conn).await;
    }
    attached.records_once(5).await;
    attached.signal("TERM");
    assert!(attached.ended().await.0.success(), "{}", attached.stderr());
    assert_eq!(snapshot(), before);

    // Remote clients would come by IPv6, and get no answer.
    ipv6("cable", true);
    let port = gateway.port.to_string();
    let output = run(&["--port", &port, "--for", "1h"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("disabled for loopback alone"), "{text}");
    drop(Attached::start(gateway.port, &["--for", "1h", "--local-only"]).await);
}

#[tokio::test]
async fn a_gateway_on_one_address_is_reached_there_and_nowhere_else() {
    let this = test_name!(a_gateway_on_one_address_is_reached_there_and_nowhere_else);
    let Some(net) = netns::enter("attach: one address", this).await else {
        return;
    };
    let gateway = names_its_client::start(&HERE_V4.to_string()).await;
    let _attached = Attached::start(gateway.port, LONG).await;
    for from in [From::Here, From::There] {
        let (conn, own, seen) = session(&net, from, at(HERE_V4, gateway.port)).await;
        assert_eq!(seen.ip(), own.ip(), "{from:?}");
        close(conn).await;
    }
    refused_except(&net, gateway.port, |ip| ip == HERE_V4).await;
}

#[tokio::test]
async fn a_gateway_on_every_ipv4_address_is_not_reached_by_ipv6() {
    let this = test_name!(a_gateway_on_every_ipv4_address_is_not_reached_by_ipv6);
    let Some(net) = netns::enter("attach: IPv4 alone", this).await else {
        return;
    };
    let gateway = names_its_client::start("0.0.0.0").await;
    let attached = Attached::start(gateway.port, LONG).await;
    let v4 = ways().into_iter().filter(|(_, ip)| ip.is_ipv4());
    let mut tapped = 0;
    for (from, ip) in v4 {
        let (conn, own, seen) = session(&net, from, at(ip, gateway.port)).await;
        assert_eq!(seen.ip(), own.ip(), "{from:?} to {ip}");
        close(conn).await;
        tapped += 1;
    }
    attached.records_once(tapped).await;
    refused_except(&net, gateway.port, |ip| ip.is_ipv4()).await;
}

/// Connections that were refused without the tap still are.
async fn refused_except(net: &netns::Net, port: u16, is_served: impl Fn(IpAddr) -> bool) {
    for (from, ip) in ways() {
        if is_served(ip) {
            continue;
        }
        let refused = connect(net, from, at(ip, port)).await;
        let kind = refused.map(drop).map_err(|error| error.kind());
        assert_eq!(kind, Err(ErrorKind::ConnectionRefused), "{from:?} to {ip}");
    }
}

#[tokio::test]
async fn headers_pass_as_they_are_and_none_is_added() {
    let this = test_name!(headers_pass_as_they_are_and_none_is_added);
    let Some(net) = netns::enter("attach: headers", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    let attached = Attached::start(gateway.port, LONG).await;
    let tcp = connect(&net, From::There, at(HERE_V4, gateway.port))
        .await
        .unwrap();
    let own = tcp.local_addr().unwrap();
    let mut conn = Conn::bounded(Wire::Plain(tcp));
    for _ in 0..4 {
        let request = "GET /a HTTP/1.1\r\nHost: gw\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n";
        conn.send(request.as_bytes()).await.unwrap();
        let head = conn.head().await.expect("an answer");
        let body = conn.body(&head).await.expect("its body");
        assert_eq!(String::from_utf8_lossy(&body), format!("{own} 203.0.113.9"));
        assert_eq!(head.value("x-wstap-session"), None);
    }
    drop(conn);
    // Later requests went out on the connection of an earlier one: it is the client's own. (It returns
    // to the pool a moment after an answer.)
    let records = attached.records_once(4).await;
    let reused = |record: &SessionRecord| record.gateway.as_ref().is_some_and(|it| it.reused);
    assert!(records.iter().any(reused), "{records:?}");
}

#[tokio::test]
async fn the_taps_own_port_is_closed_to_others() {
    let this = test_name!(the_taps_own_port_is_closed_to_others);
    let Some(net) = netns::enter("attach: the tap's own port", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    let attached = Attached::start(gateway.port, LONG).await;
    let port = status().expect("a status")["tap_port"]
        .as_u64()
        .expect("a port");
    let port = u16::try_from(port).expect("a port");
    for (from, ip) in ways() {
        let refused = connect(&net, from, at(ip, port)).await;
        let kind = refused.map(drop).map_err(|error| error.kind());
        assert_eq!(kind, Err(ErrorKind::ConnectionRefused), "{from:?} to {ip}");
    }
    assert!(attached.records().is_empty());
}

#[tokio::test]
async fn local_clients_alone_are_tapped_where_that_is_asked() {
    let this = test_name!(local_clients_alone_are_tapped_where_that_is_asked);
    let Some(net) = netns::enter("attach: local clients", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    let before = snapshot();
    let attached = Attached::start(gateway.port, &["--for", "1h", "--local-only"]).await;
    let (there, own, seen) = session(&net, From::There, at(HERE_V4, gateway.port)).await;
    assert_eq!(own, seen, "direct");
    let (here, own, seen) = session(&net, From::Here, at(HERE_V4, gateway.port)).await;
    assert!(
        own.ip() == seen.ip() && own != seen,
        "{own} {seen}: through the tap"
    );
    close(there).await;
    close(here).await;
    let records = attached.records_once(1).await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].client.addr, own.to_string());
    drop(attached);
    // It had no policy rules: nothing is left even after SIGKILL, once nft has noticed.
    let gone = poll(STEP, || (snapshot() == before).then_some(()));
    assert!(gone.await.is_some(), "{}", snapshot());
}
