//! Recognises secrets by the name, place or form of a value.
//!
//! No standard defines this: RFC 6750 §2 names three places for bearer tokens (header, form,
//! query), the WebSocket API leaves browsers only the URL, cookies and the subprotocol list, and
//! gateways add their own. The scan for credentials and the masking both use these functions. They
//! err towards "secret": a masked harmless value costs a little insight, a stored token costs the
//! token.

mod jwt;
mod keys;

use std::borrow::Cow;

use crate::dialect;

pub(super) use jwt::find_jwt;
pub(super) use keys::{
    is_build_id, is_own_asset, is_worded, looks_secret, looks_secret_after_hook, opens_hook,
};

/// True for a header field (lower-case name) that carries a credential as its whole value.
pub(super) fn header_name(name: &str) -> bool {
    const NAMES: [&str; 11] = [
        "api-key",
        "apikey",
        "authentication",
        "key",
        "password",
        "secret",
        "token",
        "x-api-key",
        "x-apikey",
        "x-auth",
        "x-authorization",
    ];
    const ENDINGS: [&str; 8] = [
        "-token",
        "-key",
        "-apikey",
        "-secret",
        "-password",
        "-passwd",
        "-jwt",
        "-assertion",
    ];
    // The handshake nonce and cache keys end in "-key" but are not secret.
    const HARMLESS: [&str; 4] = [
        "sec-websocket-key",
        "idempotency-key",
        "surrogate-key",
        "x-cache-key",
    ];
    // Some proxies and CGI bridges turn dashes into underscores.
    let name = name.replace('_', "-");
    !HARMLESS.contains(&name.as_str())
        && (NAMES.contains(&name.as_str())
            || name.ends_with("-authorization") && name != "proxy-authorization"
            || ENDINGS.iter().any(|ending| name.ends_with(ending))
            || dialect::profiles().any(|it| it.credential_headers.contains(&name.as_str())))
}

/// True for a cookie whose name says that it authenticates.
pub(super) fn cookie_name(name: &str) -> bool {
    const PARTS: [&str; 15] = [
        "sess",
        "token",
        "auth",
        "jwt",
        "secret",
        "passw",
        "key",
        "csrf",
        "xsrf",
        "login",
        "remember",
        "credential",
        "ticket",
        "__host-",
        "__secure-",
    ];
    let name = name.to_ascii_lowercase();
    // "sid" is part of many words (`sidebar`), so it must be a word of its own or end the name.
    PARTS.iter().any(|part| name.contains(part))
        || name.ends_with("sid")
        || words(&name).any(|word| word == "sid" || word == "id")
}

/// True for a query parameter (decoded name) that carries a credential.
pub(super) fn query_name(name: &str) -> bool {
    const PARTS: [&str; 12] = [
        "token",
        "secret",
        "passw",
        "apikey",
        "jwt",
        "credential",
        "signature",
        "session",
        "auth",
        "ticket",
        "bearer",
        "assertion",
    ];
    const WORDS: [&str; 9] = [
        "key", "pass", "pwd", "code", "sig", "sid", "hmac", "otp", "pin",
    ];
    let name = name.to_ascii_lowercase();
    PARTS.iter().any(|part| name.contains(part))
        || words(&name).any(|word| WORDS.contains(&word))
        || name.replace(['-', '_', '.'], "").contains("apikey")
}

fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split(|c: char| !c.is_ascii_alphanumeric())
}

/// Recognises the capability token of a path such as `/NAME/cap/<token>/…`, fed one path segment at a time.
/// Empty and `.` segments are passed over, as a server that normalises the path would.
#[derive(Default)]
pub(super) struct CapabilityPath {
    /// A pair of segments whose first one was the last segment fed.
    begun: Option<[&'static str; 2]>,
    complete: bool,
}

impl CapabilityPath {
    /// True when this (percent-decoded) segment is the token.
    pub(super) fn next_is_token(&mut self, segment: &str) -> bool {
        if segment.is_empty() || segment == "." {
            return false;
        }
        // With encoded slashes, the whole sequence may hide in one segment.
        let lower = segment.to_ascii_lowercase();
        if lower.contains("/cap/") {
            return true;
        }
        let token = self.complete;
        self.complete = self.begun.is_some_and(|[_, second]| lower == second);
        self.begun = dialect::profiles()
            .filter_map(|profile| profile.capability_path)
            .find(|[first, _]| lower == *first);
        token
    }
}

/// Finds the secrets of a path, fed one (percent-decoded) segment at a time.
#[derive(Default)]
pub(super) struct SecretPath {
    capability: CapabilityPath,
    after_hook: bool,
}

impl SecretPath {
    /// True when this segment is a secret, or looks like one.
    pub(super) fn next_is_secret(&mut self, segment: &str) -> bool {
        let after_hook = self.after_hook;
        // Holds until the end of the path: ids and service names may come in between.
        self.after_hook |= opens_hook(segment);
        if self.capability.next_is_token(segment) {
            return true;
        }
        // Parameters of a segment are checked one by one.
        let name = segment.split(';').next().unwrap_or_default();
        if after_hook {
            // Pages have no files there, and some services end the key's URL like a file.
            return looks_secret_after_hook(name);
        }
        !is_own_asset(name) && looks_secret(name)
    }
}

/// Whether a query parameter without a value is itself a secret rather than a name. `?debug`,
/// `?noCache` and `?v2` are names.
pub(super) fn is_bare_secret(name: &str) -> bool {
    const LONGEST: usize = 16;
    const SHORTEST: usize = 8;
    let length = name.chars().count();
    let in_capitals = name.bytes().all(|byte| byte.is_ascii_uppercase());
    length > LONGEST || length >= SHORTEST && (in_capitals || !is_worded(name))
}

/// Percent-decodes a path segment (RFC 3986 §2.1); malformed escapes stay as they are.
pub(super) fn percent_decode(text: &str) -> Cow<'_, str> {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy()
}

