//! A path that drops large packets and lets small ones through.

use super::kept::is_stalled;
use super::network::{STALLED, kernel};
use std::net::{IpAddr, SocketAddr};

use crate::session::party::{Direction, Leg, Party};
use crate::session::record::frames::{DirectionFrames, TcpFacts};
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Rule, Versions};
use crate::verdict::view::{Decisive, View, fact, human_bytes};

/// A message that surely takes more than one packet where packets hold 1,280 bytes or less, as on
/// the paths where large ones are lost.
const LARGE: u64 = 1200;

/// The general action of these rules.
const ACTION: &str = "lower the MTU of that path (for a container network the driver's `mtu` option, for WireGuard about 1420) or let ICMP \"fragmentation needed\" pass; pings of 1472 bytes that may not be fragmented show whether 1500 fits";

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "network.cut.large_messages",
        class: Class::NetworkCut,
        party: Party::Network,
        act_on: ActOn::Network,
        title: "Large messages are lost, small ones pass",
        explanation: "Small messages had passed and been acknowledged; then the first large one came \
                      and nothing was acknowledged any more, however often it was sent again. That is \
                      what a path looks like whose largest packet (MTU) is smaller than both ends \
                      believe, while a firewall drops the ICMP messages that would tell them: VPNs, \
                      tunnels and overlay networks of containers.",
        evidence: "bytes that were sent again twice or more and not acknowledged, on a leg to which one large frame went, smaller ones before it",
        versions: Versions::Any,
        action: ACTION,
        find: large_messages,
    },
    Rule {
        id: "network.cut.large_request",
        class: Class::NetworkCut,
        party: Party::Network,
        act_on: ActOn::Network,
        title: "A large request is lost, though the connection was made",
        explanation: "The connection to the gateway was made, with small packets; then an upgrade request that \
                      takes more than one packet, as with large cookies, was not acknowledged, however often it \
                      was sent again. That is what a path looks like whose largest packet (MTU) is smaller than \
                      both ends believe. A host that was stopped at that moment looks the same.",
        evidence: "an upgrade request of 1,200 bytes or more that was sent again twice or more and not acknowledged, when the client or timeouts.upgrade ended the wait",
        versions: Versions::Any,
        action: ACTION,
        find: large_request,
    },
];

fn large_request(view: &View<'_>) -> Option<Finding> {
    let size = u64::try_from(view.head_bytes()).unwrap_or(u64::MAX);
    let tcp = view.record().gateway.as_ref()?.tcp?;
    if !is_stalled(view) || size < LARGE {
        return None;
    }
    let summary = format!(
        "a request of {} was lost again and again after the connection was made: possibly an MTU that is too large",
        human_bytes(size)
    );
    let found = Finding::new(Confidence::Possible, summary)
        .because([kernel(Leg::Gateway, tcp)])
        .because(view.head_size_evidence())
        .because(view.both_legs());
    Some(with_ping(found, view, Leg::Gateway))
}

fn large_messages(view: &View<'_>) -> Option<Finding> {
    let record = view.record();
    let gateway = record.gateway.as_ref().and_then(|gateway| gateway.tcp);
    // Any end may have ended the session: the one that waits for a message that never comes may be
    // the one that gives up. A message of the gateway explains more.
    if matches!(view.decisive(), Decisive::Refusal | Decisive::GatewayClose) {
        return None;
    }
    [(Leg::Client, record.client.tcp), (Leg::Gateway, gateway)]
        .into_iter()
        .filter_map(|(leg, tcp)| Some((leg, tcp.filter(|tcp| tcp.retries >= STALLED)?)))
        .find_map(|(leg, tcp)| large_message(view, leg, tcp))
}

fn frames_to<'a>(view: &View<'a>, leg: Leg) -> Option<&'a DirectionFrames> {
    view.frames_of(match leg {
        Leg::Client => Direction::ToClient,
        Leg::Gateway => Direction::ToGateway,
    })
}

fn large_message(view: &View<'_>, leg: Leg, tcp: TcpFacts) -> Option<Finding> {
    let frames = frames_to(view, leg)?;
    let largest = frames.largest.filter(|largest| largest.size >= LARGE)?;
    // The only large one, and small ones before it.
    let mut counts = (0_u64, 0_u64);
    for bucket in &frames.payload.as_ref()?.buckets {
        let (small, large) = &mut counts;
        let count = if bucket.le < LARGE { small } else { large };
        *count = count.saturating_add(bucket.count);
    }
    let (small, large) = counts;
    if large != 1 || small == 0 {
        return None;
    }
    let who = leg.party().as_str();
    let summary = format!(
        "a message of {} to the {who} was lost again and again after small ones had passed: \
         possibly an MTU that is too large",
        human_bytes(largest.size)
    );
    let before = fact(format!(
        "{small} smaller frames had gone to the {who} before"
    ));
    let found = Finding::new(Confidence::Possible, summary)
        .because([kernel(leg, tcp), before])
        .because(view.both_legs());
    Some(with_ping(found, view, leg))
}

/// With the host to ping, where it is known.
fn with_ping(found: Finding, view: &View<'_>, leg: Leg) -> Finding {
    match far_end(view, leg) {
        Some(host) => found.next(format!(
            "lower the MTU of that path (for a container network the driver's `mtu` option, for \
             WireGuard about 1420) or let ICMP \"fragmentation needed\" pass; on the tap's host \
             `ping -M do -s 1472 {host}` shows what fits"
        )),
        None => found,
    }
}

/// The address at the other end of a leg.
fn far_end(view: &View<'_>, leg: Leg) -> Option<IpAddr> {
    let record = view.record();
    let addr = match leg {
        Leg::Client => record
            .client
            .via
            .as_ref()
            .map_or(&record.client.addr, |via| &via.peer),
        Leg::Gateway => record.gateway.as_ref()?.addr.as_ref()?,
    };
    Some(addr.parse::<SocketAddr>().ok()?.ip())
}
