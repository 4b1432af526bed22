//! Probes of other namespaces, and of addresses that only a network of our own has.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;

use super::{VARIABLE, broken, command, is_whole, run, rung};
use crate::peers::Via;
use crate::peers::openclaw::{Gateway, Script, TOKEN};
use crate::support::deadline::{STEP, poll};
use crate::support::netns::{
    self, HERE_PRIVATE, HERE_V4, Hosts, THERE_PRIVATE, count_packets, counted_packets, nft_in,
    test_name,
};

/// The report without what depends on where and when it ran.
fn without_times(mut report: Value) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    if key == "ms" || key.ends_with("_ms") || key == "at" || key == "local_addr" {
                        *value = Value::Null;
                    } else {
                        strip(value);
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    report["where"] = Value::Null;
    for rung in report["rungs"].as_array_mut().unwrap() {
        // Times are in its words.
        rung["because"] = Value::Null;
        // It answers the key of its request.
        for header in rung["facts"]["headers"]
            .as_array_mut()
            .into_iter()
            .flatten()
        {
            if header["name"] == "sec-websocket-accept" {
                header["value"] = Value::Null;
            }
        }
    }
    strip(&mut report);
    report
}

#[tokio::test]
async fn a_namespace_that_is_entered_is_probed_as_from_inside() {
    let name = test_name!(a_namespace_that_is_entered_is_probed_as_from_inside);
    let Some(net) = netns::enter("probe: entering a namespace", name).await else {
        return;
    };
    let gateway = Gateway::start(&Via::At((HERE_PRIVATE, 0).into()), Script::default()).await;
    let there = net.there();
    let hosts = Hosts::write(&there, &format!("{HERE_PRIVATE} claw\n"));
    let url = format!("ws://claw:{}", gateway.peer.addr().port());
    let arguments = [url.as_str(), "--json", "--token-env", VARIABLE];

    let mut entering = command(&arguments);
    entering.args(["--in", &format!("netns:/run/netns/{there}")]);
    entering.env(VARIABLE, TOKEN);
    let entered = run(entering).await.report();
    is_whole(&entered);
    assert_eq!(broken(&entered).0, "none", "{entered}");
    assert_eq!(rung(&entered, "L1.name")["facts"]["source"], "hosts");
    assert_eq!(entered["where"]["entered"], true);

    let mut inside = tokio::process::Command::new("ip");
    inside.args([
        "netns",
        "exec",
        &there,
        env!("CARGO_BIN_EXE_wstap"),
        "probe",
    ]);
    inside
        .args(arguments)
        .env(VARIABLE, TOKEN)
        .env("HOME", "/nonexistent");
    let inside = run(inside).await.report();
    assert_eq!(entered["where"]["netns"], inside["where"]["netns"]);
    assert_eq!(entered["where"]["hosts"], inside["where"]["hosts"]);
    assert_eq!(without_times(entered), without_times(inside));

    // From here the name is nobody's.
    let here = run(command(&[&url, "--json"])).await.report();
    assert_eq!(broken(&here).1, "gateway.unreachable.dns");
    drop(hosts);
}

#[tokio::test]
async fn one_dead_address_of_two_is_seen() {
    let name = test_name!(one_dead_address_of_two_is_seen);
    let Some(net) = netns::enter("probe: a dead address", name).await else {
        return;
    };
    let gateway = Gateway::start(&Via::At((HERE_PRIVATE, 0).into()), Script::default()).await;
    let there = net.there();
    // Nobody has the second address; it is on the cable, so that packets to it are lost.
    let both = |dead: &str| format!("{HERE_PRIVATE} claw\n{dead} claw\n");
    for dead in ["10.87.0.77", "2001:db8::77"] {
        let hosts = Hosts::write(&there, &both(dead));
        let url = format!("ws://claw:{}", gateway.peer.addr().port());
        let report = probed_from(&there, &url).await;
        is_whole(&report);
        let expected = ("L1.tcp".to_owned(), "gateway.unreachable.partly".to_owned());
        assert_eq!(broken(&report), expected, "{report}");
        // The other address works, so the rungs above are tested.
        // The stand-in's clock never changes.
        assert_eq!(rung(&report, "L1.challenge")["status"], "warn", "{report}");
        // One of these addresses is public: a secret does not go there in clear text.
        let expected = if dead.contains(':') { "skip" } else { "pass" };
        assert_eq!(rung(&report, "L2.auth")["status"], expected, "{report}");
        let port = gateway.peer.addr().port();
        let addr = SocketAddr::new(dead.parse().unwrap(), port).to_string();
        let said = &rung(&report, "L1.tcp")["verdict"]["summary"];
        assert!(said.as_str().unwrap().contains(&addr), "{said}");
        drop(hosts);
    }
}

