//! Packets that were lost for good.

use crate::session::party::{Leg, Party};
use crate::session::record::frames::TcpFacts;
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence, TransportEnd};
use crate::verdict::view::{kernel_evidence, waiting};
use crate::verdict::{Finding, Rule, Stage, Versions, View};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "network.cut.client",
        class: Class::NetworkCut,
        party: Party::Network,
        act_on: ActOn::Network,
        // Before the rules about silence, which a lost network would feed.
        stage: Stage::Close,
        order: 5,
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
        id: "network.cut.gateway",
        class: Class::NetworkCut,
        party: Party::Network,
        act_on: ActOn::Network,
        // Before the rules about silence, which a lost network would feed.
        stage: Stage::Close,
        order: 5,
        title: "The network between tap and gateway was cut",
        explanation: "The gateway's connection was reset or timed out while bytes of ours were not \
                      acknowledged and had been retransmitted: packets were lost on the way, or the \
                      gateway's machine or container went away without a word.",
        evidence: "RST or a time-out of the gateway's connection, and segments that were retransmitted and not acknowledged",
        versions: Versions::Any,
        action: "look at the path between tap and gateway, and whether the gateway's host or container was stopped",
        find: gateway,
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
    let tcp = tcp.filter(|tcp| tcp.waits() && tcp.retransmits > 0)?;
    if !broken || !view.left(leg) {
        return None;
    }
    let who = leg.party().as_str();
    let summary = format!(
        "packets to the {who} were lost ({}, {} sent again) until the connection died",
        waiting(tcp),
        tcp.retransmits
    );
    let kernel = kernel_evidence(leg, tcp);
    Some(
        Finding::new(Confidence::Likely, summary)
            .because(view.both_legs())
            .because([kernel]),
    )
}
