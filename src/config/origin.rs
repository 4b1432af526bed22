//! The origins that are allowed: `scheme://host[:port]`, exactly as a browser writes them.
//!
//! An entry that no browser would ever send (trailing slash, upper case, default port) can never
//! match, so it is an error that shows the corrected line. Source: RFC 6454 section 6.2.

mod copied;
mod correction;

use schemars::{Schema, json_schema};

use self::copied::EntrySource;
use self::correction::{EXPECTED, correct, shown};
use super::error::Complaint;
use super::overrides::Override;
use super::scalar::FromScalar;
use crate::admission::origin::Origin;
use crate::admission::origin::list::OriginList;

/// Builds the list from these entries.
pub(super) fn list(entries: impl IntoIterator<Item = OriginEntry>) -> OriginList {
    let mut list = OriginList::default();
    for entry in entries {
        match entry {
            OriginEntry::Any => list.add_any(),
            OriginEntry::One(origin) => list.add(origin),
        }
    }
    list
}

/// One entry of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OriginEntry {
    Any,
    One(Origin),
}

impl FromScalar for OriginEntry {
    fn expected() -> String {
        EXPECTED.to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        Self::read(text, EntrySource::File)
    }

    fn schema() -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^(\\*|[a-z][a-z0-9+.-]*://[^/@?#A-Z]+)$",
            "examples": ["https://claw.example.com", "http://localhost:5173"],
        })
    }
}

impl OriginEntry {
    /// Reads an entry of a variable or flag; an error shows the corrected line for that place.
    pub(super) fn given(given: &Override) -> Result<Self, Complaint> {
        Self::read(given.value.trim(), EntrySource::Override(given.source))
    }

    fn read(text: &str, place: EntrySource) -> Result<Self, Complaint> {
        if let Some(complaint) = copied::complaint(text, place) {
            return Err(complaint);
        }
        if text == "*" {
            return Ok(Self::Any);
        }
        if text.contains('*') {
            let expected = "each host on a line of its own, such as \"https://app.example.com\"";
            return Err(Complaint::new(
                expected,
                format!("a wildcard in {}", shown(text)),
            ));
        }
        if text == "null" || text.starts_with("file:") {
            let found = format!(
                "{} (such pages send `null`, which proves nothing)",
                shown(text)
            );
            return Err(Complaint::new(Self::expected(), found));
        }
        let (corrected, faults) = correct(text)?;
        if faults.is_empty() && corrected.to_string() == text {
            return Ok(Self::One(corrected));
        }
        let faults = if faults.is_empty() {
            "in a form that browsers do not send".to_owned()
        } else {
            format!("with {}", faults.join(" and "))
        };
        Err(Complaint::new(
            format!("\"{corrected}\""),
            format!("{} {faults}", shown(text)),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_browsers_send_is_accepted() {
        for text in [
            "https://claw.example.com",
            "http://localhost:5173",
            "https://[::1]:8443",
            "http://127.0.0.1",
            "https://xn--bcher-kva.example",
            "chrome-extension://abcdefghijklmnop",
            "capacitor://localhost",
        ] {
            match OriginEntry::from_text(text).unwrap() {
                OriginEntry::One(origin) => assert_eq!(origin.to_string(), text),
                OriginEntry::Any => panic!("{text} is not any"),
            }
        }
        assert_eq!(OriginEntry::from_text("*").unwrap(), OriginEntry::Any);
    }

    #[test]
    fn the_corrected_line_is_shown() {
        for (text, corrected, fault) in [
            (
                "https://a.example/",
                "\"https://a.example\"",
                "trailing slash",
            ),
            ("https://a.example/chat", "\"https://a.example\"", "a path"),
            (
                "https://a.example:443",
                "\"https://a.example\"",
                "default port",
            ),
            (
                "http://a.example:80/",
                "\"http://a.example\"",
                "trailing slash and the default port",
            ),
            ("a.example", "\"https://a.example\"", "no scheme"),
            ("localhost:5173", "\"https://localhost:5173\"", "no scheme"),
            ("HTTPS://A.Example", "\"https://a.example\"", "upper case"),
            (
                "wss://a.example",
                "\"https://a.example\"",
                "scheme of the socket",
            ),
            (
                "ws://a.example:81",
                "\"http://a.example:81\"",
                "scheme of the socket",
            ),
            (" https://a.example", "\"https://a.example\"", "white space"),
            (
                "https://bücher.example",
                "\"https://xn--bcher-kva.example\"",
                "punycode",
            ),
            (
                "https://a.example:0443",
                "\"https://a.example\"",
                "default port",
            ),
            (
                "http://127.1",
                "\"http://127.0.0.1\"",
                "browsers do not send",
            ),
            (
                "https://*.example.com",
                "each host on a line of its own",
                "wildcard",
            ),
            ("null", "an origin", "null"),
            ("file:///tmp/x", "an origin", "null"),
            ("https://", "an origin", "`https://`"),
            ("", "an origin", "``"),
        ] {
            let complaint = OriginEntry::from_text(text).unwrap_err();
            assert!(
                complaint.expected.contains(corrected),
                "{text}: {complaint:?}"
            );
            assert!(complaint.found.contains(fault), "{text}: {complaint:?}");
        }
    }

    #[test]
    fn secrets_in_an_entry_are_not_echoed() {
        for text in [
            "https://me:hunter2@a.example",
            "https://a.example/?token=hunter2",
        ] {
            let complaint = OriginEntry::from_text(text).unwrap_err();
            assert_eq!(complaint.expected, "\"https://a.example\"");
            assert!(!complaint.found.contains("hunter2"), "{complaint:?}");
        }
    }

    #[test]
    fn the_list_keeps_each_origin_once() {
        let entry = |text| OriginEntry::from_text(text).unwrap();
        let list = list([entry("http://a"), entry("*"), entry("http://a")]);
        assert!(list.allows_any());
        assert_eq!(list.origins().len(), 1);
        assert!(OriginList::default().is_empty());
    }
}
