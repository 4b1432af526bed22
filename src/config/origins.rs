//! The section `origins`, resolved: which origins are allowed, and what happens to the others.

mod gateway_file;
pub(super) mod odd;

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

pub use self::gateway_file::GatewayFile;
use crate::admission::origin::gateway::GatewayList;
use crate::admission::origin::list::OriginList;
use crate::admission::origin::policy::{Mode, Policy};

/// Which pages may connect.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origins {
    pub(super) allowed: OriginList,
    pub(super) mode: Option<Mode>,
    pub(super) missing: MissingOrigin,
    pub(super) deny_with: DenyWith,
    pub(super) gateway_file: Option<GatewayFile>,
}

impl Origins {
    /// Our own list.
    #[must_use]
    pub fn allowed(&self) -> &OriginList {
        &self.allowed
    }

    /// The mode as configured; `None` if the lists decide, see [`Policy::mode`].
    #[must_use]
    pub fn mode(&self) -> Option<Mode> {
        self.mode
    }

    /// How a client is refused.
    #[must_use]
    pub fn deny_with(&self) -> DenyWith {
        self.deny_with
    }

    /// The gateway's own configuration file as it was read at start, if it is read.
    #[must_use]
    pub fn gateway_file(&self) -> Option<&GatewayFile> {
        self.gateway_file.as_ref()
    }

    /// The policy, with the gateway's list as it is now.
    #[must_use]
    pub fn policy<'a>(&'a self, gateway: Option<&'a GatewayList>) -> Policy<'a> {
        Policy {
            ours: &self.allowed,
            gateway,
            mode: self.mode,
            deny_missing: self.missing == MissingOrigin::Deny,
        }
    }

    /// The policy with the gateway's list as it was at start.
    #[must_use]
    pub fn policy_at_start(&self) -> Policy<'_> {
        self.policy(self.gateway_file.as_ref().map(GatewayFile::list))
    }
}

/// One line for people: the mode, the entries, the file.
impl fmt::Display for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.allowed.allows_any() {
            parts.push("any".to_owned());
        }
        parts.extend(self.allowed.origins().iter().map(ToString::to_string));
        if let Some(file) = &self.gateway_file {
            let list = file.list();
            let any = if list.allows_any() { "any and " } else { "" };
            let path = file.path().display();
            parts.push(format!("{any}{} of {path}", list.live().len()));
        }
        if parts.is_empty() {
            parts.push("none listed".to_owned());
        }
        write!(f, "{}: {}", self.policy_at_start().mode(), parts.join(", "))?;
        if self.missing == MissingOrigin::Deny {
            f.write_str("; missing: deny")?;
        }
        if self.deny_with == DenyWith::Close {
            f.write_str("; deny_with: close")?;
        }
        Ok(())
    }
}

/// What happens to an upgrade without an Origin header, as native clients send it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MissingOrigin {
    /// It passes.
    #[default]
    Allow,
    /// It is treated like an origin that is not allowed.
    Deny,
}

/// How a client is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DenyWith {
    /// With a 403, which tools show but browser scripts see as 1006.
    #[default]
    Http,
    /// With a WebSocket that is closed at once with 1008, whose reason scripts can read.
    Close,
}
