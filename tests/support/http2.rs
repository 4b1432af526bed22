//! Clients of HTTP/2: one on the `h2` crate that behaves, and one that sends any bytes.

use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use rustls::ClientConfig;
use tokio::task::JoinHandle;

use super::client;
use super::conn::Conn;
use super::deadline::within;
use super::frame::Frame;
use super::tap::{Face, Tap};

/// A client that behaves.
pub struct Http2 {
    send: SendRequest<Bytes>,
    driver: JoinHandle<Result<(), h2::Error>>,
    authority: String,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Whole {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

impl Whole {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A TLS client that offers only this.
pub fn offering(tap: &Tap, protocol: &[u8]) -> Arc<ClientConfig> {
    let mut config = (*tap.trust()).clone();
    config.alpn_protocols = vec![protocol.to_vec()];
    Arc::new(config)
}

impl Http2 {
    pub async fn connect(tap: &Tap) -> Self {
        Self::with(tap, h2::client::Builder::new()).await
    }

    pub async fn with(tap: &Tap, builder: h2::client::Builder) -> Self {
        Self::on(tap, &[], builder).await
    }

    /// With a PROXY header in front of everything.
    pub async fn behind(tap: &Tap, header: &[u8]) -> Self {
        Self::on(tap, header, h2::client::Builder::new()).await
    }

    async fn on(tap: &Tap, header: &[u8], builder: h2::client::Builder) -> Self {
        let addr = tap.addr(Face::Tls);
        let conn = client::connect_tls_behind(addr, header, &offering(tap, b"h2")).await;
        let (send, connection) = builder.handshake(conn.wire).await.expect("a preface");
        let driver = tokio::spawn(connection);
        Self {
            send,
            driver,
            authority: format!("localhost:{}", addr.port()),
        }
    }

    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// A request for this target.
    pub fn request(&self, method: &str, target: &str, more: &[(&str, &str)]) -> Request<()> {
        let uri = format!("https://{}{target}", self.authority);
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request")
    }

    /// Sends a head, and a body piece by piece.
    pub async fn begin(
        &mut self,
        request: Request<()>,
        ends: bool,
    ) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
        let send = self.send.clone();
        let mut send = within("room for a stream", send.ready())
            .await
            .expect("an open connection");
        send.send_request(request, ends).expect("send a request")
    }

    /// The same for a connection that may have been ended.
    pub async fn try_begin(
        &mut self,
        request: Request<()>,
    ) -> Result<(h2::client::ResponseFuture, SendStream<Bytes>), h2::Error> {
        let ready = self.send.clone().ready();
        let mut send = within("room for a stream", ready).await?;
        send.send_request(request, true)
    }

    /// The same without a body; the answer's head.
    pub async fn ask(&mut self, request: Request<()>) -> Result<Response<RecvStream>, h2::Error> {
        let (answer, _) = self.begin(request, true).await;
        within("an answer", answer).await
    }

    pub async fn get(&mut self, target: &str, more: &[(&str, &str)]) -> Whole {
        let request = self.request("GET", target, more);
        whole(self.ask(request).await.expect("an answer")).await
    }

    pub async fn post(&mut self, target: &str, more: &[(&str, &str)], body: &[u8]) -> Whole {
        let request = self.request("POST", target, more);
        let (answer, mut send) = self.begin(request, false).await;
        send.send_data(Bytes::copy_from_slice(body), true)
            .expect("send the body");
        whole(within("an answer", answer).await.expect("an answer")).await
    }

    /// An extended CONNECT, as soon as the tap has announced that it accepts them.
    pub async fn connect_websocket(
        &mut self,
        target: &str,
        more: &[(&str, &str)],
    ) -> Result<Response<RecvStream>, (Response<RecvStream>, SendStream<Bytes>)> {
        let (answer, send) = self.extended(target, "websocket", more).await;
        let answer = within("an answer", answer).await.expect("an answer");
        if answer.status().is_success() {
            Err((answer, send))
        } else {
            Ok(answer)
        }
    }

    pub async fn extended(
        &mut self,
        target: &str,
        protocol: &'static str,
        more: &[(&str, &str)],
    ) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
        let mut send = within("the settings", self.send.clone().ready())
            .await
            .expect("an open connection");
        while !send.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
            send = send.ready().await.expect("an open connection");
        }
        let mut request = self.request(Method::CONNECT.as_str(), target, more);
        let headers = request.headers_mut();
        headers.insert("sec-websocket-version", "13".parse().unwrap());
        let protocol = h2::ext::Protocol::from_static(protocol);
        request.extensions_mut().insert(protocol);
        self.begin(request, false).await
    }

