//! Request targets and header values as a record may show them.
//!
//! Secrets occur in many places besides `Authorization`: capability tokens in the path, query values,
//! Referer and Location (RFC 9110 §10.1.3, §10.2.2), cookies in both directions, user information in
//! URLs (RFC 3986 §3.2.1), subprotocol lists. Here names stay readable and values become
//! `[masked 43]`; the number is their length in characters. The names of the page's own files and the build
//! ids of `?v=` are shown: without them a record does not say which file failed. The output has passed
//! through [`PeerText`], so it is inert as well.
//!
//! Fields that are not on the list below are recorded by name and length only. Nothing here changes
//! the forwarded request.

use memchr::memchr2_iter;

use super::suspects::{self, SecretPath, subprotocol_items};
use crate::dialect;
use crate::session::credential::length;
use crate::session::text::PeerText;

/// Maximum length of a shown target, in characters.
pub const TARGET_CAP: usize = 2048;
/// Maximum length of a shown header value, in characters.
pub const VALUE_CAP: usize = 1024;

/// The request target as recorded: path segments that are or look like secrets, every query value,
/// user information and fragments are masked; names and empty values stay.
#[must_use]
pub fn mask_target(target: &str) -> String {
    show(&url_like(target), TARGET_CAP)
}

/// The method as recorded: a known one as it was sent, in any case; for any other only its length,
/// because it may be a secret that was sent in place of the method.
#[must_use]
pub fn mask_method(method: &[u8]) -> String {
    let text = PeerText::from_bytes(method, usize::MAX);
    if METHODS
        .iter()
        .any(|known| known.as_bytes().eq_ignore_ascii_case(method))
    {
        text.into()
    } else {
        masked(text.as_str())
    }
}

/// Known methods: those of HTTP (RFC 9110, 9113, 5789; QUERY) and most of those of `WebDAV` (RFC 4918, 3253, 3744,
/// 5323).
const METHODS: [&str; 27] = [
    "ACL",
    "CHECKIN",
    "CHECKOUT",
    "CONNECT",
    "COPY",
    "DELETE",
    "GET",
    "HEAD",
    "LABEL",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCOL",
    "MKWORKSPACE",
    "MOVE",
    "OPTIONS",
    "PATCH",
    "POST",
    "PRI",
    "PROPFIND",
    "PROPPATCH",
    "PUT",
    "QUERY",
    "REPORT",
    "SEARCH",
    "TRACE",
    "UNLOCK",
];

/// The value of a header field as recorded, or `None` for a field of which only name and length are
/// recorded.
///
/// Repeated `Sec-WebSocket-Protocol` lines are one list: join them with `, ` before masking,
/// because the word that announces a secret may be in the line before it.
#[must_use]
pub fn mask_header(name: &[u8], value: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
    // Escaped first, so that all that follows works on text, whatever the bytes were.
    let text = PeerText::from_bytes(value, usize::MAX);
    let text = text.as_str();
    let masked = match name.as_str() {
        "referer" | "location" => url_like(text),
        // It should be no more than scheme, host and port, but a client may send a whole URL.
        "origin" => free_text(&url_like(text)),
        "host" => free_text(&masked_user(text)),
        "cookie" => cookie(text),
        "set-cookie" => set_cookie(text),
        "sec-websocket-protocol" => mask_subprotocols(text).join(", "),
        "www-authenticate" => challenges(text),
        // Some proxies hand on the whole URL, query included.
        _ if name.starts_with("x-forwarded-")
            && text.contains(['?', '/'])
            && !suspects::header_name(&name) =>
        {
            free_text(&url_like(text))
        }
        _ if is_plain(&name) => free_text(text),
        _ => return None,
    };
    Some(show(&masked, VALUE_CAP))
}

/// The items of a `Sec-WebSocket-Protocol` value, with credentials masked.
#[must_use]
pub fn mask_subprotocols(value: &str) -> Vec<String> {
    subprotocol_items(value)
        .into_iter()
        .map(|item| match item.secret {
            Some(secret) => show(&format!("{}{}", item.shown, masked(secret)), VALUE_CAP),
            None => show(item.shown, VALUE_CAP),
        })
        .collect()
}

/// Fields whose value explains a session and holds no secret by its definition.
fn is_plain(name: &str) -> bool {
    const PLAIN: [&str; 26] = [
        "accept",
        "accept-encoding",
        "accept-language",
        "cache-control",
        "connection",
        "content-length",
        "content-type",
        "date",
        "expect",
        "forwarded",
        "keep-alive",
        "pragma",
        "proxy-status",
        "retry-after",
        "sec-websocket-accept",
        "sec-websocket-extensions",
        "sec-websocket-version",
        "server",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "via",
        "x-real-ip",
        "x-request-id",
    ];
    PLAIN.contains(&name)
        || dialect::profiles().any(|dialect| dialect.protected_headers.contains(&name))
        || name.starts_with("sec-fetch-")
        // `x-forwarded-access-token` is the exception in that family.
        || (name.starts_with("x-forwarded-") && !suspects::header_name(name))
}

