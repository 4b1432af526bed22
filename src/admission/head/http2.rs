//! An HTTP/2 request (RFC 9113 section 8), checked by the same rules as an HTTP/1 request.
//!
//! There are no raw bytes to check: the library has decoded them. But a gateway that speaks HTTP/1
//! must see exactly this request. So the head is written out as lines, as it will be sent, and
//! passes the same rules; fields that only HTTP/1 has are refused.

use super::checked::{Asks, Checked};
use super::limits::Limits;
use super::lines::{MAX_METHOD, MAX_NAME, too_long, too_many};
use super::octets::{is_token, is_value_byte, trim};
use super::raw::{Field, RawHead, RequestLine, Version};
use super::refusal::Refusal;
use super::{rules, target};
use crate::session::record::HeadFault;

/// Headers that concern one connection (RFC 9113 section 8.2.2).
const CONNECTION_SPECIFIC: [&str; 6] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// The pseudo-header fields (RFC 9113 section 8.3.1, RFC 8441 section 4).
#[derive(Clone, Copy, Debug)]
pub struct Pseudo<'a> {
    /// `:method`
    pub method: &'a str,
    /// `:scheme`, where the library reports it.
    pub scheme: Option<&'a str>,
    /// `:authority`
    pub authority: Option<&'a str>,
    /// `:path`
    pub path: &'a str,
    /// `:protocol`
    pub protocol: Option<&'a str>,
}

/// Checks a request. `:authority` becomes a Host line before the fields.
#[must_use]
pub fn check(pseudo: Pseudo<'_>, fields: &[(&[u8], &[u8])], limits: Limits) -> Checked {
    let head = written(pseudo, fields);
    let connect = pseudo.method == "CONNECT";
    let asks = if connect && pseudo.protocol == Some("websocket") {
        Asks::WebSocket
    } else {
        match rules::asks(&head) {
            // There is no Upgrade in HTTP/2; if there is one, it is refused below.
            Asks::WebSocket => Asks::StrippedWebSocket,
            asks => asks,
        }
    };
    let refusal = size(&head, limits)
        .and_then(|()| line(pseudo))
        .and_then(|()| authority(pseudo, fields))
        .and_then(|()| own(&head))
        .and_then(|()| match asks {
            Asks::WebSocket => rules::connect(&head),
            _ => rules::check(&head, asks).map(|_| ()),
        })
        .err();
    Checked {
        head,
        asks,
        refusal,
    }
}

/// The head as lines. A Host equal to `:authority` is not written twice.
fn written(pseudo: Pseudo<'_>, fields: &[(&[u8], &[u8])]) -> RawHead {
    let mut bytes = Vec::new();
    let mut add = |part: &[u8], end: &[u8]| {
        let begin = bytes.len();
        bytes.extend_from_slice(part);
        let range = begin..bytes.len();
        bytes.extend_from_slice(end);
        range
    };
    let line = RequestLine {
        method: add(pseudo.method.as_bytes(), b" "),
        target: add(pseudo.path.as_bytes(), b" HTTP/2.0\r\n"),
        version: Version::Http2,
    };
    let authority = pseudo.authority.map(str::as_bytes);
    let host = authority.map(|value| (b"host".as_slice(), value));
    let protocol = pseudo.protocol.map(str::as_bytes);
    let protocol = protocol.map(|value| (b":protocol".as_slice(), value));
    let mut left_out = false;
    let mut lines = Vec::new();
    let fields = fields.iter().copied().filter(|(name, value)| {
        let same = *name == b"host" && authority.is_some_and(|host| is_same(host, value));
        !same || std::mem::replace(&mut left_out, true)
    });
    for (name, value) in host.into_iter().chain(protocol).chain(fields) {
        lines.push(Field {
            name: add(name, b": "),
            value: add(value, b"\r\n"),
        });
    }
    add(b"\r\n", b"");
    RawHead::new(&bytes, Some(line), lines)
}

fn is_same(authority: &[u8], host: &[u8]) -> bool {
    authority.eq_ignore_ascii_case(host)
}

fn size(head: &RawHead, limits: Limits) -> Result<(), Refusal> {
    too_long(head.size(), limits)?;
    if head.fields().count() > limits.fields {
        return Err(too_many(limits));
    }
    Ok(())
}

