//! What passes and what is refused, however the bytes are split.

use proptest::prelude::*;

use super::*;
use crate::session::record::HeadFault as F;

const LIMITS: Limits = Limits {
    bytes: 4096,
    fields: 16,
};

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: claw.example\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// The result for one request, in a form that tests can compare.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Came {
    Head(String, Asks),
    Body(Vec<u8>),
    Refused(F),
    Broken(F),
}

/// Feeds pieces and collects the results; a body's parts are joined.
fn feed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Came> {
    let mut requests = Requests::new(LIMITS);
    let (mut waiting, mut came) = (Vec::new(), Vec::<Came>::new());
    for piece in pieces {
        waiting.extend_from_slice(piece);
        loop {
            match requests.step(&waiting) {
                Step::More => break,
                Step::Skip(count) => drop(waiting.drain(..count)),
                Step::Head(count, checked) => {
                    let head: Vec<u8> = waiting.drain(..count).collect();
                    assert_eq!(checked.head.size(), count);
                    assert!(checked.refusal.is_none());
                    came.push(Came::Head(
                        String::from_utf8_lossy(&head).into(),
                        checked.asks,
                    ));
                }
                Step::Body(count) => {
                    let part: Vec<u8> = waiting.drain(..count).collect();
                    match came.last_mut() {
                        Some(Came::Body(body)) => body.extend(part),
                        _ => came.push(Came::Body(part)),
                    }
                }
                Step::Refused(checked) => {
                    came.push(Came::Refused(checked.refusal.unwrap().fault));
                }
                Step::BrokenBody(refusal) => came.push(Came::Broken(refusal.fault)),
            }
        }
    }
    came
}

fn fault(head: &str) -> Option<F> {
    match feed([head.as_bytes()]).as_slice() {
        [Came::Head(..), ..] => None,
        [Came::Refused(fault)] => Some(*fault),
        other => panic!("{head:?}: {other:?}"),
    }
}

/// A GET with these further lines.
fn with(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

#[test]
fn heads_that_pass() {
    for head in [
        with(""),
        with("X: \r\n"),
        with("X: caf\u{e9}\r\n"),
        with("X:a\tb\r\n"),
        with("x_custom: 1\r\n"),
        with("Content-Length: 0\r\n"),
        with("Connection: close, X-Private\r\n"),
        with("Connection: , ,\r\n"),
        with("Origin: null\r\n"),
        with("Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AA\r\n"),
        "GET /a/b?c=d&e=%20 HTTP/1.0\r\n\r\n".to_owned(),
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "PROPFIND /a HTTP/1.1\r\nHost: [::1]:18789\r\n\r\n".to_owned(),
        "GET //a HTTP/1.1\r\nHost:\r\n\r\n".to_owned(),
        format!("\r\n{}", with("")),
        UPGRADE.to_owned(),
        UPGRADE.replace("websocket", "WebSocket, h2c"),
    ] {
        assert_eq!(fault(&head), None, "{head:?}");
    }
}

#[test]
fn heads_that_do_not_pass() {
    let line = |line: &str| format!("{line}\r\nHost: a\r\n\r\n");
    for (head, expected) in [
        (line("GET http://a/ HTTP/1.1"), F::AbsoluteForm),
        (line("GET wss://a/ HTTP/1.1"), F::AbsoluteForm),
        (line("CONNECT a:443 HTTP/1.1"), F::ConnectMethod),
        (line("GET a HTTP/1.1"), F::Target),
        (line("GET * HTTP/1.1"), F::Target),
        (line("GET /#a HTTP/1.1"), F::Target),
        (line("GET /\u{e9} HTTP/1.1"), F::Target),
        (line("GET /a\tb HTTP/1.1"), F::Target),
        (line("GET /?a=<b> HTTP/1.1"), F::Target),
        (line("GET  / HTTP/1.1"), F::RequestLine),
        (line("GET / HTTP/1.1 "), F::RequestLine),
        (line("GET /"), F::RequestLine),
        (line("GET / HTTP/2.0"), F::Version),
        (line("GET / HTTP/1.2"), F::Version),
        (line("GET / http/1.1"), F::Version),
        (line("PRI * HTTP/2.0"), F::Http2Preface),
        (line("G(T / HTTP/1.1"), F::NotHttp),
        ("\u{16}\u{3}\u{1}".to_owned(), F::NotHttp),
        ("\r\n\r\n".to_owned(), F::NotHttp),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n".to_owned(), F::BareLf),
        (with("X: 1\n"), F::BareLf),
        (with("X: a\rb\r\n"), F::BareCr),
        (with("X: a\0b\r\n"), F::ControlByte),
        (with("X: a\u{7f}b\r\n"), F::ControlByte),
        (with("X: a\r\n b\r\n"), F::ObsFold),
        (with("X : a\r\n"), F::SpaceBeforeColon),
        (with("X\t: a\r\n"), F::SpaceBeforeColon),
        (with(": a\r\n"), F::FieldName),
        (with("X y: a\r\n"), F::FieldName),
        (with("X\u{e9}: a\r\n"), F::FieldName),
        (with("no colon\r\n"), F::FieldName),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), F::HostMissing),
        (with("Host: a\r\n"), F::HostDuplicate),
        (with("hOST: b\r\n"), F::HostDuplicate),
        (with("Origin: https://a, https://b\r\n"), F::OriginList),
        (with("Origin: https://a https://b\r\n"), F::OriginList),
        (
            with("Origin: https://a\r\nOrigin: https://a\r\n"),
            F::OriginList,
        ),
        (
            with("Origin: https://b\u{fc}cher.example\r\n"),
            F::OriginInvalid,
        ),
        (with("Connection: a b\r\n"), F::ConnectionList),
        (with("Connection: \"close\"\r\n"), F::ConnectionList),
        (
            with("Content-Length: 1\r\nContent-Length: 1\r\n"),
            F::LengthDuplicate,
        ),
        (
            with("Content-Length: 1\r\nContent-Length: 2\r\n"),
            F::LengthDuplicate,
        ),
        (with("Content-Length: 1, 1\r\n"), F::LengthInvalid),
        (with("Content-Length: +1\r\n"), F::LengthInvalid),
        (with("Content-Length: -1\r\n"), F::LengthInvalid),
        (with("Content-Length: 0x1\r\n"), F::LengthInvalid),
        (with("Content-Length:\r\n"), F::LengthInvalid),
        (
            with("Content-Length: 9999999999999999999\r\n"),
            F::LengthInvalid,
        ),
        (
            with("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"),
            F::LengthAndEncoding,
        ),
        (
            with("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n"),
            F::LengthAndEncoding,
        ),
        (
            with("Transfer-Encoding: gzip, chunked\r\n"),
            F::EncodingInvalid,
        ),
        (
            with("Transfer-Encoding: chunked, identity\r\n"),
            F::EncodingInvalid,
        ),
        (with("Transfer-Encoding: xchunked\r\n"), F::EncodingInvalid),
        (
            with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
            F::EncodingInvalid,
        ),
        (
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
            F::EncodingInvalid,
        ),
    ] {
        assert_eq!(fault(&head), Some(expected), "{head:?}");
    }
}

