//! The gateway starts, restarts and stops (catalogue sections 3, 4 and 5).

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, interval};

use super::before_101::answered;
use super::book::{Book, Expect, rule};
use super::tap;
use crate::live::connected::Visit;
use crate::live::gateway::{Gateway, Options};
use crate::live::guest::Guest;
use crate::support::tap::Tap;

/// How long the gateway may take to come back.
const LIMIT: Duration = Duration::from_mins(1);
/// How often a client tries.
const TRY_EVERY: Duration = Duration::from_millis(20);

/// Clients come while it starts.
pub async fn start(gateway: &Gateway, book: &mut Book) {
    let tap = tap(gateway).await;
    let seen = until_served(&tap).await;
    let unreachable = rule("gateway.unreachable.refused")
        .act_on("gateway")
        .fact("/answer/status", 502);
    seen.check("nobody listens yet", &tap, Seen::REFUSED, unreachable, book)
        .await;
    seen.check(
        "started, and not ready",
        &tap,
        Seen::STARTING,
        starting(),
        book,
    )
    .await;
}

/// It restarts because of its configuration, in the same process.
pub async fn restart(gateway: &Gateway, options: &Options, book: &mut Book) {
    let tap = tap(gateway).await;
    let session = Guest::cli().accepted(&tap).await;
    let waiting = Guest::cli().open(&tap).await;
    gateway.rewrite(&Options {
        lan: !options.lan,
        ..options.clone()
    });
    // Others come all the while: between the notice to open sessions and the closing of the port
    // there is a moment in which new ones are refused.
    let (visit, early, seen) = tokio::join!(session.end(), waiting.end(), restarted(&tap));
    let expect = rule("gateway.lifecycle.restart")
        .act_on("nobody")
        .closed(1012)
        .fact("/dialect/shutdown/reason", "gateway restarting")
        .fact("/dialect/shutdown/restart_expected_ms", 1500);
    book.check("restart, in a session", &tap, &visit, expect)
        .await;
    let expect = rule("gateway.lifecycle.restart_or_stop")
        .act_on("nobody")
        .closed(1012)
        .fact("/dialect/shutdown", Value::Null);
    book.check("restart, before hello", &tap, &early, expect)
        .await;
    let closed = answered("gateway.lifecycle.admission_closed", 503).act_on("nobody");
    seen.check("503: no admission", &tap, Seen::DRAINING, closed, book)
        .await;
    seen.check(
        "restarted, and not ready",
        &tap,
        Seen::STARTING,
        starting(),
        book,
    )
    .await;
    let unavailable = rule("gateway.lifecycle.unavailable")
        .act_on("nobody")
        .closed(1013)
        .fact("/dialect/error/code", "UNAVAILABLE");
    let case = "restart, between hello and challenge";
    seen.check_if_any(case, &tap, Seen::RESTARTING, unavailable, book)
        .await;
    let visit = Guest::cli().visit(&tap).await;
    book.check("restarted", &tap, &visit, rule("ok.client_closed"))
        .await;
}

/// SIGTERM.
pub async fn stop(gateway: &mut Gateway, book: &mut Book) {
    let tap = tap(gateway).await;
    let session = Guest::cli().accepted(&tap).await;
    let waiting = Guest::cli().open(&tap).await;
    // They have to answer the Close while it stops.
    let (visit, early, ()) = tokio::join!(session.end(), waiting.end(), gateway.terminate());
    let expect = rule("gateway.lifecycle.stop")
        .act_on("operator")
        .closed(1012)
        .fact("/dialect/shutdown/reason", "gateway stopping")
        .fact("/dialect/shutdown/restart_expected_ms", Value::Null);
    book.check("stop, in a session", &tap, &visit, expect).await;
    let expect = rule("gateway.lifecycle.restart_or_stop").closed(1012);
    book.check("stop, before hello", &tap, &early, expect).await;
    let visit = Guest::cli().visit(&tap).await;
    let expect = rule("gateway.unreachable.refused").act_on("gateway");
    book.check("stopped", &tap, &visit, expect).await;
}

