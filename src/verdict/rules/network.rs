//! Packets that were lost for good.

use crate::session::party::{Direction, Leg, Party};
use crate::session::record::frames::TcpFacts;
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence, Evidence, TimerKey, TransportEnd};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Rule, Versions};
use crate::verdict::view::{Decisive, View, fact, human_ms};
use crate::ws::CloseCode;

/// A leg counts as stalled once a segment has been retransmitted this often without an
/// acknowledgement: a single retransmission usually succeeds.
pub(super) const STALLED: u32 = 2;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "network.cut.client",
        class: Class::NetworkCut,
        party: Party::Network,
        act_on: ActOn::Network,
        title: "The network between client and tap was cut",
        explanation: "The client's connection was reset or timed out while bytes of ours were not \
                      acknowledged and had been retransmitted: packets were lost on the way. A \
                      Wi-Fi or VPN that went away, a firewall that forgot the connection.",
        evidence: "RST or a time-out of the client's connection, and segments that were retransmitted and not acknowledged",
        versions: Versions::Any,
        action: "look at the path between client and tap: Wi-Fi, VPN, firewalls that drop idle connections",
        find: client,
    },
    Rule {
        id: "network.cut.client_stalled",
        class: Class::NetworkCut,
        party: Party::Gateway,
        act_on: ActOn::Network,
        title: "The network between client and tap stalled",
        explanation: "The session ended while bytes for the client had been sent again and again \
                      without an acknowledgement: its packets, or ours to it, were lost. The \
                      gateway or the tap only gave up waiting. When small frames pass and large \
                      ones stall, a hop drops packets above its MTU.",
        evidence: "an end by the other side or by our idle timer, and bytes for the client that were sent again twice or more and not acknowledged",
        versions: Versions::Any,
        action: "look at the path between client and tap: Wi-Fi, VPN, firewalls, and the MTU when only large frames stall",
        find: client_stalled,
    },
    Rule {
        id: "network.cut.client_unanswered",
        class: Class::NetworkCut,
        party: Party::Network,
        act_on: ActOn::Network,
        title: "The client's end of the network fell silent",
        explanation: "Nothing was under way on the client's connection, and the kernel's keepalive \
                      probes (tcp.keepalive) had no answer for tcp.user_timeout. When a client \
                      ends, even by a crash, its system closes the connection, so its machine is \
                      off, asleep or without network, or a NAT or firewall on the way forgot the \
                      connection.",
        evidence: "a time-out of the client's connection with nothing to retransmit, and keepalive probes without an answer",
        versions: Versions::Any,
        action: "look whether the client's machine was off, asleep or changed its network at that time; if it was not, a NAT or firewall forgot the connection: set tcp.keepalive below its limit",
        find: client_unanswered,
    },
    Rule {
        id: "network.cut.gateway_unanswered",
        class: Class::NetworkCut,
        party: Party::Network,
        act_on: ActOn::Network,
        title: "The gateway's end of the network fell silent",
        explanation: "Nothing was under way on the gateway's connection, and the kernel's \
                      keepalive probes (tcp.keepalive) had no answer for tcp.user_timeout. When a \
                      gateway crashes, its system closes the connection, so its machine or \
                      container was stopped hard, its network went away, or something on the way \
                      forgot the connection.",
        evidence: "a time-out of the gateway's connection with nothing to retransmit, and keepalive probes without an answer",
        versions: Versions::Any,
        action: "look whether the gateway's host or container was stopped or lost its network; if it was not, a NAT or firewall forgot the connection: set tcp.keepalive below its limit",
        find: gateway_unanswered,
    },
    Rule {
        id: "network.cut.gateway",
        class: Class::NetworkCut,
        party: Party::Network,
        act_on: ActOn::Network,
        title: "The network between tap and gateway was cut",
        explanation: "The gateway's connection was reset or timed out while bytes of ours were not \
                      acknowledged and had been retransmitted: packets were lost on the way, or \
                      the gateway's machine or container disappeared without closing the \
                      connection.",
        evidence: "RST or a time-out of the gateway's connection, and segments that were retransmitted and not acknowledged",
        versions: Versions::Any,
        action: "look at the path between tap and gateway, and whether the gateway's host or container was stopped",
        find: gateway,
    },
    Rule {
        id: "network.cut.gateway_stalled",
        class: Class::NetworkCut,
        party: Party::Client,
        act_on: ActOn::Network,
        title: "The network between tap and gateway stalled",
        explanation: "The session ended while bytes for the gateway had been sent again and again \
                      without an acknowledgement: packets were lost on that path, or the gateway's \
                      machine or container was gone. The client or the tap only gave up waiting. \
                      When small frames pass and large ones stall, a hop drops packets above its \
                      MTU.",
        evidence: "an end by the other side or by our idle timer, and bytes for the gateway that were sent again twice or more and not acknowledged",
        versions: Versions::Any,
        action: "look at the path between tap and gateway, its MTU when only large frames stall, and whether the gateway's host or container was stopped",
        find: gateway_stalled,
    },
];

fn client(view: &View<'_>) -> Option<Finding> {
    cut(view, Leg::Client, view.client.tcp)
}