#[test]
fn hosts() {
    let host = |host: &str| fault(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    for good in [
        "claw.example",
        "claw.example:8443",
        "127.0.0.1",
        "[::1]",
        "[::1]:18789",
        "[fe80::1%25eth0]:1",
        "a_b.internal",
        "xn--bcher-kva.example",
        "a:",
    ] {
        assert_eq!(host(good), None, "{good}");
    }
    for bad in [
        "a:b",
        "a:65536",
        "a:123456",
        "a:-1",
        "::1",
        "[::1",
        "[::1]x",
        "[]",
        "a b",
        "a,b",
        "a/b",
        "user@a",
        "a:1:2",
        "b\u{fc}cher.example",
        "a?b",
        "a#b",
        "<a>",
        "[::1]:99999",
    ] {
        assert_eq!(host(bad), Some(F::HostInvalid), "{bad}");
    }
}

#[test]
fn nominations_of_what_a_client_may_not_take_out() {
    for name in [
        "Host",
        "Origin",
        "Authorization",
        "cookie",
        "X-Forwarded-For",
        "x-forwarded-user",
        "Forwarded",
        "X-Real-IP",
        "Tailscale-User-Login",
        "Sec-WebSocket-Key",
        "Content-Length",
        "Transfer-Encoding",
        "X-OpenClaw-Scopes",
    ] {
        let head = with(&format!("Connection: keep-alive, {name}\r\n"));
        assert_eq!(fault(&head), Some(F::Nominated), "{name}");
    }
}

#[test]
fn rfc_6455_4_2_1_upgrades() {
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (from, to, expected) in [
        ("GET /", "POST /", F::UpgradeMethod),
        ("HTTP/1.1", "HTTP/1.0", F::UpgradeHttp10),
        ("Version: 13", "Version: 8", F::WebsocketVersion),
        ("Version: 13", "Version: 13, 8", F::WebsocketVersion),
        ("Sec-WebSocket-Version: 13\r\n", "", F::WebsocketVersion),
        (key, "", F::WebsocketKey),
        (key, "Sec-WebSocket-Key: c2hvcnQ=\r\n", F::WebsocketKey),
        (
            "\r\n\r\n",
            "\r\nContent-Length: 5\r\n\r\n",
            F::UpgradeWithBody,
        ),
        (
            "\r\n\r\n",
            "\r\nTransfer-Encoding: chunked\r\n\r\n",
            F::UpgradeWithBody,
        ),
        (
            "\r\n\r\n",
            "\r\nSec-WebSocket-Protocol:\r\n\r\n",
            F::WebsocketList,
        ),
    ] {
        let head = UPGRADE.replacen(from, to, 1);
        assert_eq!(fault(&head), Some(expected), "{to}");
    }
    let two_keys = UPGRADE.replace(key, &format!("{key}{key}"));
    assert_eq!(fault(&two_keys), Some(F::WebsocketKey));
    // A request that a hop has stripped is no upgrade, so none of these rules apply to it.
    let stripped = UPGRADE
        .replace("Upgrade: websocket\r\n", "")
        .replace("13", "8");
    assert!(matches!(
        feed([stripped.as_bytes()]).as_slice(),
        [Came::Head(_, Asks::StrippedWebSocket)]
    ));
}

#[test]
fn limits_are_told_before_the_end_of_the_head() {
    let long = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nX: {}",
        "x".repeat(LIMITS.bytes)
    );
    assert_eq!(fault(&long), Some(F::HeadBytes));
    let many = format!("GET / HTTP/1.1\r\n{}", "X: 1\r\n".repeat(LIMITS.fields + 1));
    assert_eq!(fault(&many), Some(F::Headers));
    let exact = format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
        "X: 1\r\n".repeat(LIMITS.fields - 1)
    );
    assert_eq!(fault(&exact), None);
}

