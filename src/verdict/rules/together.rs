//! Endings that only other sessions explain: what they showed stands in the record's `context`.

use crate::session::memory::lost;
use crate::session::party::{Leg, Party};
use crate::session::record::context::{Cadence, ContextFacts, Measure};
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence};
use crate::verdict::hops::{Need, mend, raise_idle_limit, side};
use crate::verdict::view::{at, fact, human_ms, short};
use crate::verdict::{Finding, Rule, Stage, Versions, View};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "gateway.lifecycle.crash",
        class: Class::GatewayLifecycle,
        party: Party::Gateway,
        act_on: ActOn::Gateway,
        stage: Stage::Transport,
        order: 20,
        title: "The gateway lost all its sessions at once",
        explanation: "The gateway's connection ended without a Close, and at least two other \
                      sessions of the same gateway ended so within the same second, or another \
                      process of the gateway (a new boot id) answered right after it. One client \
                      cannot do that: the gateway's process ended without closing (crash, SIGKILL, \
                      out of memory), its host went away, or what stands before it did. Where all of \
                      them had been silent for equally long, a proxy's idle timer looks the same: \
                      from the third such time on it is hop.fault.idle_cadence.",
        evidence: "the gateway's leg lost without a Close, and in the context two others lost within the same second or a new boot id right after it",
        versions: Versions::Seen,
        action: "look why the gateway's process ended at this time (its log, `docker events`, the kernel's log for out of memory)",
        find: crash,
    },
    Rule {
        id: "hop.fault.idle_cadence",
        class: Class::HopFault,
        party: Party::Hop,
        act_on: ActOn::Hop,
        stage: Stage::Transport,
        // Behind what is known to have an end of its own: health checks, missed pongs, slow
        // consumers. They are as regular as any timer.
        order: 45,
        title: "Something cuts sessions after a fixed time",
        explanation: "Three or more sessions ended without a Close on the same leg after the same \
                      silence, or at the same age, within 5 %. Programs and people are not that \
                      regular, timers are: a proxy, load balancer or NAT on that leg cuts \
                      connections. Well-known defaults are 30, 58, 60, 100, 180, 300, 350 and 3600 \
                      seconds.",
        evidence: "a leg lost without a Close, and in the context two or more others of the same leg with the same silence or age",
        versions: Versions::Any,
        action: "raise the idle timeout of the proxy on that leg above the interval of the gateway's pings (25 s), or above the longest silence",
        find: cadence,
    },
];

fn crash(view: &View<'_>) -> Option<Finding> {
    if !view.left(Leg::Gateway) {
        return None;
    }
    let context = view.record().context.as_ref()?;
    let others = context.lost_together;
    if let Some(finding) = crash_loop(view, context).or_else(|| fresh_process(view, context)) {
        return Some(finding);
    }
    if others < 2 {
        return None;
    }
    let summary = format!(
        "the gateway lost this session and {others} others without a Close within a second"
    );
    let together = fact(format!(
        "{others} other sessions of this gateway ended in the same way within a second"
    ));
    // A timer that all of them had set at one moment looks the same.
    let quiet = view.quiet_ms().filter(|_| context.lost_alike == others);
    if quiet.is_some() && of_a_cadence(view, context).is_some() {
        return None;
    }
    let alike = quiet.map(|quiet| {
        fact(format!(
            "all of them had been silent for {}: the idle timer of a proxy would look the same",
            human_ms(quiet)
        ))
    });
    let found = match quiet {
        None => Finding::new(Confidence::Likely, summary),
        Some(quiet) => Finding::new(Confidence::Possible, summary).next(format!(
            "look whether the gateway's process ended at this time (its log, `docker events`); if \
             it did not, raise the idle timeout of the proxy between tap and gateway above {} ({})",
            human_ms(quiet),
            mend(view.foreign_server(), Need::Idle)
        )),
    };
    Some(
        found
            .because(view.end_evidence(Leg::Gateway))
            .because([together])
            .because(alike),
    )
}

/// Processes that each ended with their sessions.
const LOOP: u32 = 3;

