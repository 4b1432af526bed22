//! Finds the secrets of messages, to keep them out of the record.

use serde_json::Value;

use crate::session::secrets::SeenSecrets;

/// Maximum depth of a value that is searched; the parser's own limit is 128.
const DEPTH: usize = 8;

/// Takes every text and number as a secret: for `params.auth`.
pub(super) fn all_in(value: &Value, seen: &mut SeenSecrets) {
    walk(value, "", DEPTH, &mut |_, text| seen.add(text.as_bytes()));
}

/// Takes only values under keys that name a secret: for messages of unknown form.
pub(super) fn named_in(value: &Value, seen: &mut SeenSecrets) {
    walk(value, "", DEPTH, &mut |key, text| {
        if names_a_secret(key) {
            seen.add(text.as_bytes());
        }
    });
}

/// Takes the secrets that `hello-ok` issues: device tokens, and URLs that are capabilities in
/// themselves.
pub(super) fn handed_out(payload: &Value, seen: &mut SeenSecrets) {
    if let Some(auth) = payload.get("auth") {
        named_in(auth, seen);
    }
    if let Some(urls) = payload.get("pluginSurfaceUrls") {
        walk(urls, "", DEPTH, &mut |_, url| {
            if let Some((_, rest)) = url.split_once("/cap/") {
                let token = rest.split(['/', '?', '#']).next().unwrap_or_default();
                seen.add(token.as_bytes());
            }
        });
    }
}

fn names_a_secret(key: &str) -> bool {
    const PARTS: [&str; 6] = ["token", "password", "secret", "apikey", "api_key", "ticket"];
    let key = key.to_ascii_lowercase();
    PARTS.iter().any(|part| key.contains(part))
}

/// Passes every text and number to the callback, with the key of the nearest enclosing object.
fn walk(value: &Value, key: &str, depth: usize, show: &mut impl FnMut(&str, &str)) {
    match value {
        Value::String(text) => show(key, text),
        Value::Number(number) => show(key, &number.to_string()),
        Value::Array(items) if depth > 0 => {
            for item in items {
                walk(item, key, depth - 1, show);
            }
        }
        Value::Object(fields) if depth > 0 => {
            for (key, value) in fields {
                walk(value, key, depth - 1, show);
            }
        }
        _ => {}
    }
}
