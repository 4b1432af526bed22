//! `wstap attach` in front of the real gateway: to the gateway every client is what it is without the tap.
//!
//! The gateway's own answer and every line of its own log that belongs to the connection are
//! compared, direct and attached, apart from ids, times and the client's port.

mod clients;
mod evidence;
mod limits;
mod restart;
mod tls;
mod tool;

use std::net::IpAddr;

use serde_json::{Value, json};
use wstap::session::record::TapMode;

use self::clients::{Brings, PAGE, Way};
use self::evidence::{Evidence, Visit};
use super::gateway::{Gateway, Options};
use super::turn;
use super::visitor::Answer;
use crate::support::attached::Attached;
use crate::support::netns::{self, HERE_V4, Net, test_name};
use crate::support::tap::{Face, Setup};

/// For longer than any test.
const LONG: &[&str] = &["--for", "1h", "--dialect", "openclaw"];

/// Has Node bind `::` where the gateway asks for 0.0.0.0. The gateway treats clients by IPv6 like others, but none
/// of its settings binds an IPv6 address other than `::1`.
const BIND_IPV6: &str = "--import=data:text/javascript,\
    import%20net%20from%20'node:net';\
    const%20listen=net.Server.prototype.listen;\
    const%20all=to=>to==='0.0.0.0'?'::':to?.host==='0.0.0.0'?{...to,host:'::'}:to;\
    net.Server.prototype.listen=function(...to){return%20listen.apply(this,to.map(all))}";

#[tokio::test]
async fn each_client_is_to_the_gateway_what_it_is_without_the_tap() {
    let test = "live: attached, clients";
    let Some((_turn, install)) = turn(test).await else {
        return;
    };
    let this = test_name!(each_client_is_to_the_gateway_what_it_is_without_the_tap);
    let Some(net) = netns::enter(test, this).await else {
        return;
    };
    let _switch = net.switch();
    // A restart in the same process, which a change of `gateway.bind` brings about, keeps the old addresses.
    for how in [Bound::Lan, Bound::All, Bound::OneAddress, Bound::Loopback] {
        let gateway = Gateway::start_with(&install, &bound(how)).await;
        compare(&net, &gateway, how).await;
        if how == Bound::Lan {
            changed_by_a_proxy(&net, &gateway).await;
        }
    }
}

