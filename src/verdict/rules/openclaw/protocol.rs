//! Client and gateway do not speak the same protocol: versions, builds, first frames, parameters.

use std::fmt::Write as _;

use crate::session::party::Party;
use crate::session::record::dialect::openclaw::FirstMessage;
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence};
use crate::verdict::finding::Finding;
use crate::verdict::openclaw::skew::{Older, Release, Skew};
use crate::verdict::rule::{Find, Rule, Versions};
use crate::verdict::view::{Decisive, View, fact, short};

const fn protocol(id: &'static str, find: Find) -> Rule {
    Rule::of(
        id,
        Class::GatewayProtocol,
        Party::Gateway,
        ActOn::Client,
        find,
    )
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "The client is older than the gateway",
        explanation: "The gateway wants nodes to be at least of its own release and closed this one \
                      so that it updates.",
        evidence: "details.code CLIENT_VERSION_MISMATCH",
        versions: Versions::Read,
        action: "update OpenClaw at the client to the gateway's version and start it again",
        ..protocol("gateway.protocol.client_version", client_version)
    },
    Rule {
        title: "The connect request has invalid parameters",
        explanation: "The gateway checks connect against its schema; the message names the field. \
                      The client is of another version, or is a program that imitates a client. \
                      The message shows which one is older: a property or value that the gateway \
                      does not know comes from a newer client, and a property that it misses is \
                      one that an older client does not send. Known versions have more weight. The \
                      older of the two has to act. Gateways before 2026.3 do not know device \
                      tokens (auth.deviceToken).",
        evidence: "a refusal that begins \"invalid connect params\"",
        versions: Versions::Seen,
        action: "pin client and gateway to one release (`openclaw --version` at the client and on the gateway host shows theirs), or mend the field that the gateway names",
        ..protocol("gateway.protocol.invalid_params", invalid_params)
    },
    Rule {
        act_on: ActOn::Gateway,
        title: "The gateway does not know the client's form of signature",
        explanation: "The client signed its connect request as releases since 2026.3 do (the third form, \
                      with platform and device family), and gateways before 2026.3 know the first two \
                      alone: for them the signature is wrong. That the gateway is so old shows in its \
                      refusal, which has no details.code. The device and its key are right.",
        evidence: "a refusal with the words \"device signature invalid\" and no details.code, to a client that is not known to be older than 2026.3",
        versions: Versions::Past,
        action: "pin client and gateway to one release: update the gateway, which is older than 2026.3; in containers give both images the same tag",
        ..protocol("gateway.protocol.device_signature", device_signature)
    },
    Rule {
        title: "The role is unknown",
        explanation: "The gateway does not know the role in the connect request (it knows operator \
                      and node).",
        evidence: "a refusal that begins \"invalid role\"",
        versions: Versions::Seen,
        action: "set the client's role to operator or node",
        ..protocol("gateway.protocol.invalid_role", invalid_role)
    },
    Rule {
        title: "The first message is not a connect request",
        explanation: "The gateway takes nothing but a connect request as a client's first message. \
                      What came is JSON and something else: not an OpenClaw client, or one that \
                      does not wait for hello-ok.",
        evidence: "a first message of the client that is JSON and no connect request, and a refusal or Close of the gateway",
        versions: Versions::Seen,
        action: "let the client send connect first; if it is no OpenClaw client, it is at the wrong address",
        ..protocol("gateway.protocol.not_connect", not_connect)
    },
    Rule {
        title: "The first message is not JSON",
        explanation: "The gateway closed with 1000 and no reason: it could not parse the client's \
                      first message, which is binary or not JSON. It is not an OpenClaw client.",
        evidence: "a first message of the client that is binary or no JSON, and a Close of the gateway",
        versions: Versions::Seen,
        action: "check what connects here: the gateway's clients send JSON text",
        ..protocol("gateway.protocol.not_json", not_json)
    },
    Rule {
        title: "The Control UI page is stale",
        explanation: "The gateway was updated and the browser still runs the page of its old build.",
        evidence: "a refusal that begins \"protocol mismatch: Control UI updated\"",
        versions: Versions::Seen,
        action: "reload the Control UI page in the browser (without cache if that does not help)",
        ..protocol("gateway.protocol.stale_page", stale_page)
    },
    Rule {
        title: "Client and gateway have no protocol version in common",
        explanation: "The range of protocol versions that the client offers does not include the \
                      gateway's: 3 before 2026.5.12, 4 since then. Every gateway names its own \
                      (details.expectedProtocol): a client whose range ends below it is old, and \
                      one whose range begins above it has an old gateway. The older of the two has \
                      to act. `openclaw gateway probe` and `openclaw gateway status` of newer \
                      clients accept 3 too, so they work where other commands do not.",
        evidence: "details.code PROTOCOL_MISMATCH, or Close 1002 \"protocol mismatch\"",
        versions: Versions::Seen,
        action: "pin client and gateway to one release: compare `openclaw --version` at the client and on the gateway host; in containers give both images the same tag",
        ..protocol("gateway.protocol.version", version)
    },
    Rule {
        title: "A worker's handshake was not valid",
        explanation: "The worker path speaks another protocol, and the gateway closed with \
                      invalid-handshake, invalid-frame or protocol-mismatch.",
        evidence: "a Close of the gateway with a worker's reason (invalid-handshake, invalid-frame, …)",
        versions: Versions::Seen,
        action: "check that only workers of this gateway use that path",
        ..protocol("gateway.protocol.worker", worker)
    },
];

