//! The Compose files with the real gateway and its real command line tool, without a container
//! engine (`live::containers` has one): each service in a network namespace of its own on a bridge, names by hosts files.
//!
//! The tap runs with the configuration that is shipped (`config/compose.yaml`), the gateway with the
//! shipped part of its own, at the addresses that `deploy/compose.yaml` gives them. Then each of the
//! mistakes that people make is made.

mod services;

use std::net::SocketAddr;

use serde_json::json;
use wstap::session::SessionRecord;
use wstap::session::record::dialect::{ConnectResult, DialectFacts};
use wstap::session::record::gateway::ForwardedMode;
use wstap::session::record::verdict::ActOn;
use wstap::session::record::{Class, Confidence, OriginDecision};
use wstap::session::text::PeerText;

use self::services::{Service, Town, shipped};
use super::gateway::{Gateway, Options, Place, TOKEN};
use super::visitor::{Answer, Visitor};
use super::{Install, turn};
use crate::support::deadline::within;
use crate::support::netns::{HERE_V4, THERE_V4, enter, test_name};
use crate::support::packages::Program;
use crate::support::records::{class, rule};
use crate::support::skip::skip;

const BRIDGE: &str = "deploy/openclaw.json";
const SHARED: &str = "deploy/openclaw.shared.json";
const PUBLISHED: &str = "live: a published port";

/// The gateway in its container, as a Compose file's command starts it.
fn options(town: &Town, file: &str, bind: &str) -> Options {
    let gateway = town.container("openclaw-gateway");
    gateway.secret("openclaw-gateway-token", TOKEN, 0);
    let host = if bind == "lan" {
        town.addr("openclaw-gateway")
    } else {
        [127, 0, 0, 1].into()
    };
    let mut more = shipped(file);
    more["gateway"]["bind"] = json!(bind);
    Options {
        more,
        place: Some(Place {
            container: gateway.clone(),
            addr: SocketAddr::from((host, 18789)),
        }),
        ..Options::default()
    }
}

#[tokio::test]
async fn gateway_and_tap_on_a_bridge_network() {
    let test = "live: Compose";
    let Some((_turn, install)) = turn(test).await else {
        return;
    };
    let Some(nft) = Program::find("nft") else {
        return skip(PUBLISHED, "nft is missing: run make fetch");
    };
    let name = test_name!(gateway_and_tap_on_a_bridge_network);
    let Some(net) = enter(test, name).await else {
        return;
    };
    let town = Town::new(&net);
    let gateway = Gateway::start_with(&install, &options(&town, BRIDGE, "lan")).await;
    let tap = Service::start(town.container("wstap"), &[]).await;

    assert_eq!(
        tap.capabilities(),
        (0, 0, true),
        "it has more rights than it needs"
    );
    // HEALTHCHECK.
    within("the container to be healthy", async {
        while !tap.is_ready().await {}
    })
    .await;

    // The command line in another container. It is remote, so a token alone gets it in, and no
    // further.
    let cli = town.command_line(&install);
    let fine = cli.call("health", "wss://wstap:8443", &tap).await;
    assert_eq!(fine.code, Some(0), "{}", fine.stderr);
    let record = tap.newest().await;
    assert_eq!(class(&record), Class::Ok);
    let cli_addr = town.addr("cli").to_string();
    assert_eq!(
        written_as(&record),
        Some((ForwardedMode::Overwrite, cli_addr))
    );
    let dialect = record
        .dialect
        .as_ref()
        .and_then(DialectFacts::openclaw)
        .expect("a dialect");
    assert_eq!(dialect.result, ConnectResult::Accepted);
    assert_eq!(dialect.scopes_granted.as_ref().map(Vec::len), Some(0));
    let tls = record.client.tls.as_ref().and_then(|tls| tls.sni.as_ref());
    assert_eq!(tls.map(PeerText::as_str), Some("wstap"));
    let more = cli.call("config.get", "wss://wstap:8443", &tap).await;
    assert_eq!(more.code, Some(1), "{}", more.stdout);
    let record = tap.newest().await;
    assert_eq!(
        (class(&record), rule(&record)),
        (Class::Channel, "channel.locality_lost")
    );
    assert!(
        next(&record).contains("`openclaw cron list` once"),
        "{}",
        next(&record)
    );

    a_remote_command_line_gets_a_device(&install, &gateway, &tap, &cli).await;

    // A device is approved once, with the command that the verdict gives.
    let visitor = Visitor::command_line().with_new_device();
    visitor
        .visit(tap.connect_from(&cli.container, "wstap").await)
        .await;
    let record = tap.record_of(&visitor).await;
    assert_eq!(class(&record), Class::GatewayPairing);
    let request = pairing_request(&record);
    let command = format!("openclaw devices approve {request}");
    assert!(next(&record).contains(&command), "{}", next(&record));
    let approved = gateway
        .command_line(&install, &["devices", "approve", &request])
        .await;
    assert!(approved.status.success(), "{approved:?}");
    let visitor = visitor.again();
    let answer = visitor
        .visit(tap.connect_from(&cli.container, "wstap").await)
        .await;
    assert!(
        matches!(&answer, Answer::Accepted { scopes, .. } if !scopes.is_empty()),
        "{answer}"
    );
    assert_eq!(class(&tap.record_of(&visitor).await), Class::Ok);

    // Without a device it is not local either: it gets in, and may do nothing.
    let visitor = Visitor::command_line();
    assert_remote(
        &visitor
            .visit(tap.connect_from(&cli.container, "wstap").await)
            .await,
    );

    // The page of the published port is on both lists.
    let page = Visitor::browser("https://localhost:8443").with_new_device();
    let answer = page
        .visit(tap.connect_from(&cli.container, "localhost").await)
        .await;
    let Answer::Refused { details, .. } = &answer else {
        panic!("{answer}");
    };
    assert_eq!(details, "PAIRING_REQUIRED");
    let origin = tap.record_of(&page).await.origin.expect("an origin");
    assert_eq!(origin.decision, OriginDecision::Allowed);

    localhost_is_the_container_itself(&town, &cli, &tap).await;
    the_name_is_wrong(&town).await;
    the_port_is_published(&net, &town, &nft, &tap).await;
}

