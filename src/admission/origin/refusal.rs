//! The text that a client with a refused origin gets: in the body of a 403, or in the reason of a
//! Close.
//!
//! Only a normalised origin, which is ASCII and short, may be in a line that people paste. Anything
//! else that a client sent is shown escaped and truncated, if at all: it may hold a password.

use std::fmt::Write as _;

use super::policy::{Key, Ruling};
use super::{Origin, OriginError};
use crate::session::text::is_plain_origin;

/// Maximum length of a close reason in bytes (RFC 6455 section 5.5).
const REASON: usize = 123;

/// The line of our configuration that allows an origin; `None` if it must not be pasted.
#[must_use]
pub(crate) fn line(origin: &str) -> Option<String> {
    is_plain_origin(origin).then(|| format!("origins: {{ allowed: [\"{origin}\"] }}"))
}

/// The line that lets clients without an Origin in.
pub(crate) const MISSING_LINE: &str = "origins: { missing: allow }";

/// Why the origin is refused, in one line: for the record and for the first line of the answer.
#[must_use]
pub(crate) fn detail(ruling: &Ruling) -> String {
    match (&ruling.origin, ruling.key) {
        (_, Some(Key::Missing)) => {
            "the upgrade has no Origin header, and origins.missing is deny".to_owned()
        }
        (Ok(Some(origin)), _) => format!("the origin {} is not allowed", shown(origin)),
        (Ok(None), _) => "the origin is not allowed".to_owned(),
        (Err(OriginError::Null), _) => "the origin null cannot be allowed".to_owned(),
        (Err(error), _) => format!("the Origin header is not one plain origin: {error}"),
    }
}

/// What to do about it, in words that fit every kind of client.
#[must_use]
pub(crate) fn advice(error: OriginError) -> &'static str {
    match error {
        OriginError::Null => {
            "`null` is what any sandboxed frame, file or data page sends, so it cannot be allowed; \
             open the page from an http or https address and allow that address"
        }
        OriginError::NoHost => {
            "pages opened from a file have no address that could be allowed; open the page from \
             an http or https address and allow that address"
        }
        OriginError::Several | OriginError::List => {
            "a browser sends one origin; find out what between it and the tap adds another"
        }
        _ => "a browser sends scheme://host[:port] and nothing else; find out what rewrites it",
    }
}

/// The configuration key that decided. Every answer names it, because the recipient may have no
/// other hint.
fn decided_by(ruling: &Ruling) -> &'static str {
    match (ruling.key, ruling.with_gateway) {
        (Some(Key::Missing), _) => {
            "origins.missing in wstap's configuration (origins.allowed lists the origins that may)"
        }
        (_, true) => {
            "origins.allowed in wstap's configuration, with the gateway's list that \
             origins.from_gateway_config names"
        }
        (_, false) => "origins.allowed in wstap's configuration",
    }
}

/// The text of the 403, without its session id. `sent` is the value as it may be shown.
#[must_use]
pub(crate) fn body(ruling: &Ruling, sent: Option<&str>) -> String {
    let mut text = format!("{}\ndecided by: {}", detail(ruling), decided_by(ruling));
    if let (Err(error), Some(sent)) = (&ruling.origin, sent)
        && *error != OriginError::Null
    {
        let _ = write!(text, "\nsent: {sent}");
    }
    if let Some(nearest) = &ruling.nearest {
        let _ = write!(
            text,
            "\nnearest entry: {}: {}",
            nearest.entry.as_str(),
            nearest.text.as_str()
        );
    }
    let line = match (&ruling.origin, ruling.key) {
        (_, Some(Key::Missing)) => Some(MISSING_LINE.to_owned()),
        (Ok(Some(origin)), _) => line(origin.as_str()),
        (Err(error), _) => {
            let _ = write!(text, "\n{}", advice(*error));
            return text;
        }
        _ => None,
    };
    match line {
        Some(line) => {
            let _ = write!(
                text,
                "\nto let it in, add this to wstap's configuration (keep the existing entries):\n  \
                 {line}"
            );
            if ruling.with_gateway && ruling.key == Some(Key::Allowed) {
                text.push_str(
                    "\nor add the origin to the gateway's own gateway.controlUi.allowedOrigins, \
                     which counts here too; unless it is listed there, the gateway refuses the \
                     page",
                );
            }
        }
        None => text.push_str("\nto let it in, add it there"),
    }
    text
}

/// The reason of the Close: begins with `wstap: origin`, names the key and the origin, and gives
/// the line to add if there is room; at most 123 bytes.
#[must_use]
pub(crate) fn reason(ruling: &Ruling) -> String {
    match (&ruling.origin, ruling.key) {
        (_, Some(Key::Missing)) => "wstap: origin missing (origins.missing: deny)".to_owned(),
        (Ok(Some(origin)), _) => {
            if let Some(line) = line(origin.as_str()) {
                let reason = format!("wstap: origin not in origins.allowed; add {line}");
                if reason.len() <= REASON {
                    return reason;
                }
            }
            let (front, back) = ("wstap: origin ", " is not in origins.allowed");
            let room = REASON - front.len() - back.len();
            let origin = origin.as_str();
            if origin.len() <= room {
                return format!("{front}{origin}{back}");
            }
            // Normalised origins are ASCII. The end of a host shows which domain it belongs to.
            let ellipsis = "…";
            let start = origin.len() - (room - ellipsis.len());
            let end = origin.get(start..).unwrap_or_default();
            format!("{front}{ellipsis}{end}{back}")
        }
        (Err(OriginError::Null), _) => {
            "wstap: origin null cannot be allowed (origins.allowed)".to_owned()
        }
        (Err(error), _) => cut(format!("wstap: origin refused (origins.allowed): {error}")),
        (Ok(None), _) => "wstap: origin is not in origins.allowed".to_owned(),
    }
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(REASON));
    text
}