/// SIGKILL in the middle of three sessions.
pub async fn crash(gateway: &mut Gateway, book: &mut Book) {
    let tap = tap(gateway).await;
    let one = Guest::cli().accepted(&tap).await;
    let two = Guest::cli().accepted(&tap).await;
    let three = Guest::cli().accepted(&tap).await;
    gateway.kill().await;
    // Each client ends its side at once, as clients do.
    let visits = tokio::join!(one.end(), two.end(), three.end());
    for (case, visit) in [
        ("killed, one session", visits.0),
        ("killed, another session", visits.1),
        ("killed, a third session", visits.2),
    ] {
        let expect = rule("gateway.lifecycle.crash")
            .fact("/context/lost_together", 2)
            .fact("/close/first", "gateway")
            .saw(json!([1006, "written"]), Value::Null);
        book.check(case, &tap, &visit, expect).await;
    }
}

fn starting() -> Expect {
    rule("gateway.lifecycle.starting")
        .act_on("nobody")
        .closed(1013)
        .fact("/dialect/error/code", "UNAVAILABLE")
        .fact("/dialect/error/details_reason", "startup-sidecars")
        .fact("/dialect/error/retry_after_ms", 500)
}

/// The first visit of each kind on the way to one that is accepted.
pub struct Seen(Vec<(&'static str, Visit)>);

impl Seen {
    const REFUSED: &'static str = "502";
    const DRAINING: &'static str = "503";
    const STARTING: &'static str = "starting";
    const RESTARTING: &'static str = "restarting";

    fn kind(visit: &Visit) -> &'static str {
        let reason = visit.answer.pointer("/error/details/reason");
        match (visit.status, reason.and_then(Value::as_str)) {
            (Some(502), _) => Self::REFUSED,
            (Some(503), _) => Self::DRAINING,
            (_, Some("startup-sidecars")) => Self::STARTING,
            (_, Some("gateway-restarting")) => Self::RESTARTING,
            _ => "other",
        }
    }

    async fn check(&self, case: &str, tap: &Tap, kind: &str, expect: Expect, book: &mut Book) {
        match self.0.iter().find(|(known, _)| *known == kind) {
            Some((_, visit)) => drop(book.check(case, tap, visit, expect).await),
            None => book.complain(case, "it never came to that", &Value::Null),
        }
    }

    /// Whether a client came at such a moment is a matter of luck.
    async fn check_if_any(
        &self,
        case: &str,
        tap: &Tap,
        kind: &str,
        expect: Expect,
        book: &mut Book,
    ) {
        if self.0.iter().any(|(known, _)| *known == kind) {
            self.check(case, tap, kind, expect, book).await;
        }
    }
}

/// Tries again and again until the gateway has been away and accepts again.
async fn restarted(tap: &Tap) -> Seen {
    let mut all = Seen(Vec::new());
    loop {
        let seen = until_served(tap).await;
        let back = seen.0.iter().any(|(kind, _)| *kind == Seen::STARTING);
        all.0.extend(seen.0);
        if back {
            return all;
        }
    }
}

/// Tries again and again until the gateway accepts.
pub async fn until_served(tap: &Tap) -> Seen {
    let mut seen = Seen(Vec::new());
    let mut tick = interval(TRY_EVERY);
    let deadline = Instant::now() + LIMIT;
    loop {
        tick.tick().await;
        let visit = Guest::cli().visit(tap).await;
        if visit.answer["ok"] == true {
            return seen;
        }
        let kind = Seen::kind(&visit);
        if seen.0.iter().all(|(known, _)| *known != kind) {
            seen.0.push((kind, visit));
        }
        assert!(Instant::now() < deadline, "the gateway does not come back");
    }
}
