//! Names of the command line, variables and files, by the gateway's release.
//!
//! Rules write the names of `OpenClaw`. A verdict on a gateway of the predecessor (2026.1) gets the
//! predecessor's, here and nowhere else: `decide` passes every next action through [`Names::apply`].

use super::skew::Release;
use crate::verdict::view::View;

/// The first release under the name `OpenClaw`.
const RENAMED: Release = Release(2026, 1, 29);

/// `policy.maxPayload` of the predecessor. Every release under the new name has 25 MiB instead.
const MAX_PAYLOAD: u64 = 512 * 1024;

/// Each name and its predecessor's, in the order of replacement.
const TABLE: [(&str, &str); 7] = [
    ("`openclaw ", "`clawdbot "),
    (".openclaw/openclaw.json", ".clawdbot/clawdbot.json"),
    ("openclaw.json", "clawdbot.json"),
    ("~/.openclaw", "~/.clawdbot"),
    ("OPENCLAW_", "CLAWDBOT_"),
    // A marker that the gateway writes, not a variable.
    ("__CLAWDBOT_REDACTED__", "__OPENCLAW_REDACTED__"),
    (
        "(--token, or CLAWDBOT_GATEWAY_TOKEN)",
        "(in CLAWDBOT_GATEWAY_TOKEN: its command line drops a --token behind `clawdbot gateway call`)",
    ),
];

/// A set of names, by the time of the release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Names since 2026.1.29, also if the gateway's release is not known.
    OpenClaw,
    /// Names before 2026.1.29.
    Clawdbot,
}

impl View<'_> {
    /// The names that the gateway of this record knows.
    #[must_use]
    pub fn names(&self) -> Names {
        let is_old = match self.gateway_release() {
            Some(release) => release < RENAMED,
            // Its version is "dev".
            None => self.gateway_max_payload() == Some(MAX_PAYLOAD),
        };
        if is_old {
            Names::Clawdbot
        } else {
            Names::OpenClaw
        }
    }

    /// `policy.maxPayload` of the gateway, from this session's hello-ok, or else from the latest hello-ok of another
    /// session.
    fn gateway_max_payload(&self) -> Option<u64> {
        let record = self.record();
        let own = record.application().max_message;
        own.or_else(|| record.context.as_ref()?.release.as_ref()?.max_payload)
    }
}

impl Names {
    /// Our text, with these names inserted.
    #[must_use]
    pub fn apply(self, text: String) -> String {
        match self {
            Self::OpenClaw => text,
            Self::Clawdbot => TABLE
                .iter()
                .fold(text, |text, (name, before)| text.replace(name, before)),
        }
    }
}
