//! A client that connects and cancels again and again; the `context` shows its other attempts.

use crate::session::party::{Leg, Party, Phase};
use crate::session::record::context::{Cancels, Span};
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence, Evidence};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Rule, Versions};
use crate::verdict::view::{View, fact, human_ms};

/// Fewer may be a page reload.
const OFTEN: u32 = 3;

pub(super) const RULES: &[Rule] = &[Rule {
    id: "client.left.again",
    class: Class::ClientLeft,
    party: Party::Client,
    act_on: ActOn::Operator,
    title: "The client cancels again and again before it is answered",
    explanation: "The same client address has ended three or more attempts within five minutes \
                  before the gateway's answer, none of its attempts was answered in that time, and \
                  no session of it is open. \
                  It waits less than the answer takes: if it waited equally long each time, that \
                  is its own timeout. The waiting times of others at the same gateway show whether \
                  the gateway is slow or the client impatient: both times are in the evidence. If \
                  nobody was answered, the gateway's address may not answer at all, and the client \
                  only gives up before we do.",
    evidence: "the end of the client's connection before an answer, and in the context two or more others of the same client address within five minutes, none that was answered with any status, no open session of it, and no gateway that goes down",
    versions: Versions::Any,
    action: "compare the client's timeout with the time that the gateway takes; raise the former or find out why the gateway takes so long",
    find: again,
}];

fn again(view: &View<'_>) -> Option<Finding> {
    let context = view.record().context.as_ref()?;
    let cancels = context.cancels?;
    // A gateway that goes down explains why nobody was answered.
    if context.going_down.is_some() {
        return None;
    }
    if view.had_tunnel() || cancels.count < OFTEN || cancels.answered > 0 {
        return None;
    }
    let waited = span_words(cancels.waited_ms);
    let even = is_even(cancels.waited_ms);
    let summary = format!(
        "the client cancelled {} times in a row before it was answered, after {waited}",
        cancels.count
    );
    let (confidence, next) = judge(view, &cancels);
    let doing = match view.phase {
        Phase::Dial => "we were connecting to the gateway when it left this time",
        _ => "the gateway had the request and had not answered when it left this time",
    };
    let timeout = even.then(|| {
        fact(format!(
            "it waited equally long each time ({waited}): that is a timeout of the client, or of a proxy \
             in front of the tap"
        ))
    });
    Some(
        Finding::new(confidence, summary)
            .because(view.end_evidence(Leg::Client))
            .because([fact(doing)])
            .because(timeout)
            .because([others_words(&cancels)])
            .next(next),
    )
}

/// Whether the client's or the gateway's time is unusual.
fn judge(view: &View<'_>, cancels: &Cancels) -> (Confidence, String) {
    let even = is_even(cancels.waited_ms);
    let waited = human_ms(f64::from(cancels.waited_ms.max));
    match cancels.others_ms {
        Some(others) if others.min > cancels.waited_ms.max => (
            Confidence::Likely,
            format!(
                "raise the client's timeout above {}, or find out why the gateway takes so long to \
                 answer an upgrade",
                human_ms(f64::from(others.max))
            ),
        ),
        Some(others) if others.max < cancels.waited_ms.min => (
            Confidence::Possible,
            "the gateway answers others sooner than this client gives up: compare what it asks for \
             (path, headers) with theirs, and look into the gateway's log at this time"
                .to_owned(),
        ),
        Some(_) => (
            Confidence::Possible,
            format!("raise the client's timeout above {waited}, and look at the gateway's load"),
        ),
        None if view.record().context.as_ref().is_some_and(|it| it.survivors > 0) => (
            Confidence::Possible,
            format!(
                "older sessions are open at the gateway, so it runs: find out why it answers no upgrade, \
                 then raise the client's timeout above {waited}"
            ),
        ),
        None => (
            if even {
                Confidence::Likely
            } else {
                Confidence::Possible
            },
            format!(
                "nobody was answered: check that the gateway runs and that its address answers{}, then \
                 raise the client's timeout above {waited}",
                ask(view)
            ),
        ),
    }
}

/// ` (run `curl …` here)`, if the configured URL is safe to paste.
fn ask(view: &View<'_>) -> String {
    let url = view.gateway.as_ref().map(|gateway| gateway.url.as_str());
    let plain = |url: &&str| {
        let byte = |b: u8| b.is_ascii_alphanumeric() || b".:[]-_/".contains(&b);
        url.starts_with("http") && url.len() <= 120 && url.bytes().all(byte)
    };
    url.filter(plain).map_or_else(String::new, |url| {
        format!(" (run `curl -sk -m 10 {url}` on wstap's host)")
    })
}

fn others_words(cancels: &Cancels) -> Evidence {
    fact(match cancels.others_ms {
        Some(span) => format!(
            "{} attempts of others at this gateway were answered within five minutes, after {}",
            cancels.others,
            span_words(span)
        ),
        None => "no attempt at this gateway was answered in these five minutes".to_owned(),
    })
}

/// Whether the times are within a tenth of each other, or 50 ms.
fn is_even(span: Span) -> bool {
    span.max - span.min.min(span.max) <= (span.max / 10).max(50)
}

fn span_words(span: Span) -> String {
    let (min, max) = (human_ms(f64::from(span.min)), human_ms(f64::from(span.max)));
    if min == max {
        min
    } else {
        format!("{min} to {max}")
    }
}
