//! A record with the questions that many rules ask of it.

use std::ops::Deref;

use crate::session::SessionRecord;
use crate::session::moment::Moment;
use crate::session::party::{Direction, Leg, Party, Phase};
use crate::session::record::dialect::{ConnectResult, DialectError};
use crate::session::record::{
    CloseSeen, DirectionFrames, Evidence, GatewayErrorKind, Kind, Saw, TransportEnd,
};
use crate::session::text::PeerText;
use crate::ws::Violation;

/// A finished record, looked at.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    record: &'a SessionRecord,
    decisive: Decisive,
}

/// The earliest decisive fact of a tunnel's ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Decisive {
    /// The gateway answered the connect request with `ok: false`.
    Refusal,
    /// The gateway sent a Close frame.
    GatewayClose,
    /// The client sent a Close frame.
    ClientClose,
    /// A timer of ours fired, or we shut down.
    Tap,
    /// The gateway's transport ended.
    GatewayTransport,
    /// The client's transport ended.
    ClientTransport,
    /// None of these.
    Nothing,
}

impl Deref for View<'_> {
    type Target = SessionRecord;

    fn deref(&self) -> &SessionRecord {
        self.record
    }
}

impl<'a> View<'a> {
    /// Looks at a record.
    #[must_use]
    pub fn new(record: &'a SessionRecord) -> Self {
        Self {
            record,
            decisive: decisive(record),
        }
    }

    /// The earliest decisive fact; facts of one moment in the order of [`Decisive`], because what
    /// was said explains better than what the transport did.
    #[must_use]
    pub fn decisive(&self) -> Decisive {
        self.decisive
    }

    /// An upgrade attempt.
    #[must_use]
    pub fn is_websocket(&self) -> bool {
        self.record.kind == Kind::Websocket
    }

    /// A plain request.
    #[must_use]
    pub fn is_http(&self) -> bool {
        self.record.kind == Kind::Http
    }

    /// The application had accepted the session.
    #[must_use]
    pub fn was_open(&self) -> bool {
        self.record.had_tunnel() && self.record.phase >= Phase::Open
    }

    /// The tunnel was there and the application had not accepted.
    #[must_use]
    pub fn was_in_handshake(&self) -> bool {
        self.record.had_tunnel() && self.record.phase == Phase::Handshake
    }

    /// Messages are read as those of `OpenClaw`.
    #[must_use]
    pub fn is_openclaw(&self) -> bool {
        self.record
            .dialect
            .as_ref()
            .is_some_and(|dialect| dialect.name == "openclaw")
    }

