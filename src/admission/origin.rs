//! The normalised form of an origin, for comparing the one that a browser sent with an allow list.
//!
//! RFC 6454 §7 gives the grammar of the Origin header field, the WHATWG URL standard the rules for
//! equal hosts: lower case, default port dropped, `127.1` is `127.0.0.1`, international names in
//! their ASCII form. The gateway normalises with the same parser, so both must agree.
//!
//! This file only reads one value and a request's header lines. [`policy`] decides whether an
//! origin may pass, by our list ([`list`]) and by the gateway's own configuration ([`gateway`]);
//! [`nearest`] finds the entry that it nearly matched, and [`refusal`] writes the text for a
//! refused client.

pub(crate) mod disagree;
pub(crate) mod gateway;
pub(crate) mod list;
pub(crate) mod nearest;
pub(crate) mod policy;
pub(crate) mod refusal;

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use url::Url;

pub(crate) use crate::session::record::OriginError;

/// Maximum length of an accepted value in bytes: a host name has at most 253 characters, an IPv6
/// address fewer.
const MAX_LEN: usize = 512;

/// A normalised origin.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    text: String,
    host_at: usize,
}

impl Origin {
    /// `https://claw.example.com:8443`
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `https`
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.text
            .get(..self.host_at.saturating_sub(3))
            .unwrap_or_default()
    }

    /// Host and port as in a Host header field: `claw.example.com:8443`, `[::1]`.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.text.get(self.host_at..).unwrap_or_default()
    }

    /// The host alone; IPv6 in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let authority = self.authority();
        let end = match authority.find(']') {
            Some(bracket) => bracket + 1,
            None => authority.find(':').unwrap_or(authority.len()),
        };
        authority.get(..end).unwrap_or_default()
    }

    /// The port, if it is not the scheme's default.
    #[must_use]
    pub fn port(&self) -> Option<&str> {
        self.authority().get(self.host().len()..)?.strip_prefix(':')
    }

    /// The host as an address, if it is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        let host = self.host();
        match host.strip_prefix('[') {
            Some(v6) => v6
                .strip_suffix(']')?
                .parse::<Ipv6Addr>()
                .ok()
                .map(IpAddr::V6),
            None => host.parse().ok(),
        }
    }

    /// `localhost` or a loopback address, as the gateway counts them.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.ip().map_or_else(
            || self.host().trim_end_matches('.') == "localhost",
            |ip| ip.to_canonical().is_loopback(),
        )
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// The origin of a request, from all lines of its Origin header; `None` when there is none. An
/// empty header counts as none, as it does for the gateway.
pub(crate) fn read(lines: &[&[u8]]) -> Result<Option<Origin>, OriginError> {
    let value = match lines {
        [] => return Ok(None),
        [value] => value,
        _ => return Err(OriginError::Several),
    };
    if !value.is_ascii() {
        return Err(OriginError::Bytes);
    }
    match normalise(value) {
        Err(OriginError::Empty) => Ok(None),
        Ok(origin) => Ok(Some(origin)),
        Err(error) => Err(error),
    }
}

/// Normalises an Origin value: exactly `scheme://host[:port]`, with at most a lone trailing slash.
pub(crate) fn normalise(value: &[u8]) -> Result<Origin, OriginError> {
    if value.len() > MAX_LEN {
        return Err(OriginError::TooLong);
    }
    let text = std::str::from_utf8(value).map_err(|_| OriginError::Bytes)?;
    // Blanks around a field value are not part of it (RFC 9110 §5.5).
    let text = text.trim_matches([' ', '\t']);
    if text.is_empty() {
        return Err(OriginError::Empty);
    }
    // The URL parser would silently drop some of these.
    if text.contains(|c: char| c.is_control()) {
        return Err(OriginError::Bytes);
    }
    if text.eq_ignore_ascii_case("null") {
        return Err(OriginError::Null);
    }
    if text.contains([' ', ',']) {
        return Err(OriginError::List);
    }
    let (scheme, rest) = text.split_once("://").ok_or(OriginError::NoScheme)?;
    if !is_scheme(scheme) {
        return Err(OriginError::Scheme);
    }
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains('@') {
        return Err(OriginError::Userinfo);
    }
    // The URL parser reads a backslash as a slash, and skips extra ones.
    if authority.is_empty() {
        return Err(OriginError::NoHost);
    }
    if authority.contains(['/', '\\', '?', '#']) {
        return Err(OriginError::Path);
    }
    parse(&scheme.to_ascii_lowercase(), authority)
}

fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

fn parse(scheme: &str, authority: &str) -> Result<Origin, OriginError> {
    let url = Url::parse(&format!("{scheme}://{authority}")).map_err(|error| match error {
        url::ParseError::InvalidPort => OriginError::Port,
        url::ParseError::EmptyHost => OriginError::NoHost,
        _ => OriginError::Host,
    })?;
    let host = url
        .host_str()
        .filter(|host| !host.is_empty())
        .ok_or(OriginError::NoHost)?;
    // The parser leaves the case of hosts alone under schemes it does not know (browser extensions).
    let host = host.to_ascii_lowercase();
    let port = url
        .port()
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    Ok(Origin {
        text: format!("{scheme}://{host}{port}"),
        host_at: scheme.len() + 3,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn table() {
        use OriginError as E;
        let rows: &[(&str, Result<&str, OriginError>)] = &[
            ("https://claw.example.com", Ok("https://claw.example.com")),
            ("https://claw.example.com/", Ok("https://claw.example.com")),
            ("HTTPS://Claw.Example.COM", Ok("https://claw.example.com")),
            ("  https://a.b\t", Ok("https://a.b")),
            ("https://a.b:443", Ok("https://a.b")),
            ("http://a.b:80/", Ok("http://a.b")),
            ("https://a.b:80", Ok("https://a.b:80")),
            ("http://a.b:0443", Ok("http://a.b:443")),
            ("https://a.b:", Ok("https://a.b")),
            ("wss://a.b:443", Ok("wss://a.b")),
            ("http://localhost:18789", Ok("http://localhost:18789")),
            ("http://127.0.0.1:18789", Ok("http://127.0.0.1:18789")),
            ("http://127.1", Ok("http://127.0.0.1")),
            ("http://0x7f000001", Ok("http://127.0.0.1")),
            ("http://[::1]:8443", Ok("http://[::1]:8443")),
            ("http://[0:0:0:0:0:0:0:1]", Ok("http://[::1]")),
            ("http://[FE80::A]", Ok("http://[fe80::a]")),
            ("https://a.b.", Ok("https://a.b.")),
            (
                "https://bücher.example",
                Ok("https://xn--bcher-kva.example"),
            ),
            (
                "https://xn--bcher-kva.example",
                Ok("https://xn--bcher-kva.example"),
            ),
            ("chrome-extension://AbCdEf", Ok("chrome-extension://abcdef")),
            ("capacitor://localhost", Ok("capacitor://localhost")),
            ("", Err(E::Empty)),
            (" ", Err(E::Empty)),
            ("null", Err(E::Null)),
            ("NULL", Err(E::Null)),
            ("https://a.b, https://c.d", Err(E::List)),
            ("https://a.b https://c.d", Err(E::List)),
            ("https://a.b,https://c.d", Err(E::List)),
            ("a.b", Err(E::NoScheme)),
            ("*", Err(E::NoScheme)),
            ("a.b:8443", Err(E::NoScheme)),
            ("https:a.b", Err(E::NoScheme)),
            ("://a.b", Err(E::Scheme)),
            ("1http://a.b", Err(E::Scheme)),
            ("https://ana@a.b", Err(E::Userinfo)),
            ("https://ana:pw@a.b", Err(E::Userinfo)),
            ("https://a.b/x", Err(E::Path)),
            ("https://a.b//", Err(E::Path)),
            ("https://a.b?x", Err(E::Path)),
            ("https://a.b/?x", Err(E::Path)),
            ("https://a.b#x", Err(E::Path)),
            ("https://a.b\\x", Err(E::Path)),
            ("file://", Err(E::NoHost)),
            ("https:///", Err(E::NoHost)),
            ("https://:443", Err(E::NoHost)),
            ("https://*.a.b", Ok("https://*.a.b")),
            ("https://a b", Err(E::List)),
            ("https://a<b", Err(E::Host)),
            ("https://a%00b", Err(E::Host)),
            ("https://[::1", Err(E::Host)),
            ("http://256.256.256.256", Err(E::Host)),
            ("https://a.b:65536", Err(E::Port)),
            ("https://a.b:x", Err(E::Port)),
            ("https://a.b\0", Err(E::Bytes)),
            ("https://a\r\n.b", Err(E::Bytes)),
        ];
        for (value, expected) in rows {
            let got = normalise(value.as_bytes());
            let got = got.as_ref().map(Origin::as_str).map_err(|error| *error);
            assert_eq!(got, *expected, "{value:?}");
        }
        assert_eq!(normalise(b"https://a\xff.b"), Err(E::Bytes));
        assert_eq!(normalise(&[b'a'; 513]), Err(E::TooLong));
    }

    #[test]
    fn parts() {
        let origin = normalise(b"https://Gw:8443/").unwrap();
        assert_eq!((origin.scheme(), origin.authority()), ("https", "gw:8443"));
        assert_eq!((origin.host(), origin.port()), ("gw", Some("8443")));
        let v6 = normalise(b"http://[::1]").unwrap();
        assert_eq!(
            (v6.authority(), v6.host(), v6.port()),
            ("[::1]", "[::1]", None)
        );
        for (text, loopback) in [
            ("http://localhost:1", true),
            ("http://localhost.", true),
            ("http://127.9.9.9", true),
            ("http://[::1]:1", true),
            ("http://[::ffff:127.0.0.1]", true),
            ("http://localhost.example", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(
                normalise(text.as_bytes()).unwrap().is_loopback(),
                loopback,
                "{text}"
            );
        }
    }

    #[test]
    fn all_lines_of_a_request_make_one_origin_or_none() {
        use OriginError as E;
        type Row = (&'static [&'static [u8]], Result<Option<Origin>, E>);
        let origin = |text: &str| normalise(text.as_bytes()).unwrap();
        let rows: &[Row] = &[
            (&[], Ok(None)),
            (&[b""], Ok(None)),
            (&[b" "], Ok(None)),
            (&[b"https://a.b"], Ok(Some(origin("https://a.b")))),
            (&[b"https://a.b", b"https://a.b"], Err(E::Several)),
            (&[b"", b"https://a.b"], Err(E::Several)),
            (&[b"null"], Err(E::Null)),
            (&[b"https://b\xc3\xbccher.example"], Err(E::Bytes)),
        ];
        for (lines, expected) in rows {
            assert_eq!(read(lines), *expected, "{lines:?}");
        }
    }

    #[test]
    fn errors_do_not_echo_the_value() {
        for value in ["https://ana:s3cret@a.b", "https://a.b/s3cret", "s3cret"] {
            let error = normalise(value.as_bytes()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret"));
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = normalise(&bytes);
        }

        #[test]
        fn normalising_twice_changes_nothing(text in "[a-zA-Z]{1,6}://[a-zA-Z0-9.:\\[\\]ß%-]{1,24}/?") {
            if let Ok(origin) = normalise(text.as_bytes()) {
                prop_assert_eq!(normalise(origin.as_str().as_bytes()), Ok(origin.clone()));
                prop_assert!(origin.as_str().is_ascii());
            }
        }
    }
}