/// The command line in its container dials its own loopback: nothing reaches the tap. The tap in
/// its container does the same for the gateway.
async fn localhost_is_the_container_itself(
    town: &Town,
    cli: &services::CommandLine<'_>,
    tap: &Service,
) {
    let before = tap.settled().await;
    let lost = cli.call("health", "ws://localhost:18789", tap).await;
    assert_eq!(lost.code, Some(1), "{lost:?}");
    let said = format!("{}{}", lost.stdout, lost.stderr);
    assert!(said.contains("ECONNREFUSED"), "{said}");
    assert_eq!(tap.settled().await, before + 1, "something reached the tap");

    let gateway = [("WSTAP_GATEWAY", "http://localhost:18789")];
    let tap = Service::start(town.container("other"), &gateway).await;
    let record = tap.visited_from(&cli.container).await;
    assert_eq!(class(&record), Class::GatewayUnreachable);
    assert_eq!(rule(&record), "gateway.unreachable.loopback_in_container");
    assert_eq!(act_on(&record), ActOn::Operator);
    let advice = "put the gateway's service name into gateway.url, for example http://openclaw-gateway:18789;";
    assert!(next(&record).starts_with(advice), "{}", next(&record));
    assert!(!tap.is_ready().await);
}

async fn the_name_is_wrong(town: &Town) {
    let gateway = [("WSTAP_GATEWAY", "http://openclaw-gatway:18789")];
    let tap = Service::start(town.container("other"), &gateway).await;
    let record = tap.visited_from(town.container("cli")).await;
    assert_eq!(class(&record), Class::GatewayUnreachable);
    assert_eq!(rule(&record), "gateway.unreachable.dns");
    assert_eq!(act_on(&record), ActOn::Operator);
    let verdict = record.verdict.as_ref().expect("a verdict");
    assert_eq!(
        verdict.summary,
        "the gateway's name openclaw-gatway does not resolve here"
    );
    assert!(
        verdict
            .next
            .starts_with("check the name in gateway.url, or its container is not running"),
        "{}",
        verdict.next
    );
    assert_eq!(verdict.confidence, Confidence::Certain);
}

/// From outside by the host's port: with their own address, or all under the bridge's.
async fn the_port_is_published(
    net: &crate::support::netns::Net,
    town: &Town,
    nft: &Program,
    tap: &Service,
) {
    for (masked, from) in [(false, THERE_V4), (true, services::HOST)] {
        town.bridge.publish(nft, 8443, town.addr("wstap"), masked);
        let tcp = net.connect_from_there((HERE_V4, 8443).into());
        let visitor = Visitor::command_line();
        let answer = visitor
            .visit(
                tap.over(tcp.expect("the published port"), "localhost")
                    .await,
            )
            .await;
        assert_remote(&answer);
        let record = tap.record_of(&visitor).await;
        assert_eq!(client_ip(&record), from.to_string(), "masked: {masked}");
        let told = written_as(&record).expect("how it was forwarded");
        assert_eq!(told, (ForwardedMode::Overwrite, from.to_string()));
    }
}