/// Checks what would be the request line.
fn line(pseudo: Pseudo<'_>) -> Result<(), Refusal> {
    let refuse = |fault, detail: &str| Err(Refusal::new(fault, detail));
    let method = pseudo.method.as_bytes();
    if !is_token(method) || method.len() > MAX_METHOD {
        return refuse(HeadFault::RequestLine, "the :method is no method");
    }
    match (pseudo.method, pseudo.protocol) {
        ("CONNECT", Some("websocket")) => {}
        ("CONNECT", Some(_)) => {
            let detail = "an extended CONNECT asks for a :protocol other than websocket";
            return refuse(HeadFault::ConnectProtocol, detail);
        }
        ("CONNECT", None) => return target::check(method, b"/"),
        _ => {}
    }
    if pseudo
        .scheme
        .is_some_and(|scheme| !matches!(scheme, "https" | "http"))
    {
        let detail = "the :scheme is neither https nor http";
        return refuse(HeadFault::Target, detail);
    }
    // The method was checked above.
    let method = if pseudo.protocol.is_some() {
        b"GET".as_slice()
    } else {
        method
    };
    target::check(method, pseudo.path.as_bytes())
}

/// A Host beside `:authority` must say the same (RFC 9113 section 8.3.1).
fn authority(pseudo: Pseudo<'_>, fields: &[(&[u8], &[u8])]) -> Result<(), Refusal> {
    let Some(authority) = pseudo.authority else {
        return Ok(());
    };
    let mut hosts = fields.iter().filter(|(name, _)| *name == b"host");
    let (first, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        let detail = "there are two Host headers";
        return Err(Refusal::new(HeadFault::HostDuplicate, detail));
    }
    if first.is_some_and(|(_, host)| !is_same(authority.as_bytes(), host)) {
        let detail = "the Host header names another host than :authority";
        return Err(Refusal::new(HeadFault::HostMismatch, detail));
    }
    Ok(())
}

