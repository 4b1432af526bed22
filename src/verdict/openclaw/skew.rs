//! Decides whether client or gateway is older, if they do not understand each other.

use std::cmp::Ordering;

use super::said::GatewayRefusal;
use crate::session::record::verdict::ActOn;
use crate::session::record::{Confidence, Evidence};
use crate::session::text::PeerText;
use crate::verdict::finding::Finding;
use crate::verdict::view::{View, fact, short};

/// A release, `2026.9.6`. The part after a hyphen is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release(pub u16, pub u16, pub u16);

impl Release {
    /// `None` for `dev` and other versions that do not name a release.
    #[must_use]
    pub fn of(version: &str) -> Option<Self> {
        let mut parts = version.split('-').next()?.split('.');
        let mut part = || parts.next()?.parse().ok();
        let release = Self(part()?, part()?, part()?);
        // Releases are named by their date; the project began in 2025.
        (parts.next().is_none() && release.0 >= 2025).then_some(release)
    }
}

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Older {
    /// The client.
    Client,
    /// The gateway.
    Gateway,
}

/// A skew between the versions of client and gateway.
#[derive(Clone, Debug)]
pub struct Skew {
    /// Which of the two is older; `None` if nothing shows it.
    pub older: Option<Older>,
    /// Both are of the same release, so there is no skew.
    pub is_none: bool,
    /// How sure the direction is.
    pub confidence: Confidence,
    /// The evidence for it.
    pub because: Option<Evidence>,
}

impl View<'_> {
    /// The gateway's release, if its version names one.
    #[must_use]
    pub fn gateway_release(&self) -> Option<Release> {
        Release::of(self.gateway_version()?.as_str())
    }

    /// The client's release, if it names one.
    #[must_use]
    pub fn client_release(&self) -> Option<Release> {
        Release::of(self.client_version()?.as_str())
    }

    /// Both versions, as evidence: the client's, and the gateway's with its source.
    #[must_use]
    pub fn version_evidence(&self) -> Vec<Evidence> {
        let record = self.record();
        let dialect = self.openclaw();
        let client = dialect.and_then(|dialect| dialect.client.as_ref());
        let client = client.map(|client| {
            let part = |text: &Option<_>| text.as_ref().map_or_else(|| "?".to_owned(), short);
            fact(format!(
                "the client calls itself {} in mode {}, version {}",
                part(&client.id),
                part(&client.mode),
                part(&client.version)
            ))
        });
        let release = record
            .context
            .as_ref()
            .and_then(|context| context.release.as_ref());
        let own = dialect.and_then(|dialect| dialect.server.as_ref()?.version.as_ref());
        let gateway = match (own, self.gateway_version()) {
            (Some(version), _) => format!("the gateway is version {}", short(version)),
            (None, Some(version)) => match release.and_then(|release| release.at) {
                Some(at) => format!(
                    "the gateway is version {}, as it told a session that it let in at {at}",
                    short(version)
                ),
                None => format!(
                    "the gateway is version {}, as it told another session",
                    short(version)
                ),
            },
            (None, None) => {
                "the gateway's version is not known: it reports it only to sessions that it lets in"
                    .to_owned()
            }
        };
        client.into_iter().chain([fact(gateway)]).collect()
    }

    /// The client is the gateway's own page in a browser.
    #[must_use]
    pub fn is_control_ui(&self) -> bool {
        let dialect = self.openclaw();
        let client = dialect.and_then(|dialect| dialect.client.as_ref());
        client
            .and_then(|client| client.id.as_ref())
            .is_some_and(|id| id.as_str().ends_with("control-ui"))
    }

    /// Compares both versions; `None` if one of them names no release.
    #[must_use]
    pub fn skew_of_versions(&self) -> Option<Skew> {
        let (client, gateway) = (self.client_release()?, self.gateway_release()?);
        let dialect = self.openclaw();
        let is_own = dialect.is_some_and(|dialect| dialect.server.is_some());
        Some(Skew {
            older: match client.cmp(&gateway) {
                Ordering::Less => Some(Older::Client),
                Ordering::Equal => None,
                Ordering::Greater => Some(Older::Gateway),
            },
            is_none: client == gateway,
            // The gateway may have been updated since it reported its version to another session.
            confidence: if is_own {
                Confidence::Certain
            } else {
                Confidence::Likely
            },
            because: None,
        })
    }

    /// Infers the skew from an error of the schema for connect requests. It has less weight than
    /// known versions: properties are removed from the schema, too, and a custom program may send
    /// properties that no release knows.
    #[must_use]
    pub fn skew_of_connect(&self, complaint: &str) -> Skew {
        let by_complaint = self.skew_of_complaint(complaint, Confidence::Possible);
        match self.skew_of_versions() {
            Some(skew) if skew.is_none || by_complaint.older.is_some() => skew,
            _ => by_complaint,
        }
    }

    /// Infers the skew from the error of a request. People also write requests by hand, so the
    /// versions have to agree with it.
    #[must_use]
    pub fn skew_of_request(&self, complaint: &str) -> Skew {
        let by_complaint = self.skew_of_complaint(complaint, Confidence::Possible);
        match self.skew_of_versions() {
            None => by_complaint,
            Some(skew) if skew.is_none => skew,
            Some(skew) if skew.older == by_complaint.older => Skew {
                confidence: skew.confidence.min(Confidence::Likely),
                because: by_complaint.because,
                ..skew
            },
            Some(_) => Skew::unknown(),
        }
    }

    fn skew_of_complaint(&self, complaint: &str, confidence: Confidence) -> Skew {
        let version = self.client_version();
        // A program with its own versions.
        let is_foreign = version.is_some_and(|version| {
            Release::of(version.as_str()).is_none() && version.as_str() != "dev"
        });
        let older = older_by_complaint(complaint).filter(|_| !is_foreign);
        let words = older.map(|older| match older {
            Older::Client => "the gateway misses what clients of its own release send",
            Older::Gateway => "the gateway does not know what the client sends",
        });
        Skew {
            older,
            confidence,
            because: words.map(fact),
            ..Skew::unknown()
        }
    }

    /// Infers the skew from the protocol version that the gateway expects, which it reports
    /// whenever that is the reason.
    #[must_use]
    pub fn skew_of_protocol(&self) -> Option<Skew> {
        let dialect = self.openclaw()?;
        let expected = dialect.error.as_ref()?.expected_protocol?;
        let range = dialect.protocol;
        let older = match (range.min, range.max) {
            (_, Some(max)) if max < expected => Older::Client,
            (Some(min), _) if min > expected => Older::Gateway,
            _ => return None,
        };
        let number = |number: Option<u64>| number.map_or_else(|| "?".to_owned(), |n| n.to_string());
        Some(Skew {
            older: Some(older),
            is_none: false,
            confidence: Confidence::Certain,
            because: Some(fact(format!(
                "the gateway expects protocol {expected}, the client offers {} to {}",
                number(range.min),
                number(range.max)
            ))),
        })
    }
}

