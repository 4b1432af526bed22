//! From the accept to the answer.

use std::fmt::Write as _;

use super::step::StepEnd::{Client, Gateway, Tap};
use super::step::{Event, Steps};
use crate::explain::page_writer::word;
use crate::session::credential::Credential;
use crate::session::moment::Moment;
use crate::session::party::Phase;
use crate::session::record::gateway::ForwardedMode;
use crate::session::record::{
    AnswerBy, ClientTls, FirstBytes, GatewayFacts, OriginDecision, OriginFacts, RequestFacts,
    SniMatch,
};
use crate::verdict::attempts::dead_addresses;
use crate::verdict::words::{human_bytes, human_ms, quoted};

pub(super) fn add_steps(steps: &mut Steps<'_>) {
    accept(steps);
    request(steps);
    admission(steps);
    gateway(steps);
    answer(steps);
}

fn accept(steps: &mut Steps<'_>) {
    let record = steps.record;
    let client = &record.client;
    let mut text = match &client.via {
        None => format!("connects from {}", client.addr),
        Some(via) => {
            let by = via
                .header
                .as_ref()
                .map_or_else(|| "PROXY protocol".to_owned(), word);
            format!(
                "connects from {}, which says by {by} that it speaks for {}{}",
                via.peer,
                client.addr,
                if via.resolved {
                    ""
                } else {
                    " (the nearest known hop)"
                },
            )
        }
    };
    if !record.tap.listener.is_empty() {
        let _ = write!(text, " to {}", record.tap.listener);
    }
    steps.add(Some(record.opened_at), (Client, Tap), Event::Accepted, text);
    if let Some(fault) = client
        .proxy_protocol
        .as_ref()
        .and_then(|it| it.fault.as_ref())
    {
        let text = format!("its PROXY header is refused: {}", fault.detail);
        steps.add(None, (Client, Tap), Event::FirstBytes, text);
    }
    if let Some(tls) = &client.tls {
        let done = tls.handshake_ms.and_then(|ms| after(record.opened_at, ms));
        // A later request of the connection began long after the TLS handshake.
        let request = steps.began(Phase::Request);
        let done = done.filter(|done| request.is_none_or(|request| *done <= request));
        steps.add(done, (Client, Tap), Event::Tls, tls_words(tls));
    }
    if let Some(first) = client.first_bytes.filter(|_| record.passthrough.is_none()) {
        let bytes = client.bytes_read.map_or_else(String::new, |bytes| {
            format!(", {} in all", human_bytes(bytes))
        });
        let text = match first {
            FirstBytes::None => "not one byte comes".to_owned(),
            FirstBytes::Tls => format!("what comes looks like TLS{bytes}"),
            FirstBytes::Http => format!("what comes looks like HTTP{bytes}"),
            FirstBytes::Proxy => format!("what comes looks like a PROXY protocol header{bytes}"),
            FirstBytes::Other => format!("what comes is neither TLS nor HTTP{bytes}"),
        };
        steps.add(None, (Client, Tap), Event::FirstBytes, text);
    }
}