/// One item of `Sec-WebSocket-Protocol` (RFC 6455 §11.3.4), split into a part that may be shown and
/// the secret.
pub(super) struct SubprotocolItem<'a> {
    /// The part that may be shown: the whole item, or the text before the secret (`bearer.`).
    pub(super) shown: &'a str,
    /// The secret, if the item carries one.
    pub(super) secret: Option<&'a str>,
    /// The word that announced the secret, as written: the item before it, or its own prefix.
    pub(super) marker: Option<&'a str>,
    /// The secret is base64url of the real token (the Kubernetes convention).
    pub(super) encoded: bool,
}

/// From this length on, an item is taken for a credential, whatever comes before it.
pub(super) const LONG_ITEM: usize = 24;

/// Splits a `Sec-WebSocket-Protocol` value. Empty items are left out.
pub(super) fn subprotocol_items(value: &str) -> Vec<SubprotocolItem<'_>> {
    let mut announced_by = None;
    let mut items = Vec::new();
    for item in value
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
    {
        let marker = announced_by.take();
        if is_marker(item) {
            announced_by = Some(item);
            items.push(SubprotocolItem {
                shown: item,
                secret: None,
                marker: None,
                encoded: false,
            });
        } else if marker.is_some() {
            items.push(SubprotocolItem {
                shown: "",
                secret: Some(item),
                marker,
                encoded: false,
            });
        } else {
            items.push(lone_item(item));
        }
    }
    items
}

fn lone_item(item: &str) -> SubprotocolItem<'_> {
    let whole = |secret| SubprotocolItem {
        shown: "",
        secret,
        marker: None,
        encoded: false,
    };
    if item
        .get(..10)
        .is_some_and(|head| head.eq_ignore_ascii_case("base64url."))
        && let Some((prefix, secret)) = item.rsplit_once('.')
        && prefix.to_ascii_lowercase().contains("bearer")
    {
        let shown = item.get(..=prefix.len()).unwrap_or_default();
        return SubprotocolItem {
            shown,
            secret: Some(secret),
            marker: Some("bearer"),
            encoded: true,
        };
    }
    // The last announcing word counts: `authorization.bearer.XYZ`.
    let mut split = None;
    let mut start = 0;
    for (at, separator) in item.match_indices(['.', ':', '=', ' ', '-', '_']) {
        let word = item.get(start..at).unwrap_or_default();
        let tight = matches!(separator, "-" | "_");
        // `token-v2` is a plausible protocol name, `bearer-…` is not.
        if is_marker(word)
            && (!tight || matches!(word.to_ascii_lowercase().as_str(), "bearer" | "jwt"))
        {
            split = Some((at + separator.len(), word));
        }
        if !tight {
            start = at + separator.len();
        }
    }
    if let Some((at, word)) = split
        && let Some((shown, secret)) = item.split_at_checked(at)
        && !looks_secret(shown)
    {
        return SubprotocolItem {
            shown,
            secret: Some(secret),
            marker: Some(word),
            encoded: false,
        };
    }
    if item.chars().count() >= LONG_ITEM {
        return whole(Some(item));
    }
    SubprotocolItem {
        shown: item,
        ..whole(None)
    }
}

fn is_marker(item: &str) -> bool {
    const MARKERS: [&str; 10] = [
        "bearer",
        "token",
        "auth",
        "authorization",
        "access_token",
        "access-token",
        "jwt",
        "api-key",
        "apikey",
        "openai-insecure-api-key",
    ];
    MARKERS
        .iter()
        .any(|marker| item.eq_ignore_ascii_case(marker))
}

#[cfg(test)]
mod tests;