fn show(text: &str, cap: usize) -> String {
    PeerText::new(text, cap).into()
}

fn masked(secret: &str) -> String {
    if secret.is_empty() {
        String::new()
    } else {
        format!("[masked {}]", length(secret.as_bytes()))
    }
}

/// Masks inside a URL, a relative reference or a request target.
fn url_like(text: &str) -> String {
    let (text, fragment) = text
        .split_once('#')
        .map_or((text, None), |(text, f)| (text, Some(f)));
    let (path, query) = text
        .split_once('?')
        .map_or((text, None), |(path, q)| (path, Some(q)));
    let mut out = path_like(&user_information(path));
    if let Some(query) = query {
        out.push('?');
        let file = path.rsplit('/').next().unwrap_or_default();
        let items: Vec<_> = query
            .split('&')
            .map(|item| query_item(file, item))
            .collect();
        out.push_str(&items.join("&"));
    }
    if let Some(fragment) = fragment {
        out.push('#');
        out.push_str(&masked(fragment));
    }
    out
}

/// One parameter of a path that ends with `file`.
fn query_item(file: &str, item: &str) -> String {
    match item.split_once('=') {
        Some((name, value)) if suspects::is_build_id(file, name, value) => item.to_owned(),
        // A parameter without a value may be the secret itself.
        Some((name, "")) => format!("{}=", bare_name(name)),
        Some((name, value)) => {
            let value = url::form_urlencoded::parse(value.replace('=', "%3D").as_bytes())
                .next()
                .map(|(value, _)| masked(&value));
            // A value of separators alone, which form decoding drops, is still a value that was
            // sent.
            let plain = suspects::percent_decode(name);
            let name = if suspects::looks_secret(&plain) {
                masked(&plain)
            } else {
                name.to_owned()
            };
            format!("{name}={}", value.unwrap_or_default())
        }
        None => bare_name(item),
    }
}

fn bare_name(name: &str) -> String {
    let plain = suspects::percent_decode(name);
    if suspects::is_bare_secret(&plain) {
        masked(&plain)
    } else {
        name.to_owned()
    }
}

fn path_like(path: &str) -> String {
    let mut walk = SecretPath::default();
    let segments: Vec<_> = path
        .split('/')
        .map(|segment| {
            let plain = suspects::percent_decode(segment);
            if walk.next_is_secret(&plain) {
                return masked(&plain);
            }
            // Parameters of a segment, as in `/page;jsessionid=…`
            let mut parts = segment.split(';');
            let mut out = parts.next().unwrap_or_default().to_owned();
            for part in parts {
                out.push(';');
                out.push_str(&query_item("", part));
            }
            out
        })
        .collect();
    segments.join("/")
}

/// Masks `user:password@` in the authority of `scheme://…`, `//…` and their backslash spellings.
fn user_information(url: &str) -> String {
    let slash = ['/', '\\'];
    let after_scheme = url.find("://").map(|at| at + 3).or_else(|| {
        let at = url.find(slash)?;
        let before = url.get(..at)?;
        let double = url.get(at + 1..)?.starts_with(slash);
        (double && (before.is_empty() || before.ends_with(':'))).then_some(at + 2)
    });
    let Some((scheme, rest)) = after_scheme.and_then(|at| url.split_at_checked(at)) else {
        return url.to_owned();
    };
    let rest_trimmed = rest.trim_start_matches(slash);
    let end = rest_trimmed.find(slash).unwrap_or(rest_trimmed.len());
    let (authority, path) = rest_trimmed
        .split_at_checked(end)
        .unwrap_or((rest_trimmed, ""));
    let slashes = rest
        .get(..rest.len() - rest_trimmed.len())
        .unwrap_or_default();
    format!("{scheme}{slashes}{}{path}", masked_user(authority))
}

fn masked_user(authority: &str) -> String {
    match authority.rsplit_once('@') {
        Some((user, host)) => format!("{}@{host}", masked(user)),
        None => authority.to_owned(),
    }
}

