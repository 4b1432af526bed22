//! The nearest valid origin to an entry, and how an entry is shown.

use url::{Position, Url};

use crate::admission::origin::{Origin, normalise};
use crate::config::address;
use crate::config::error::{Complaint, quoted};

/// What an entry must be, besides `"*"`.
pub(super) const EXPECTED: &str =
    "an origin `scheme://host[:port]`, such as `https://claw.example.com`, or `\"*\"`";

/// The nearest valid origin to the text, and the mistakes in the text.
pub(super) fn correct(text: &str) -> Result<(Origin, Vec<&'static str>), Complaint> {
    let mut faults = Vec::new();
    let trimmed = text.trim();
    if trimmed.len() != text.len() {
        faults.push("white space around it");
    }
    let (scheme, rest) = trimmed.split_once("://").unwrap_or_else(|| {
        faults.push("no scheme");
        ("https", trimmed)
    });
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| {
        faults.push("a user name");
        host
    });
    if scheme.chars().chain(host.chars()).any(char::is_uppercase) {
        faults.push("upper case");
    }
    let scheme = match scheme.to_lowercase().as_str() {
        "ws" => "http".to_owned(),
        "wss" => "https".to_owned(),
        other => other.to_owned(),
    };
    if trimmed.to_lowercase().starts_with("ws") && scheme.starts_with("http") {
        faults.push("the scheme of the socket instead of the page's");
    }
    match tail {
        "" => {}
        "/" => faults.push("a trailing slash"),
        _ if tail.starts_with(['?', '#']) => faults.push("a query or fragment"),
        _ => faults.push("a path"),
    }
    let wrong = || Complaint::new(EXPECTED, shown(text));
    let url = Url::parse(&format!("{scheme}://{}", host.to_lowercase())).map_err(|_| wrong())?;
    let canonical = url
        .host_str()
        .filter(|host| !host.is_empty())
        .ok_or_else(wrong)?;
    if url.port() == Some(0) || host.contains(char::is_whitespace) {
        return Err(wrong());
    }
    let wrote_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| address::parse_port(port).is_some());
    if wrote_port && url.port().is_none() {
        faults.push("the default port");
    }
    if !host.is_ascii() {
        faults.push("letters that browsers send as punycode");
    }
    let scheme = &url[..Position::AfterScheme];
    let port = url
        .port()
        .map_or_else(String::new, |port| format!(":{port}"));
    // Parsed in the same way as the header that it will be compared with.
    let corrected = format!("{scheme}://{canonical}{port}");
    let origin = normalise(corrected.as_bytes()).map_err(|_| wrong())?;
    Ok((origin, faults))
}

/// The entry as written, unless it may hold a password or a token.
pub(super) fn shown(text: &str) -> String {
    if text.contains(['@', '?', '#']) {
        "an entry".to_owned()
    } else {
        quoted(text)
    }
}
