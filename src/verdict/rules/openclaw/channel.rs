//! Sessions that were authorised, ended well, and achieved nothing: every answer was a failure.
//!
//! A session with one successful request counts as good: the failures beside it are in the record.

use crate::session::party::Party;
use crate::session::record::dialect::{RpcFacts, RpcFailure};
use crate::session::record::gateway::{ForwardedMode, ForwardedWhy};
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence, Evidence};
use crate::session::text::PeerText;
use crate::verdict::finding::Finding;
use crate::verdict::openclaw::skew::{Older, Release, Skew};
use crate::verdict::rule::{Find, Rule, Versions};
use crate::verdict::view::{View, fact, paste_safe, short};

const fn channel(id: &'static str, act_on: ActOn, find: Find) -> Rule {
    Rule::of(id, Class::Channel, Party::Client, act_on, find)
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "Connected without any scope: for the gateway this client is not local",
        explanation: "The client asked for scopes with a shared secret and without a device, and \
                      hello-ok granted none. OpenClaw gateways do so when the client is not local \
                      for them: it is remote, or a proxy header made a client of the same host look \
                      remote. The connection works and every request that needs a scope fails with \
                      MISSING_SCOPE. (Gateways before 2026.7 grant no scope to any client without a \
                      device, so there it is channel.missing_scope.) A remote command line needs a \
                      device. Commands that only read (devices list, health, status) use an \
                      existing device and create none, so there is nothing to approve; others, \
                      such as cron list, create one. Tried with client and gateway 2026.9.6 from \
                      another host: `openclaw cron list` is refused with \"pairing required\" and \
                      leaves an identity, the wanted command is then refused with its own request \
                      id, and after `openclaw devices approve` of that id it works.",
        evidence: "hello-ok with an empty list of scopes, a connect request that asked for some and named no device, and answers with MISSING_SCOPE",
        versions: Versions::Seen,
        action: "give the client a device: at the client run `openclaw cron list` once (it is refused, and makes the device's identity), then the wanted command again, and approve its request on the gateway host by `openclaw devices approve` with the id that `openclaw devices list` shows there; or run the command on the gateway host itself",
        ..channel("channel.locality_lost", ActOn::Operator, locality_lost)
    },
    Rule {
        title: "A scope was missing",
        explanation: "The client was accepted and its requests were answered with MISSING_SCOPE: \
                      the scopes that it asked for, or that its device was approved for, do not \
                      include what the methods need. Nothing is wrong with the connection or the \
                      token. Before 2026.8 the answer is INVALID_REQUEST with the words \"missing \
                      scope\", before 2026.7 a client without a device has no scopes wherever it is, \
                      and every gateway wants operator.admin for a method that it does not know.",
        evidence: "hello-ok, and no answer but refusals, one of them with MISSING_SCOPE (before 2026.8: a message that begins \"missing scope\")",
        versions: Versions::Seen,
        action: "let the client ask for the missing scope, then approve it on the gateway host: `openclaw devices list`, then `openclaw devices approve` with the id that it shows",
        ..channel("channel.missing_scope", ActOn::Client, missing_scope)
    },
    Rule {
        title: "A header took scopes away",
        explanation: "The request carried X-OpenClaw-Scopes, and hello-ok granted fewer scopes than the \
                      client asked for, none that the header does not name: the gateway caps a \
                      session's scopes with that header, and an empty one leaves none. A proxy \
                      that sets it for the HTTP API sets it on WebSockets too.",
        evidence: "X-OpenClaw-Scopes in the request, fewer scopes granted than asked for, and answers with MISSING_SCOPE",
        versions: Versions::Seen,
        action: "take X-OpenClaw-Scopes off the upgrade request: at the client, or at the proxy in front of the tap that adds it",
        ..channel("channel.scopes_capped", ActOn::Operator, scopes_capped)
    },
    Rule {
        title: "The gateway did not understand the requests",
        explanation: "The client was accepted, and the gateway answered each of its requests with \
                      INVALID_REQUEST: a method that it does not know, parameters that it does not \
                      take, or a second connect. A client of another version, or a program that \
                      imitates one. The versions, or the text of the answer, show which of the two \
                      is older and has to act.",
        evidence: "hello-ok, an orderly end, and INVALID_REQUEST as every answer",
        versions: Versions::Seen,
        action: "pin client and gateway to one release: compare `openclaw --version` at the client and on the gateway host; if the client is your own, mend the request",
        ..channel("channel.invalid_requests", ActOn::Client, invalid_requests)
    },
    Rule {
        title: "Every request failed",
        explanation: "The client was accepted, and the gateway answered each of its requests with \
                      ok: false. The session itself was fine: what failed is inside the gateway, \
                      in a channel behind it or in the requests. The evidence has its codes.",
        evidence: "hello-ok, an orderly end, and every answer with ok: false",
        versions: Versions::Seen,
        action: "follow the gateway's code for the method shown; `openclaw channels status` shows the state of its channels",
        ..channel("channel.requests_failed", ActOn::Gateway, requests_failed)
    },
];