/// Masks JSON Web Tokens, the text after the word "bearer" or "basic", and user information, in
/// text that should contain no secrets.
fn free_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(range) = suspects::find_jwt(rest) {
        out.push_str(rest.get(..range.start).unwrap_or_default());
        out.push_str(&masked(rest.get(range.clone()).unwrap_or_default()));
        rest = rest.get(range.end..).unwrap_or_default();
    }
    out.push_str(rest);
    for word in ["bearer", "basic"] {
        if holds_word(&out, word) {
            out = after_word(&out, word);
        }
    }
    if out.contains("://") {
        out = out
            .split(' ')
            .map(user_information)
            .collect::<Vec<_>>()
            .join(" ");
    }
    out
}

fn holds_word(text: &str, word: &str) -> bool {
    let (text, word) = (text.as_bytes(), word.as_bytes());
    let Some(first) = word.first() else {
        return true;
    };
    let mut places = memchr2_iter(*first, first.to_ascii_uppercase(), text);
    places.any(|at| {
        let found = text.get(at..at + word.len());
        found.is_some_and(|found| found.eq_ignore_ascii_case(word))
    })
}

fn after_word(text: &str, word: &str) -> String {
    // ASCII lower-casing keeps all byte positions.
    let lower = text.to_ascii_lowercase();
    let mut out = String::new();
    let mut done = 0;
    for (at, found) in lower.match_indices(word) {
        let end = at + found.len();
        if at < done {
            continue;
        }
        let rest = text.get(end..).unwrap_or_default();
        let gap = rest.len()
            - rest
                .trim_start_matches([' ', '\t', ':', '=', '+', '"', '\''])
                .len();
        let encoded = rest.get(..3).is_some_and(|three| three == "%20");
        let gap = if encoded { 3 } else { gap };
        if gap == 0 {
            continue;
        }
        let value = rest.get(gap..).unwrap_or_default();
        let size = value
            .find([' ', ',', ';', '"', '\''])
            .unwrap_or(value.len());
        let secret = value.get(..size).unwrap_or_default();
        out.push_str(text.get(done..end + gap).unwrap_or_default());
        done = end + gap;
        // The part of "[masked 43]" before its blank: a token that is masked already.
        if secret != "[masked" {
            out.push_str(&masked(secret));
            done += size;
        }
    }
    out.push_str(text.get(done..).unwrap_or_default());
    out
}

fn cookie(text: &str) -> String {
    text.split(';')
        .map(|pair| cookie_pair(pair.trim()))
        .collect::<Vec<_>>()
        .join("; ")
}

/// Only the part before "=" is a name (RFC 6265bis: without one, the whole is a value).
fn cookie_pair(pair: &str) -> String {
    match pair.split_once('=') {
        Some((name, value)) if !suspects::looks_secret(name) => format!("{name}={}", masked(value)),
        Some((name, value)) => format!("{}={}", masked(name), masked(value)),
        None => masked(pair),
    }
}

fn set_cookie(text: &str) -> String {
    let mut parts = text.split(';').map(str::trim);
    let mut out = vec![cookie_pair(parts.next().unwrap_or_default())];
    out.extend(parts.map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "secure" | "httponly" | "partitioned" if value.is_empty() => part.to_owned(),
            "expires" | "max-age" | "domain" | "samesite" | "priority" => free_text(part),
            "path" => format!("{name}={}", url_like(value)),
            // Anything else here may be the rest of the value.
            _ => masked(part),
        }
    }));
    out.join("; ")
}

/// `WWW-Authenticate` (RFC 9110 §11.6.1) cut down to schemes and realms.
fn challenges(text: &str) -> String {
    let mut out: Vec<String> = Vec::new();
    for part in split_unquoted(text) {
        let part = part.trim();
        let (first, rest) = part.split_once(' ').unwrap_or((part, ""));
        let is_scheme = !first.is_empty()
            && first.len() <= 32
            && first.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        let parameter = if is_scheme { rest.trim() } else { part };
        if is_scheme {
            out.push(if suspects::looks_secret(first) {
                masked(first)
            } else {
                first.to_owned()
            });
        }
        if let Some((name, realm)) = parameter.split_once('=')
            && name.trim().eq_ignore_ascii_case("realm")
        {
            let realm = format!("realm={}", free_text(realm.trim()));
            match out.last_mut() {
                Some(last) => *last = format!("{last} {realm}"),
                None => out.push(realm),
            }
        }
    }
    out.join(", ")
}

/// Splits at commas outside of quoted strings.
fn split_unquoted(text: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c: char| {
        let plain = !std::mem::take(&mut escaped);
        match c {
            '"' if plain => quoted = !quoted,
            '\\' if quoted && plain => escaped = true,
            _ => {}
        }
        c == ',' && !quoted
    })
}

#[cfg(test)]
mod examples;
#[cfg(test)]
mod tests;
