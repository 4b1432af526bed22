//! Evidence from recent sessions that is added to any finding.

use super::view::View;
use super::view::{at, fact};
use crate::session::moment::Moment;
use crate::session::record::context::{Boot, ContextFacts, CredentialUse, GoingDown};
use crate::session::record::{Class, Evidence};

/// Number of attempts in a minute that count as a storm.
const STORM: u32 = 20;

/// Number of wrong tokens in five minutes that is worth reporting.
const MISMATCHES: u32 = 3;

impl<'a> View<'a> {
    /// The gateway's announcement to other sessions, before this one's end, that it goes down.
    /// `None` if a running process of it let this session in after that.
    #[must_use]
    pub fn announced_to_others(&self) -> Option<&'a GoingDown> {
        let down = self.record().context.as_ref()?.going_down.as_ref()?;
        let let_in_since = self.was_open() && self.opened_at > down.at;
        (down.announced && !let_in_since).then_some(down)
    }
}

/// Evidence from other sessions that belongs to a verdict of this class.
pub(super) fn evidence(view: &View<'_>, class: Class) -> Vec<Evidence> {
    let mut all = Vec::new();
    if class == Class::GatewayLeft {
        all.extend(no_boot_id(view));
    }
    let Some(context) = &view.record().context else {
        return all;
    };
    let about_auth = matches!(class, Class::GatewayAuth | Class::GatewayPairing);
    if about_auth {
        all.extend(credentials(context));
    }
    if about_auth || matches!(class, Class::GatewayLeft | Class::GatewayLifecycle) {
        all.extend(processes(context, view.record().closed_at));
    }
    if class == Class::GatewayLeft {
        all.extend(no_crash(context));
    }
    let stopped = context.going_down.as_ref().filter(|down| down.stops);
    let unanswered = matches!(class, Class::GatewayUnreachable | Class::GatewaySilent);
    if let Some(down) = stopped.filter(|_| unanswered) {
        all.push(at(down.at, "the gateway said that it stops"));
    }
    let cancelled = context.cancels.filter(|_| class == Class::GatewaySilent);
    if let Some(cancels) = cancelled.filter(|cancels| cancels.count > 1) {
        all.push(fact(format!(
            "this client address cancelled {} attempts within five minutes before they were answered",
            cancels.count
        )));
    }
    if context.attempts > STORM {
        all.push(fact(format!(
            "this client address tried {} times within a minute",
            context.attempts
        )));
    }
    all
}

/// Other credentials that came, and which of them work.
fn credentials(context: &ContextFacts) -> Vec<Evidence> {
    let others = &context.other_credentials;
    let mut all: Vec<Evidence> = others
        .iter()
        .map(|other| {
            let became = if other.accepted {
                "and was let in"
            } else {
                "and was refused too"
            };
            fact(format!(
                "the same client address sent {} in the same place recently ({} sessions, last at \
                 {}) {became}",
                other.fingerprint, other.sessions, other.last_at
            ))
        })
        .collect();
    let already_named = |print: &str| others.iter().any(|other| other.fingerprint == print);
    let works = context.working.as_ref();
    if let Some(works) = works.filter(|works| !already_named(&works.fingerprint)) {
        all.push(fact(format!(
            "{} were let in with {} in the same place, the last until {}",
            let_in(works),
            works.fingerprint,
            works.last_at
        )));
    }
    if context.mismatches > MISMATCHES {
        all.push(fact(format!(
            "{} wrong tokens came to this gateway in the last five minutes",
            context.mismatches
        )));
    }
    all
}

/// `3 sessions of 2 client addresses`.
pub(super) fn let_in(used: &CredentialUse) -> String {
    let sessions = counted(used.sessions, "session", "sessions");
    // Clients are not known if a proxy's headers about them were passed on.
    match used.clients {
        0 => sessions,
        clients => {
            let clients = counted(clients, "client address", "client addresses");
            format!("{sessions} of {clients}")
        }
    }
}

/// How the gateway's processes can be distinguished without boot ids, which came with 2026.8.
fn no_boot_id(view: &View<'_>) -> Option<Evidence> {
    let said = view.application();
    let gateway = said.gateway?;
    if gateway.boot.is_some() {
        return None;
    }
    let name = said.log_id.map_or_else(String::new, |id| {
        format!("; in its log this session is conn={}", id.as_str())
    });
    Some(fact(match gateway.began_at {
        Some(began) => format!(
            "this gateway has no boot ids (they came with 2026.8); by its uptime its process began at \
             {began}{name}"
        ),
        None => format!(
            "this gateway has no boot ids (they came with 2026.8) and reported no uptime, so a new \
             process of it cannot be detected here{name}"
        ),
    }))
}

/// Why other sessions that were lost in the same second do not prove that the gateway's process
/// ended.
fn no_crash(context: &ContextFacts) -> Option<Evidence> {
    let others = context.lost_together;
    if let Some(heard) = context.process_heard_at {
        let text = "the gateway's process went on: it let another session in";
        return Some(at(heard, text));
    }
    if others == 0 {
        return None;
    }
    if context.survivors > 0 {
        return Some(fact(format!(
            "{} were lost in the same second; the gateway's process went on, as others that were \
             open before still are",
            counted(others, "other session", "other sessions")
        )));
    }
    context.lost_together_one_in.map(|_| {
        fact(format!(
            "{} were lost in the same second, which says little: {} were in the ten minutes before, \
             or right after it",
            counted(others, "other session", "other sessions"),
            context.lost_beside
        ))
    })
}

fn counted(count: u32, one: &str, many: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        count => format!("{count} {many}"),
    }
}

/// The processes of the gateway that answered.
fn processes(context: &ContextFacts, now: Moment) -> Option<Evidence> {
    /// A process that began longer ago explains nothing of this end.
    const RECENT_MS: i64 = 5 * 60 * 1000;
    if context.boots_alternate {
        let ids: Vec<String> = context.boots.iter().map(process_words).collect();
        return Some(fact(format!(
            "two gateway processes answer in turn at this address ({})",
            ids.join(", ")
        )));
    }
    let newest = context.boots.last().filter(|newest| {
        let ago = now.millis_since(newest.first_at);
        context.boots.len() > 1 && ago <= RECENT_MS
    })?;
    Some(fact(format!(
        "the gateway's process is another one since {} ({})",
        newest.first_at,
        process_words(newest)
    )))
}

/// The mark that distinguishes a process of the gateway from others.
pub(super) fn process_words(boot: &Boot) -> String {
    match boot.began_at {
        Some(began) => format!("began at {began}, by its uptime"),
        None => format!("boot id {}", boot.id),
    }
}
