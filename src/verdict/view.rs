//! A record, with the queries that many rules share.

use std::ops::Deref;

use crate::dialect::{self, Profile};
use crate::session::SessionRecord;
use crate::session::memory::PERIODS_S;
use crate::session::moment::Moment;
use crate::session::party::{Direction, Leg, Party, Phase};
use crate::session::record::close::{ActKind, FirstAct};
use crate::session::record::dialect::DialectFacts;
use crate::session::record::{
    CloseSeen, DirectionFrames, Evidence, GatewayErrorKind, Kind, Saw, StreamFault, TransportEnd,
};
use crate::ws::Violation;

pub(crate) use super::words::*;

/// A view of a finished record.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    record: &'a SessionRecord,
    decisive: Decisive,
    decided_at: Option<Moment>,
}

/// The first act of a tunnel's ending ([`SessionRecord::first_act`]), in the form that rules match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decisive {
    /// The gateway refused the client inside the WebSocket.
    Refusal,
    /// The gateway sent a Close frame.
    GatewayClose,
    /// The client sent a Close frame.
    ClientClose,
    /// Our timer fired, our cap was reached, or we shut down.
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
    /// A view of this record.
    #[must_use]
    pub fn new(record: &'a SessionRecord) -> Self {
        let (decisive, decided_at) = decisive(record);
        Self {
            record,
            decisive,
            decided_at,
        }
    }

    /// The record itself, for as long as it lives.
    #[must_use]
    pub fn record(&self) -> &'a SessionRecord {
        self.record
    }

    /// The first act that ended the tunnel.
    #[must_use]
    pub fn decisive(&self) -> Decisive {
        self.decisive
    }

    /// When the decisive fact came.
    #[must_use]
    pub fn decided_at(&self) -> Option<Moment> {
        self.decided_at
    }

    /// Whether the decisive fact is that this leg's transport ended.
    #[must_use]
    pub fn left(&self, leg: Leg) -> bool {
        self.decisive
            == match leg {
                Leg::Client => Decisive::ClientTransport,
                Leg::Gateway => Decisive::GatewayTransport,
            }
    }

    /// How long ago the session had entered `phase` when the decisive fact came, in milliseconds;
    /// `None` if the record does not have the time.
    #[must_use]
    pub fn ms_since(&self, phase: Phase) -> Option<f64> {
        let end = self.decided_at.unwrap_or(self.record.closed_at);
        Some(since_ms(end, self.record.began(phase)?))
    }

    /// How long the tunnel had existed when the decisive fact came, in milliseconds: an estimate,
    /// if the record does not have the time when it began.
    #[must_use]
    pub fn tunnel_ms(&self) -> f64 {
        if let Some(ms) = self.ms_since(Phase::Handshake) {
            return ms;
        }
        let before = self.record.gateway.as_ref().map_or(0.0, |gateway| {
            gateway.dns.as_ref().map_or(0.0, |dns| dns.ms)
                + gateway.connect_ms.unwrap_or_default()
                + gateway.upgrade_ms.unwrap_or_default()
        });
        let end = self.decided_at.unwrap_or(self.record.closed_at);
        (since_ms(end, self.record.opened_at) - before).max(0.0)
    }

    /// Whether a leg of a tunnel had ended in order before the tunnel began: a client's FIN that came
    /// with its upgrade request.
    #[must_use]
    pub fn ended_before_tunnel(&self, leg: Leg) -> bool {
        let transport = &self.record.close.transport;
        let at = match leg {
            Leg::Client => transport.client_at,
            Leg::Gateway => transport.gateway_at,
        };
        let began = self.record.began(Phase::Handshake);
        self.end_of(leg).is_orderly() && at.zip(began).is_some_and(|(ended, began)| ended < began)
    }

    /// How long nothing had moved in either direction when the decisive fact came.
    #[must_use]
    pub fn quiet_ms(&self) -> Option<f64> {
        let frames = self.record.frames.as_ref()?;
        let last = frames.to_gateway.last_at.max(frames.to_client.last_at)?;
        Some(since_ms(self.decided_at?, last))
    }

    /// The quiet time as evidence: a timer in the path may have measured it. A single session
    /// proves nothing, however common the limit is; [`ContextFacts::cadence`] shows what several of
    /// them prove.
    ///
    /// [`ContextFacts::cadence`]: crate::session::record::ContextFacts::cadence
    #[must_use]
    pub fn quiet_evidence(&self) -> Option<Evidence> {
        let quiet = self.quiet_ms()?;
        let usual = PERIODS_S.into_iter().find(|period| {
            let period = f64::from(*period);
            let late = quiet / 1000.0 - period;
            (-0.1..=(period * 0.01).max(0.5)).contains(&late)
        });
        let limit = usual.map_or_else(String::new, |period| {
            format!(
                ", and {period} s is a usual idle limit of proxies and load balancers (once, that \
                 may be chance)"
            )
        });
        Some(fact(format!(
            "nothing had moved for {} before that{limit}",
            human_ms(quiet)
        )))
    }

    /// How long a direction had been silent when the decisive fact came.
    #[must_use]
    pub fn silent_ms(&self, direction: Direction) -> Option<f64> {
        let last = self.frames_of(direction)?.last_at?;
        Some(since_ms(self.decided_at?, last))
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

    /// The tunnel was open, but the application had not accepted.
    #[must_use]
    pub fn was_in_handshake(&self) -> bool {
        self.record.had_tunnel() && self.record.phase == Phase::Handshake
    }

    /// Profile of the configured dialect, whether or not there was a tunnel.
    #[must_use]
    pub fn expected(&self) -> &'static Profile {
        let gateway = self.record.gateway.as_ref();
        dialect::named(gateway.map_or("", |gateway| gateway.expects.as_str()))
    }

    /// Profile of the dialect whose messages were read.
    #[must_use]
    pub fn spoken(&self) -> &'static Profile {
        dialect::named(self.record.dialect.as_ref().map_or("", DialectFacts::name))
    }

    /// The Close frame of a leg.
    #[must_use]
    pub fn close_of(&self, leg: Leg) -> Option<&'a CloseSeen> {
        match leg {
            Leg::Client => self.record.close.client.as_ref(),
            Leg::Gateway => self.record.close.gateway.as_ref(),
        }
    }

    /// The invalid part of a leg's TLS stream that ended the leg, if any.
    #[must_use]
    pub fn fault_of(&self, leg: Leg) -> Option<&'a StreamFault> {
        let transport = &self.record.close.transport;
        match leg {
            Leg::Client => transport.client_fault.as_ref(),
            Leg::Gateway => transport.gateway_fault.as_ref(),
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

    /// Why the gateway gave no usable answer.
    #[must_use]
    pub fn gateway_error(&self) -> Option<GatewayErrorKind> {
        Some(self.record.gateway.as_ref()?.error.as_ref()?.kind)
    }

    /// The same in words, as evidence.
    #[must_use]
    pub fn gateway_error_evidence(&self) -> Option<Evidence> {
        let error = self.record.gateway.as_ref()?.error.as_ref()?;
        Some(fact(error.detail.clone()))
    }

    /// How long the kept connection of a plain request had been idle, as evidence.
    #[must_use]
    pub fn kept_evidence(&self) -> Option<Evidence> {
        let gateway = self.record.gateway.as_ref()?;
        let kept = gateway.kept_ms.filter(|_| gateway.reused)?;
        Some(fact(format!(
            "the connection was a kept one that had waited {} for this request",
            human_ms(kept)
        )))
    }

    /// How the kept connection ended that a request had first gone out on, as evidence.
    #[must_use]
    pub fn retry_evidence(&self) -> Option<Evidence> {
        let retried = self.record.gateway.as_ref()?.retried.as_ref()?;
        Some(fact(format!(
            "it went out once more, on a new connection: a kept one that had waited {} for it ended \
             without an answer {} later ({})",
            human_ms(retried.kept_ms),
            human_ms(retried.waited_ms),
            retried.end.as_str()
        )))
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

    /// The Close that each end saw, as evidence.
    #[must_use]
    pub fn saw(&self) -> Vec<Evidence> {
        let saw_fact = |who: &str, saw: Option<Saw>| {
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
            saw_fact("client", self.record.close.client_saw),
            saw_fact("gateway", self.record.close.gateway_saw),
        ]
        .into_iter()
        .flatten()
        .collect()
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

    /// The first credential that the gateway reads, whether or not it compared it.
    #[must_use]
    pub fn effective_credential(&self) -> Option<&'a crate::session::credential::Credential> {
        self.record
            .auth
            .iter()
            .find(|credential| credential.effective == Some(true))
    }
}

/// The first act of a tunnel's ending, and when it was.
fn decisive(record: &SessionRecord) -> (Decisive, Option<Moment>) {
    let act = record.first_act().filter(|_| record.had_tunnel());
    let Some(FirstAct { party, kind, at }) = act else {
        return (Decisive::Nothing, None);
    };
    let decisive = match (kind, party) {
        (ActKind::Refusal, _) => Decisive::Refusal,
        (ActKind::Close, Party::Client) => Decisive::ClientClose,
        (ActKind::Close, _) => Decisive::GatewayClose,
        (ActKind::Transport | ActKind::TlsEnd, Party::Client) => Decisive::ClientTransport,
        (ActKind::Transport | ActKind::TlsEnd, _) => Decisive::GatewayTransport,
        (ActKind::Tap, _) => Decisive::Tap,
        // A 101 is no refusal.
        (ActKind::HttpRefusal, _) => Decisive::Nothing,
    };
    (decisive, Some(at))
}

/// Milliseconds from `earlier` to `later`, never less than zero.
fn since_ms(later: Moment, earlier: Moment) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "2^53 milliseconds are more than any session lasts"
    )]
    let ms = later.millis_since(earlier).max(0) as f64;
    ms
}
