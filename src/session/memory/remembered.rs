//! The fields of a session that are compared.

use std::net::IpAddr;
use std::ops::Deref;

use super::announcement::shutdown;
use super::attempt::Attempt;
use super::loss::{ended_at, lost};
use super::numbers::Number;
use crate::session::credential::Credential;
use crate::session::moment::Moment;
use crate::session::party::{Leg, Phase};
use crate::session::record::context::{GatewayRelease, GoingDown, SAME_PROCESS_MS};
use crate::session::record::dialect::ConnectResult;
use crate::session::record::gateway::ForwardedMode;
use crate::session::record::{SessionRecord, TransportEnd};
use crate::session::text::PeerText;

/// The fields of a session that are compared.
#[derive(Debug)]
pub(super) struct Remembered {
    pub(super) id: uuid::Uuid,
    pub(super) opened_at: Moment,
    pub(super) closed_at: Moment,
    /// When the gateway accepted the session, or else when it began.
    pub(super) heard_at: Moment,
    pub(super) client: Option<Number>,
    pub(super) gateway: Number,
    /// Place and fingerprint of the credential.
    pub(super) credential: Option<(Number, Number)>,
    pub(super) boot: Option<Number>,
    pub(super) device: Option<Number>,
    /// Fingerprint of the device token that the gateway issued.
    pub(super) issued: Option<Number>,
    pub(super) accepted: bool,
    /// Whether it got past the handshake of its application.
    pub(super) open: bool,
    pub(super) mismatch: bool,
    /// Whether it was lost, or the gateway announced that it goes down.
    pub(super) shows_an_end: bool,
    pub(super) rest: Box<Rest>,
}

/// The fields that only a few comparisons need.
#[derive(Debug)]
pub(super) struct Rest {
    /// The leg that ended first, without a Close from either side, and when.
    pub(super) lost: Option<(Leg, Moment)>,
    pub(super) age_ms: u64,
    pub(super) silence_ms: Option<u64>,
    pub(super) attempt: Attempt,
    /// Our kernel gave up on a leg: the length of the silence depends on our own keepalive.
    pub(super) given_up: bool,
    pub(super) boot: Option<PeerText>,
    /// When the gateway's process began, if the gateway has no boot ids.
    pub(super) began_at: Option<Moment>,
    pub(super) version: Option<PeerText>,
    pub(super) protocol: Option<u64>,
    pub(super) max_payload: Option<u64>,
    pub(super) device: Option<PeerText>,
    /// The gateway closed it because the device was removed.
    pub(super) removed: bool,
    /// The gateway announced that it goes down.
    pub(super) shutdown: Option<GoingDown>,
}

impl Deref for Remembered {
    type Target = Rest;

    fn deref(&self) -> &Rest {
        &self.rest
    }
}

/// Whether two times at which a process began, computed from its uptime, are those of one process.
fn is_one_process(one: Moment, other: Moment) -> bool {
    one.millis_since(other).abs() <= SAME_PROCESS_MS
}

impl Remembered {
    /// `text` and `client` return the numbers of values.
    pub(super) fn of(
        record: &SessionRecord,
        mut text: impl FnMut(&str) -> Number,
        client: impl FnOnce(&IpAddr) -> Number,
    ) -> Self {
        let rest = Rest::of(record);
        let said = record.application();
        let gateway = record.gateway.as_ref();
        Self {
            id: record.id,
            opened_at: record.opened_at,
            closed_at: ended_at(record, rest.lost),
            heard_at: said.answered_at.unwrap_or(record.opened_at),
            client: client_ip(record).as_ref().map(client),
            gateway: text(gateway.map_or("", |gateway| &gateway.url)),
            credential: credential(record).map(|(place, print)| (text(place), text(print))),
            boot: rest.boot.as_ref().map(|boot| text(boot.as_str())),
            device: rest.device.as_ref().map(|device| text(device.as_str())),
            issued: said.issued_token.map(text),
            accepted: said.result == ConnectResult::Accepted,
            open: record.had_tunnel() && record.phase >= Phase::Open,
            mismatch: record
                .dialect
                .as_ref()
                .is_some_and(|dialect| dialect.is_mismatch(&record.auth)),
            shows_an_end: rest.lost.is_some() || rest.shutdown.is_some(),
            rest: Box::new(rest),
        }
    }

