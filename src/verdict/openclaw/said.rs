//! The message of an `OpenClaw` gateway that refused: its answer to `connect`, the reason of its
//! Close, or both.
//!
//! Gateway versions differ in texts and limits, so `details.code` counts first. The beginning of
//! the text counts only if there is no known code: reasons are cut after 120 bytes and their hints
//! differ from client to client.

use crate::session::party::Leg;
use crate::session::record::CloseSeen;
use crate::session::record::dialect::openclaw::{DialectError, sends};
use crate::session::text::PeerText;
use crate::verdict::view::{Decisive, View, short};

/// Every `details.code` that some rule matches (gateway 2026.9.6).
pub(crate) const CODES: [&str; 33] = [
    "AUTHENTICATED_PROFILE_UNAVAILABLE",
    "AUTH_BOOTSTRAP_TOKEN_INVALID",
    "AUTH_DEVICE_TOKEN_MISMATCH",
    "AUTH_IDENTITY_HEADER_REQUIRED",
    "AUTH_PASSWORD_MISMATCH",
    "AUTH_PASSWORD_MISSING",
    "AUTH_PASSWORD_NOT_CONFIGURED",
    "AUTH_RATE_LIMITED",
    "AUTH_REQUIRED",
    "AUTH_SCOPE_MISMATCH",
    "AUTH_TAILSCALE_IDENTITY_MISMATCH",
    "AUTH_TAILSCALE_IDENTITY_MISSING",
    "AUTH_TAILSCALE_PROXY_MISSING",
    "AUTH_TAILSCALE_WHOIS_FAILED",
    "AUTH_TOKEN_MISMATCH",
    "AUTH_TOKEN_MISSING",
    "AUTH_TOKEN_NOT_CONFIGURED",
    "AUTH_UNAUTHORIZED",
    "AUTH_VERIFIED_USER_REQUIRED",
    "CLIENT_VERSION_MISMATCH",
    "CONTROL_UI_BUILD_MISMATCH",
    "CONTROL_UI_DEVICE_IDENTITY_REQUIRED",
    "CONTROL_UI_ORIGIN_NOT_ALLOWED",
    "DEVICE_AUTH_DEVICE_ID_MISMATCH",
    "DEVICE_AUTH_INVALID",
    "DEVICE_AUTH_NONCE_MISMATCH",
    "DEVICE_AUTH_NONCE_REQUIRED",
    "DEVICE_AUTH_PUBLIC_KEY_INVALID",
    "DEVICE_AUTH_SIGNATURE_EXPIRED",
    "DEVICE_AUTH_SIGNATURE_INVALID",
    "DEVICE_IDENTITY_REQUIRED",
    "PAIRING_REQUIRED",
    "PROTOCOL_MISMATCH",
];

/// The gateway's refusal: in its answer to `connect`, in its Close, or in both.
#[derive(Clone, Copy, Debug)]
pub struct GatewayRefusal<'a> {
    error: Option<&'a DialectError>,
    close: Option<&'a CloseSeen>,
}

impl<'a> View<'a> {
    /// The gateway's refusal, if it is the decisive fact and the dialect is `OpenClaw`'s.
    #[must_use]
    pub fn said(&self) -> Option<GatewayRefusal<'a>> {
        if !self.is_openclaw() {
            return None;
        }
        let close = self.close_of(Leg::Gateway);
        match self.decisive() {
            Decisive::Refusal => Some(GatewayRefusal {
                error: self.connect_error(),
                close,
            }),
            Decisive::GatewayClose => Some(GatewayRefusal { error: None, close }),
            _ => None,
        }
    }

    /// The gateway's refusal, if it has one of these codes, or (without a known code) begins with
    /// one of these texts.
    #[must_use]
    pub fn refused(&self, codes: &[&str], prefixes: &[&str]) -> Option<GatewayRefusal<'a>> {
        self.said().filter(|said| said.is(codes, prefixes))
    }
}

impl<'a> View<'a> {
    /// The gateway's refusal of a wrong shared token. Gateways of 2026.2 call every wrong token of
    /// a client with a device a wrong *device* token, without a code: the client's own message
    /// shows which one it was.
    #[must_use]
    pub fn token_refused(&self) -> Option<GatewayRefusal<'a>> {
        let said = self.refused(
            &["AUTH_TOKEN_MISMATCH"],
            &["unauthorized: gateway token mismatch"],
        );
        said.or_else(|| self.said().filter(|said| self.calls_it_device_token(said)))
    }

    /// The gateway speaks of a device token, but the client sent only the shared one.
    #[must_use]
    pub fn calls_it_device_token(&self, said: &GatewayRefusal<'_>) -> bool {
        let sent = |key| sends(&self.auth, key);
        said.code().is_none()
            && said.begins_with(&["unauthorized: device token mismatch"])
            && sent("token")
            && !sent("deviceToken")
    }
}

impl<'a> GatewayRefusal<'a> {
    /// See [`View::refused`].
    #[must_use]
    pub fn is(&self, codes: &[&str], prefixes: &[&str]) -> bool {
        match self.code().filter(|code| CODES.contains(code)) {
            Some(code) => codes.contains(&code),
            None => self.begins_with(prefixes),
        }
    }

    /// `details.code`.
    #[must_use]
    pub fn code(&self) -> Option<&'a str> {
        Some(self.error?.details_code.as_ref()?.as_str())
    }

    /// `error.code`.
    #[must_use]
    pub fn error_code(&self) -> Option<&'a str> {
        Some(self.error?.code.as_ref()?.as_str())
    }

    /// `details.reason` or `details.authReason`.
    #[must_use]
    pub fn reason(&self) -> Option<&'a str> {
        Some(self.error?.details_reason.as_ref()?.as_str())
    }

    /// Whether the message or the Close's reason begins like this.
    #[must_use]
    pub fn begins_with(&self, prefixes: &[&str]) -> bool {
        self.texts().any(|text| {
            prefixes
                .iter()
                .any(|prefix| text.as_str().starts_with(prefix))
        })
    }

    /// Whether the message or the Close's reason contains this text.
    #[must_use]
    pub fn holds(&self, needle: &str) -> bool {
        self.texts().any(|text| text.as_str().contains(needle))
    }

    /// The error object, if there was an answer.
    #[must_use]
    pub fn error(&self) -> Option<&'a DialectError> {
        self.error
    }

    /// The Close's code.
    #[must_use]
    pub fn close_code(&self) -> Option<u16> {
        Some(self.close?.code?.0)
    }

    /// The gateway's own words, quoted and shortened for a sentence.
    #[must_use]
    pub fn words(&self) -> String {
        self.texts()
            .next()
            .map_or_else(|| "without a reason".to_owned(), short)
    }

    fn texts(&self) -> impl Iterator<Item = &'a PeerText> + use<'a> {
        let message = self.error.and_then(|error| error.message.as_ref());
        let reason = self.close.map(|close| &close.reason);
        [message, reason]
            .into_iter()
            .flatten()
            .filter(|text| !text.is_empty())
    }
}
