//! One stream: passes its request through the stack and the answer back, until the client resets
//! it.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, response};
use http_body::Body as _;
use tokio::sync::oneshot;
use tower::ServiceExt as _;

use crate::admission::head::{Asks, Limits, Refusal};
use crate::proxy::connection::Connection;
use crate::proxy::connection::heads::CheckedHead;
use crate::proxy::connection::http2::request::translate;
use crate::proxy::connection::state::EndOfConnection;
use crate::proxy::request::body::Body;
use crate::proxy::request::from_client::FromClient;
use crate::proxy::request::from_client::Upload;
use crate::proxy::request::stack;
use crate::proxy::tap::Tap;
use crate::proxy::tunnel::client_leg::Promised;
use crate::session::record::{HeadFault, TransportEnd};
use crate::transport::http2_stream::{Http2Stream, reset_cause};

/// Headers that an HTTP/2 answer must not have (RFC 9113 section 8.2.2).
const CONNECTION_SPECIFIC: [HeaderName; 6] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// The tunnel that a stream may become.
struct Tunnel {
    promise: oneshot::Sender<Http2Stream>,
    recv: RecvStream,
    /// The client sent a Sec-WebSocket-Key and checks the accept key.
    brought_key: bool,
}

/// A stream and what it belongs to.
pub(super) struct Exchange {
    tap: Arc<Tap>,
    /// The stream, as far as records and layers see it.
    stream: Arc<Connection>,
    /// The connection that carries it.
    carrier: Arc<Connection>,
    respond: SendResponse<Bytes>,
}

/// The client, or the failure of its connection, has broken off the stream.
struct Gone;

impl Exchange {
    pub(super) fn new(
        tap: Arc<Tap>,
        stream: Arc<Connection>,
        carrier: Arc<Connection>,
        respond: SendResponse<Bytes>,
    ) -> Self {
        Self {
            tap,
            stream,
            carrier,
            respond,
        }
    }

    pub(super) async fn run(mut self, request: Request<RecvStream>) {
        let _parting = EndOfConnection::of(&self.stream.state);
        let asks_head = request.method() == Method::HEAD;
        let (request, tunnel) = self.prepare(request);
        let service = stack(&self.tap, &self.stream);
        let mut answering = pin!(service.oneshot(request));
        let answer = poll_fn(|cx| self.poll_answer(cx, answering.as_mut())).await;
        if let Ok(answer) = answer {
            self.answer(answer, asks_head, tunnel).await;
        }
    }

    /// Returns the request in the form that the stack uses, and the tunnel that its answer may
    /// open.
    fn prepare(&self, request: Request<RecvStream>) -> (Request<FromClient>, Option<Tunnel>) {
        let (mut head, recv) = request.into_parts();
        let limits = self.tap.config.limits();
        let limits = Limits {
            bytes: limits.head_bytes,
            fields: limits.headers,
        };
        let connects = head.method == Method::CONNECT;
        let brought_key = head.headers.contains_key(SEC_WEBSOCKET_KEY);
        let checked = translate(&mut head, limits);
        let opens = checked.asks == Asks::WebSocket && checked.refusal.is_none();
        let waited = Duration::ZERO;
        self.stream
            .state
            .heads
            .push(CheckedHead { checked, waited });
        if opens {
            let (promised, promise) = Promised::new();
            head.extensions.insert(promised);
            let request = Request::from_parts(head, FromClient::None);
            let tunnel = Tunnel {
                promise,
                recv,
                brought_key,
            };
            return (request, Some(tunnel));
        }
        let body = if connects {
            FromClient::None
        } else {
            let expects = head.headers.get(EXPECT);
            let waits =
                expects.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
            FromClient::Http2(Upload::new(recv, Arc::clone(&self.stream.state), waits))
        };
        (Request::from_parts(head, body), None)
    }

    fn poll_answer<F>(
        &mut self,
        cx: &mut Context<'_>,
        answering: Pin<&mut F>,
    ) -> Poll<Result<Response<Body>, Gone>>
    where
        F: Future<Output = Result<Response<Body>, std::convert::Infallible>>,
    {
        let answer = answering.poll(cx);
        let interim = &self.stream.state.interim;
        for head in interim.take() {
            // If the client is gone, the code below reports it.
            let _ = self.respond.send_informational(head);
        }
        interim.written();
        match answer {
            Poll::Ready(Ok(answer)) => Poll::Ready(Ok(answer)),
            Poll::Ready(Err(never)) => match never {},
            Poll::Pending => {
                let broken = ready!(self.respond.poll_reset(cx));
                Poll::Ready(Err(self.gone(&broken)))
            }
        }
    }