    /// Whether both are known to have been let in by one process.
    pub(super) fn shares_process_with(&self, other: &Self) -> bool {
        match (self.boot, other.boot) {
            (None, None) => {
                let began = self.began_at.zip(other.began_at);
                began.is_some_and(|(one, other)| is_one_process(one, other))
            }
            (one, other) => one == other,
        }
    }

    /// What the session's hello-ok showed about the gateway.
    pub(super) fn release(&self) -> GatewayRelease {
        GatewayRelease {
            version: self.version.clone(),
            protocol: self.protocol,
            max_payload: self.max_payload,
            has_boot_id: self.boot.is_some(),
            at: Some(self.heard_at),
        }
    }

    /// The numbers of texts that it holds.
    pub(super) fn texts(&self) -> impl Iterator<Item = Number> {
        let (place, print) = self.credential.unzip();
        let some = [place, print, self.boot, self.device, self.issued];
        some.into_iter().flatten().chain([self.gateway])
    }
}

impl Rest {
    fn of(record: &SessionRecord) -> Self {
        let lost = lost(record);
        let end = lost.map_or(record.closed_at, |(_, at)| at);
        let span = |from: Moment| u64::try_from(end.millis_since(from)).unwrap_or(0);
        let last_byte = record
            .frames
            .as_ref()
            .and_then(|frames| frames.to_gateway.last_at.max(frames.to_client.last_at));
        let said = record.application();
        let gateway = said.gateway.unwrap_or_default();
        let ends = &record.close.transport;
        Self {
            lost,
            age_ms: span(record.opened_at),
            silence_ms: last_byte.map(span),
            attempt: Attempt::of(record),
            given_up: [ends.client, ends.gateway].contains(&TransportEnd::Timeout),
            boot: gateway.boot.cloned(),
            began_at: gateway.began_at.filter(|_| gateway.boot.is_none()),
            version: gateway.version.cloned(),
            protocol: said.protocol,
            max_payload: said.max_message,
            device: said.device.cloned(),
            removed: record.dialect.as_ref().is_some_and(|dialect| {
                let close = record.close.gateway.as_ref();
                close.is_some_and(|close| dialect.removes_device(close))
            }),
            shutdown: shutdown(record),
        }
    }
}

/// The address without the port: each attempt has another port. `None` for the address of a proxy
/// whose attribution headers were passed on unread: its clients are not one client.
pub(super) fn client_ip(record: &SessionRecord) -> Option<IpAddr> {
    let forwarded = record
        .gateway
        .as_ref()
        .and_then(|gateway| gateway.forwarded.as_ref());
    let passed_on = forwarded.is_some_and(|forwarded| {
        forwarded.mode == ForwardedMode::Pass && !forwarded.brought.is_empty()
    });
    if passed_on && record.client.via.is_none() {
        return None;
    }
    let addr = record.client.addr.as_str();
    let socket = addr.parse().map(|socket: std::net::SocketAddr| socket.ip());
    socket.or_else(|_| addr.parse()).ok()
}

/// The credential that the gateway refused or accepted: place and fingerprint. If there were
/// several, it is not known which one let the client in.
pub(super) fn credential(record: &SessionRecord) -> Option<(&str, &str)> {
    let looked_at = |one: &&Credential| one.effective == Some(true);
    let accepted = record.application().result == ConnectResult::Accepted;
    if accepted && record.auth.iter().filter(looked_at).count() > 1 {
        return None;
    }
    let found = match &record.dialect {
        Some(dialect) => dialect.compared(&record.auth),
        None => record.auth.iter().find(looked_at),
    }?;
    Some((found.place.as_str(), found.fingerprint.as_str()))
}