#[test]
fn requests_follow_each_other_by_their_framing() {
    let stream = "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /\
                  POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n\
                  3;x=\"y\"\r\nabc\r\n0\r\nX: 1\r\n\r\n\
                  GET /3 HTTP/1.1\r\nHost: a\r\n\r\n";
    let came = feed([stream.as_bytes()]);
    let heads: Vec<&str> = came
        .iter()
        .filter_map(|came| match came {
            Came::Head(head, _) => head.split(' ').nth(1),
            _ => None,
        })
        .collect();
    assert_eq!(heads, ["/1", "/2", "/3"]);
    assert_eq!(came[1], Came::Body(b"GET /".to_vec()));
}

#[test]
fn nothing_behind_an_upgrade_or_a_refusal_is_a_request() {
    let smuggled = format!("{UPGRADE}{}", with(""));
    assert_eq!(feed([smuggled.as_bytes()]).len(), 1);
    let behind_refusal = format!("{}{}", with("Host: b\r\n"), with(""));
    assert_eq!(
        feed([behind_refusal.as_bytes()]),
        [Came::Refused(F::HostDuplicate)]
    );
}

#[test]
fn broken_chunks() {
    for body in [
        "x\r\n",
        "\r\n",
        "3\nabc",
        "3\r\nabcd\r\n",
        "3\r\nabc\n",
        "3 \r\n",
        "-1\r\n",
        "0x3\r\n",
        "ffffffffffffffff\r\n",
        "1;a\nb",
        "0\r\nX: 1\n\r\n",
        "0\r\nHost: b\r\n\r\n",
        "0\r\n x\r\n\r\n",
        "0\r\nX : 1\r\n\r\n",
        "0\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n",
        "0\r\nX_Forwarded_For: 127.0.0.1\r\n\r\n",
        "0\r\nContent-Length: 3\r\n\r\n",
    ] {
        let request = format!("{}{body}", with("Transfer-Encoding: chunked\r\n"));
        let came = feed([request.as_bytes()]);
        assert_eq!(came.last(), Some(&Came::Broken(F::Chunk)), "{body:?}");
    }
    let long = format!("1;{}", "x".repeat(5000));
    let request = format!("{}{long}", with("Transfer-Encoding: chunked\r\n"));
    assert_eq!(
        feed([request.as_bytes()]).last(),
        Some(&Came::Broken(F::Chunk))
    );
}

#[test]
fn the_order_spelling_and_duplicates_are_kept() {
    let head = with("x-B: 1\r\nX-a:  2 \t\r\nX-b: 3\r\n");
    let mut requests = Requests::new(LIMITS);
    let Step::Head(_, checked) = requests.step(head.as_bytes()) else {
        panic!("it passes");
    };
    let fields: Vec<_> = checked
        .head
        .fields()
        .map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value.to_vec()))
        .collect();
    let expected = [("Host", "a"), ("x-B", "1"), ("X-a", "2"), ("X-b", "3")];
    assert_eq!(
        fields,
        expected.map(|(name, value)| (name.to_owned(), value.into()))
    );
    assert!(
        !format!("{checked:?}").contains("X-a"),
        "a head cannot be printed"
    );
}

/// Heads and bodies, mostly valid, with an occasional invalid piece.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just("GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        2 => Just("POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc".to_owned()),
        2 => Just(format!("{}2\r\nab\r\n0\r\nT: 1\r\n\r\n", with("Transfer-Encoding: chunked\r\n"))),
        1 => Just("\r\n".to_owned()),
        1 => Just(UPGRADE.to_owned()),
        1 => "[ -~\r\n]{0,40}",
    ];
    proptest::collection::vec(piece, 1..6).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    /// However the bytes are split, the result is the same.
    #[test]
    fn chunking_changes_nothing(stream in streams(), cuts in proptest::collection::vec(0_usize..200, 0..12)) {
        let whole = feed([stream.as_slice()]);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (stream.len() + 1)).collect();
        cuts.sort_unstable();
        let (mut pieces, mut from) = (Vec::new(), 0);
        for cut in cuts.into_iter().chain([stream.len()]) {
            pieces.push(&stream[from..cut]);
            from = cut;
        }
        prop_assert_eq!(feed(pieces), whole.clone());
        prop_assert_eq!(feed(stream.chunks(1)), whole);
    }
}
