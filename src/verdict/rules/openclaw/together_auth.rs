//! Refusals that only other sessions explain: their evidence is in the record's `context`.

use super::auth_secret::auth;
use crate::session::record::context::ContextFacts;
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Rule, Versions};
use crate::verdict::siblings::let_in;
use crate::verdict::view::{View, at, fact, short};

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "A device token in place of the shared token",
        explanation: "The client sent as auth.token a value that the gateway had issued as a \
                      device token. The gateway compares auth.token with the shared token only, \
                      and says \"token mismatch\": that hides the real cause, a device token that \
                      was rotated, was revoked, or is in the wrong field.",
        evidence: "details.code AUTH_TOKEN_MISMATCH, and in the context a hello-ok that issued this very value as a device token",
        versions: Versions::Seen,
        action: "send it as connect.params.auth.deviceToken, or give the client the shared token; if it is refused there too, pair the device again",
        ..auth(
            "gateway.auth.device_token_as_token",
            ActOn::Client,
            device_token_as_token,
        )
    },
    Rule {
        title: "The token was changed at the gateway",
        explanation: "The gateway refused a token that it had let in recently. So its own value was \
                      changed since (by an edit, a new deployment, or a restart with another \
                      environment), and clients that do not know of the change go on with the old \
                      one.",
        evidence: "details.code AUTH_TOKEN_MISMATCH, and in the context sessions that were let in with the same fingerprint",
        versions: Versions::Seen,
        action: "give the client the gateway's new gateway.auth.token, or put the old one back; compare fingerprints (`wstap fingerprint`, or sha256sum as the verdict shows)",
        ..auth("gateway.auth.token_changed", ActOn::Client, token_changed)
    },
    Rule {
        title: "Two gateways with different tokens",
        explanation: "The same token is let in by one and refused by the other of two gateway \
                      processes that answer in turn at one address: two replicas, an old container \
                      beside the new one, or a name with two addresses. Clients fail now and then \
                      for no reason of their own.",
        evidence: "details.code AUTH_TOKEN_MISMATCH, and in the context the same fingerprint let in while boot ids alternate",
        versions: Versions::Seen,
        action: "leave one gateway behind this address, or give all of them the same gateway.auth.token",
        ..auth("gateway.auth.two_gateways", ActOn::Operator, two_gateways)
    },
    Rule {
        id: "gateway.pairing.lost",
        class: Class::GatewayPairing,
        title: "The gateway lost the device's pairing",
        explanation: "The gateway had let this device in recently and now says that it is not paired. \
                      Either somebody removed it, or the gateway restarted without its state: a \
                      container whose state folder is not on a volume, another OPENCLAW_STATE_DIR, \
                      or another gateway behind the same name.",
        evidence: "details.code PAIRING_REQUIRED with the reason not-paired, and in the context a hello-ok for the same device id",
        versions: Versions::Seen,
        action: "check that the gateway's state folder (OPENCLAW_STATE_DIR) is on a volume that outlives its container; then approve the device again: `openclaw devices list`, then `openclaw devices approve` with the id that it shows",
        ..auth("", ActOn::Operator, pairing_lost)
    },
];

/// What other sessions showed, if the gateway compared the token and found it different.
fn mismatch<'a>(view: &View<'a>) -> Option<&'a ContextFacts> {
    view.token_refused()?;
    view.record().context.as_ref()
}

fn found(view: &View<'_>, confidence: Confidence, summary: String) -> Finding {
    Finding::new(confidence, summary)
        .because(view.refusal_evidence())
        .because(view.credential_evidence())
}

fn device_token_as_token(view: &View<'_>) -> Option<Finding> {
    let context = mismatch(view)?;
    let issued = context.issued.as_ref()?;
    let device = issued.device.as_ref().map_or_else(String::new, |device| {
        format!(" to the device {}", short(device))
    });
    let summary = "the client sent a device token where the shared token belongs".to_owned();
    Some(found(view, Confidence::Certain, summary).because([at(
        issued.at,
        format!("a session ended in which the gateway had issued this value{device}"),
    )]))
}

fn worked(context: &ContextFacts) -> Option<(String, u32)> {
    let used = context.same_credential.as_ref()?;
    let text = format!(
        "{} were let in with the same value, the last until {}",
        let_in(used),
        used.last_at
    );
    Some((text, used.sessions))
}

fn two_gateways(view: &View<'_>) -> Option<Finding> {
    let context = mismatch(view)?;
    if !context.boots_alternate {
        return None;
    }
    let (text, _) = worked(context)?;
    let summary =
        "this token is let in and refused in turn: two gateways answer at this address".to_owned();
    Some(found(view, Confidence::Likely, summary).because([fact(text)]))
}

fn token_changed(view: &View<'_>) -> Option<Finding> {
    let context = mismatch(view)?;
    let (text, _) = worked(context)?;
    let summary =
        "the gateway refused a token that it had let in before: its own was changed".to_owned();
    Some(found(view, Confidence::Likely, summary).because([fact(text)]))
}

fn pairing_lost(view: &View<'_>) -> Option<Finding> {
    let said = view.refused(&["PAIRING_REQUIRED"], &["pairing required"])?;
    let unknown = match said.reason() {
        Some(reason) => reason == "not-paired",
        None => said.holds("not approved yet"),
    };
    let context = view.record().context.as_ref()?;
    let until = context.device_accepted_at.filter(|_| unknown)?;
    let fresh = context
        .boots
        .last()
        .is_some_and(|boot| boot.first_at > until);
    let confidence = if fresh || context.boots_alternate {
        Confidence::Likely
    } else {
        Confidence::Possible
    };
    let summary = "the gateway had let this device in before and does not know it any more";
    let finding = Finding::new(confidence, summary)
        .because([at(
            until,
            "a session of this device that the gateway had let in ended",
        )])
        .because(view.refusal_evidence());
    let request = said
        .error()
        .and_then(|error| crate::verdict::view::paste_safe(error.request_id.as_ref()?));
    Some(match request {
        Some(id) => finding.next(format!(
            "check that the gateway's state folder (OPENCLAW_STATE_DIR) outlives its container; \
             then run `openclaw devices approve {id}` on the gateway host"
        )),
        None => finding,
    })
}
