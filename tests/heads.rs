//! What the check of request heads lets pass is understood the same by everybody: by `httparse`,
//! by hyper, and by a strict reader written here from RFC 9112 alone.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wstap::admission::head::{Limits, Requests, Step};

const LIMITS: Limits = Limits {
    bytes: 16 * 1024,
    fields: 64,
};

/// One request as a reader understood it; header names in lower case, in the order of the wire
/// within each name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Understood {
    pub method: String,
    pub target: String,
    pub minor: u8,
    fields: Vec<(String, Vec<u8>)>,
}

impl Understood {
    fn new(method: &str, target: &str, minor: u8, mut fields: Vec<(String, Vec<u8>)>) -> Self {
        for (name, _) in &mut fields {
            name.make_ascii_lowercase();
        }
        // hyper groups the lines of one name.
        fields.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            minor,
            fields,
        }
    }

    /// The connection ends with its answer.
    pub fn is_last(&self) -> bool {
        let says = |name: &str, token: &str| {
            self.fields.iter().any(|(found, value)| {
                found == name
                    && String::from_utf8_lossy(value)
                        .to_ascii_lowercase()
                        .contains(token)
            })
        };
        says("connection", "close") || (self.minor == 0 && !says("connection", "keep-alive"))
    }
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With a whole request, or in the middle of a head.
    Whole,
    /// In a head that did not pass.
    Refused,
    /// In a body that was not complete, or broken.
    InBody,
}

/// The check's reading of a stream: the requests, the bytes that passed, and how it ended.
pub fn checked(stream: &[u8]) -> (Vec<Understood>, Vec<u8>, End) {
    let mut requests = Requests::new(LIMITS);
    let (mut rest, mut found, mut passed) = (stream, Vec::new(), Vec::new());
    loop {
        match requests.step(rest) {
            Step::More if requests.is_in_body() => return (found, passed, End::InBody),
            Step::More => return (found, passed, End::Whole),
            Step::Skip(count) => rest = &rest[count..],
            Step::Head(count, checked) => {
                let head = &checked.head;
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("ASCII");
                let fields = head
                    .fields()
                    .map(|(name, value)| (text(name), value.to_vec()))
                    .collect();
                let minor = head.minor_version().expect("a request line");
                found.push(Understood::new(
                    &text(head.method()),
                    &text(head.target()),
                    minor,
                    fields,
                ));
                passed.extend_from_slice(&rest[..count]);
                rest = &rest[count..];
            }
            Step::Body(count) => {
                passed.extend_from_slice(&rest[..count]);
                rest = &rest[count..];
            }
            Step::Refused(_) => return (found, passed, End::Refused),
            Step::BrokenBody(_) => return (found, passed, End::InBody),
        }
    }
}

/// `httparse`, as hyper configures it.
fn by_httparse(head: &[u8]) -> Understood {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut fields);
    let status = request.parse(head).expect("httparse takes it");
    assert_eq!(
        status,
        httparse::Status::Complete(head.len()),
        "it ends elsewhere"
    );
    let fields = request
        .headers
        .iter()
        .map(|field| (field.name.to_owned(), field.value.to_vec()))
        .collect();
    let (method, path) = (request.method.unwrap(), request.path.unwrap());
    Understood::new(method, path, request.version.unwrap(), fields)
}

/// hyper's server, over a pipe; it answers each request and keeps the connection.
async fn by_hyper(stream: &[u8]) -> Vec<Understood> {
    let (mut client, server) = tokio::io::duplex(1 << 20);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let service = {
        let seen = Arc::clone(&seen);
        hyper::service::service_fn(move |request: Request<Incoming>| {
            let seen = Arc::clone(&seen);
            async move {
                let (head, body) = request.into_parts();
                let fields = head
                    .headers
                    .iter()
                    .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
                    .collect();
                let minor = u8::from(head.version == http::Version::HTTP_11);
                let target = head.uri.to_string();
                let one = Understood::new(head.method.as_str(), &target, minor, fields);
                // Where the next request begins shows whether the body was understood. The last
                // one may be cut off.
                drop(body.collect().await);
                seen.lock().unwrap().push(one);
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        })
    };
    let serve = hyper::server::conn::http1::Builder::new()
        .half_close(true)
        .max_headers(LIMITS.fields)
        .serve_connection(TokioIo::new(server), service);
    let conversation = async {
        client.write_all(stream).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answers = Vec::new();
        drop(client.read_to_end(&mut answers).await);
        assert!(!answers.starts_with(b"HTTP/1.1 4"), "hyper refused it");
    };
    let (result, ()) = tokio::join!(serve, conversation);
    drop(result);
    let seen = seen.lock().unwrap();
    seen.clone()
}

/// A reader of one head, straight from the grammar of RFC 9112.
fn by_the_book(head: &[u8]) -> Understood {
    // Byte by byte, so that obs-text is compared as it is.
    let text: String = head.iter().map(|byte| char::from(*byte)).collect();
    let whole = text
        .strip_suffix("\r\n\r\n")
        .expect("an empty line at the end");
    assert!(!whole.contains("\r\n\r\n"), "one empty line");
    let mut lines = whole.split("\r\n");
    let first: Vec<&str> = lines.next().unwrap().split(' ').collect();
    let [method, target, version] = first.as_slice() else {
        panic!("a request line has three parts");
    };
    let is_token = |text: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))
    };
    assert!(is_token(method) && target.chars().all(|c| c.is_ascii_graphic()));
    let minor = match *version {
        "HTTP/1.0" => 0,
        "HTTP/1.1" => 1,
        other => panic!("the version {other}"),
    };
    let fields = lines
        .map(|line| {
            let (name, value) = line.split_once(':').expect("a colon");
            assert!(is_token(name), "{name:?} is no token");
            assert!(
                value
                    .chars()
                    .all(|c| c == '\t' || !c.is_control() || c >= '\u{80}')
            );
            let value = value.trim_matches([' ', '\t']);
            (name.to_owned(), value.chars().map(|c| c as u8).collect())
        })
        .collect();
    Understood::new(method, target, minor, fields)
}

