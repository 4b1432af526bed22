//! Endings that only other sessions explain: their evidence is in the record's `context`.

use crate::session::memory::{FAR_FROM_CHANCE, ONE_EVENT, WAVES_ALIKE, lost};
use crate::session::party::{Leg, Party};
use crate::session::record::context::{Cadence, ContextFacts, Measure, SAME_PROCESS_MS};
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence, Evidence};
use crate::verdict::finding::Finding;
use crate::verdict::hops::{Need, mend, raise_idle_limit, side};
use crate::verdict::rule::{Rule, Versions};
use crate::verdict::siblings::process_words;
use crate::verdict::view::{View, at, fact, human_ms, short};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "gateway.lifecycle.crash",
        class: Class::GatewayLifecycle,
        party: Party::Gateway,
        act_on: ActOn::Gateway,
        title: "The gateway lost all its sessions at once",
        explanation: "The gateway's connection ended without a Close, and at least two other \
                      sessions of the same gateway ended so within the same second, or another \
                      process of the gateway (a new boot id; before 2026.8, which has none, an uptime \
                      that began later) answered right after it. One client \
                      cannot do that: the gateway's process ended without closing (crash, SIGKILL, \
                      out of memory), its host went away, or a proxy in front of it did. A process \
                      takes all its sessions with it: if a session that was open before is still \
                      open, or the same process answers afterwards, it has not ended. Nor does the \
                      loss prove anything if a gateway loses as many sessions in any second. If \
                      all of them had been silent for equally long, a proxy's idle timer looks the \
                      same: from the second such time on, with the same boot id and a silence that \
                      is the same far more exactly than chance would have it, it is \
                      hop.fault.idle_cadence.",
        evidence: "the gateway's leg lost without a Close, no session of before that is still open, and in the context two others lost within the same second, far more than at any other time, or a new boot id right after it",
        versions: Versions::Seen,
        action: "look why the gateway's process ended at this time (its log, `docker events`, the kernel's log for out of memory)",
        find: crash,
    },
    Rule {
        id: "hop.fault.idle_cadence",
        class: Class::HopFault,
        party: Party::Hop,
        act_on: ActOn::Hop,
        title: "Something cuts sessions after a fixed time",
        explanation: "Sessions ended without a Close on the same leg after the same silence, or at \
                      the same age, and far more alike than chance would have it: among all ends of \
                      that leg so many would be as close together in less than one case in a \
                      million, with all periods counted that were tried. Where sessions say something \
                      at their start and nothing later, silence and age are equally alike: then the idle \
                      timer comes first, and the age is named as well. Sessions in which \
                      something was said in the last second do not count. Timers are that precise: \
                      a proxy, load balancer or NAT on that leg cuts connections. How many cuts it \
                      takes depends on how alike they are: usually five to ten, also where as many \
                      sessions end at other times. It is possible from the second time on where all \
                      sessions that end in one second had been silent for equally long, both times \
                      for the same time (by chance in less than one of a hundred cases, as all \
                      sessions get the gateway's ticks at one moment), and the gateway's boot id is \
                      the same afterwards; it is likely from one in a million on. Between client \
                      and tap the timer may also be the clients' own, so that it is likely only \
                      where the request shows a proxy there. Well-known defaults are 30, 58, 60, 100, 180, \
                      300, 350 and 3600 seconds.",
        evidence: "a leg lost without a Close, and in the context a cadence: the odds against chance (one_in): one in a million, or one in a hundred for two waves of equal silence with one boot id",
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
    // A process that ends takes all its sessions with it, and answers nobody afterwards.
    if context.survivors > 0 || context.process_heard_at.is_some() {
        return None;
    }
    if let Some(finding) = crash_loop(view, context).or_else(|| fresh_process(view, context)) {
        return Some(finding);
    }
    let others = lost_with_it(context)?;
    let summary = format!(
        "the gateway lost this session and {others} others without a Close within a second"
    );
    let together = fact(format!(
        "{others} other sessions of this gateway ended in the same way within a second, and none \
         that was open before is left"
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
            .because([usual_losses(context)])
            .because(alike),
    )
}

/// Other sessions that were lost within a second of this one, if there are two or more and far more
/// than in a usual second.
pub(super) fn lost_with_it(context: &ContextFacts) -> Option<u32> {
    let others = context.lost_together;
    let more_than_usual = context
        .lost_together_one_in
        .is_none_or(|one_in| one_in >= ONE_EVENT);
    (others >= 2 && more_than_usual).then_some(others)
}

/// How unlikely that is by chance, as evidence.
pub(super) fn usual_losses(context: &ContextFacts) -> Evidence {
    match context.lost_together_one_in {
        Some(one_in) => fact(format!(
            "{} others were lost on that leg in the ten minutes before, or right after it: by chance \
             it would lose so many within a second in less than one of {one_in} cases",
            context.lost_beside
        )),
        None => fact("no other was lost on that leg in the ten minutes before, nor right after it"),
    }
}

/// Processes that each ended with their sessions.
const LOOP: u32 = 3;

fn crash_loop(view: &View<'_>, context: &ContextFacts) -> Option<Finding> {
    let lost = context.processes_lost;
    if lost < LOOP {
        return None;
    }
    let summary = format!(
        "the gateway's process ended again: {lost} of them recently, each with its sessions"
    );
    Some(
        Finding::new(Confidence::Likely, summary)
            .because(view.end_evidence(Leg::Gateway))
            .because([fact(format!(
                "the sessions that the gateway lost in the last ten minutes were of {lost} processes"
            ))]),
    )
}

/// Another process of the gateway was there right after this session's had gone.
fn fresh_process(view: &View<'_>, context: &ContextFacts) -> Option<Finding> {
    let gateway = view.application().gateway?;
    let (own, began) = (gateway.boot, gateway.began_at);
    if own.is_none() && began.is_none() {
        return None;
    }
    let fresh = context.boots.last().filter(|boot| !boot.is(own, began))?;
    let ended_at = view.decided_at()?;
    // Uptimes stop while a host sleeps, so an uptime alone does not distinguish two processes.
    let began_later = fresh
        .began_at
        .is_none_or(|began| began.millis_since(ended_at) >= -SAME_PROCESS_MS);
    if context.boots_alternate || fresh.first_at < ended_at || !began_later {
        return None;
    }
    let others = match (own, fresh.began_at) {
        (Some(own), None) => format!(
            "a session began at a gateway with another boot id ({} instead of {})",
            short(&fresh.id),
            short(own)
        ),
        _ => format!(
            "a session began at a gateway whose process {}; that of this session had begun at {}",
            process_words(fresh),
            began.map_or_else(|| "another time".to_owned(), |began| began.to_string())
        ),
    };
    let summary = "the gateway's process was gone, and another one answers since";
    Some(
        Finding::new(Confidence::Likely, summary)
            .because(view.end_evidence(Leg::Gateway))
            .because([at(fresh.first_at, others)]),
    )
}

/// The timer that ended this session and others.
fn of_a_cadence(view: &View<'_>, context: &ContextFacts) -> Option<Cadence> {
    let (leg, _) = lost(view.record())?;
    let found = context.cadence?;
    let waves = found.waves >= 2 && found.one_in >= Some(WAVES_ALIKE);
    let is_one = found.cases >= 3 && is_far_from_chance(&found) || waves;
    (found.leg == leg && is_one).then_some(found)
}

fn is_far_from_chance(found: &Cadence) -> bool {
    found.one_in >= Some(FAR_FROM_CHANCE)
}

/// A period in words.
fn period(ms: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a period is hours at most")]
    let ms = ms as f64;
    human_ms(ms)
}

/// Evidence that it is a timer and not chance.
fn shown_by(found: &Cadence, after: &str, process: Option<&str>) -> Vec<Evidence> {
    let mut all = Vec::new();
    // If there are only waves, they are reported below.
    if found.waves < found.cases {
        all.push(fact(format!(
            "{} of {} sessions that ended on this leg without a Close ended {after}",
            found.cases, found.compared
        )));
    }
    all.extend(found.same_age_ms.map(|age| {
        fact(format!(
            "they were as alike in age ({}): a limit on a connection's lifetime would look the same",
            period(age)
        ))
    }));
    if let Some(one_in) = found.one_in {
        all.push(fact(format!(
            "by chance so many would be so much alike in less than one of {one_in} cases, with all \
             periods counted that were tried"
        )));
    }
    if found.waves >= 2 {
        let went_on = process.map_or_else(
            || "the gateway went on in between".to_owned(),
            |process| format!("the gateway's process was the same before and after ({process})"),
        );
        all.push(fact(format!(
            "{} times all sessions that ended within one second had been silent for as long, and \
             {went_on}",
            found.waves
        )));
    }
    match (found.leg, found.clients) {
        (Leg::Client, 0 | 1) => all.push(fact(
            "all of them came from one client address: a program that ends by itself after this \
             time looks the same",
        )),
        (Leg::Client, clients) => {
            all.push(fact(format!("they came from {clients} client addresses")));
        }
        (Leg::Gateway, _) => {}
    }
    all.extend(found.known_s.map(|seconds| {
        fact(format!(
            "{seconds} s is a well-known default of proxies and load balancers"
        ))
    }));
    all
}

fn sure(view: &View<'_>, found: &Cadence) -> Confidence {
    let of_a_hop = match found.leg {
        // Programs that end after a fixed time are clients, too, wherever they run.
        Leg::Client => found.known_s.is_some() && found.clients > 1 && proxy_in_front(view),
        // Any other gateway may have such a timer itself.
        Leg::Gateway => view.spoken().has_no_time_limit || view.foreign_server().is_some(),
    };
    if of_a_hop && is_far_from_chance(found) {
        Confidence::Likely
    } else {
        Confidence::Possible
    }
}

/// Whether something shows that this session came through a proxy.
fn proxy_in_front(view: &View<'_>) -> bool {
    view.record().client.via.is_some() || !view.front_evidence().is_empty()
}

fn cadence(view: &View<'_>) -> Option<Finding> {
    let context = view.record().context.as_ref()?;
    let found = of_a_cadence(view, context)?;
    let leg = found.leg;
    // An end that does not read misses the answers to its pings, and gives up as regularly as any
    // timer.
    if view.pongs_held_up(leg.other()) {
        return None;
    }
    // A timer in the path does not restart the gateway.
    if leg == Leg::Gateway && context.processes_lost >= LOOP {
        return None;
    }
    let period_words = period(found.period_ms);
    let after = match found.measure {
        Measure::Silence => format!("after {period_words} of silence"),
        Measure::Age => format!("at the age of {period_words}"),
    };
    let side = side(leg);
    let (timer, server, hint) = match (leg, view.foreign_name()) {
        // The headers may show who is in the path, but not who is next to us.
        (Leg::Client, _) => ("a timer".to_owned(), None, view.path_hint()),
        (Leg::Gateway, None) => ("a timer".to_owned(), None, String::new()),
        (Leg::Gateway, Some(name)) => (
            format!("most likely a timer of {name}"),
            view.foreign_server(),
            String::new(),
        ),
    };
    let or_own = match leg {
        Leg::Client => ", or the clients' own",
        Leg::Gateway if view.spoken().has_no_time_limit || server.is_some() => "",
        Leg::Gateway => ", or the gateway's own",
    };
    let summary = format!(
        "cut {after}, {} times by now: {timer} {side}{hint}{or_own}",
        found.cases
    );
    let next = match (found.measure, server) {
        (Measure::Silence, Some(server)) => raise_idle_limit(server),
        (Measure::Silence, None) => format!(
            "find the proxy, load balancer or NAT {side} with an idle timeout of about {period_words}, \
             and raise it ({})",
            mend(None, Need::Idle)
        ),
        (Measure::Age, _) => format!(
            "find the proxy, load balancer or NAT {side} with a limit of about {period_words} on a \
             connection's lifetime, and raise it"
        ),
    };
    let next = match found.same_age_ms {
        None => next,
        Some(age) => format!(
            "{next}; if it has no such timeout, look for its limit of about {} on a connection's \
             lifetime",
            period(age)
        ),
    };
    let next = match leg {
        Leg::Client => {
            format!("if these clients do not end by themselves after {period_words}: {next}")
        }
        Leg::Gateway if or_own.is_empty() => next,
        Leg::Gateway => format!("if the gateway has no such limit itself: {next}"),
    };
    let gateway = view.application().gateway.unwrap_or_default();
    let process = match (gateway.boot, gateway.began_at) {
        (Some(boot), _) => Some(format!("boot id {}", short(boot))),
        (None, Some(began)) => Some(format!("by its uptime it began at {began}")),
        (None, None) => None,
    };
    Some(
        Finding::new(sure(view, &found), summary)
            .because(shown_by(&found, &after, process.as_deref()))
            .because(view.end_evidence(leg))
            .next(next),
    )
}