    /// Records how the stream was broken off, before the tasks that work for it are dropped and
    /// read that.
    fn gone(&self, broken: &Result<Reason, h2::Error>) -> Gone {
        match broken {
            Ok(reason) => {
                let reason = *reason;
                if let Some(http2) = &self.stream.http2 {
                    http2.counts.cancelled();
                }
                if reason == Reason::PROTOCOL_ERROR {
                    let detail = "the stream broke the protocol: its body is not as long as its \
                                  Content-Length says, or its frames are malformed";
                    self.stream.state.heads.break_body(Refusal {
                        fault: HeadFault::Http2Stream,
                        detail: detail.to_owned(),
                        limit: None,
                        http2_error: Some(u32::from(reason).into()),
                    });
                }
                let cause = reset_cause(reason);
                self.stream
                    .state
                    .sensed
                    .ended(TransportEnd::Rst, Some(cause));
            }
            Err(_) => {
                if let Some(end) = self.carrier.state.sensed.end() {
                    self.stream.state.sensed.ended(end.kind, end.cause);
                }
            }
        }
        Gone
    }

    async fn answer(mut self, answer: Response<Body>, asks_head: bool, tunnel: Option<Tunnel>) {
        let (mut head, body) = answer.into_parts();
        let opens = head.status == StatusCode::SWITCHING_PROTOCOLS;
        let brought_key = tunnel.as_ref().is_some_and(|tunnel| tunnel.brought_key);
        adapt(&mut head, brought_key);
        if opens && let Some(Tunnel { promise, recv, .. }) = tunnel {
            let answer = Response::from_parts(head, ());
            // The dropped promise shows the code that waits for the tunnel that there is none.
            if let Ok(send) = self.respond.send_response(answer, false) {
                let carrier = Arc::clone(&self.carrier.state.sensed);
                let _ = promise.send(Http2Stream::new(send, recv, carrier));
            }
            return;
        }
        // The request's body is not wanted any more.
        drop(tunnel);
        let bodiless = asks_head
            || matches!(
                head.status,
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
            );
        let length = body.size_hint().exact();
        if let Some(length) = length.filter(|length| !bodiless || (asks_head && *length > 0))
            && !head.headers.contains_key(CONTENT_LENGTH)
        {
            head.headers
                .insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        let ends = bodiless || body.is_end_stream();
        match self
            .respond
            .send_response(Response::from_parts(head, ()), ends)
        {
            Ok(send) if !ends => {
                let mut pipe = Pipe {
                    body,
                    send,
                    waiting: Bytes::new(),
                };
                if let Err(broken) = poll_fn(|cx| pipe.poll(cx)).await {
                    self.gone(&broken);
                }
            }
            Ok(_) => {}
            Err(error) => {
                self.gone(&error.reason().ok_or(error));
                drop(body);
            }
        }
    }
}

/// The answer's head for HTTP/2. A 101 becomes the 200 of an extended CONNECT, which needs no
/// accept key (RFC 8441 section 5): only a client that `brought_key` gets one.
fn adapt(head: &mut response::Parts, brought_key: bool) {
    head.version = Version::HTTP_2;
    for name in &CONNECTION_SPECIFIC {
        head.headers.remove(name);
    }
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        head.status = StatusCode::OK;
        if !brought_key {
            head.headers.remove(SEC_WEBSOCKET_ACCEPT);
        }
        head.headers.remove(CONTENT_LENGTH);
    }
}

/// A body on its way into a stream, sent no faster than the client reads.
struct Pipe {
    body: Body,
    send: SendStream<Bytes>,
    waiting: Bytes,
}

impl Pipe {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Result<Reason, h2::Error>>> {
        loop {
            if let Poll::Ready(broken) = self.send.poll_reset(cx) {
                return Poll::Ready(Err(broken));
            }
            if !self.waiting.is_empty() {
                while self.send.capacity() == 0 {
                    match self.send.poll_capacity(cx) {
                        Poll::Ready(Some(Ok(_))) => {}
                        Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(Err(error))),
                        // The stream was reset; the next poll reports it.
                        Poll::Ready(None) => return Poll::Ready(Err(Ok(Reason::CANCEL))),
                        Poll::Pending => {
                            // A client may answer pings without reading: only its window shows that
                            // it reads.
                            ready!(self.body.poll_unread(cx));
                            self.send.send_reset(Reason::CANCEL);
                            return Poll::Ready(Ok(()));
                        }
                    }
                }
                let count = self.send.capacity().min(self.waiting.len());
                let now = self.waiting.split_to(count);
                self.send.send_data(now, false).map_err(Err)?;
                self.body.went_on();
                continue;
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => {
                    let sent = self.send.send_data(Bytes::new(), true);
                    return Poll::Ready(sent.map_err(Err));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        self.send.reserve_capacity(data.len());
                        self.waiting = data;
                    }
                    Err(frame) => {
                        if let Ok(trailers) = frame.into_trailers() {
                            let sent = self.send.send_trailers(trailers);
                            return Poll::Ready(sent.map_err(Err));
                        }
                    }
                },
                Some(Err(_)) => {
                    // The gateway's answer broke off, as the record already states.
                    self.send.send_reset(Reason::INTERNAL_ERROR);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}