#[tokio::test]
async fn gateway_and_tap_in_one_namespace() {
    let test = "live: Compose, one namespace";
    let Some((_turn, install)) = turn(test).await else {
        return;
    };
    let Some(net) = enter(test, test_name!(gateway_and_tap_in_one_namespace)).await else {
        return;
    };
    let town = Town::new(&net);
    let trusting = options(&town, SHARED, "loopback");
    let mut strict = trusting.clone();
    strict.more["gateway"]["trustedProxies"] = json!([]);
    let mut gateway = Gateway::start_with(&install, &strict).await;
    let cli = town.container("cli");

    // As in compose.yaml, but the gateway listens on its own loopback only.
    let bridged = Service::start(town.container("other"), &[]).await;
    let record = bridged.visited_from(cli).await;
    assert_eq!(class(&record), Class::GatewayUnreachable);
    assert_eq!(rule(&record), "gateway.unreachable.refused");
    assert_eq!(act_on(&record), ActOn::Gateway);
    assert!(next(&record).contains("--bind lan"), "{}", next(&record));
    drop(bridged);

    // compose.shared.yaml, and the gateway does not know of the tap.
    let inside = town
        .container("wstap")
        .sharing(town.container("openclaw-gateway"));
    let tap = Service::start(&inside, &[("WSTAP_GATEWAY", "http://127.0.0.1:18789")]).await;
    let visitor = Visitor::command_line().with_new_device();
    let answer = visitor
        .visit(tap.connect_from(cli, "openclaw-gateway").await)
        .await;
    assert!(
        matches!(answer, Answer::Http { status: 403, .. }),
        "{answer}"
    );
    let record = tap.record_of(&visitor).await;
    assert_eq!(class(&record), Class::GatewayRefused);
    assert_eq!(rule(&record), "gateway.refused.attribution");
    assert_eq!(act_on(&record), ActOn::Gateway);
    let line = "in openclaw.json set \"gateway\": { \"trustedProxies\": [\"127.0.0.1/32\"] }";
    assert!(next(&record).starts_with(line), "{}", next(&record));

    // With the file that is shipped: in, and remote.
    gateway.rewrite(&trusting);
    within("the gateway to trust the tap", async {
        loop {
            let visitor = Visitor::command_line();
            let answer = visitor
                .visit(tap.connect_from(cli, "openclaw-gateway").await)
                .await;
            if !matches!(answer, Answer::Http { status: 403, .. }) {
                break assert_remote(&answer);
            }
        }
    })
    .await;
    let visitor = Visitor::command_line().with_new_device();
    let answer = visitor
        .visit(tap.connect_from(cli, "openclaw-gateway").await)
        .await;
    assert!(
        matches!(&answer, Answer::Refused { details, .. } if details == "PAIRING_REQUIRED"),
        "{answer}"
    );
    let record = tap.record_of(&visitor).await;
    assert_eq!(class(&record), Class::GatewayPairing);
    assert_eq!(
        written_as(&record),
        Some((ForwardedMode::Overwrite, town.addr("cli").to_string()))
    );

    // The same address is right here, so that the advice for localhost has to name both.
    gateway.kill().await;
    let record = tap.visited_from(cli).await;
    assert_eq!(rule(&record), "gateway.unreachable.loopback_in_container");
    let advice = next(&record);
    assert!(advice.contains("or start the gateway"), "{advice}");
}

/// Accepted, and left with no scopes: that is what a remote client without a device is.
fn assert_remote(answer: &Answer) {
    assert!(
        matches!(answer, Answer::Accepted { scopes, .. } if scopes.is_empty()),
        "{answer}"
    );
}

fn act_on(record: &SessionRecord) -> ActOn {
    record.verdict.as_ref().expect("a verdict").act_on
}

fn next(record: &SessionRecord) -> &str {
    &record.verdict.as_ref().expect("a verdict").next
}

fn client_ip(record: &SessionRecord) -> String {
    let addr: SocketAddr = record.client.addr.parse().expect("an address");
    addr.ip().to_canonical().to_string()
}

/// How it was forwarded, and the client that the headers to the gateway named.
fn written_as(record: &SessionRecord) -> Option<(ForwardedMode, String)> {
    let forwarded = record.gateway.as_ref()?.forwarded.as_ref()?;
    let mut sent = forwarded.sent.iter();
    let told = sent.find(|header| header.name == "x-forwarded-for")?;
    Some((forwarded.mode, told.value.as_str().to_owned()))
}

/// The verdict's advice works: a command that creates a device, the wanted command, its approval.
async fn a_remote_command_line_gets_a_device(
    install: &Install,
    gateway: &Gateway,
    tap: &Service,
    cli: &services::CommandLine<'_>,
) {
    const URL: &str = "wss://wstap:8443";
    let wanted = ["devices", "list"];
    let mut request = String::new();
    for args in [["cron", "list"], wanted] {
        let refused = cli.run(&args, URL, tap).await;
        assert_eq!(refused.code, Some(1), "{}", refused.stdout);
        let record = tap.newest().await;
        assert_eq!(class(&record), Class::GatewayPairing, "{args:?}");
        request = pairing_request(&record);
    }
    let approved = gateway
        .command_line(install, &["devices", "approve", &request])
        .await;
    assert!(approved.status.success(), "{approved:?}");
    let fine = cli.run(&wanted, URL, tap).await;
    assert_eq!(fine.code, Some(0), "{}", fine.stderr);
    assert_eq!(class(&tap.newest().await), Class::Ok);
}

fn pairing_request(record: &SessionRecord) -> String {
    let dialect = record
        .dialect
        .as_ref()
        .and_then(DialectFacts::openclaw)
        .expect("a dialect");
    let error = dialect.error.as_ref().expect("an error");
    error
        .request_id
        .as_ref()
        .expect("a request")
        .as_str()
        .to_owned()
}
