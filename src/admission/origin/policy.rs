//! Whether a request's origin may pass.
//!
//! Only WebSocket upgrades are checked. For those the browser enforces nothing: any page may open
//! one to any host, with the cookies of that host (cross-site WebSocket hijacking), and only its
//! Origin says where it comes from. For a plain request from another origin, the browser enforces
//! the gateway's answer (CORS), and the gateway does not compare origins there either.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

use super::gateway::{Around, GatewayList, GatewayRule};
use super::list::OriginList;
use super::nearest::{self, Entries};
use super::{Origin, OriginError};
use crate::session::record::{DeniedKey, NearestEntry, OriginDecision as Decision};

/// What is done with an origin that is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is refused.
    Enforce,
    /// It is recorded and let through.
    Report,
    /// Origins are not checked.
    Off,
}

/// As the configuration spells it.
impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Enforce => "enforce",
            Self::Report => "report",
            Self::Off => "off",
        })
    }
}

/// The policy for one request.
#[derive(Debug, Clone, Copy)]
pub struct Policy<'a> {
    /// Our own list.
    pub ours: &'a OriginList,
    /// What the gateway's configuration says, if it is read.
    pub gateway: Option<&'a GatewayList>,
    /// As configured; `None` for the default, which follows the lists.
    pub mode: Option<Mode>,
    /// Upgrades without an Origin are refused.
    pub deny_missing: bool,
}

/// The parts of a request that decide.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Every Origin header's value.
    pub origins: &'a [&'a [u8]],
    /// The other parts that the gateway's own rules read.
    pub around: Around<'a>,
    /// It asks for a WebSocket.
    pub upgrade: bool,
}

/// The part of the policy that a refusal comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// The origin is not allowed.
    Allowed,
    /// There is no origin.
    Missing,
}

impl Key {
    /// As recorded.
    #[must_use]
    pub fn denied(self) -> DeniedKey {
        match self {
            Self::Allowed => DeniedKey::OriginsAllowed,
            Self::Missing => DeniedKey::OriginsMissing,
        }
    }
}

/// The result for one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// What our lists say.
    pub decision: Decision,
    /// Why it is refused, if the decision is `denied` or `would_deny`.
    pub key: Option<Key>,
    /// The origin, if it is one; `Ok(None)` when there is none.
    pub origin: Result<Option<Origin>, OriginError>,
    /// The entry or rule that allows it.
    pub rule: Option<String>,
    /// The entry that it nearly matched.
    pub nearest: Option<NearestEntry>,
    /// The gateway's list counts as well: it is the better place to add an origin.
    pub with_gateway: bool,
    /// Our own list allows it, but the gateway's configuration does not.
    pub gateway_refuses: bool,
}

impl Policy<'_> {
    /// The mode in force. Unless configured, a list is enforced as soon as there is one; entries
    /// that never match count, because their author wanted a list.
    #[must_use]
    pub fn mode(&self) -> Mode {
        let unlisted = self.ours.is_empty() && self.gateway.is_none_or(GatewayList::is_empty);
        self.mode.unwrap_or(if unlisted {
            Mode::Report
        } else {
            Mode::Enforce
        })
    }

    /// Decides about one request.
    #[must_use]
    pub fn decide(&self, asked: Asked<'_>) -> Ruling {
        let origin = super::read(asked.origins);
        let mut ruling = Ruling {
            decision: match origin {
                Ok(None) => Decision::Absent,
                _ => Decision::Off,
            },
            key: None,
            origin,
            rule: None,
            nearest: None,
            with_gateway: self.gateway.is_some(),
            gateway_refuses: false,
        };
        let refusal = match self.mode() {
            Mode::Enforce => Decision::Denied,
            Mode::Report => Decision::WouldDeny,
            Mode::Off => return ruling,
        };
        if !asked.upgrade {
            return ruling;
        }
        let (allowed, key) = match &ruling.origin {
            Ok(None) if self.deny_missing => (false, Key::Missing),
            Ok(None) => return ruling,
            Ok(Some(origin)) => {
                let entry = self.ours.entry(origin);
                let theirs = self
                    .gateway
                    .and_then(|gateway| gateway.rule(origin, asked.around));
                ruling.gateway_refuses =
                    entry.is_some() && self.gateway.is_some() && theirs.is_none();
                ruling.rule = rule(entry, theirs.as_ref());
                if ruling.rule.is_none() {
                    ruling.nearest = nearest::of_origin(origin, self.entries());
                }
                (ruling.rule.is_some(), Key::Allowed)
            }
            Err(error) => {
                let raw = asked.origins.first().copied().unwrap_or_default();
                ruling.nearest = nearest::of_error(raw, *error, self.entries());
                (false, Key::Allowed)
            }
        };
        ruling.decision = if allowed { Decision::Allowed } else { refusal };
        ruling.key = (!allowed).then_some(key);
        ruling
    }

    fn entries(&self) -> Entries<'_> {
        let gateway = self.gateway;
        Entries {
            ours: self.ours.origins(),
            live: gateway.map(GatewayList::live).unwrap_or_default(),
            dead: gateway.map(GatewayList::dead).unwrap_or_default(),
            any: self.ours.allows_any() || gateway.is_some_and(GatewayList::allows_any),
        }
    }
}

/// The most exact rule that allows it: an entry of ours, one of the gateway's, `"*"`.
fn rule(ours: Option<&str>, theirs: Option<&GatewayRule>) -> Option<String> {
    match (ours, theirs) {
        (Some(entry), _) if entry != "*" => Some(entry.to_owned()),
        (_, Some(rule)) => Some(rule.to_string()),
        (entry, None) => entry.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests;