fn gateway(view: &View<'_>) -> Option<Finding> {
    cut(view, Leg::Gateway, view.gateway.as_ref()?.tcp)
}

fn cut(view: &View<'_>, leg: Leg, tcp: Option<TcpFacts>) -> Option<Finding> {
    let broken = matches!(view.end_of(leg), TransportEnd::Rst | TransportEnd::Timeout);
    let lost = |tcp: &TcpFacts| tcp.retries > 0 || (tcp.unacked > 0 && tcp.retransmits > 0);
    let tcp = tcp.filter(lost)?;
    if !broken || !view.left(leg) {
        return None;
    }
    let who = leg.party().as_str();
    let summary = format!(
        "packets to the {who} were lost ({} sent again) until the connection died",
        tcp.retries.max(tcp.retransmits)
    );
    Some(
        Finding::new(Confidence::Likely, summary)
            .because(view.both_legs())
            .because([kernel(leg, tcp)]),
    )
}

fn client_unanswered(view: &View<'_>) -> Option<Finding> {
    unanswered(view, Leg::Client, view.client.tcp)
}

fn gateway_unanswered(view: &View<'_>) -> Option<Finding> {
    unanswered(view, Leg::Gateway, view.gateway.as_ref()?.tcp)
}

fn unanswered(view: &View<'_>, leg: Leg, tcp: Option<TcpFacts>) -> Option<Finding> {
    let tcp = tcp.filter(|tcp| tcp.probes > 0 && tcp.retries == 0)?;
    if !view.left(leg) || view.end_of(leg) != TransportEnd::Timeout {
        return None;
    }
    let who = leg.party().as_str();
    let summary = format!(
        "the {who}'s end of the network fell silent: {} keepalive probes had no answer",
        tcp.probes
    );
    Some(
        Finding::new(Confidence::Likely, summary)
            .because(view.both_legs())
            .because([kernel(leg, tcp)])
            .because(view.quiet_ms().map(|quiet| {
                fact(format!(
                    "nothing had moved for {} when the kernel gave up",
                    human_ms(quiet)
                ))
            })),
    )
}

fn client_stalled(view: &View<'_>) -> Option<Finding> {
    stalled(view, Leg::Client, view.client.tcp)
}

fn gateway_stalled(view: &View<'_>) -> Option<Finding> {
    stalled(view, Leg::Gateway, view.gateway.as_ref()?.tcp)
}

fn stalled(view: &View<'_>, leg: Leg, tcp: Option<TcpFacts>) -> Option<Finding> {
    let tcp = tcp.filter(|tcp| tcp.retries >= STALLED && tcp.unacked > 0)?;
    let by_idle_timer = view
        .close
        .timer
        .is_some_and(|timer| timer.key == TimerKey::Idle);
    let gave_up = match (view.decisive(), leg) {
        (Decisive::Tap, _) if by_idle_timer => Party::Tap,
        (Decisive::GatewayTransport, Leg::Client) => Party::Gateway,
        (Decisive::ClientTransport, Leg::Gateway) => Party::Client,
        // A client that is done may close whatever the network does.
        (Decisive::ClientClose, Leg::Gateway)
            if closed_for_a_timeout(view, leg)
                || view.was_in_handshake()
                || !view.unanswered().is_empty()
                || view.missed_pings(leg).is_some() =>
        {
            Party::Client
        }
        (Decisive::GatewayClose, Leg::Client)
            if closed_for_a_timeout(view, leg) || view.missed_pings(leg).is_some() =>
        {
            Party::Gateway
        }
        _ => return None,
    };
    let who = leg.party().as_str();
    let direction = match leg {
        Leg::Client => Direction::ToGateway,
        Leg::Gateway => Direction::ToClient,
    };
    let silent = view
        .silent_ms(direction)
        .map_or_else(String::new, |ms| format!(" for {}", human_ms(ms)));
    let summary = format!(
        "nothing came from the {who}{silent} and it acknowledged nothing ({} sent again); the {} gave up",
        tcp.retries,
        gave_up.as_str()
    );
    let confidence = if tcp.retries > STALLED {
        Confidence::Likely
    } else {
        Confidence::Possible
    };
    Some(
        Finding::new(confidence, summary)
            .because(view.both_legs())
            .because([kernel(leg, tcp)])
            .ended_by(gave_up),
    )
}

/// Whether the end opposite to `silent` closed because it had waited too long.
fn closed_for_a_timeout(view: &View<'_>, silent: Leg) -> bool {
    let close = match silent {
        Leg::Client => view.gateway_close(),
        Leg::Gateway => view.client_close(),
    };
    close.is_some_and(|(close, _)| close.code == Some(CloseCode::TIMEOUT))
}

pub(super) fn kernel(leg: Leg, tcp: TcpFacts) -> Evidence {
    let who = leg.party().as_str();
    fact(format!(
        "the kernel's last state of the {who}'s connection: {} segments unacknowledged, the oldest \
         sent again {} times, {} retransmitted in all, {} keepalive probes unanswered, round trip \
         {} µs, path MTU {}",
        tcp.unacked, tcp.retries, tcp.retransmits, tcp.probes, tcp.rtt_us, tcp.pmtu
    ))
}