/// Each has a secret of its own, and a name leads to both.
#[tokio::test]
async fn two_gateways_behind_one_name() {
    let name = test_name!(two_gateways_behind_one_name);
    let Some(net) = netns::enter("probe: two gateways behind a name", name).await else {
        return;
    };
    let first = Gateway::start(&Via::At((HERE_PRIVATE, 0).into()), Script::default()).await;
    let port = first.peer.addr().port();
    let _second = Gateway::start(&Via::At((HERE_V4, port).into()), Script::default()).await;
    let there = net.there();
    let hosts = Hosts::write(&there, &format!("{HERE_PRIVATE} claw\n{HERE_V4} claw\n"));
    let mut command = command(&[&format!("ws://claw:{port}"), "--json"]);
    command.args(["--in", &format!("netns:/run/netns/{there}")]);
    let report = run(command).await.report();
    drop(hosts);
    is_whole(&report);
    let expected = (
        "L2.auth".to_owned(),
        "gateway.auth.token_missing".to_owned(),
    );
    assert_eq!(broken(&report), expected, "{report}");
    let because = rung(&report, "L2.auth")["because"].as_str().unwrap();
    assert!(because.contains("which is one of 2 addresses"), "{because}");
}

/// A gateway that listens on its own loopback refuses clients from other hosts.
#[tokio::test]
async fn a_gateway_on_its_own_loopback_refuses_others() {
    let name = test_name!(a_gateway_on_its_own_loopback_refuses_others);
    let Some(net) = netns::enter("probe: a gateway on loopback", name).await else {
        return;
    };
    let gateway = Gateway::start(&Via::Plain, Script::default()).await;
    let url = format!("ws://{HERE_PRIVATE}:{}", gateway.peer.addr().port());
    let report = probed_from(&net.there(), &url).await;
    let expected = (
        "L1.tcp".to_owned(),
        "gateway.unreachable.refused".to_owned(),
    );
    assert_eq!(broken(&report), expected, "{report}");
    let advice = &rung(&report, "L1.tcp")["verdict"]["next"];
    assert!(advice.as_str().unwrap().contains("--bind lan"), "{advice}");
}

/// As the OpenClaw CLI: no secret without TLS to an address that is not private.
#[tokio::test]
async fn a_secret_goes_nowhere_in_clear_text() {
    let name = test_name!(a_secret_goes_nowhere_in_clear_text);
    let Some(net) = netns::enter("probe: a public address", name).await else {
        return;
    };
    let gateway = Gateway::start(&Via::At((HERE_V4, 0).into()), Script::default()).await;
    let url = format!("ws://{HERE_V4}:{}", gateway.peer.addr().port());
    let report = probed_from(&net.there(), &url).await;
    is_whole(&report);
    assert_eq!(broken(&report).0, "none", "{report}");
    let auth = rung(&report, "L2.auth");
    assert_eq!(auth["status"], "skip", "{report}");
    assert!(
        auth["because"].as_str().unwrap().contains("use wss"),
        "{auth}"
    );
}

/// A process with a hosts file of its own, in this network namespace.
#[tokio::test]
async fn the_names_of_a_process_are_those_of_its_files() {
    let name = test_name!(the_names_of_a_process_are_those_of_its_files);
    let Some(_net) = netns::enter("probe: a process's own hosts file", name).await else {
        return;
    };
    let gateway = Gateway::start(&Via::Plain, Script::default()).await;
    let folder = tempfile::TempDir::new().unwrap();
    let hosts = folder.path().join("hosts");
    let url = format!("ws://claw:{}", gateway.peer.addr().port());
    let ready = folder.path().join("ready");
    let script = format!(
        "mount --bind {} /etc/hosts && touch {} && exec sleep 60",
        hosts.display(),
        ready.display()
    );
    for (text, expected) in [
        ("127.0.0.1 claw\n", "L2.auth"),
        ("127.0.0.1 other\n", "L1.name"),
    ] {
        std::fs::write(&hosts, text).unwrap();
        let mut process = std::process::Command::new("unshare")
            .args(["--mount", "sh", "-c", &script])
            .env("OPENCLAW_GATEWAY_TOKEN", TOKEN)
            .spawn()
            .unwrap();
        let is_ready = poll(STEP, || ready.exists().then_some(())).await;
        let place = format!("pid:{}", process.id());
        let report = run(command(&[&url, "--json", "--in", &place]))
            .await
            .report();
        process.kill().unwrap();
        process.wait().unwrap();
        std::fs::remove_file(&ready).unwrap();
        assert!(is_ready.is_some());
        // A secret of its environment goes to no URL that was typed.
        assert_eq!(report["first_failing"], expected, "{report}");
        let shown = report["where"]["env"]["OPENCLAW_GATEWAY_TOKEN"]
            .as_str()
            .unwrap();
        assert!(shown.starts_with("sha256:"), "{shown}");
        assert_eq!(report["where"]["hosts"], serde_json::json!([text.trim()]));
    }
}

