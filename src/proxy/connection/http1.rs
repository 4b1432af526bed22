//! HTTP/1 with a client: the gate, hyper after it, and the endings of connections outside of any
//! request.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::time::timeout_at;
use tower::ServiceExt;

use crate::admission::head;
use crate::proxy::connection::Connection;
use crate::proxy::connection::early::{self, Awaited, Early, Why};
use crate::proxy::connection::gate::Gate;
use crate::proxy::connection::state::EndOfConnection;
use crate::proxy::request::body::Body;
use crate::proxy::request::from_client::FromClient;
use crate::proxy::request::layers::record;
use crate::proxy::request::stack;
use crate::proxy::tap::Tap;
use crate::proxy::tap::current::Current;
use crate::proxy::tunnel::client_leg::Offered;
use crate::session::record::{HeadFault, TimerKey};
use crate::transport::clock;
use crate::transport::sensor::Sensor;

/// hyper's minimum buffer size.
const MIN_BUFFER: usize = 8 * 1024;

/// Serves the requests of a connection and records an ending that no request explains. Each request
/// is served under the configuration that is current when it comes; the limits on heads are those
/// from the start of the connection.
pub(crate) async fn serve(
    current: &Arc<Current>,
    tap: &Arc<Tap>,
    connection: Arc<Connection>,
    sensor: Sensor,
) {
    let _parting = EndOfConnection::of(&connection.state);
    let limits = tap.config.limits();
    let timeouts = tap.config.timeouts();
    let heads = head::Limits {
        bytes: limits.head_bytes,
        fields: limits.headers,
    };
    let gate = Gate::new(sensor, Arc::clone(&connection), heads, &timeouts);
    let about = Arc::clone(&connection);
    let now = Arc::clone(current);
    // The upgrade offer of the last request, if no 101 took it.
    let refused = Arc::<Mutex<Option<Offered>>>::default();
    let put = Arc::clone(&refused);
    let service = service_fn(move |mut request: http::Request<Incoming>| {
        let offered = Offered::of(&mut request);
        let extensions = request.extensions_mut();
        if let Some(offered) = &offered {
            extensions.insert(offered.clone());
        }
        let answering = stack(&now.tap(), &about).oneshot(request.map(FromClient::Http1));
        let put = Arc::clone(&put);
        async move {
            let answer = answering.await;
            let switches = |answer: &http::Response<Body>| {
                answer.status() == http::StatusCode::SWITCHING_PROTOCOLS
            };
            if offered.is_some() && !answer.as_ref().is_ok_and(switches) {
                *put.lock().unwrap_or_else(PoisonError::into_inner) = offered;
            }
            answer
        }
    });
    let mut serving = pin!(
        http1::Builder::new()
            // The gate has the timer and the limits for heads.
            .header_read_timeout(None)
            .max_buf_size(limits.head_bytes.max(MIN_BUFFER))
            .max_headers(limits.headers)
            .preserve_header_case(true)
            // The gateway's answers go out unchanged; the gateway sets `Date` itself.
            .auto_date_header(false)
            .serve_connection(TokioIo::new(gate), service)
            .with_upgrades()
    );
    let served = tokio::select! {
        served = &mut serving => Some(served),
        () = tap.drain.token().cancelled() => {
            serving.as_mut().graceful_shutdown();
            let deadline = tap.drain.plan().deadline;
            if connection.state.heads.in_flight() > 0 {
                timeout_at(deadline.into(), &mut serving).await.ok()
            } else {
                // Nothing is under way except perhaps an incomplete head, which we do not wait for.
                None
            }
        }
    };
    let refused = refused
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let (Some(refused), Some(Ok(()))) = (refused, &served) {
        refused.end().await;
    }
    let served = served.unwrap_or(Ok(()));
    let untaken = connection.state.heads.take();
    if let Some(seen) = &untaken
        && !served.as_ref().is_err_and(hyper::Error::is_parse)
    {
        return record::never_served(tap, &connection, seen);
    }
    if let Some(ending) = unexplained(&connection, served.err().as_ref(), untaken.is_some()) {
        record_unexplained(tap, &connection, &ending);
    }
}

/// How a connection ended outside of any request.
enum Unexplained {
    /// The peer left, whether or not it had sent something.
    Left,
    /// `timeouts.request_head` ran out before the first byte came.
    HeadTimeout(Duration),
    /// hyper has answered 400.
    Malformed(String),
    /// We are shutting down.
    Drained,
}