fn tls_words(tls: &ClientTls) -> String {
    if let Some(failure) = &tls.failure {
        let detail = failure.detail.trim_start_matches("TLS: ");
        return match failure.alert {
            Some(alert) => format!("TLS fails: {detail}, alert {alert}"),
            None => format!("TLS fails: {detail}"),
        };
    }
    let parts = [
        tls.version.clone(),
        tls.sni.as_ref().map(|name| match tls.sni_match {
            Some(SniMatch::Default) => format!("for {name} (none of ours: the default is shown)"),
            _ => format!("for {name}"),
        }),
        tls.alpn.as_ref().map(|name| format!("ALPN {name}")),
        (tls.resumed == Some(true)).then(|| "an earlier session is resumed".to_owned()),
        tls.client_cert
            .as_ref()
            .map(|cert| format!("client certificate of {}", cert.subject)),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() {
        "TLS begins".to_owned()
    } else {
        format!("TLS is agreed: {}", parts.join(", "))
    }
}

fn request(steps: &mut Steps<'_>) {
    let record = steps.record;
    let at = steps.began(Phase::Request);
    if let Some(request) = &record.request {
        steps.add(at, (Client, Tap), Event::Request, request_words(request));
    }
    for credential in &record.auth {
        if !credential.place.starts_with("frame:") {
            let text = format!("brings {}", credential_words(credential));
            steps.add(None, (Client, Tap), Event::Credential, text);
        }
    }
    if let Some(refused) = &record.close.refused {
        let text = format!("does not pass the head on: {}", refused.detail);
        steps.add(None, (Tap, Tap), Event::RefusedHead, text);
    }
}

fn request_words(request: &RequestFacts) -> String {
    let mut text = format!("{} {}", request.method, request.path);
    if request.wants_upgrade {
        text.push_str(", asks for a WebSocket");
    } else if request.has_websocket_key {
        text.push_str(", with a WebSocket key and without Upgrade");
    }
    let parts = [
        ("Host", &request.host),
        ("Origin", &request.origin),
        ("User-Agent", &request.user_agent),
    ];
    for (name, value) in parts {
        if let Some(value) = value {
            let _ = write!(text, "; {name} {value}");
        }
    }
    if !request.subprotocols.is_empty() {
        let items: Vec<&str> = request.subprotocols.iter().map(AsRef::as_ref).collect();
        let _ = write!(text, "; subprotocols {}", items.join(", "));
    }
    if !request.dropped.is_empty() {
        let names: Vec<&str> = request.dropped.iter().map(AsRef::as_ref).collect();
        let _ = write!(text, "; taken out: {}", names.join(", "));
    }
    text
}

/// `frame:… sha256:1a2b3c4d, 48 characters`, and anything odd about it.
pub(in crate::explain) fn credential_words(credential: &Credential) -> String {
    let mut text = format!(
        "{} {}, {} characters",
        credential.place, credential.fingerprint, credential.length
    );
    if let Some(user) = &credential.user {
        let _ = write!(text, ", user {user}");
    }
    for shape in &credential.shape {
        let _ = write!(text, ", {shape}");
    }
    if credential.effective == Some(false) {
        text.push_str(" (the gateway ignores it there)");
    }
    text
}

fn admission(steps: &mut Steps<'_>) {
    let record = steps.record;
    let at = steps.began(Phase::Admission);
    if let Some(text) = record.origin.as_ref().and_then(origin_words) {
        steps.add(at, (Tap, Tap), Event::Origin, text);
    }
    if let Some(denied) = &record.close.denied {
        let text = format!("refuses it: {}: {}", denied.key, denied.detail);
        steps.add(None, (Tap, Tap), Event::Denied, text);
    }
}

fn origin_words(origin: &OriginFacts) -> Option<String> {
    let shown = match (&origin.normalised, &origin.value) {
        (Some(normal), _) => normal.as_str(),
        (None, Some(value)) => value.as_str(),
        (None, None) => "without an origin",
    };
    let mut text = match origin.decision {
        OriginDecision::Off | OriginDecision::Absent => return None,
        OriginDecision::Allowed => match &origin.rule {
            Some(rule) => format!("origin {shown} may pass, by {rule}"),
            None => format!("origin {shown} may pass"),
        },
        OriginDecision::Denied => format!("origin {shown} is refused"),
        OriginDecision::WouldDeny => {
            format!("origin {shown} is not on the list, and passes: mode report")
        }
    };
    if let Some(nearest) = &origin.nearest {
        let _ = write!(text, "; nearest entry {}: {}", nearest.entry, nearest.text);
    }
    Some(text)
}

fn gateway(steps: &mut Steps<'_>) {
    let Some(gateway) = &steps.record.gateway else {
        return;
    };
    let at = steps.began(Phase::Dial);
    steps.add(at, (Tap, Gateway), Event::Dial, dial_words(gateway));
    if let Some(forwarded) = &gateway.forwarded
        && (forwarded.mode != ForwardedMode::Pass || !forwarded.brought.is_empty())
    {
        let sent: Vec<String> = forwarded
            .sent
            .iter()
            .map(|header| format!("{}: {}", header.name, header.value))
            .collect();
        let text = match forwarded.mode {
            ForwardedMode::Pass => "passes the client's attribution headers on".to_owned(),
            ForwardedMode::None => "sends no attribution headers".to_owned(),
            ForwardedMode::Overwrite if sent.is_empty() => {
                "writes the client's address into attribution headers".to_owned()
            }
            ForwardedMode::Overwrite => format!("writes {}", sent.join("; ")),
        };
        steps.add(None, (Tap, Gateway), Event::Forwarded, text);
    }
    if let Some(at) = steps.began(Phase::Upgrade) {
        let text = "sends the request on";
        steps.add(Some(at), (Tap, Gateway), Event::SentOn, text);
    }
    if let Some(error) = &gateway.error {
        let text = format!("{}: {}", word(&error.kind), error.detail);
        steps.add(None, (Gateway, Tap), Event::Error, text);
    }
}

fn dial_words(gateway: &GatewayFacts) -> String {
    let mut text = String::new();
    if let Some(dns) = &gateway.dns {
        let _ = write!(
            text,
            "{} resolves to {} addresses in {}; ",
            dns.name,
            dns.addresses,
            human_ms(dns.ms)
        );
    }
    let target = gateway.addr.as_ref().unwrap_or(&gateway.url);
    let _ = match (gateway.reused, gateway.connect_ms) {
        (true, _) => write!(text, "uses a kept connection to {target}"),
        (false, Some(ms)) => {
            let dead = dead_addresses(gateway);
            if !dead.is_empty() {
                let _ = write!(text, "{}; ", dead.join(", "));
            }
            write!(text, "connects to {target} in {}", human_ms(ms))
        }
        (false, None) => write!(text, "dials {target}"),
    };
    if let Some(local) = &gateway.local_addr {
        let _ = write!(text, ", from {local}");
    }
    if let Some(tls) = &gateway.tls {
        let version = tls.version.as_deref().unwrap_or("TLS");
        let _ = write!(text, "; {version} for {}", tls.server_name);
    }
    text
}

fn answer(steps: &mut Steps<'_>) {
    let record = steps.record;
    let Some(answer) = &record.answer else {
        return;
    };
    if let Some(gateway) = &record.gateway
        && let Some(status) = gateway.status
    {
        let sent = steps.began(Phase::Upgrade);
        let at = match (sent, gateway.upgrade_ms) {
            (Some(sent), Some(ms)) => after(sent, ms),
            _ => None,
        };
        let mut text = format!("answers {status}");
        if let Some(ms) = gateway.upgrade_ms {
            let _ = write!(text, " after {}", human_ms(ms));
        }
        if let Some(server) = &gateway.server {
            let _ = write!(text, "; Server {}", quoted(server));
        }
        if let Some(kind) = gateway.body_kind {
            let _ = write!(text, "; body: {}", word(&kind));
        }
        let way = if answer.by == AnswerBy::Tap {
            (Gateway, Tap)
        } else {
            (Gateway, Client)
        };
        steps.add(at, way, Event::Answer, text);
    }
    if answer.by == AnswerBy::Tap {
        let mut text = format!("answers {}", answer.status);
        if let Some(error) = &answer.error {
            let _ = write!(text, " ({error})");
        }
        steps.add(None, (Tap, Client), Event::Answer, text);
    }
    if !answer.complete {
        let text = "the answer did not get through whole";
        steps.add(None, (Tap, Client), Event::Error, text);
        if let Some(last) = steps.found.last_mut() {
            last.delivered = false;
        }
    }
}

/// The moment `ms` milliseconds after another.
fn after(moment: Moment, ms: f64) -> Option<Moment> {
    let span = std::time::Duration::try_from_secs_f64(ms / 1000.0).ok()?;
    let at = moment.0.checked_add(span).ok()?;
    Some(Moment(
        jiff::Timestamp::from_microsecond(at.as_microsecond()).ok()?,
    ))
}
