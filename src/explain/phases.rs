//! How long each phase took.
//!
//! Computed from the start times of the phases, if the record has them; records of older versions
//! have durations of a few phases only.

use serde::Serialize;

use super::offset::{between_ms, offset_ms};
use super::page_writer::inert;
use crate::session::SessionRecord;
use crate::session::moment::Moment;
use crate::session::party::Phase;
use crate::session::record::{GatewayFacts, Kind, PhaseBegan};
use crate::verdict::words::human_ms;

/// One phase.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Span {
    /// The phase.
    pub phase: Phase,
    /// Milliseconds from the session's start, if known.
    pub start_ms: Option<f64>,
    /// Its duration in milliseconds.
    pub ms: Option<f64>,
    /// What it consisted of, inert.
    pub parts: String,
}

/// The phases that a session went through.
#[must_use]
pub(crate) fn phases(record: &SessionRecord) -> Vec<Span> {
    if record.phases.is_empty() {
        return from_durations(record);
    }
    let accepted = PhaseBegan {
        phase: Phase::Accept,
        at: record.opened_at,
    };
    let began: Vec<PhaseBegan> = std::iter::once(accepted)
        .chain(record.phases.iter().copied())
        .collect();
    let ends = began
        .iter()
        .skip(1)
        .map(|next| next.at)
        .chain([record.closed_at]);
    began
        .iter()
        .zip(ends)
        .map(|(one, end)| span(record, one.phase, Some(one.at), between_ms(one.at, end)))
        .collect()
}

fn from_durations(record: &SessionRecord) -> Vec<Span> {
    let mut spans = Vec::new();
    if let Some(gateway) = &record.gateway {
        let dns = gateway.dns.as_ref().map(|dns| dns.ms);
        if dns.is_some() || gateway.connect_ms.is_some() {
            let ms = dns.unwrap_or_default() + gateway.connect_ms.unwrap_or_default();
            spans.push(span(record, Phase::Dial, None, ms));
        }
        if let Some(ms) = gateway.upgrade_ms {
            spans.push(span(record, Phase::Upgrade, None, ms));
        }
    }
    let said = record.application();
    if let Some((begin, end)) = said.greeted_at.zip(said.answered_at) {
        let ms = between_ms(begin, end);
        spans.push(span(record, Phase::Handshake, Some(begin), ms));
        if record.phase >= Phase::Open {
            let ms = between_ms(end, record.closed_at);
            spans.push(span(record, Phase::Open, Some(end), ms));
        }
    }
    spans
}

fn span(record: &SessionRecord, phase: Phase, begin: Option<Moment>, ms: f64) -> Span {
    Span {
        phase,
        start_ms: begin.map(|begin| offset_ms(record, begin)),
        ms: Some(ms),
        parts: inert(&parts(record, phase)),
    }
}

fn parts(record: &SessionRecord, phase: Phase) -> String {
    let gateway = record.gateway.as_ref();
    match phase {
        Phase::Accept => match record.client.tls.as_ref().and_then(|tls| tls.handshake_ms) {
            Some(ms) if ms <= record.duration_ms => {
                format!("TLS in {}, then the request's head", human_ms(ms))
            }
            _ if record.request.is_some() => "until the request's head was there".to_owned(),
            _ => String::new(),
        },
        Phase::Tls => "the TLS handshake".to_owned(),
        Phase::Request => "the head is checked".to_owned(),
        Phase::Admission => "origin and limits".to_owned(),
        Phase::Dial => gateway.map_or_else(String::new, dial),
        Phase::Upgrade => match gateway.and_then(|gateway| gateway.status) {
            Some(status) => format!("until the answer {status} was passed on"),
            None => "waiting for the gateway's answer".to_owned(),
        },
        Phase::Handshake => {
            if record.phase > Phase::Handshake {
                "until the application accepted".to_owned()
            } else {
                "the application never accepted".to_owned()
            }
        }
        Phase::Open if record.kind == Kind::Websocket => "the application's time".to_owned(),
        Phase::Open => String::new(),
        Phase::Closing => "from the first Close to the end".to_owned(),
    }
}

fn dial(gateway: &GatewayFacts) -> String {
    if gateway.reused {
        return "a kept connection".to_owned();
    }
    let mut parts = Vec::new();
    if let Some(dns) = &gateway.dns {
        parts.push(format!("DNS {}", human_ms(dns.ms)));
    }
    if let Some(ms) = gateway.connect_ms {
        parts.push(format!("connect {}", human_ms(ms)));
    }
    if gateway.tls.is_some() {
        parts.push("the rest TLS".to_owned());
    }
    parts.join(", ")
}
