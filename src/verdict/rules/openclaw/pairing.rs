//! The device waits for somebody's approval.

use crate::session::party::Party;
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence};
use crate::verdict::finding::Finding;
use crate::verdict::openclaw::said::GatewayRefusal;
use crate::verdict::rule::{Find, Rule, Versions};
use crate::verdict::view::{View, fact, paste_safe, short};

const fn pairing(id: &'static str, find: Find) -> Rule {
    Rule {
        action: "on the gateway host run `openclaw devices list`, then `openclaw devices approve` with the id that it shows",
        ..Rule::of(
            id,
            Class::GatewayPairing,
            Party::Gateway,
            ActOn::Operator,
            find,
        )
    }
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "The device changed and must be approved again",
        explanation: "The platform or family of a paired device is another than when it was \
                      approved. That is also refused on the gateway's own host.",
        evidence: "details.code PAIRING_REQUIRED with the reason metadata-upgrade",
        versions: Versions::Seen,
        ..pairing("gateway.pairing.metadata_upgrade", metadata_upgrade)
    },
    Rule {
        title: "A node's pairing changed while it connected",
        explanation: "The gateway could not tie this node to a pairing: it changed or went away \
                      during the handshake.",
        evidence: "a refusal that begins \"node pairing changed\"",
        versions: Versions::Read,
        ..pairing("gateway.pairing.node_changed", node_changed)
    },
    Rule {
        title: "The device is not paired",
        explanation: "Token and proxy are right; the gateway does not know this device yet and waits \
                      for an approval. Devices on the gateway's own host are approved by \
                      themselves, unless a proxy's header makes them look remote.",
        evidence: "details.code PAIRING_REQUIRED with the reason not-paired",
        versions: Versions::Seen,
        ..pairing("gateway.pairing.not_paired", not_paired)
    },
    Rule {
        title: "Pairing is required",
        explanation: "The gateway wants an approval for this device and gives no reason that this \
                      version of wstap knows.",
        evidence: "details.code PAIRING_REQUIRED with no reason that is known",
        versions: Versions::Past,
        ..pairing("gateway.pairing.required", required)
    },
    Rule {
        title: "The device asks for a higher role",
        explanation: "The device is paired for another role than the one that it asks for.",
        evidence: "details.code PAIRING_REQUIRED with the reason role-upgrade",
        versions: Versions::Seen,
        ..pairing("gateway.pairing.role_upgrade", role_upgrade)
    },
    Rule {
        title: "The device asks for more scopes",
        explanation: "The device is paired for fewer scopes than it asks for.",
        evidence: "details.code PAIRING_REQUIRED with the reason scope-upgrade",
        versions: Versions::Seen,
        ..pairing("gateway.pairing.scope_upgrade", scope_upgrade)
    },
];

/// The refusal, when it is about pairing and has this reason.
fn because<'a>(view: &View<'a>, reason: &str, words: &str) -> Option<GatewayRefusal<'a>> {
    let said = view.refused(&["PAIRING_REQUIRED"], &["pairing required"])?;
    let given = said.reason();
    let fits = match given {
        Some(given) => given == reason,
        None => said.holds(words),
    };
    fits.then_some(said)
}

fn found(view: &View<'_>, said: &GatewayRefusal<'_>, summary: &str) -> Finding {
    let dialect = view.openclaw();
    let device = dialect
        .and_then(|dialect| dialect.device.id.as_ref())
        .map(|id| fact(format!("the device is {}", short(id))));
    let asked = dialect
        .and_then(|dialect| dialect.scopes_asked.as_ref())
        .map(|scopes| {
            let names: Vec<String> = scopes.iter().take(8).map(short).collect();
            let role = dialect.and_then(|dialect| dialect.role.as_ref());
            let role = role.map_or_else(
                || "no role".to_owned(),
                |role| format!("the role {}", short(role)),
            );
            fact(format!(
                "it asked for {role} and the scopes {}",
                names.join(", ")
            ))
        });
    let finding = Finding::new(Confidence::Certain, summary)
        .because(view.refusal_evidence())
        .because(device)
        .because(asked)
        .because(view.attribution_evidence());
    let request = said
        .error()
        .and_then(|error| paste_safe(error.request_id.as_ref()?));
    match request {
        Some(id) => finding.next(format!(
            "on the gateway host run `openclaw devices approve {id}`, then connect again"
        )),
        None => finding,
    }
}

fn metadata_upgrade(view: &View<'_>) -> Option<Finding> {
    let said = because(view, "metadata-upgrade", "device identity changed")?;
    Some(found(
        view,
        &said,
        "the device's platform changed since it was approved: approve it again",
    ))
}

fn node_changed(view: &View<'_>) -> Option<Finding> {
    let said = view.said()?;
    if !said.begins_with(&[
        "node pairing changed",
        "authenticated node pairing identity",
    ]) {
        return None;
    }
    Some(found(
        view,
        &said,
        "the node's pairing changed while it connected",
    ))
}

fn not_paired(view: &View<'_>) -> Option<Finding> {
    let said = because(view, "not-paired", "device is not approved")?;
    Some(found(
        view,
        &said,
        "the gateway does not know this device yet: it waits for your approval",
    ))
}

fn required(view: &View<'_>) -> Option<Finding> {
    let said = view.said()?;
    let coded = view
        .refused(&["PAIRING_REQUIRED"], &["pairing required"])
        .is_some();
    if !coded && said.error_code() != Some("NOT_PAIRED") {
        return None;
    }
    Some(found(
        view,
        &said,
        "the gateway wants an approval for this device",
    ))
}

fn role_upgrade(view: &View<'_>) -> Option<Finding> {
    let said = because(view, "role-upgrade", "higher role")?;
    Some(found(
        view,
        &said,
        "the device asks for a higher role than it was approved for",
    ))
}

fn scope_upgrade(view: &View<'_>) -> Option<Finding> {
    let said = because(view, "scope-upgrade", "more scopes")?;
    Some(found(
        view,
        &said,
        "the device asks for more scopes than it was approved for",
    ))
}
