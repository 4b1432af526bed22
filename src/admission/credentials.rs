//! Finds every credential that a request head carries, and reports only what a record may contain.
//!
//! Why all of them: the common failure is not a wrong token but a right one in a place that nobody
//! reads (a Bearer header or `?token=` on the gateway's WebSocket), or two sources that disagree. The
//! places are those of RFC 6750 §2 (header, query), RFC 7617 (Basic), RFC 6265 (cookies), the
//! subprotocol list of RFC 6455 that browsers misuse because they cannot set headers, and
//! capability tokens in the path. Credentials inside frames are found by the dialect.
//!
//! This module looks; it never refuses anything.

use std::sync::LazyLock;

use data_encoding::{BASE64_NOPAD, Encoding, Specification};
use zeroize::Zeroizing;

use super::suspects::{self, CapabilityPath, LONG_ITEM, SecretPath, subprotocol_items};
use crate::session::credential::{Credential, Fingerprinter, Shape, length};
use crate::session::secrets::SeenSecrets;

/// At most this many credentials are described per request; further ones are counted.
pub(crate) const MAX_CREDENTIALS: usize = 32;

/// The parts of a request that matter besides its header fields. (No Debug: a target holds
/// secrets.)
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    /// The request target as sent.
    pub target: &'a str,
    /// It asks for a WebSocket.
    pub websocket: bool,
    /// The gateway is known to ignore credentials in the head of an upgrade request with this target.
    pub ignored: bool,
}

/// The credentials of one request head.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// Header fields first, then the subprotocol list, the path, the query and the cookies.
    pub credentials: Vec<Credential>,
    /// Number of credentials beyond [`MAX_CREDENTIALS`].
    pub dropped: usize,
    /// All credentials, in every form in which they were sent, so that the record can mask them.
    pub seen: SeenSecrets,
}

/// Scans a request head. Names may have any case; values are as received, outer blanks included or not.
#[must_use]
pub(crate) fn scan<'a>(
    headers: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    request: Request<'_>,
    fingerprinter: &Fingerprinter,
) -> Found {
    let mut scan = Scan {
        fingerprinter,
        ignored: request.websocket && request.ignored,
        found: Found::default(),
    };
    // Cookies come last: junk in them could crowd out the credentials that matter.
    let mut cookies = Vec::new();
    // A marker and its secret may be in two lines of one list (RFC 9110 §5.3).
    let mut subprotocols = Zeroizing::new(String::new());
    for (name, value) in headers {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        match name.as_str() {
            "authorization" | "proxy-authorization" => scan.authorization(&name, value),
            "cookie" => cookies.push(value),
            "sec-websocket-protocol" => {
                subprotocols.push_str(&Zeroizing::new(lossy(value)));
                subprotocols.push(',');
            }
            "referer" | "origin" | "x-forwarded-uri" | "x-original-uri" | "x-original-url" => {
                remember_url(&Zeroizing::new(lossy(value)), &mut scan.found.seen);
            }
            _ if suspects::header_name(&name)
                || suspects::find_jwt(&Zeroizing::new(lossy(value))).is_some() =>
            {
                scan.add(&format!("header:{name}"), value, |credential| credential);
            }
            _ => {}
        }
    }
    scan.subprotocols(&subprotocols);
    scan.target(request.target);
    remember_url(request.target, &mut scan.found.seen);
    for value in cookies {
        scan.cookies(value);
    }
    scan.found
}

struct Scan<'a> {
    fingerprinter: &'a Fingerprinter,
    /// The gateway is known to look neither at Bearer headers nor at `?token=` here.
    ignored: bool,
    found: Found,
}