fn shown(origin: &Origin) -> &str {
    origin.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::origin::normalise;
    use crate::session::record::OriginDecision;

    fn ruling(origin: Result<Option<&str>, OriginError>) -> Ruling {
        let origin = origin.map(|text| text.map(|text| normalise(text.as_bytes()).unwrap()));
        let key = match origin {
            Ok(None) => Key::Missing,
            _ => Key::Allowed,
        };
        Ruling {
            decision: OriginDecision::Denied,
            key: Some(key),
            origin,
            rule: None,
            nearest: None,
            with_gateway: false,
            gateway_refuses: false,
        }
    }

    #[test]
    fn reasons_fit_a_close_frame_and_name_origin_and_key() {
        let long = format!("https://{}.evil.example", "a".repeat(60));
        for (origin, expected) in [
            (
                Ok(Some("https://evil.example")),
                "wstap: origin not in origins.allowed; add origins: { allowed: \
                 [\"https://evil.example\"] }"
                    .to_owned(),
            ),
            (
                Ok(Some(long.as_str())),
                format!("wstap: origin {long} is not in origins.allowed"),
            ),
            (
                Ok(None),
                "wstap: origin missing (origins.missing: deny)".to_owned(),
            ),
            (
                Err(OriginError::Null),
                "wstap: origin null cannot be allowed (origins.allowed)".to_owned(),
            ),
        ] {
            assert_eq!(reason(&ruling(origin)), expected);
        }
        // If a host is too long, its end is kept: it shows which domain the host belongs to.
        let labels = vec!["a".repeat(60); 3].join(".");
        let longest = reason(&ruling(Ok(Some(&format!("https://{labels}.evil.example")))));
        assert_eq!(longest.len(), REASON);
        assert!(longest.starts_with("wstap: origin …a"), "{longest}");
        assert!(longest.ends_with(".evil.example is not in origins.allowed"));
        for error in [
            OriginError::Several,
            OriginError::List,
            OriginError::Bytes,
            OriginError::TooLong,
            OriginError::NoScheme,
            OriginError::Scheme,
            OriginError::Userinfo,
            OriginError::Path,
            OriginError::NoHost,
            OriginError::Host,
            OriginError::Port,
        ] {
            let found = reason(&ruling(Err(error)));
            assert!(
                found.len() <= REASON && found.starts_with("wstap: origin"),
                "{found}"
            );
            assert!(!advice(error).is_empty());
        }
    }

    #[test]
    fn only_plain_origins_stand_in_a_line_to_paste() {
        assert_eq!(
            line("https://claw.example.com:8443").as_deref(),
            Some("origins: { allowed: [\"https://claw.example.com:8443\"] }")
        );
        assert!(line("http://[::1]:5173").is_some());
        for text in [
            "null",
            "https://a\"b",
            "https://a b",
            "https://a$(b)",
            "https://*.a",
            "https://a\u{1b}",
        ] {
            assert_eq!(line(text), None, "{text}");
        }
    }

    #[test]
    fn where_the_gateways_list_counts_the_body_names_it() {
        let mut ruling = ruling(Ok(Some("https://a.b")));
        let key = "gateway.controlUi.allowedOrigins";
        assert!(!body(&ruling, None).contains(key));
        ruling.with_gateway = true;
        assert!(body(&ruling, None).contains(key));
    }

    #[test]
    fn each_body_names_the_key() {
        let mut origins: Vec<Result<Option<&str>, OriginError>> =
            vec![Ok(Some("https://a.b")), Ok(None)];
        let errors = [
            OriginError::Null,
            OriginError::Several,
            OriginError::List,
            OriginError::Bytes,
            OriginError::TooLong,
            OriginError::NoScheme,
            OriginError::Scheme,
            OriginError::Userinfo,
            OriginError::Path,
            OriginError::NoHost,
            OriginError::Host,
            OriginError::Port,
        ];
        origins.extend(errors.map(Err));
        for origin in origins {
            for with_gateway in [false, true] {
                let ruling = Ruling {
                    with_gateway,
                    ..ruling(origin)
                };
                for sent in [None, Some("x")] {
                    let body = body(&ruling, sent);
                    let second = body.lines().nth(1).unwrap();
                    assert!(second.contains("origins.allowed"), "{body}");
                    assert!(second.starts_with("decided by: "), "{body}");
                }
            }
        }
    }

    #[test]
    fn the_body_of_a_null_origin_offers_no_line() {
        let body = body(&ruling(Err(OriginError::Null)), Some("null"));
        assert!(
            body.starts_with("the origin null cannot be allowed\n"),
            "{body}"
        );
        assert!(!body.contains("origins: {"), "{body}");
    }
}
