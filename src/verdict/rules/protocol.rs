//! Client and gateway do not speak the same protocol: versions, builds, first frames, parameters.

use crate::session::party::Party;
use crate::session::record::dialect::FirstMessage;
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence};
use crate::verdict::registry::Find;
use crate::verdict::said::Said;
use crate::verdict::view::{fact, short};
use crate::verdict::{Decisive, Finding, Rule, Stage, Versions, View};

const fn protocol(id: &'static str, stage: Stage, order: u8, find: Find) -> Rule {
    Rule {
        id,
        class: Class::GatewayProtocol,
        party: Party::Gateway,
        act_on: ActOn::Client,
        stage,
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
        title: "The client is older than the gateway",
        explanation: "The gateway wants nodes to be at least of its own release and closed this one \
                      so that it updates.",
        evidence: "details.code CLIENT_VERSION_MISMATCH",
        versions: Versions::Read,
        action: "update OpenClaw at the client to the gateway's version and start it again",
        ..protocol(
            "gateway.protocol.client_version",
            Stage::Refusal,
            30,
            client_version,
        )
    },
    Rule {
        title: "The connect request has invalid parameters",
        explanation: "The gateway checks connect against its schema; the message names the field. A \
                      client of another version, or a program that imitates one.",
        evidence: "a refusal that begins \"invalid connect params\"",
        versions: Versions::Seen,
        action: "update the client, or mend the field that the gateway names",
        ..protocol(
            "gateway.protocol.invalid_params",
            Stage::Refusal,
            30,
            invalid_params,
        )
    },
    Rule {
        title: "The role is unknown",
        explanation: "The role in the connect request is none that the gateway knows (operator, \
                      node).",
        evidence: "a refusal that begins \"invalid role\"",
        versions: Versions::Seen,
        action: "set the client's role to operator or node",
        ..protocol(
            "gateway.protocol.invalid_role",
            Stage::Refusal,
            30,
            invalid_role,
        )
    },
    Rule {
        title: "The first message is not a connect request",
        explanation: "The gateway takes nothing but a connect request as a client's first message. \
                      What came is JSON and something else: not an OpenClaw client, or one that \
                      does not wait for hello-ok.",
        evidence: "a first message of the client that is JSON and no connect request, and a refusal or Close of the gateway",
        versions: Versions::Seen,
        action: "let the client send connect first; if it is no OpenClaw client, it is at the wrong address",
        ..protocol(
            "gateway.protocol.not_connect",
            Stage::Refusal,
            35,
            not_connect,
        )
    },
    Rule {
        title: "The first message is not JSON",
        explanation: "The gateway closed with 1000 and without a word: it could not parse the \
                      client's first message, which is binary or no JSON. Not an OpenClaw client.",
        evidence: "a first message of the client that is binary or no JSON, and a Close of the gateway",
        versions: Versions::Seen,
        action: "check what connects here: the gateway's clients send JSON text",
        ..protocol("gateway.protocol.not_json", Stage::Refusal, 35, not_json)
    },
    Rule {
        title: "The Control UI page is stale",
        explanation: "The gateway was updated and the browser still runs the page of its old build.",
        evidence: "a refusal that begins \"protocol mismatch: Control UI updated\"",
        versions: Versions::Seen,
        action: "reload the Control UI page in the browser (without cache if that does not help)",
        ..protocol(
            "gateway.protocol.stale_page",
            Stage::Refusal,
            25,
            stale_page,
        )
    },
    Rule {
        title: "Client and gateway have no protocol version in common",
        explanation: "The range of protocol versions that the client offers does not hold the \
                      gateway's (4 in 2026.9.6).",
        evidence: "details.code PROTOCOL_MISMATCH, or Close 1002 \"protocol mismatch\"",
        versions: Versions::Seen,
        action: "update the older of the two: compare `openclaw --version` at the client and on the gateway host",
        ..protocol("gateway.protocol.version", Stage::Refusal, 30, version)
    },
    Rule {
        title: "A worker's handshake was not valid",
        explanation: "The worker path speaks another protocol, and the gateway closed with \
                      invalid-handshake, invalid-frame or protocol-mismatch.",
        evidence: "a Close of the gateway with a worker's reason (invalid-handshake, invalid-frame, …)",
        versions: Versions::Seen,
        action: "check that only workers of this gateway use that path",
        ..protocol("gateway.protocol.worker", Stage::Refusal, 30, worker)
    },
];