impl Skew {
    /// Nothing shows which one is older.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            older: None,
            is_none: false,
            confidence: Confidence::Possible,
            because: None,
        }
    }

    /// Adds the next action, and who has to act. `otherwise` is for an unknown direction.
    #[must_use]
    pub fn mend(&self, view: &View<'_>, finding: Finding, otherwise: Option<String>) -> Finding {
        let mut finding = finding.because(self.because.clone());
        if self.older.is_some() {
            finding.confidence = finding.confidence.min(self.confidence);
        }
        if self.is_none {
            return match otherwise {
                Some(otherwise) => finding.next(otherwise),
                None => finding,
            };
        }
        if view.is_control_ui() && self.older.is_some() {
            return finding.acted_on_by(ActOn::Client).next(
                "reload the Control UI page in the browser (without cache if that does not help): \
                 the gateway serves the page of its own release",
            );
        }
        let named = |version: Option<&PeerText>| {
            let text = version.map(PeerText::as_str);
            let release = text.filter(|text| Release::of(text).is_some() && is_plain(text));
            release.map_or_else(String::new, |release| format!(" ({release})"))
        };
        let (client, gateway) = (named(view.client_version()), named(view.gateway_version()));
        match self.older {
            Some(Older::Gateway) => finding.acted_on_by(ActOn::Gateway).next(format!(
                "pin client and gateway to one release: update the gateway{gateway} to that of the \
                 client{client}; in containers give both images the same tag"
            )),
            Some(Older::Client) => finding.acted_on_by(ActOn::Client).next(format!(
                "pin client and gateway to one release: update the client{client} to that of the \
                 gateway{gateway}; in containers give both images the same tag"
            )),
            None => match otherwise {
                Some(otherwise) => finding.next(otherwise),
                None => finding,
            },
        }
    }
}

fn is_plain(version: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    version.len() <= 32 && version.chars().all(plain)
}

/// Which one is older, according to an error of the gateway's schema; `None` if the error points to
/// both.
fn older_by_complaint(complaint: &str) -> Option<Older> {
    const UNKNOWN: [&str; 4] = [
        "unexpected property",
        "must be equal to constant",
        "must be equal to one of the allowed values",
        "unknown method",
    ];
    let unknown = UNKNOWN.iter().any(|words| complaint.contains(words));
    let missing = complaint.contains("must have required property");
    match (unknown, missing) {
        (true, false) => Some(Older::Gateway),
        (false, true) => Some(Older::Client),
        _ => None,
    }
}

impl<'a> GatewayRefusal<'a> {
    /// The schema error of the connect request: `at /device/nonce: must not have fewer than 1
    /// characters`.
    #[must_use]
    pub fn schema_fault(&self) -> Option<&'a str> {
        let message = self.error()?.message.as_ref()?;
        let fault = message.as_str().strip_prefix("invalid connect params: ")?;
        fault.starts_with("at ").then_some(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_and_names_are_none() {
        assert_eq!(Release::of("2026.1.24-3"), Some(Release(2026, 1, 24)));
        assert!(Release::of("2026.9.6") > Release::of("2026.1.24-3"));
        assert!(Release::of("2026.10.1") > Release::of("2026.9.30"));
        for other in [
            "dev",
            "",
            "2026",
            "2026.9",
            "2026.9.6.1",
            "v2026.9.6",
            "1.4.0",
            "2026.9.x",
        ] {
            assert_eq!(Release::of(other), None, "{other}");
        }
    }

    #[test]
    fn complaints_show_who_is_older() {
        for (complaint, older) in [
            (
                "at /auth: unexpected property 'deviceToken'",
                Some(Older::Gateway),
            ),
            (
                "at /client/id: must be equal to constant; at /client/id: must match a schema in anyOf",
                Some(Older::Gateway),
            ),
            (
                "at /client/id: must be equal to one of the allowed values",
                Some(Older::Gateway),
            ),
            ("unknown method: future.method", Some(Older::Gateway)),
            (
                "at /device: must have required property 'nonce'",
                Some(Older::Client),
            ),
            (
                "at /device/nonce: must not have fewer than 1 characters",
                None,
            ),
            (
                "at root: must have required property 'a'; at root: unexpected property 'b'",
                None,
            ),
        ] {
            assert_eq!(older_by_complaint(complaint), older, "{complaint}");
        }
    }
}