fn found(view: &View<'_>, summary: impl Into<String>) -> Finding {
    Finding::new(Confidence::Certain, summary)
        .because(view.refusal_evidence())
        .because(view.version_evidence())
}

fn client_version(view: &View<'_>) -> Option<Finding> {
    view.refused(&["CLIENT_VERSION_MISMATCH"], &["client version mismatch"])?;
    let version = view
        .openclaw()
        .and_then(|dialect| dialect.client.as_ref()?.version.as_ref())
        .map_or_else(String::new, |version| format!(" ({})", short(version)));
    let summary = format!("the client's version{version} is older than the gateway wants");
    Some(found(view, summary))
}

fn invalid_params(view: &View<'_>) -> Option<Finding> {
    let said = view.refused(&[], &["invalid connect params"])?;
    let Some(fault) = said.schema_fault() else {
        let summary = format!(
            "the gateway found fault with the connect request: {}",
            said.words()
        );
        return Some(found(view, summary));
    };
    let skew = view.skew_of_connect(fault);
    let shown: String = fault.chars().take(80).collect();
    let summary = match skew.older {
        Some(Older::Gateway) if fault.contains("unexpected property 'deviceToken'") => {
            "the gateway is older than the client and does not know device tokens".to_owned()
        }
        Some(Older::Gateway) if skew.because.is_some() => {
            format!("the gateway does not know what the client's connect request says: {shown}")
        }
        Some(Older::Client) if skew.because.is_some() => {
            format!("the gateway misses something in the client's connect request: {shown}")
        }
        Some(Older::Gateway) => {
            format!(
                "the gateway is older than the client and does not take its connect request: {shown}"
            )
        }
        Some(Older::Client) => {
            format!(
                "the client is older than the gateway, which does not take its connect request: {shown}"
            )
        }
        None => format!("the gateway found fault with the connect request: {shown}"),
    };
    let mend = field(fault).map(|field| {
        if skew.is_none {
            format!("mend {field} in the params of the client's connect request: client and gateway are of one release")
        } else {
            format!("update the client, or mend {field} in the params of its connect request")
        }
    });
    let mut finding = skew.mend(view, found(view, summary), mend);
    if let Some(field) = field(fault).filter(|_| skew.older.is_some() && !view.is_control_ui()) {
        let _ = write!(
            finding.next,
            "; if the client is a program of your own, mend {field} in its connect request"
        );
    }
    Some(finding)
}

/// Gateways since 2026.3 send a code with it, and clients since then sign in the third form.
fn device_signature(view: &View<'_>) -> Option<Finding> {
    const THIRD_FORM: Release = Release(2026, 3, 0);
    let said = view.refused(&[], &["device signature invalid"])?;
    let error = said.error()?;
    if error.details_code.is_some() || error.code.is_none() {
        return None;
    }
    let client = view.client_release();
    let confidence = match client {
        Some(client) if client < THIRD_FORM => return None,
        Some(_) => Confidence::Likely,
        None => Confidence::Possible,
    };
    // A gateway that supports that form found another fault.
    if view
        .gateway_release()
        .is_some_and(|gateway| gateway >= THIRD_FORM)
    {
        return None;
    }
    let summary =
        "the gateway is older than 2026.3 and does not know the client's form of signature";
    let skew = Skew {
        older: Some(Older::Gateway),
        is_none: false,
        confidence,
        because: Some(fact(
            "its refusal has no details.code, as those of gateways before 2026.3",
        )),
    };
    let found = Finding {
        confidence,
        ..found(view, summary)
    };
    Some(skew.mend(view, found, None))
}

