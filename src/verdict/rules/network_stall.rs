//! Packets that are lost while nobody has noticed yet: the connection looks alive and stands still.

use crate::session::party::{Direction, Leg, Party};
use crate::session::record::TimerKey;
use crate::session::record::frames::{DirectionFrames, TcpFacts};
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence};
use crate::verdict::registry::Find;
use crate::verdict::view::{fact, human_bytes, human_ms, kernel_evidence};
use crate::verdict::{Decisive, Finding, Rule, Stage, Versions, View};

/// One packet that is sent again is everyday life.
const RESENT: u32 = 2;

/// A message that surely takes more than one packet where packets hold 1,280 bytes or less, as on
/// the paths where large ones are lost.
const LARGE: u64 = 1200;

const fn stall(id: &'static str, order: u8, find: Find) -> Rule {
    Rule {
        id,
        class: Class::NetworkCut,
        party: Party::Network,
        act_on: ActOn::Network,
        stage: Stage::Close,
        order,
        title: "",
        explanation: "",
        evidence: "",
        versions: Versions::Any,
        action: "",
        find,
    }
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "Large messages are lost, small ones pass",
        explanation: "Small messages had passed and been acknowledged; then the first large one came \
                      and nothing was acknowledged any more, however often it was sent again. That is \
                      what a path looks like whose largest packet (MTU) is smaller than both ends \
                      believe, while a firewall drops the ICMP messages that would tell them: VPNs, \
                      tunnels and overlay networks of containers.",
        evidence: "segments that were retransmitted and not acknowledged on a leg whose largest frame is also the last that went to it, smaller ones before it",
        action: "lower the MTU of that path (for a container network the driver's `mtu` option, for WireGuard about 1420) or let ICMP \"fragmentation needed\" pass; `ping -M do -s 1472 HOST` shows what fits",
        ..stall("network.cut.large_messages", 3, large_messages)
    },
    Rule {
        title: "The network stood still until somebody gave up",
        explanation: "One end gave up waiting, or a timer of ours did, while what we had sent to the \
                      other end was retransmitted and never acknowledged: packets were lost on that \
                      leg. Its end of the connection was not told and may still believe in it.",
        evidence: "an end by the other side or by our idle timer, and segments on this leg that were retransmitted and not acknowledged",
        action: "look at the path on that leg: Wi-Fi, VPN, firewalls that drop connections silently, a host or container that went away",
        ..stall("network.cut.stall", 6, stalled)
    },
];

/// The leg whose packets were not acknowledged at the end, where that explains the end: the other
/// side gave up on it, or we did.
fn silent_leg(view: &View<'_>) -> Option<(Leg, TcpFacts)> {
    let gateway = view.gateway.as_ref().and_then(|gateway| gateway.tcp);
    let dead = |tcp: Option<TcpFacts>| tcp.filter(|tcp| tcp.waits() && tcp.retransmits >= RESENT);
    let idle = view
        .close
        .timer
        .is_some_and(|timer| timer.key == TimerKey::Idle);
    let gave_up = match view.decisive() {
        Decisive::ClientClose | Decisive::ClientTransport => [Some(Leg::Gateway), None],
        Decisive::GatewayTransport => [Some(Leg::Client), None],
        Decisive::Tap if idle => [Some(Leg::Gateway), Some(Leg::Client)],
        _ => return None,
    };
    gave_up.into_iter().flatten().find_map(|leg| {
        let tcp = match leg {
            Leg::Client => view.client.tcp,
            Leg::Gateway => gateway,
        };
        Some((leg, dead(tcp)?))
    })
}

/// A leg whose packets were lost for good, whoever ended the session: the end that waits for a
/// message that never comes may well be the one to give up.
fn lost_legs<'a>(view: &View<'a>) -> impl Iterator<Item = (Leg, TcpFacts)> + use<'a> {
    let gateway = view
        .record()
        .gateway
        .as_ref()
        .and_then(|gateway| gateway.tcp);
    let gave_up = !matches!(view.decisive(), Decisive::Refusal | Decisive::GatewayClose);
    [
        (Leg::Client, view.record().client.tcp),
        (Leg::Gateway, gateway),
    ]
    .into_iter()
    .filter_map(move |(leg, tcp)| {
        let tcp = tcp.filter(|tcp| tcp.waits() && tcp.retransmits >= RESENT)?;
        gave_up.then_some((leg, tcp))
    })
}

fn frames_to<'a>(view: &View<'a>, leg: Leg) -> Option<&'a DirectionFrames> {
    view.frames_of(match leg {
        Leg::Client => Direction::ToClient,
        Leg::Gateway => Direction::ToGateway,
    })
}

fn large_messages(view: &View<'_>) -> Option<Finding> {
    lost_legs(view).find_map(|(leg, tcp)| large_message(view, leg, tcp))
}

fn large_message(view: &View<'_>, leg: Leg, tcp: TcpFacts) -> Option<Finding> {
    let frames = frames_to(view, leg)?;
    let largest = frames.largest.filter(|largest| largest.size >= LARGE)?;
    // The only large one, and small ones before it.
    let (small, large) =
        frames
            .payload
            .as_ref()?
            .buckets
            .iter()
            .fold((0, 0), |(small, large), bucket| {
                if bucket.le < LARGE {
                    (small + bucket.count, large)
                } else {
                    (small, large + bucket.count)
                }
            });
    if large != 1 || small == 0 {
        return None;
    }
    let who = leg.party().as_str();
    let summary = format!(
        "a message of {} to the {who} was lost again and again after small ones had passed: \
         it smells of an MTU that is too large",
        human_bytes(largest.size)
    );
    let before = fact(format!(
        "{small} smaller frames had gone to the {who} before"
    ));
    Some(
        Finding::new(Confidence::Possible, summary)
            .because([kernel_evidence(leg, tcp), before])
            .because(view.both_legs()),
    )
}

fn stalled(view: &View<'_>) -> Option<Finding> {
    let (leg, tcp) = silent_leg(view)?;
    let who = leg.party().as_str();
    let from = match leg {
        Leg::Client => Direction::ToGateway,
        Leg::Gateway => Direction::ToClient,
    };
    let quiet = view
        .silent_ms(from)
        .map_or_else(String::new, |ms| format!(" for {}", human_ms(ms)));
    let summary = format!(
        "nothing came from the {who}{quiet} and what we sent was not acknowledged: the network \
         between it and us was cut"
    );
    Some(
        Finding::new(Confidence::Likely, summary)
            .because([kernel_evidence(leg, tcp)])
            .because(view.both_legs()),
    )
}