/// Checks what HTTP/2 itself forbids in a field. The library has already refused most of it.
fn own(head: &RawHead) -> Result<(), Refusal> {
    for (name, value) in head.fields() {
        let shown = String::from_utf8_lossy(name);
        let refuse = |detail: String| Err(Refusal::new(HeadFault::Http2Field, detail));
        if name == b":protocol" {
            continue;
        }
        if !is_token(name) || name.len() > MAX_NAME {
            let detail = "a header's name is no token";
            return Err(Refusal::new(HeadFault::FieldName, detail));
        }
        if CONNECTION_SPECIFIC.contains(&&*shown) {
            return refuse(format!("there is a {shown} header, which only HTTP/1 has"));
        }
        if name == b"te" && value != b"trailers" {
            return refuse("the TE header holds more than `trailers`".to_owned());
        }
        if trim(value).len() != value.len() {
            return refuse(format!("there are blanks around the value of {shown}"));
        }
        if !value.iter().copied().all(is_value_byte) {
            let detail = format!("the value of {shown} holds a control character");
            return Err(Refusal::new(HeadFault::ControlByte, detail));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        bytes: 8192,
        fields: 20,
    };

    const GET: Pseudo<'static> = Pseudo {
        method: "GET",
        scheme: Some("https"),
        authority: Some("gw.example"),
        path: "/a?b=c",
        protocol: None,
    };

    const CONNECT: Pseudo<'static> = Pseudo {
        method: "CONNECT",
        protocol: Some("websocket"),
        ..GET
    };

    fn checked(pseudo: Pseudo<'_>, lines: &[(&str, &str)]) -> Checked {
        let fields: Vec<_> = lines
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect();
        check(pseudo, &fields, LIMITS)
    }

    fn fault(pseudo: Pseudo<'_>, lines: &[(&str, &str)]) -> Option<HeadFault> {
        checked(pseudo, lines).refusal.map(|refusal| refusal.fault)
    }

    #[test]
    fn a_request_is_written_down_as_it_goes_out() {
        let checked = checked(GET, &[("host", "GW.example"), ("accept", "*/*")]);
        assert_eq!(checked.refusal, None);
        assert_eq!(checked.asks, Asks::Nothing);
        assert_eq!(checked.head.target(), b"/a?b=c");
        assert_eq!(checked.head.http_version(), "HTTP/2.0");
        let lines: Vec<_> = checked.head.fields().collect();
        let wanted: [(&[u8], &[u8]); 2] = [(b"host", b"gw.example"), (b"accept", b"*/*")];
        assert_eq!(lines, wanted);
    }

    #[test]
    fn rfc_9113_8_2_2_what_only_http1_has_is_refused() {
        for name in CONNECTION_SPECIFIC {
            assert_eq!(
                fault(GET, &[(name, "x")]),
                Some(HeadFault::Http2Field),
                "{name}"
            );
        }
        let te = |value| fault(GET, &[("te", value)]);
        assert_eq!(te("trailers"), None);
        assert_eq!(te("gzip"), Some(HeadFault::Http2Field));
        assert_eq!(
            fault(GET, &[("x-a", " b")]),
            Some(HeadFault::Http2Field),
            "RFC 9113 section 8.2.1"
        );
        let smuggled = fault(GET, &[("x-a", "b\r\nx-c: d")]);
        assert_eq!(smuggled, Some(HeadFault::ControlByte));
    }

    #[test]
    fn pseudo_headers_that_no_request_line_could_hold_are_refused() {
        let with = |change: fn(&mut Pseudo<'static>)| {
            let mut pseudo = GET;
            change(&mut pseudo);
            fault(pseudo, &[])
        };
        assert_eq!(with(|it| it.path = "/a b"), Some(HeadFault::Target));
        assert_eq!(with(|it| it.path = "/a#b"), Some(HeadFault::Target));
        assert_eq!(with(|it| it.path = "a"), Some(HeadFault::Target));
        assert_eq!(with(|it| it.path = "*"), Some(HeadFault::Target));
        assert_eq!(
            with(|it| it.path = "http://other/"),
            Some(HeadFault::AbsoluteForm)
        );
        assert_eq!(with(|it| it.method = "G T"), Some(HeadFault::RequestLine));
        assert_eq!(with(|it| it.scheme = Some("file")), Some(HeadFault::Target));
        assert_eq!(
            with(|it| it.authority = Some("user@gw")),
            Some(HeadFault::HostInvalid)
        );
        assert_eq!(with(|it| it.authority = None), Some(HeadFault::HostMissing));
        assert_eq!(
            with(|it| it.method = "CONNECT"),
            Some(HeadFault::ConnectMethod)
        );
    }

    #[test]
    fn two_hosts_must_be_one() {
        assert_eq!(
            fault(GET, &[("host", "other.example")]),
            Some(HeadFault::HostMismatch)
        );
        let twice = [("host", "gw.example"), ("host", "gw.example")];
        assert_eq!(fault(GET, &twice), Some(HeadFault::HostDuplicate));
        let lengths = [("content-length", "1"), ("content-length", "1")];
        assert_eq!(fault(GET, &lengths), Some(HeadFault::LengthDuplicate));
    }

    #[test]
    fn rfc_8441_5_a_websocket_needs_no_key() {
        let version = ("sec-websocket-version", "13");
        let good = checked(CONNECT, &[version]);
        assert_eq!(good.refusal, None);
        assert_eq!(good.asks, Asks::WebSocket);
        assert_eq!(fault(CONNECT, &[]), Some(HeadFault::WebsocketVersion));
        let key = |key| fault(CONNECT, &[version, ("sec-websocket-key", key)]);
        assert_eq!(key("dGhlIHNhbXBsZSBub25jZQ=="), None);
        assert_eq!(key("sample"), Some(HeadFault::WebsocketKey));
        let body = [version, ("content-length", "5")];
        assert_eq!(fault(CONNECT, &body), Some(HeadFault::UpgradeWithBody));
        let other = Pseudo {
            protocol: Some("connect-udp"),
            ..CONNECT
        };
        assert_eq!(fault(other, &[]), Some(HeadFault::ConnectProtocol));
    }

    #[test]
    fn limits_hold() {
        let many = vec![("x-a", "b"); 20];
        assert_eq!(fault(GET, &many), Some(HeadFault::Headers));
        let long = "x".repeat(8192);
        assert_eq!(fault(GET, &[("x-a", &long)]), Some(HeadFault::HeadBytes));
    }
}