    /// The Close frame of a leg.
    #[must_use]
    pub fn close_of(&self, leg: Leg) -> Option<&'a CloseSeen> {
        match leg {
            Leg::Client => self.record.close.client.as_ref(),
            Leg::Gateway => self.record.close.gateway.as_ref(),
        }
    }

    /// How a leg's transport ended.
    #[must_use]
    pub fn end_of(&self, leg: Leg) -> TransportEnd {
        match leg {
            Leg::Client => self.record.close.transport.client,
            Leg::Gateway => self.record.close.transport.gateway,
        }
    }

    /// The gateway's Close code, when its Close is the decisive fact.
    #[must_use]
    pub fn gateway_close(&self) -> Option<(&'a CloseSeen, Option<u16>)> {
        if self.decisive != Decisive::GatewayClose {
            return None;
        }
        let close = self.close_of(Leg::Gateway)?;
        Some((close, close.code.map(|code| code.0)))
    }

    /// The client's Close code, when its Close is the decisive fact.
    #[must_use]
    pub fn client_close(&self) -> Option<(&'a CloseSeen, Option<u16>)> {
        if self.decisive != Decisive::ClientClose {
            return None;
        }
        let close = self.close_of(Leg::Client)?;
        Some((close, close.code.map(|code| code.0)))
    }

    /// The gateway's refusal, when that is the decisive fact.
    #[must_use]
    pub fn refusal(&self) -> Option<&'a DialectError> {
        if self.decisive != Decisive::Refusal {
            return None;
        }
        self.record.dialect.as_ref()?.error.as_ref()
    }

    /// The refusal's `details.code`.
    #[must_use]
    pub fn refusal_code(&self) -> Option<&'a str> {
        self.refusal()?.details_code.as_ref().map(PeerText::as_str)
    }

    /// Why the gateway gave no usable answer.
    #[must_use]
    pub fn gateway_error(&self) -> Option<GatewayErrorKind> {
        Some(self.record.gateway.as_ref()?.error.as_ref()?.kind)
    }

    /// The status of the gateway's answer (or of whatever answered in its place).
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.record.gateway.as_ref()?.status
    }

    /// The frames of a direction.
    #[must_use]
    pub fn frames_of(&self, direction: Direction) -> Option<&'a DirectionFrames> {
        let frames = self.record.frames.as_ref()?;
        Some(match direction {
            Direction::ToGateway => &frames.to_gateway,
            Direction::ToClient => &frames.to_client,
        })
    }

    /// The first breach of the protocol in a direction, out of these kinds (or of any).
    #[must_use]
    pub fn violation(&self, direction: Direction, kinds: &[Violation]) -> Option<Violation> {
        self.frames_of(direction)?
            .violations
            .iter()
            .map(|violation| violation.kind)
            .find(|kind| kinds.is_empty() || kinds.contains(kind))
    }

    /// `after 12 ms` or `after 3.4 s`: the session's age at its end.
    #[must_use]
    pub fn age(&self) -> String {
        human_ms(self.record.duration_ms)
    }

    /// What each end saw, as evidence.
    #[must_use]
    pub fn saw(&self) -> Vec<Evidence> {
        let tell = |who: &str, saw: Option<Saw>| {
            saw.map(|saw| {
                let basis = match saw.basis {
                    crate::session::record::SawBasis::Acked => "it answered",
                    crate::session::record::SawBasis::Written => "written to its connection",
                    crate::session::record::SawBasis::Undelivered => {
                        "what was sent could not be delivered"
                    }
                };
                fact(format!("the {who} saw {} ({basis})", saw.code))
            })
        };
        [
            tell("client", self.record.close.client_saw),
            tell("gateway", self.record.close.gateway_saw),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// A leg's Close frame as evidence.
    #[must_use]
    pub fn close_evidence(&self, leg: Leg) -> Option<Evidence> {
        self.close_of(leg).map(|close| {
            at(
                close.at,
                format!(
                    "the {} sent Close {}",
                    leg.party().as_str(),
                    close_words(close)
                ),
            )
        })
    }

    /// How a leg's transport ended, as evidence.
    #[must_use]
    pub fn end_evidence(&self, leg: Leg) -> Option<Evidence> {
        let transport = &self.record.close.transport;
        let (end, when, cause) = match leg {
            Leg::Client => (
                transport.client,
                transport.client_at,
                &transport.client_cause,
            ),
            Leg::Gateway => (
                transport.gateway,
                transport.gateway_at,
                &transport.gateway_cause,
            ),
        };
        let who = leg.party().as_str();
        let what = match end {
            TransportEnd::Fin => format!("the {who}'s connection ended with FIN"),
            TransportEnd::Rst => format!("the {who}'s connection was reset"),
            TransportEnd::TlsClose => format!("the {who} ended TLS with close_notify"),
            TransportEnd::TlsTruncated => {
                format!("the {who}'s connection ended with FIN and without close_notify")
            }
            TransportEnd::Timeout => format!("the {who}'s connection timed out in the kernel"),
            TransportEnd::Local => format!("we ended the {who}'s connection"),
            TransportEnd::None => return None,
        };
        let what = match cause {
            Some(cause) if end != TransportEnd::TlsTruncated => format!("{what}: {cause}"),
            _ => what,
        };
        Some(Evidence {
            at: when,
            fact: what,
        })
    }

    /// The timer that fired, as evidence.
    #[must_use]
    pub fn timer_evidence(&self) -> Option<Evidence> {
        self.record.close.timer.map(|timer| {
            at(
                timer.at,
                format!(
                    "our timer timeouts.{} fired after {} (limit {})",
                    timer.key.as_str(),
                    human_ms(timer.observed_ms),
                    limit(timer.limit_ms),
                ),
            )
        })
    }

    /// Both legs in order of time: the usual evidence of a tunnel's ending.
    #[must_use]
    pub fn both_legs(&self) -> Vec<Evidence> {
        let mut all: Vec<Evidence> = [Leg::Gateway, Leg::Client]
            .into_iter()
            .flat_map(|leg| [self.close_evidence(leg), self.end_evidence(leg)])
            .chain([self.timer_evidence()])
            .flatten()
            .collect();
        all.sort_by_key(|evidence| evidence.at);
        all.extend(self.saw());
        all
    }

    /// The host and port of the gateway that was dialled, for sentences.
    #[must_use]
    pub fn gateway_name(&self) -> String {
        let Some(gateway) = &self.record.gateway else {
            return "the gateway".to_owned();
        };
        match &gateway.addr {
            Some(addr) => format!("{} ({addr})", gateway.url),
            None => gateway.url.clone(),
        }
    }

    /// The credential that the gateway looks at, for sentences: place and fingerprint.
    #[must_use]
    pub fn effective_credential(&self) -> Option<&'a crate::session::credential::Credential> {
        self.record
            .auth
            .iter()
            .find(|credential| credential.effective == Some(true))
    }
}