impl Scan<'_> {
    fn add(&mut self, place: &str, secret: &[u8], finish: impl FnOnce(Credential) -> Credential) {
        self.found.seen.add(secret);
        if self.found.credentials.len() < MAX_CREDENTIALS {
            let credential = Credential::observe(self.fingerprinter, place, secret);
            self.found.credentials.push(finish(credential));
        } else {
            self.found.dropped += 1;
        }
    }

    fn authorization(&mut self, name: &str, value: &[u8]) {
        let place = format!("header:{name}");
        let Some((scheme, rest)) = split_scheme(value) else {
            return self.add(&place, value, |credential| credential);
        };
        // The blanks between scheme and credentials belong to neither (RFC 9110 §11.4), so that the
        // fingerprint is that of the token; but more than one blank is odd and worth reporting.
        let secret = rest.trim_ascii_start();
        let odd = !secret.is_empty() && secret.len() < rest.len();
        let ignored =
            self.ignored && name == "authorization" && scheme.eq_ignore_ascii_case("bearer");
        let finish = |mut credential: Credential| {
            if odd && !credential.shape.contains(&Shape::Whitespace) {
                credential.shape.insert(0, Shape::Whitespace);
            }
            credential.effective = ignored.then_some(false);
            credential.with_scheme(scheme)
        };
        if !scheme.eq_ignore_ascii_case("basic") {
            return self.add(&place, secret, finish);
        }
        let Some(pair) = decode_base64(secret.trim_ascii_end()) else {
            return self.add(&place, secret, finish);
        };
        self.found.seen.add(secret);
        let mut halves = pair.splitn(2, |&byte| byte == b':');
        match (halves.next(), halves.next()) {
            (Some(user), Some(password)) if !user_is_secret(user) => {
                self.add(&place, password, |credential| {
                    finish(credential).with_user(user)
                });
            }
            // A token as the user name (`curl -u TOKEN:`): then the user name is the credential.
            (Some(user), Some(password)) => {
                self.found.seen.add(user);
                let secret = if password.is_empty() { user } else { password };
                self.add(&place, secret, finish);
            }
            _ => self.add(&place, &pair, finish),
        }
    }

    fn subprotocols(&mut self, value: &str) {
        for item in subprotocol_items(value) {
            let Some(secret) = item.secret else { continue };
            self.found.seen.add(secret.as_bytes());
            // Decoded, so that the same token gives the same fingerprint as elsewhere.
            let decoded = item
                .encoded
                .then(|| decode_base64(secret.as_bytes()))
                .flatten();
            let secret = decoded
                .as_ref()
                .map_or(secret.as_bytes(), |bytes| bytes.as_slice());
            self.add("subprotocol", secret, |credential| match item.marker {
                Some(marker) => credential.with_scheme(marker),
                None => credential,
            });
        }
    }

    fn target(&mut self, target: &str) {
        let target = target.split_once('#').map_or(target, |(before, _)| before);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut capability = CapabilityPath::default();
        for segment in path.split('/') {
            let segment = suspects::percent_decode(segment);
            if capability.next_is_token(&segment) {
                self.add("path", segment.as_bytes(), |credential| credential);
            }
        }
        let file = path.rsplit('/').next().unwrap_or_default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let value = Zeroizing::new(value.into_owned());
            if value.is_empty() && suspects::is_bare_secret(&name) {
                self.add("query", name.as_bytes(), |credential| credential);
            } else if is_secret_parameter(file, &name, &value) {
                let ignored = self.ignored && name == "token";
                let place = place_of("query", &name);
                self.add(&place, value.as_bytes(), |mut credential| {
                    credential.effective = ignored.then_some(false);
                    credential
                });
            }
        }
    }

    fn cookies(&mut self, value: &[u8]) {
        for pair in value.split(|&byte| byte == b';').map(<[u8]>::trim_ascii) {
            let mut halves = pair.splitn(2, |&byte| byte == b'=');
            let first = halves.next().unwrap_or_default();
            // Without "=" it is a value that has no name.
            let (name, value) = halves
                .next()
                .map_or((&b""[..], first), |value| (first, value));
            let name = String::from_utf8_lossy(name);
            if suspects::cookie_name(&name) || length(value) >= LONG_ITEM {
                self.add(&place_of("cookie", &name), value, |credential| credential);
            }
        }
    }
}

/// Whether a query parameter of a path that ends with `file` is a credential. The page's own
/// `?v=BUILD` and `?session=agent:main:main` are not.
fn is_secret_parameter(file: &str, name: &str, value: &str) -> bool {
    if suspects::is_build_id(file, name, value) {
        return false;
    }
    let names_a_session = name.to_ascii_lowercase().contains("session");
    if names_a_session && !value.is_empty() && suspects::is_worded(value) {
        return false;
    }
    suspects::query_name(name) || suspects::looks_secret(value)
}