#[tokio::test]
async fn the_tool_its_faults_the_limits_and_a_restart() {
    let test = "live: attached, faults";
    let Some((_turn, install)) = turn(test).await else {
        return;
    };
    let this = test_name!(the_tool_its_faults_the_limits_and_a_restart);
    let Some(net) = netns::enter(test, this).await else {
        return;
    };
    let gateway = Gateway::start_with(&install, &limits::options()).await;
    tool::works_and_its_faults_are_judged_as_inline(&install, &gateway).await;
    limits::are_each_clients_own(&net, &gateway).await;
    Box::pin(restart::is_judged_as_inline(&net, &gateway)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_with_tls() {
    let test = "live: attached, TLS";
    let Some((_turn, install)) = turn(test).await else {
        return;
    };
    let Some(net) = netns::enter(test, test_name!(a_gateway_with_tls)).await else {
        return;
    };
    tls::passes_unread_and_is_read_with_its_key(&net, &install).await;
}

/// How the gateway is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    /// On 0.0.0.0, not on IPv6.
    Lan,
    /// On IPv6 too, which no setting of it does.
    All,
    /// `custom`; it adds 127.0.0.1 by itself.
    OneAddress,
    /// On 127.0.0.1 and `::1`.
    Loopback,
}

impl Bound {
    fn serves(self, way: Way) -> bool {
        match self {
            Self::Lan => way.to.is_ipv4(),
            Self::All => true,
            Self::OneAddress => way == Way::LOOPBACK || way.to == IpAddr::V4(HERE_V4),
            Self::Loopback => way.to.is_loopback(),
        }
    }
}

fn bound(how: Bound) -> Options {
    let bind = match how {
        Bound::Lan | Bound::All => json!({ "bind": "lan" }),
        Bound::OneAddress => json!({ "bind": "custom", "customBindHost": HERE_V4 }),
        Bound::Loopback => json!({ "bind": "loopback" }),
    };
    let env = match how {
        Bound::All => vec![("NODE_OPTIONS", BIND_IPV6)],
        Bound::Lan | Bound::OneAddress | Bound::Loopback => Vec::new(),
    };
    Options {
        allowed_origins: vec![PAGE.to_owned()],
        more: json!({ "gateway": bind }),
        env,
        ..Options::default()
    }
}

/// Everybody, direct and attached.
async fn compare(net: &Net, gateway: &Gateway, how: Bound) {
    let direct = everybody(net, gateway).await;
    let attached = Attached::start(gateway.addr().port(), LONG).await;
    let tapped = everybody(net, gateway).await;
    let mut wrong = Vec::new();
    for (direct, tapped) in direct.iter().zip(&tapped) {
        let (without, _) = direct.evidence(gateway).await;
        let (with, peer) = tapped.evidence(gateway).await;
        eprintln!("{how:?}, {}: {}", direct.name(), without.shown());
        if without != with {
            wrong.push(format!(
                "{direct:?}\ndirect {without:#?}\nattached {with:#?}"
            ));
        }
        assert_eq!(how.serves(direct.way), direct.own.is_some(), "{direct:?}");
        let Some(own) = tapped.own else { continue };
        // It has come through the tap, and its record joins with the gateway's log.
        let record = attached.record_of(&tapped.visitor.agent).await;
        assert_eq!(record.tap.mode, TapMode::Attached, "{tapped:?}");
        assert_eq!(record.client.addr, own.to_string(), "{tapped:?}");
        let facts = record.gateway.expect("the gateway's facts");
        if let Some(peer) = peer {
            assert_eq!(peer.ip(), own.ip(), "{tapped:?}");
            assert_eq!(facts.local_addr, Some(peer.to_string()), "{tapped:?}");
        }
        known(direct);
    }
    assert!(wrong.is_empty(), "{how:?}: {}", wrong.join("\n"));
    let reached = tapped.iter().filter(|visit| visit.own.is_some()).count();
    assert_eq!(attached.records().len(), reached, "a record of each");
    attached.detach().await;
}

async fn everybody(net: &Net, gateway: &Gateway) -> Vec<Visit> {
    let mut visits = Vec::new();
    for way in Way::ALL {
        for brings in Brings::ALL {
            visits.push(Visit::make(net, gateway.addr().port(), way, brings).await);
        }
    }
    visits
}

/// The comparison can fail: these differ from each other without any tap.
fn known(direct: &Visit) {
    let scopes = match &direct.answer {
        Answer::Accepted { scopes, .. } => Some(scopes.len()),
        _ => None,
    };
    let local = direct.way.to.is_loopback();
    match direct.brings {
        Brings::Token => assert_eq!(scopes, Some(usize::from(local)), "{direct:?}"),
        Brings::NewDevice => assert_eq!(scopes.is_some(), local, "{direct:?}"),
        Brings::WrongToken => assert_eq!(scopes, None, "{direct:?}"),
        Brings::Page => {
            // Private to the gateway is also the IPv6 network of documentation.
            let public = [Way::OWN, Way::REMOTE, Way::BRIDGED].contains(&direct.way);
            assert_eq!(scopes.is_some(), !public, "{direct:?}");
        }
        Brings::ForwardedFor => {
            let refused = matches!(direct.answer, Answer::Http { status: 403, .. });
            assert!(refused, "{direct:?}");
        }
    }
}

/// The control: a tap that does not keep addresses makes a difference, and the comparison shows it.
async fn changed_by_a_proxy(net: &Net, gateway: &Gateway) {
    let listeners: Value = json!([{ "listen": "0.0.0.0:0" }]);
    let tap = Setup::before_url(&gateway.url())
        .openclaw()
        .set("listeners", listeners)
        .set("gateway.forwarded", "none")
        .set("gateway.allow_remote_as_local", true)
        .start()
        .await;
    let way = Way::REMOTE;
    for brings in [Brings::Token, Brings::WrongToken] {
        let direct = Visit::make(net, gateway.addr().port(), way, brings).await;
        let port = tap.addr(Face::Plain).port();
        let proxied = Visit::make(net, port, way, brings).await;
        let (without, _): (Evidence, _) = direct.evidence(gateway).await;
        let (with, _) = proxied.evidence(gateway).await;
        assert_ne!(without.answer, with.answer, "{brings:?}");
        assert_ne!(without.log, with.log, "{brings:?}");
    }
}