fn crash_loop(view: &View<'_>, context: &ContextFacts) -> Option<Finding> {
    let lost = context.processes_lost;
    if lost < LOOP {
        return None;
    }
    let summary =
        format!("the gateway's process ended again: {lost} of them lately, each with its sessions");
    Some(
        Finding::new(Confidence::Likely, summary)
            .because(view.end_evidence(Leg::Gateway))
            .because([fact(format!(
                "the sessions that the gateway lost in the last ten minutes had {lost} boot ids"
            ))]),
    )
}

/// Another process of the gateway was there right after this session's had gone.
fn fresh_process(view: &View<'_>, context: &ContextFacts) -> Option<Finding> {
    let server = view.record().dialect.as_ref()?.server.as_ref()?;
    let own = server.boot_id.as_ref()?;
    let fresh = context.boots.last().filter(|boot| boot.id != *own)?;
    if context.boots_alternate || fresh.first_at < view.decided_at()? {
        return None;
    }
    let summary = "the gateway's process was gone, and another one answers since";
    Some(
        Finding::new(Confidence::Likely, summary)
            .because(view.end_evidence(Leg::Gateway))
            .because([at(
                fresh.first_at,
                format!(
                    "a session began at a gateway with another boot id ({} instead of {})",
                    short(&fresh.id),
                    short(own)
                ),
            )]),
    )
}

/// The cluster of deaths that this one belongs to.
fn of_a_cadence(view: &View<'_>, context: &ContextFacts) -> Option<Cadence> {
    let (leg, _) = lost(view.record())?;
    let found = context.cadence?;
    (found.leg == leg && found.cases >= 3).then_some(found)
}

fn cadence(view: &View<'_>) -> Option<Finding> {
    let context = view.record().context.as_ref()?;
    let found = of_a_cadence(view, context)?;
    let leg = found.leg;
    // A timer in the path does not start the gateway anew.
    if leg == Leg::Gateway && context.processes_lost >= LOOP {
        return None;
    }
    let Cadence {
        measure,
        period_ms,
        cases,
        known_s,
        ..
    } = found;
    #[expect(clippy::cast_precision_loss, reason = "a period is hours at most")]
    let period = human_ms(period_ms as f64);
    let after = match measure {
        Measure::Silence => format!("after {period} of silence"),
        Measure::Age => format!("at the age of {period}"),
    };
    let side = side(leg);
    let (timer, server, hint) = match (leg, view.foreign_name()) {
        // Who is in the path is known there at best, not who stands next to us.
        (Leg::Client, _) => ("a timer".to_owned(), None, view.path_hint()),
        (Leg::Gateway, None) => ("a timer".to_owned(), None, String::new()),
        (Leg::Gateway, Some(name)) => (
            format!("most likely a timer of {name}"),
            view.foreign_server(),
            String::new(),
        ),
    };
    // Programs that end at an age of their own are clients, too.
    let by_count = leg == Leg::Gateway && cases > 4;
    let confidence = if known_s.is_some() || by_count {
        Confidence::Likely
    } else {
        Confidence::Possible
    };
    let default = known_s.map(|seconds| {
        fact(format!(
            "{seconds} s is a well-known default of proxies and load balancers"
        ))
    });
    let summary = format!("cut {after}, {cases} times by now: {timer} {side}{hint}");
    let next = match (measure, server) {
        (Measure::Silence, Some(server)) => raise_idle_limit(server),
        (Measure::Silence, None) => format!(
            "find the proxy, load balancer or NAT {side} with an idle timeout of about {period}, \
             and raise it ({})",
            mend(None, Need::Idle)
        ),
        (Measure::Age, _) => format!(
            "find the proxy, load balancer or NAT {side} with a limit of about {period} for a \
             connection's life, and raise it"
        ),
    };
    Some(
        Finding::new(confidence, summary)
            .because([fact(format!(
                "{cases} sessions ended without a Close {after}"
            ))])
            .because(default)
            .because(view.end_evidence(leg))
            .next(next),
    )
}