/// Remembers the secrets in a URL other than the request target (Referer, Location,
/// `X-Forwarded-Uri`), so that they are masked there and wherever a peer quotes them.
pub(crate) fn remember_url(url: &str, seen: &mut SeenSecrets) {
    let (rest, fragment) = url.split_once('#').unwrap_or((url, ""));
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if let Some((_, rest)) = path.split_once("//")
        && let Some((user, _)) = rest.split('/').next().unwrap_or_default().rsplit_once('@')
    {
        let (user, password) = user.split_once(':').unwrap_or(("", user));
        seen.add(suspects::percent_decode(password).as_bytes());
        if user_is_secret(user.as_bytes()) {
            seen.add(user.as_bytes());
        }
    }
    let mut walk = SecretPath::default();
    for segment in path.split('/') {
        let segment = suspects::percent_decode(segment);
        if walk.next_is_secret(&segment) {
            seen.add(segment.as_bytes());
        }
    }
    let file = path.rsplit('/').next().unwrap_or_default();
    for part in [query, fragment] {
        for (name, value) in url::form_urlencoded::parse(part.as_bytes()) {
            let value = Zeroizing::new(value.into_owned());
            if value.is_empty() && suspects::is_bare_secret(&name) {
                seen.add(name.as_bytes());
            } else if is_secret_parameter(file, &name, &value) {
                seen.add(value.as_bytes());
            }
            // A whole URL inside a value (`?next=%2Fws%3Ftoken%3D…`) is not parsed again.
        }
        // "+" means a blank only in forms: remember the literal reading too.
        for (_, value) in part.split('&').filter_map(|item| item.split_once('=')) {
            if value.contains('+') && value.len() >= LONG_ITEM {
                seen.add(suspects::percent_decode(value).as_bytes());
            }
        }
    }
}

/// Remembers the values of cookies that an answer sets.
pub(crate) fn remember_set_cookie(value: &str, seen: &mut SeenSecrets) {
    let pair = value.split(';').next().unwrap_or_default();
    let (name, value) = pair.split_once('=').unwrap_or(("", pair));
    if suspects::cookie_name(name) || value.len() >= LONG_ITEM {
        seen.add(value.trim().trim_matches('"').as_bytes());
    }
}

/// A peer may put the secret where the name belongs.
fn place_of(kind: &str, name: &str) -> String {
    if suspects::looks_secret(name) {
        format!("{kind}:[masked {}]", length(name.as_bytes()))
    } else {
        format!("{kind}:{name}")
    }
}

fn user_is_secret(user: &[u8]) -> bool {
    !user.contains(&b'@') && (user.len() >= LONG_ITEM || suspects::find_jwt(&lossy(user)).is_some())
}

/// Splits `Bearer TOKEN` at the first blank. Only known schemes count: the first word of anything else
/// may itself be part of the secret.
fn split_scheme(value: &[u8]) -> Option<(&str, &[u8])> {
    const SCHEMES: [&str; 28] = [
        // the IANA registry
        "basic",
        "bearer",
        "concealed",
        "digest",
        "dpop",
        "gnap",
        "hoba",
        "mutual",
        "negotiate",
        "oauth",
        "privatetoken",
        "scram-sha-1",
        "scram-sha-256",
        "vapid",
        // in use all the same
        "api-key",
        "apikey",
        "aws4-hmac-sha256",
        "hawk",
        "hmac-sha256",
        "jwt",
        "key",
        "mac",
        "ntlm",
        "sharedaccesssignature",
        "sharedkey",
        "signature",
        "token",
        "wsse",
    ];
    let value = value.trim_ascii_start();
    let end = value
        .iter()
        .position(|byte| matches!(byte, b' ' | b'\t'))
        .unwrap_or(value.len());
    let (scheme, rest) = value.split_at_checked(end)?;
    let scheme = std::str::from_utf8(scheme).ok()?;
    SCHEMES
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known))
        .then(|| (scheme, rest.get(1..).unwrap_or_default()))
}

/// Base64 in either alphabet, padded or not (RFC 4648 §4, §5); `None` for anything else.
fn decode_base64(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    const SYMBOLS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static EITHER: LazyLock<Encoding> = LazyLock::new(|| {
        let mut either = Specification::new();
        either.symbols.push_str(SYMBOLS);
        either.translate.from.push_str("-_");
        either.translate.to.push_str("+/");
        either.check_trailing_bits = false;
        either.encoding().unwrap_or(BASE64_NOPAD)
    });
    let padding = text.iter().rev().take_while(|&&byte| byte == b'=').count();
    let body = text.get(..text.len() - padding).filter(|_| padding <= 2)?;
    let mut out = Zeroizing::new(vec![0; EITHER.decode_len(body.len()).ok()?]);
    let length = EITHER.decode_mut(body, &mut out).ok()?;
    out.truncate(length);
    Some(out)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests;