    /// A WebSocket, which must be let in.
    pub async fn open(&mut self, target: &str, more: &[(&str, &str)]) -> Socket {
        match self.connect_websocket(target, more).await {
            Err((answer, send)) => Socket::new(answer, send),
            Ok(answer) => panic!("the WebSocket was refused: {}", answer.status()),
        }
    }

    /// How the connection ended.
    pub async fn ended(self) -> Result<(), h2::Error> {
        // With its last handle the client itself would end it.
        let ended = within("the connection's end", self.driver).await;
        drop(self.send);
        ended.expect("no panic")
    }

    /// The socket goes away without a word.
    pub fn vanish(&self) {
        self.driver.abort();
    }
}

/// Reads an answer to its end.
pub async fn whole(answer: Response<RecvStream>) -> Whole {
    let (head, mut body) = answer.into_parts();
    let mut bytes = Vec::new();
    while let Some(piece) = within("a piece of the body", body.data()).await {
        let piece = piece.expect("a body");
        bytes.extend_from_slice(&piece);
        body.flow_control()
            .release_capacity(piece.len())
            .expect("release");
    }
    let trailers = within("trailers", body.trailers()).await.expect("an end");
    Whole {
        status: head.status,
        headers: head.headers,
        body: bytes,
        trailers,
    }
}

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    EndStream,
    Reset(Reason),
    Connection(String),
}

/// A WebSocket in a stream.
pub struct Socket {
    pub answer: HeaderMap,
    pub send: SendStream<Bytes>,
    recv: RecvStream,
    buf: Vec<u8>,
}

impl Socket {
    fn new(answer: Response<RecvStream>, send: SendStream<Bytes>) -> Self {
        let (head, recv) = answer.into_parts();
        Self {
            answer: head.headers,
            send,
            recv,
            buf: Vec::new(),
        }
    }

    /// Writes bytes as fast as the tap takes them.
    pub async fn send(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.send.reserve_capacity(bytes.len());
            while self.send.capacity() == 0 {
                let room = std::future::poll_fn(|cx| self.send.poll_capacity(cx));
                let room = within("room in the window", room).await;
                room.expect("an open stream").expect("an open stream");
            }
            let count = self.send.capacity().min(bytes.len());
            let now = Bytes::copy_from_slice(&bytes[..count]);
            self.send.send_data(now, false).expect("send");
            bytes = &bytes[count..];
        }
    }

    pub async fn send_masked(&mut self, frame: Frame) {
        self.send(&frame.masked().to_bytes()).await;
    }

    /// The next frame, or how the stream ended.
    pub async fn frame(&mut self) -> Result<Frame, StreamEnd> {
        loop {
            if let Some(frame) = Frame::take(&mut self.buf) {
                return Ok(frame);
            }
            match within("a frame", self.recv.data()).await {
                None => return Err(StreamEnd::EndStream),
                Some(Err(error)) => {
                    return Err(match error.reason() {
                        Some(reason) if error.is_reset() => StreamEnd::Reset(reason),
                        _ => StreamEnd::Connection(error.to_string()),
                    });
                }
                Some(Ok(bytes)) => {
                    self.buf.extend_from_slice(&bytes);
                    self.recv
                        .flow_control()
                        .release_capacity(bytes.len())
                        .expect("release");
                }
            }
        }
    }

    /// `END_STREAM`.
    pub fn finish(&mut self) {
        self.send
            .send_data(Bytes::new(), true)
            .expect("end the stream");
    }

    /// `RST_STREAM`.
    pub fn reset(&mut self, reason: Reason) {
        self.send.send_reset(reason);
    }
}

pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// A frame as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawFrame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl RawFrame {
    fn take(buf: &mut Vec<u8>) -> Option<Self> {
        let [a, b, c, kind, flags, s1, s2, s3, s4] = *buf.first_chunk()?;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let payload = buf.get(9..9 + length)?.to_vec();
        buf.drain(..9 + length);
        let stream = u32::from_be_bytes([s1, s2, s3, s4]);
        Some(Self {
            kind,
            flags,
            stream,
            payload,
        })
    }

    /// The error code of `RST_STREAM`, or of GOAWAY.
    pub fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header block of literals without indexing (RFC 7541 section 6.2.2), whatever they hold.
pub fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for part in [name, value] {
            let length = part.len();
            if length < 127 {
                bytes.push(u8::try_from(length).unwrap());
            } else {
                bytes.push(127);
                let mut rest = length - 127;
                while rest >= 128 {
                    bytes.push(u8::try_from(rest % 128).unwrap() | 128);
                    rest /= 128;
                }
                bytes.push(u8::try_from(rest).unwrap());
            }
            bytes.extend_from_slice(part);
        }
    }
    bytes
}

/// A client that sends any bytes.
pub struct Raw {
    pub conn: Conn,
}

impl Raw {
    /// After TLS with ALPN h2, and nothing else.
    pub async fn bare(tap: &Tap) -> Self {
        let addr = tap.addr(Face::Tls);
        let conn = client::connect_tls(addr, &offering(tap, b"h2")).await;
        Self { conn }
    }

    /// With the preface and its settings exchanged.
    pub async fn connect(tap: &Tap) -> Self {
        let mut raw = Self::bare(tap).await;
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(SETTINGS, 0, 0, &[]));
        bytes.extend(frame(SETTINGS, ACK, 0, &[]));
        raw.conn.send(&bytes).await.unwrap();
        raw
    }

    /// The usual pseudo-headers, with these in their place or after them.
    pub async fn request(&mut self, stream: u32, fields: &[(&[u8], &[u8])]) {
        let mut all: Vec<(&[u8], &[u8])> = vec![
            (b":method", b"GET"),
            (b":scheme", b"https"),
            (b":authority", b"localhost"),
            (b":path", b"/"),
        ];
        for (name, value) in fields {
            match all.iter_mut().find(|(known, _)| known == name) {
                Some(place) => place.1 = value,
                None => all.push((name, value)),
            }
        }
        let flags = END_STREAM | END_HEADERS;
        let bytes = frame(HEADERS, flags, stream, &block(&all));
        self.conn.send(&bytes).await.unwrap();
    }

    /// The next frame that is like this; the ones before it are passed over.
    pub async fn find(&mut self, what: &str, is_it: impl Fn(&RawFrame) -> bool) -> RawFrame {
        loop {
            match self.next().await {
                Some(frame) if is_it(&frame) => return frame,
                Some(_) => {}
                None => panic!("the connection ended before {what}"),
            }
        }
    }

    /// The next frame; `None` at the end.
    pub async fn next(&mut self) -> Option<RawFrame> {
        loop {
            if let Some(frame) = RawFrame::take(&mut self.conn.buf) {
                return Some(frame);
            }
            let Conn { wire, buf, .. } = &mut self.conn;
            within("a frame", wire.read_some(buf)).await.ok()?;
        }
    }

    /// The first frame that says how this stream, or the connection, was refused or answered.
    pub async fn verdict(&mut self, stream: u32) -> RawFrame {
        self.find("an answer", |frame| {
            frame.kind == GOAWAY
                || (frame.stream == stream && matches!(frame.kind, HEADERS | RST_STREAM))
        })
        .await
    }
}