fn found(view: &View<'_>, said: &Said<'_>, summary: impl Into<String>) -> Finding {
    let client = view
        .dialect
        .as_ref()
        .and_then(|dialect| dialect.client.as_ref())
        .map(|client| {
            let part = |text: &Option<_>| text.as_ref().map_or_else(|| "?".to_owned(), short);
            fact(format!(
                "the client calls itself {} in mode {}, version {}",
                part(&client.id),
                part(&client.mode),
                part(&client.version)
            ))
        });
    Finding::new(Confidence::Certain, summary)
        .because(said.evidence(view))
        .because(client)
}

fn client_version(view: &View<'_>) -> Option<Finding> {
    let said = view.refused(&["CLIENT_VERSION_MISMATCH"], &["client version mismatch"])?;
    let version = view
        .dialect
        .as_ref()
        .and_then(|dialect| dialect.client.as_ref()?.version.as_ref())
        .map_or_else(String::new, |version| format!(" ({})", short(version)));
    let summary = format!("the client's version{version} is older than the gateway wants");
    Some(found(view, &said, summary))
}

fn invalid_params(view: &View<'_>) -> Option<Finding> {
    let said = view.refused(&[], &["invalid connect params"])?;
    let Some(fault) = named_fault(&said) else {
        let summary = format!(
            "the gateway found fault with the connect request: {}",
            said.words()
        );
        return Some(found(view, &said, summary));
    };
    let shown: String = fault.chars().take(100).collect();
    let summary = format!("the gateway found fault with the connect request: {shown}");
    let finding = found(view, &said, summary);
    Some(match field(fault) {
        Some(field) => finding.next(format!(
            "update the client, or mend {field} in the params of its connect request"
        )),
        None => finding,
    })
}

/// `at /device/nonce: must not have fewer than 1 characters`
fn named_fault<'a>(said: &Said<'a>) -> Option<&'a str> {
    let message = said.error()?.message.as_ref()?;
    let fault = message.as_str().strip_prefix("invalid connect params: ")?;
    fault.starts_with("at ").then_some(fault)
}

/// The place in the parameters, if it is one and no more.
fn field(fault: &str) -> Option<&str> {
    let (field, _) = fault.strip_prefix("at ")?.split_once(": ")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-');
    (field.starts_with('/') && field.len() <= 80 && field.chars().all(plain)).then_some(field)
}

fn invalid_role(view: &View<'_>) -> Option<Finding> {
    let said = view.refused(&[], &["invalid role"])?;
    let role = view
        .dialect
        .as_ref()
        .and_then(|dialect| dialect.role.as_ref())
        .map_or_else(String::new, |role| format!(" {}", short(role)));
    Some(found(
        view,
        &said,
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
    view.dialect.as_ref()?.first_message
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
    Some(found(view, &said, summary))
}

fn not_json(view: &View<'_>) -> Option<Finding> {
    let said = view.said()?;
    let what = match first_message(view, &[Some(1000), None])? {
        FirstMessage::NotJson => "is not JSON",
        FirstMessage::Binary => "is binary",
        _ => return None,
    };
    let summary =
        format!("the client's first message {what}, and the gateway closed without a word");
    Some(found(view, &said, summary))
}

fn stale_page(view: &View<'_>) -> Option<Finding> {
    let said = view.said()?;
    let stale = said.code() == Some("CONTROL_UI_BUILD_MISMATCH")
        || said.begins_with(&["protocol mismatch: Control UI updated"]);
    if !stale {
        return None;
    }
    let summary = "the browser still runs the Control UI page of an older build of the gateway";
    Some(found(view, &said, summary))
}

fn version(view: &View<'_>) -> Option<Finding> {
    let said = view.refused(&["PROTOCOL_MISMATCH"], &["protocol mismatch"])?;
    let range = view.dialect.as_ref().map(|dialect| dialect.protocol);
    let summary = match range.map(|range| (range.min, range.max)) {
        Some((Some(min), Some(max))) if min == max => {
            format!("the client speaks protocol {min} only, which the gateway does not")
        }
        Some((Some(min), Some(max))) => {
            format!("the client speaks protocol {min} to {max}, none of which the gateway does")
        }
        _ => "client and gateway have no protocol version in common".to_owned(),
    };
    Some(found(view, &said, summary))
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
    Some(found(view, &said, summary))
}