/// The place in the parameters, if it is one and no more.
fn field(fault: &str) -> Option<&str> {
    let (field, _) = fault.strip_prefix("at ")?.split_once(": ")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-');
    (field.starts_with('/') && field.len() <= 80 && field.chars().all(plain)).then_some(field)
}

fn invalid_role(view: &View<'_>) -> Option<Finding> {
    view.refused(&[], &["invalid role"])?;
    let role = view
        .openclaw()
        .and_then(|dialect| dialect.role.as_ref())
        .map_or_else(String::new, |role| format!(" {}", short(role)));
    Some(found(
        view,
        format!("the gateway does not know the role{role}"),
    ))
}

/// What the client's first message was, when the gateway refused or closed with one of these codes
/// during the handshake: other codes have other causes.
fn first_message(view: &View<'_>, codes: &[Option<u16>]) -> Option<FirstMessage> {
    let answered = view.decisive() == Decisive::Refusal
        || view
            .gateway_close()
            .is_some_and(|(_, code)| codes.contains(&code));
    if !view.was_in_handshake() || !answered {
        return None;
    }
    view.openclaw()?.first_message
}

fn not_connect(view: &View<'_>) -> Option<Finding> {
    let first = first_message(view, &[Some(1000), Some(1008), None]);
    let said = view.said()?;
    let says_so = said.begins_with(&["invalid handshake: first request", "invalid request frame"]);
    let what = match first {
        Some(FirstMessage::OtherRequest) => "is another request",
        Some(FirstMessage::NotARequest) => "is JSON and no request",
        _ if says_so => "is not a connect request",
        _ => return None,
    };
    let summary = format!("the client's first message {what}; the gateway wants connect");
    Some(found(view, summary))
}

fn not_json(view: &View<'_>) -> Option<Finding> {
    view.said()?;
    let what = match first_message(view, &[Some(1000), None])? {
        FirstMessage::NotJson => "is not JSON",
        FirstMessage::Binary => "is binary",
        _ => return None,
    };
    let summary =
        format!("the client's first message {what}, and the gateway closed without a word");
    Some(found(view, summary))
}

fn stale_page(view: &View<'_>) -> Option<Finding> {
    let said = view.said()?;
    let stale = said.code() == Some("CONTROL_UI_BUILD_MISMATCH")
        || said.begins_with(&["protocol mismatch: Control UI updated"]);
    if !stale {
        return None;
    }
    let summary = "the browser still runs the Control UI page of an older build of the gateway";
    Some(found(view, summary))
}

fn version(view: &View<'_>) -> Option<Finding> {
    view.refused(&["PROTOCOL_MISMATCH"], &["protocol mismatch"])?;
    let range = view.openclaw().map(|dialect| dialect.protocol);
    let offer = match range.map(|range| (range.min, range.max)) {
        Some((Some(min), Some(max))) if min == max => format!("protocol {min} only"),
        Some((Some(min), Some(max))) => format!("protocol {min} to {max}"),
        _ => "another protocol".to_owned(),
    };
    let skew = view
        .skew_of_protocol()
        .or_else(|| view.skew_of_versions())
        .unwrap_or_else(Skew::unknown);
    let summary = match skew.older {
        Some(Older::Client) => format!(
            "the client is older than the gateway: it speaks {offer}, which the gateway does not"
        ),
        Some(Older::Gateway) => format!(
            "the gateway is older than the client: it does not speak what the client does, {offer}"
        ),
        None => format!("the client speaks {offer}, which the gateway does not"),
    };
    Some(skew.mend(view, found(view, summary), None))
}

fn worker(view: &View<'_>) -> Option<Finding> {
    let said = view.refused(
        &[],
        &["invalid-handshake", "invalid-frame", "protocol-mismatch"],
    )?;
    let summary = format!(
        "the gateway refused a worker's connection: {}",
        said.words()
    );
    Some(found(view, summary))
}