/// The first release that is known to grant scopes to a local client without a device: 2026.7.35 does,
/// 2026.6.11 does not.
const SCOPES_WITHOUT_DEVICE: Release = Release(2026, 7, 0);

/// The failures of a session that was authorised, ended in order, and achieved nothing.
fn failures<'a>(view: &View<'a>) -> Option<&'a RpcFacts> {
    let (_, code) = view.client_close().or_else(|| view.gateway_close())?;
    let ended_well =
        matches!(code, None | Some(1000)) || (code == Some(1001) && view.client_close().is_some());
    if !view.was_open() || !ended_well {
        return None;
    }
    view.only_failures()
}

fn found(view: &View<'_>, rpc: &RpcFacts, summary: String) -> Finding {
    let party = if view.client_close().is_some() {
        Party::Client
    } else {
        Party::Gateway
    };
    let failures: Vec<Evidence> = rpc
        .failures
        .iter()
        .take(4)
        .map(RpcFailure::evidence)
        .collect();
    Finding::new(Confidence::Certain, summary)
        .because(failures)
        .because(view.both_legs())
        .ended_by(party)
}

fn names(scopes: &[PeerText]) -> String {
    let all: Vec<&str> = scopes.iter().take(4).map(PeerText::as_str).collect();
    all.join(", ")
}

fn locality_lost(view: &View<'_>) -> Option<Finding> {
    let rpc = failures(view)?;
    let dialect = view.openclaw()?;
    let asked = dialect.scopes_asked.as_ref()?;
    let granted = dialect.scopes_granted.as_ref()?;
    let lost = granted.is_empty() && !asked.is_empty() && !dialect.device.present;
    // Older gateways grant none to a local client without a device either.
    let says_locality = view
        .gateway_release()
        .is_none_or(|release| release >= SCOPES_WITHOUT_DEVICE);
    if !lost || !says_locality || !rpc.failures.iter().any(RpcFailure::lacks_scope) {
        return None;
    }
    let finding = found(
        view,
        rpc,
        "connected without any scope: for the gateway this client is not local".to_owned(),
    );
    let mut facts = vec![fact(format!(
        "it asked for {} without a device, and hello-ok granted no scope",
        names(asked)
    ))];
    let (why, next) = why_remote(view);
    facts.extend(why.map(fact));
    let finding = Finding {
        confidence: Confidence::Likely,
        ..finding
    };
    let finding = finding.because(facts);
    Some(match next {
        Some(next) => finding.next(next),
        None => finding,
    })
}

/// Why the gateway treats this client as remote, and what to do if that is wrong.
fn why_remote(view: &View<'_>) -> (Option<String>, Option<&'static str>) {
    let Some(forwarded) = view.forwarded() else {
        return (None, None);
    };
    let client = crate::verdict::trust::address(&view.client.addr);
    let local = client.is_some_and(|ip| ip.is_loopback());
    let brought = &forwarded.brought;
    match forwarded.mode {
        // A loopback peer that forwards for another client: only its headers say for which.
        ForwardedMode::Pass if !brought.is_empty() => (
            Some(format!("the client's side brought {}", names(brought))),
            local.then_some(
                "if this client is on the gateway's host, let it connect to wstap or to the gateway \
                 itself: the proxy in front adds headers that make it remote; a client that is remote \
                 needs a device: run `openclaw cron list` there once, then the wanted command again, and \
                 approve its request on the gateway host (`openclaw devices approve` with the id that `openclaw devices list` shows)",
            ),
        ),
        ForwardedMode::Overwrite if local && forwarded.why == Some(ForwardedWhy::Configured) => (
            Some("we wrote a loopback client down as gateway.forwarded says".to_owned()),
            Some(
                "set gateway.forwarded: auto in the configuration of wstap, so that a client of the \
                 gateway's own host stays local",
            ),
        ),
        ForwardedMode::Overwrite => {
            let named = view
                .named()
                .map_or_else(String::new, |ip| format!(" ({ip})"));
            let text = format!(
                "we told the gateway who the client is{named}: it really is not on the gateway's host"
            );
            (Some(text), None)
        }
        ForwardedMode::Pass | ForwardedMode::None => (None, None),
    }
}

fn scopes_capped(view: &View<'_>) -> Option<Finding> {
    let rpc = failures(view)?;
    let lacks = rpc.failures.iter().any(RpcFailure::lacks_scope);
    let header = view
        .record()
        .request
        .as_ref()?
        .headers
        .iter()
        .find(|header| {
            header
                .name
                .as_str()
                .eq_ignore_ascii_case("x-openclaw-scopes")
        })?;
    let dialect = view.openclaw()?;
    let asked = dialect.scopes_asked.as_ref()?;
    let granted = dialect.scopes_granted.as_ref()?;
    let named = |scope: &PeerText| {
        header.value.as_ref().is_none_or(|value| {
            let mut items = value.as_str().split(',').map(str::trim);
            items.any(|item| item == scope.as_str())
        })
    };
    let capped = granted.len() < asked.len() && granted.iter().all(named);
    if !lacks || !capped {
        return None;
    }
    let value = header
        .value
        .as_ref()
        .map_or_else(|| "with a value that was not kept".to_owned(), short);
    let summary = "connected, but the header X-OpenClaw-Scopes took scopes away".to_owned();
    Some(found(view, rpc, summary).because([
        fact(format!("the request carried X-OpenClaw-Scopes: {value}")),
        fact(format!("it asked for {}", names(asked))),
        fact(match granted.as_slice() {
            [] => "hello-ok granted no scope".to_owned(),
            granted => format!("hello-ok granted {}", names(granted)),
        }),
    ]))
}