/// The earliest decisive fact of a record.
fn decisive(record: &SessionRecord) -> Decisive {
    if !record.had_tunnel() {
        return Decisive::Nothing;
    }
    let close = &record.close;
    let refused = record
        .dialect
        .as_ref()
        .filter(|dialect| dialect.result == ConnectResult::Refused)
        .and_then(|dialect| dialect.answered_at);
    let acted = close
        .timer
        .map(|timer| timer.at)
        .into_iter()
        .chain(close.tap.as_ref().map(|close| close.at))
        .chain((close.drained && close.first == Some(Party::Tap)).then_some(record.closed_at))
        .min();
    let by_peer = |end: TransportEnd, at: Option<Moment>| if end.is_by_peer() { at } else { None };
    let transport = &close.transport;
    [
        (refused, Decisive::Refusal),
        (
            close.gateway.as_ref().map(|close| close.at),
            Decisive::GatewayClose,
        ),
        (
            close.client.as_ref().map(|close| close.at),
            Decisive::ClientClose,
        ),
        (acted, Decisive::Tap),
        (
            by_peer(transport.gateway, transport.gateway_at),
            Decisive::GatewayTransport,
        ),
        (
            by_peer(transport.client, transport.client_at),
            Decisive::ClientTransport,
        ),
    ]
    .into_iter()
    .filter_map(|(at, decisive)| at.map(|at| (at, decisive)))
    .min()
    .map_or(Decisive::Nothing, |(_, decisive)| decisive)
}

/// A fact without a time.
#[must_use]
pub fn fact(text: impl Into<String>) -> Evidence {
    Evidence {
        at: None,
        fact: text.into(),
    }
}

/// A fact with its time.
#[must_use]
pub fn at(when: Moment, text: impl Into<String>) -> Evidence {
    Evidence {
        at: Some(when),
        fact: text.into(),
    }
}

/// `1008 "pairing required"`, `without a code`.
#[must_use]
pub fn close_words(close: &CloseSeen) -> String {
    let code = match close.code {
        Some(code) => code.to_string(),
        None => "without a code".to_owned(),
    };
    if close.reason.is_empty() {
        code
    } else {
        format!("{code} {}", quoted(&close.reason))
    }
}

/// Text of a peer in quotes. It was escaped when it was recorded.
#[must_use]
pub fn quoted(text: &PeerText) -> String {
    format!("\"{}\"", text.as_str().replace('"', "'"))
}

/// Text of a peer that is safe inside a command line: a plain identifier.
#[must_use]
pub fn paste_safe(text: &PeerText) -> Option<&str> {
    let text = text.as_str();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    (starts_well && text.len() <= 80 && text.chars().all(plain)).then_some(text)
}

/// `12 ms`, `3.4 s`, `12 min`.
#[must_use]
pub fn human_ms(ms: f64) -> String {
    if ms < 10.0 {
        format!("{ms:.1} ms")
    } else if ms < 1000.0 {
        format!("{ms:.0} ms")
    } else if ms < 120_000.0 {
        format!("{:.1} s", ms / 1000.0)
    } else if ms < 7_200_000.0 {
        format!("{:.0} min", ms / 60_000.0)
    } else {
        format!("{:.1} h", ms / 3_600_000.0)
    }
}

/// A limit as people write it into the configuration: `10s`, `1h`, `500ms`.
#[must_use]
pub fn limit(ms: u64) -> String {
    match ms {
        0 => "0ms".to_owned(),
        ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
        ms if ms % 1000 == 0 => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}

/// `1,234` bytes as `1.2 KiB`.
#[must_use]
pub fn human_bytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
    let float = bytes as f64;
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", float / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", float / 1_048_576.0),
        _ => format!("{:.1} GiB", float / 1_073_741_824.0),
    }
}