fn unexplained(
    connection: &Connection,
    error: Option<&hyper::Error>,
    untaken: bool,
) -> Option<Unexplained> {
    let heads = &connection.state.heads;
    if let Some(error) = error.filter(|error| error.is_parse() && untaken) {
        // Should not happen: hyper accepts every head that passes the check.
        tracing::error!(%error, "hyper refused a head that had passed the check");
        return Some(Unexplained::Malformed(error.to_string()));
    }
    if heads.in_flight() > 0 {
        return None;
    }
    let never_used = heads.is_first();
    if let Some(waited) = heads.waited_in_vain() {
        // A connection that was used before and then stayed idle is closed without a record.
        return never_used.then_some(Unexplained::HeadTimeout(waited));
    }
    let end = connection.state.sensed.end();
    let broken =
        (end.as_ref()).is_some_and(|end| end.cause.as_ref().is_some_and(|it| it.fault().is_some()));
    if !never_used && !heads.has_partial() && !broken {
        return None;
    }
    let ours = end.is_none();
    let drained = connection.state.is_draining() && ours;
    if ours && !drained && !never_used {
        // The previous answer ended the connection; bytes after it are not a request.
        return None;
    }
    Some(if drained {
        Unexplained::Drained
    } else {
        Unexplained::Left
    })
}

fn record_unexplained(tap: &Tap, connection: &Arc<Connection>, ending: &Unexplained) {
    let first_use = connection.state.heads.is_first();
    let anchor = if first_use {
        connection.accepted
    } else {
        clock::anchor()
    };
    let limit = tap.config.timeouts().request_head;
    let why = match ending {
        Unexplained::Left => Why::Left,
        Unexplained::Drained => Why::Drained,
        Unexplained::HeadTimeout(waited) => Why::TimedOut(TimerKey::RequestHead, limit, *waited),
        Unexplained::Malformed(detail) => Why::Refused(HeadFault::NotHttp, None, detail.clone()),
    };
    let early = Early {
        awaited: Awaited::Head,
        first: Some(connection.state.sensed.first_bytes()),
        why,
        end: (connection.state.sensed.end()).map(|end| (end.kind, end.cause, end.at)),
    };
    let session = early::record(tap, connection, anchor, early);
    if let Unexplained::Malformed(_) = ending {
        session
            .record()
            .answered_by_tap(400, Some("http_request_error"));
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::proxy::connection::session::tests::tap_before;
    use crate::transport::impossible::{Impossible, test_only};
    use crate::transport::stream::Stream;
    use crate::ws::handshake::accept_key;

    async fn head(stream: &mut TcpStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
    }

    /// These bytes would be lost with hyper's buffer.
    #[tokio::test]
    async fn bytes_that_hyper_keeps_behind_a_head_are_a_fault() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gateway = listener.local_addr().unwrap();
        let (tap, records) = tap_before(&gateway.to_string());
        let connection = tap.connection_of("127.0.0.1:1".parse().unwrap());
        let clients = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = clients.local_addr().unwrap();
        let (near, client) = tokio::join!(clients.accept(), TcpStream::connect(addr));
        let (sensor, _) = Sensor::new(Stream::Tcp(near.unwrap().0));
        let current = Arc::new(Current::new(Arc::clone(&tap)));
        // On this thread: lengths are made wrong per thread.
        let serving = tokio::spawn(async move { serve(&current, &tap, connection, sensor).await });
        let mut client = client.unwrap();
        let asks = "GET / HTTP/1.1\r\nHost: gw\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
        client.write_all(asks.as_bytes()).await.unwrap();
        let (mut gateway, _) = listener.accept().await.unwrap();
        head(&mut gateway).await;
        test_only::make_wrong(Impossible::ReadAhead, 0);
        let accept = accept_key(b"AAAAAAAAAAAAAAAAAAAAAA==");
        let switches = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        gateway.write_all(switches.as_bytes()).await.unwrap();
        head(&mut client).await;
        assert_eq!(client.read(&mut [0; 8]).await.unwrap_or(0), 0);
        serving.await.unwrap();
        let record = records.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(record.verdict.unwrap().rule, "tap.fault.bug");
        let bug = Impossible::ReadAhead.to_string();
        assert_eq!(record.close.fault, Some(bug));
    }
}
