//! What the gateway's release calls its command line, variables and files.
//!
//! Rules write the names of `OpenClaw`. A verdict on a gateway of the predecessor (2026.1) gets the
//! predecessor's, here and nowhere else: `decide` passes every next action through [`Names::apply`].

use super::View;
use super::skew::Release;
use crate::session::record::TapMode;

/// The first release under the name `OpenClaw`.
const RENAMED: Release = Release(2026, 1, 29);

/// `policy.maxPayload` of the predecessor. Every release under the new name has 25 MiB.
const MAX_PAYLOAD: u64 = 512 * 1024;

/// Each name, and what it was before. In this order.
const TABLE: [(&str, &str); 7] = [
    ("`openclaw ", "`clawdbot "),
    (".openclaw/openclaw.json", ".clawdbot/clawdbot.json"),
    ("openclaw.json", "clawdbot.json"),
    ("~/.openclaw", "~/.clawdbot"),
    ("OPENCLAW_", "CLAWDBOT_"),
    // A marker that the gateway writes, and not a variable.
    ("__CLAWDBOT_REDACTED__", "__OPENCLAW_REDACTED__"),
    (
        "(--token, or CLAWDBOT_GATEWAY_TOKEN)",
        "(in CLAWDBOT_GATEWAY_TOKEN: its command line drops a --token behind `clawdbot gateway call`)",
    ),
];

/// Settings of a tap with a configuration, and what an attached one has in their place (`wstap attach`).
const ATTACHED: [(&str, &str); 7] = [
    ("gateway.dialect: plain", "`wstap attach --dialect plain`"),
    (
        "connect again once the tap is back",
        "connect again: new connections go straight to the gateway",
    ),
    // The tap finds out what the gateway speaks once, when it attaches.
    (
        "the gateway speaks TLS and gateway.url must begin with https://",
        "the gateway now speaks TLS: attach again",
    ),
    (
        "use https:// (or wss://) in gateway.url",
        "attach again: the gateway has begun to speak TLS",
    ),
    (
        "use http:// (or ws://) in gateway.url",
        "attach again without --cert and --key",
    ),
    (
        "whether it wants https in gateway.url",
        "whether it has begun to speak TLS",
    ),
    ("gateway.url", "`wstap attach --port`"),
];

/// The names of one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Since 2026.1.29, and where the gateway's release is not known.
    OpenClaw,
    /// Before.
    Clawdbot,
}

impl View<'_> {
    /// The names that the gateway of this record knows.
    #[must_use]
    pub fn names(&self) -> Names {
        let is_old = match self.gateway_release() {
            Some(release) => release < RENAMED,
            // It calls itself "dev".
            None => self.gateway_max_payload() == Some(MAX_PAYLOAD),
        };
        if is_old {
            Names::Clawdbot
        } else {
            Names::OpenClaw
        }
    }

    /// `policy.maxPayload` of the gateway, from this session's hello-ok or from the latest of another.
    fn gateway_max_payload(&self) -> Option<u64> {
        let record = self.record();
        let own = record.dialect.as_ref();
        own.and_then(|dialect| dialect.max_payload)
            .or_else(|| record.context.as_ref()?.release.as_ref()?.max_payload)
    }
}

/// A text of ours, with the names of settings that a tap of this mode has.
#[must_use]
pub fn of_tap(mode: TapMode, text: String) -> String {
    match mode {
        TapMode::Inline => text,
        TapMode::Attached => ATTACHED
            .iter()
            .fold(text, |text, (setting, flag)| text.replace(setting, flag)),
    }
}

impl Names {
    /// A text of ours, with these names in it.
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