/// Where the heads of a passed stream begin and end, by the check's own steps.
fn heads(stream: &[u8]) -> Vec<Vec<u8>> {
    let mut requests = Requests::new(LIMITS);
    let (mut rest, mut heads) = (stream, Vec::new());
    loop {
        match requests.step(rest) {
            Step::Head(count, _) => {
                heads.push(rest[..count].to_vec());
                rest = &rest[count..];
            }
            Step::Skip(count) | Step::Body(count) => rest = &rest[count..],
            Step::More | Step::Refused(_) | Step::BrokenBody(_) => return heads,
        }
    }
}

/// Header lines: good ones, odd ones, and ones made of anything.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let good = prop::sample::select(vec![
        "Accept: */*;q=0.5, \"quoted\\\"\"",
        "Connection: keep-alive, X-A",
        "Content-Length: 3",
        "Cookie: a=b; c=d",
        "Expect: 100-continue",
        "Origin: https://a.example",
        "Origin: null",
        "Transfer-Encoding: chunked",
        "Upgrade: h2c",
        "X-A:",
        "X-A:  spaced\t",
        "X-Forwarded-For: 203.0.113.9",
        "transfer-encoding:\tChunked ",
        "x_under: 1",
    ]);
    let odd = prop::sample::select(vec![
        "Connection: Host",
        "Connection: close",
        "Content-Length: 0",
        "Content-Length: 03",
        "Host:b.example:80",
        "Name : value",
        "Sec-WebSocket-Version: 13",
        "Transfer-Encoding: gzip, chunked",
        "Upgrade: websocket",
        " folded",
    ]);
    prop_oneof![
        30 => good.prop_map(|line| line.as_bytes().to_vec()),
        2 => odd.prop_map(|line| line.as_bytes().to_vec()),
        10 => "[A-Za-z!#$%&'*+.^_`|~-]{1,12}: ?[ -~]{0,24}".prop_map(String::into_bytes),
        4 => ("[A-Za-z-]{1,8}:", prop::collection::vec(0x80_u8.., 0..12))
            .prop_map(|(name, value)| [name.into_bytes(), value].concat()),
        1 => ("[A-Za-z-]{1,8}:", prop::collection::vec(any::<u8>(), 0..12))
            .prop_map(|(name, value)| [name.into_bytes(), value].concat()),
    ]
}

pub fn request() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        20 => "(GET|POST|PUT|OPTIONS|PURGE) /[a-zA-Z0-9?=&/.%~!$'()*+,;:@_-]{0,20} HTTP/1\\.1",
        4 => "(GET|POST) /[!-~]{0,20} HTTP/1\\.[01]",
        1 => "(OPTIONS|GET) \\* HTTP/1\\.1",
        1 => "[ -~]{0,24}",
    ];
    let end = prop_oneof![40 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r"), 1 => Just("\r\n ")];
    let lines = prop::collection::vec((line(), end), 0..4);
    // A body that fits what the lines say, and now and then one that does not.
    let fits = prop::bool::weighted(0.9);
    let odd_body = prop::collection::vec(any::<u8>(), 0..16);
    let host = prop::bool::weighted(0.95);
    (first, host, lines, fits, odd_body).prop_map(|(first, host, lines, fits, odd)| {
        let mut out = first.into_bytes();
        out.extend_from_slice(b"\r\n");
        if host {
            out.extend_from_slice(b"Host: claw.example\r\n");
        }
        for (line, end) in lines {
            out.extend_from_slice(&line);
            out.extend_from_slice(end.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        let text = String::from_utf8_lossy(&out).to_ascii_lowercase();
        let body: &[u8] = match () {
            () if !fits => &odd,
            () if text.contains("chunked") => b"2;x=y\r\nab\r\n0\r\nT: 1\r\n\r\n",
            () if text.contains("content-length: 3") => b"abc",
            () => b"",
        };
        out.extend_from_slice(body);
        out
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_passes_is_understood_alike(stream in prop::collection::vec(request(), 1..4)) {
        let stream = stream.concat();
        let (mut ours, passed, _) = checked(&stream);
        for (head, ours) in heads(&stream).iter().zip(&ours) {
            prop_assert_eq!(&by_httparse(head), ours);
            prop_assert_eq!(&by_the_book(head), ours);
        }
        // hyper reads on only on a connection that is kept.
        let until = ours.iter().position(Understood::is_last).map_or(ours.len(), |at| at + 1);
        ours.truncate(until);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let theirs = runtime.block_on(by_hyper(&passed));
        prop_assert_eq!(theirs, ours);
    }
}

/// The streams above do reach the interesting places: some pass, some are refused, some have
/// bodies and followers.
#[test]
fn the_streams_of_the_property_are_worth_it() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut passed, mut refused, mut several) = (0, 0, 0);
    for _ in 0..500 {
        let tree = prop::collection::vec(request(), 1..4)
            .new_tree(&mut runner)
            .unwrap();
        let (found, _, bad) = checked(&tree.current().concat());
        passed += usize::from(!found.is_empty());
        refused += usize::from(bad == End::Refused);
        several += usize::from(found.len() > 1);
    }
    assert!(
        passed > 100 && refused > 100 && several > 20,
        "{passed} {refused} {several}"
    );
}