/// Nobody answers there, not even with a refusal.
#[tokio::test]
async fn packets_that_are_dropped() {
    let name = test_name!(packets_that_are_dropped);
    let Some(net) = netns::enter("probe: dropped packets", name).await else {
        return;
    };
    let there = net.there();
    // A neighbour that is known and does not exist: otherwise the kernel says that it is not found.
    let arguments = [
        "-n",
        &there,
        "neigh",
        "add",
        "10.87.0.77",
        "lladdr",
        "02:00:00:00:00:77",
        "dev",
    ];
    let links = std::process::Command::new("ip")
        .args(["-n", &there, "-o", "route", "get", "10.87.0.77"])
        .output()
        .unwrap();
    let links = String::from_utf8(links.stdout).unwrap();
    let device = links
        .split(" dev ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .unwrap();
    let added = std::process::Command::new("ip")
        .args(arguments)
        .arg(device)
        .status()
        .unwrap();
    assert!(added.success());
    let report = probed_from(&there, "ws://10.87.0.77:18789").await;
    is_whole(&report);
    let expected = (
        "L1.tcp".to_owned(),
        "gateway.unreachable.timeout".to_owned(),
    );
    assert_eq!(broken(&report), expected, "{report}");
}

/// A path that drops large packets without an ICMP message.
#[tokio::test]
async fn small_requests_pass_and_large_ones_do_not() {
    let name = test_name!(small_requests_pass_and_large_ones_do_not);
    let Some(net) = netns::enter("probe: large packets", name).await else {
        return;
    };
    let listener = net.listen_there(THERE_PRIVATE.into()).unwrap();
    let gateway = Gateway::start(&Via::Bound(Arc::new(listener)), Script::default()).await;
    let url = format!("ws://{THERE_PRIVATE}:{}", gateway.peer.addr().port());
    let fine = run(command(&[&url, "--json"])).await.report();
    assert_eq!(rung(&fine, "L1.size")["status"], "pass", "{fine}");
    let there = net.there();
    let chain = "{ type filter hook input priority 0; }";
    nft_in(&there, &["add", "table", "ip", "narrow"]);
    nft_in(&there, &["add", "chain", "ip", "narrow", "in", chain]);
    let large = ["ip", "length", ">", "1400", "drop"];
    let rule = ["add", "rule", "ip", "narrow", "in"];
    nft_in(&there, &[rule.as_slice(), &large].concat());
    let report = run(command(&[&url, "--json"])).await.report();
    is_whole(&report);
    let expected = ("L1.size".to_owned(), "network.cut.large_request".to_owned());
    assert_eq!(broken(&report), expected, "{report}");
    let size = rung(&report, "L1.size");
    assert_eq!(size["facts"]["path_mtu"], 1500, "{size}");
    assert!(size["facts"]["retransmits"].as_u64() >= Some(2), "{size}");
    assert_eq!(rung(&report, "L1.upgrade")["status"], "pass", "{report}");
    assert_eq!(
        rung(&report, "L2.auth")["status"],
        "fail",
        "no secret: {report}"
    );
}

/// A counter in the namespace sees every packet that does not go to the gateway.
#[tokio::test]
async fn nobody_else_gets_a_packet() {
    let name = test_name!(nobody_else_gets_a_packet);
    let Some(net) = netns::enter("probe: to whom packets go", name).await else {
        return;
    };
    let gateway = Gateway::start(&Via::At((HERE_PRIVATE, 0).into()), Script::default()).await;
    let there = net.there();
    count_packets(&there, HERE_PRIVATE);
    let url = format!("ws://{HERE_PRIVATE}:{}", gateway.peer.addr().port());
    let report = probed_from(&there, &url).await;
    assert_eq!(broken(&report).0, "none", "{report}");
    let (others, to_it) = counted_packets(&there);
    assert_eq!(others, 0);
    assert!(to_it > 100, "{to_it}");
}

/// From the other host, with the right secret.
async fn probed_from(namespace: &str, url: &str) -> Value {
    let mut command = command(&[url, "--json", "--token-env", VARIABLE]);
    command.args(["--in", &format!("netns:/run/netns/{namespace}")]);
    command.env(VARIABLE, TOKEN);
    run(command).await.report()
}