fn missing_scope(view: &View<'_>) -> Option<Finding> {
    let rpc = failures(view)?;
    let failure = rpc.failures.iter().find(|failure| failure.lacks_scope())?;
    let scope = failure.missing_scope.as_ref();
    let summary = format!(
        "connected, but {} needs {}",
        short(&failure.method),
        scope.map_or_else(
            || "a scope that is missing".to_owned(),
            |scope| format!("the scope {}", short(scope))
        ),
    );
    let dialect = view.openclaw()?;
    let granted = dialect
        .scopes_granted
        .as_ref()
        .map(|granted| match granted.as_slice() {
            [] => fact("hello-ok granted no scope"),
            granted => fact(format!("hello-ok granted {}", names(granted))),
        });
    let finding = found(view, rpc, summary).because(granted);
    let skew = view.skew_of_versions().unwrap_or_else(Skew::unknown);
    let older_gateway = skew.older == Some(Older::Gateway);
    let no_device = dialect.server.is_some()
        && !dialect.device.present
        && dialect.scopes_granted.as_ref().is_none_or(Vec::is_empty)
        && dialect
            .scopes_asked
            .as_ref()
            .is_some_and(|asked| !asked.is_empty())
        && view
            .gateway_release()
            .is_none_or(|release| release < SCOPES_WITHOUT_DEVICE);
    if no_device {
        let finding = finding.because([fact(
            "it named no device, and gateways before 2026.7 grant no scope to such a client, wherever \
             it is",
        )]);
        let finding = finding.because(view.version_evidence());
        return Some(if older_gateway {
            skew.mend(view, finding, None)
        } else {
            finding.next(
                "let the client use a device identity and approve it on the gateway host: `openclaw \
                 devices list`, then `openclaw devices approve` with the id that it shows",
            )
        });
    }
    let may_be_unknown = scope.is_some_and(|scope| scope.as_str() == "operator.admin");
    if may_be_unknown && older_gateway {
        let finding = Finding {
            confidence: Confidence::Likely,
            ..finding
        };
        let finding = finding.because(view.version_evidence()).because([fact(
            "the client is newer than the gateway, which wants operator.admin for every method that it \
             does not know",
        )]);
        return Some(skew.mend(view, finding, None));
    }
    Some(match scope.and_then(paste_safe) {
        Some(scope) => finding.next(format!(
            "let the client ask for {scope}, then approve it on the gateway host: `openclaw devices list`, then `openclaw devices approve` with the id that it shows"
        )),
        None => finding,
    })
}

fn invalid_requests(view: &View<'_>) -> Option<Finding> {
    let rpc = failures(view)?;
    let invalid = |failure: &RpcFailure| {
        let code = failure.code.as_ref();
        code.is_some_and(|code| code.as_str() == "INVALID_REQUEST")
    };
    let first = rpc.failures.first()?;
    // Only some kinds of failures are listed in the record: the others may be different.
    let listed = rpc
        .failures
        .iter()
        .fold(0_u64, |sum, failure| sum.saturating_add(failure.count));
    if listed != rpc.errors || !rpc.failures.iter().all(invalid) {
        return None;
    }
    let complaint = first.message.as_ref().map_or("", PeerText::as_str);
    let skew = view.skew_of_request(complaint);
    let summary = match skew.older {
        Some(Older::Gateway) => format!(
            "connected, but the gateway is older than the client and does not understand {}",
            short(&first.method)
        ),
        _ => format!(
            "connected, but the gateway does not understand {} (INVALID_REQUEST)",
            short(&first.method)
        ),
    };
    let finding = found(view, rpc, summary);
    let finding = finding.because(view.version_evidence());
    let mend = skew.is_none.then(|| {
        "mend the request at the client: client and gateway are of one release".to_owned()
    });
    let mut finding = skew.mend(view, finding, mend);
    if skew.older.is_some() && !view.is_control_ui() {
        finding
            .next
            .push_str("; if the request is of your own making, mend it");
    }
    Some(finding)
}

fn requests_failed(view: &View<'_>) -> Option<Finding> {
    let rpc = failures(view)?;
    let first = rpc.failures.first()?;
    let code = first
        .details_code
        .as_ref()
        .or(first.code.as_ref())
        .map_or_else(String::new, |code| format!(" with {}", short(code)));
    let summary = match rpc.responses {
        1 => format!(
            "connected, but its only request {} failed{code}",
            short(&first.method)
        ),
        many => format!(
            "connected, but all {many} requests failed, {} first{code}",
            short(&first.method)
        ),
    };
    Some(found(view, rpc, summary))
}
