//! One upgrade attempt: a dedicated connection to the gateway, the handshake, and the tunnel.
//!
//! The tunnel opens only on a 101 whose accept key answers the client's key (RFC 6455 section
//! 4.2.2); every other answer of the gateway is passed on unchanged, and the connection closes.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Instant;

use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use hyper::client::conn::http1;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tracing::Instrument as _;

use crate::dialect::{self, Dialect};
use crate::proxy::connection::Connection;
use crate::proxy::connection::session::{SessionHandle, client_ended};
use crate::proxy::request::body::Body;
use crate::proxy::request::error::Failure;
use crate::proxy::request::exchange::{
    dial, is_no_turn_of_a_loop, no_answer, note_dial, note_head, pass_on, prepare,
};
use crate::proxy::request::facts;
use crate::proxy::request::forwarded;
use crate::proxy::request::forwarded::GatewayPath;
use crate::proxy::request::from_client::FromClient;
use crate::proxy::request::headers::values;
use crate::proxy::request::layers::respond::SESSION_HEADER;
use crate::proxy::request::progress::Progress;
use crate::proxy::tap::Tap;
use crate::proxy::tap::loops::Turn;
use crate::proxy::tunnel::client_leg::ClientLeg;
use crate::proxy::tunnel::last_look::LastLook;
use crate::proxy::tunnel::relay::Relay;
use crate::session::party::Leg;
use crate::session::record::{GatewayError, GatewayErrorKind as Kind};
use crate::transport::impossible::Impossible;
use crate::transport::sensed::Sensed;
use crate::transport::wire::Wire;
use crate::ws::extensions::Extensions;
use crate::ws::handshake::{accept_key, list_has_token};

/// Passes an upgrade request to the gateway.
pub(crate) async fn attempt(
    tap: &Arc<Tap>,
    connection: &Arc<Connection>,
    session: SessionHandle,
    mut request: Request<FromClient>,
    turn: &Turn,
) -> Result<Response<Body>, Failure> {
    let client = ClientLeg::of(&mut request);
    let (mut head, body) = request.into_parts();
    prepare(tap, &session, &mut head.headers, true);
    head.version = Version::HTTP_11;
    let key = head.headers.get(SEC_WEBSOCKET_KEY).cloned();

    let (stream, facts) = dial(tap, connection, &session).await?;
    note_dial(&session, &facts);
    // How the gateway sees us is known only after the dial.
    let way = GatewayPath::dialled(tap, &facts);
    forwarded::apply(tap, connection, &session, &mut head.headers, &way)?;
    let (stream, sensed) = LastLook::new(stream, session.clone());
    let handshake = http1::Builder::new()
        .preserve_header_case(true)
        .max_headers(1024)
        .handshake::<_, Body>(TokioIo::new(stream))
        .await;
    let (mut sender, driver) =
        handshake.map_err(|error| no_answer(&session, Some(&sensed), 0, &error.to_string()))?;
    // Drives the connection until the upgrade; only a refusal's body needs its own task.
    let mut driver = Box::pin(async move {
        if let Err(error) = driver.with_upgrades().await {
            tracing::trace!(%error, "a connection to the gateway ended");
        }
    });

    let progress = Arc::<Progress>::default();
    let timeouts = tap.config.timeouts();
    let body = Body::request(body, Arc::clone(&progress), timeouts.request_body);
    let sent = Instant::now();
    let target = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let reader = dialect::reader(tap.dialect(), &tap.fingerprinter, target);
    let mut request = Request::from_parts(head, body);
    connection
        .state
        .interim
        .listen(&mut request, Version::HTTP_11);
    let sending = sender.send_request(request);
    let answering = connection.state.interim.before(sending);
    let (answered, is_through) = driven_by(&mut driver, answering).await;
    if !is_through {
        tap.tasks.spawn(driver.in_current_span());
    }
    let mut response =
        answered.map_err(|error| no_answer(&session, Some(&sensed), 0, &error.to_string()))?;
    note_head(&session, &response, sent);
    tap.attribution.answered(response.status());
    is_no_turn_of_a_loop(&response, turn)?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        session.record().leg_refused(Leg::Gateway, Instant::now());
        let mut response = pass_on(session, response, (progress, timeouts.idle), true);
        // Bytes that the client sent after the upgrade request are not another request to us.
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
        return Ok(response);
    }
    verify(response.headers(), key.as_ref()).map_err(Failure::Gateway)?;
    session
        .record()
        .subprotocol_chosen(facts::masked(response.headers(), &SEC_WEBSOCKET_PROTOCOL));
    let gateway = hyper::upgrade::on(&mut response);
    let tunnel = Tunnel {
        tap: Arc::clone(tap),
        extensions: Extensions::from_response(values(
            response.headers(),
            &SEC_WEBSOCKET_EXTENSIONS,
        )),
        reader,
        session: session.clone(),
        sensed: Arc::clone(&connection.state.sensed),
    };
    tracing::debug!("upgraded");
    tap.tasks
        .spawn(tunnel.run(client, gateway).in_current_span());
    // The gateway's own head, including the spelling of its headers.
    let mut answer = response.map(|_| Body::Empty);
    if tap.config.session_header()
        && let Ok(id) = HeaderValue::from_str(&session.id())
    {
        answer.headers_mut().insert(SESSION_HEADER, id);
    }
    Ok(answer)
}

/// Waits for an answer while the same task drives its connection. Returns the answer, and whether
/// the connection is finished, as it is after a 101.
async fn driven_by<T>(
    driver: &mut (impl Future<Output = ()> + Unpin),
    answer: impl Future<Output = T>,
) -> (T, bool) {
    let (mut answer, mut is_through) = (pin!(answer), false);
    let answer = poll_fn(|cx| {
        is_through = is_through || Pin::new(&mut *driver).poll(cx).is_ready();
        answer.as_mut().poll(cx)
    });
    (answer.await, is_through)
}

/// Whether a 101 really agrees to this client's upgrade.
fn verify(headers: &HeaderMap, key: Option<&HeaderValue>) -> Result<(), GatewayError> {
    let fail = |kind, detail: &str| {
        Err(GatewayError {
            kind,
            detail: detail.to_owned(),
        })
    };
    if !list_has_token(values(headers, &UPGRADE), "websocket")
        || !list_has_token(values(headers, &CONNECTION), "upgrade")
    {
        return fail(
            Kind::BadUpgrade,
            "the 101 does not say that it switches to WebSocket",
        );
    }
    let Some(key) = key else {
        return fail(Kind::AcceptKey, "the client sent no Sec-WebSocket-Key");
    };
    let mut accepts = headers.get_all(SEC_WEBSOCKET_ACCEPT).iter();
    match (accepts.next(), accepts.next()) {
        (None, _) => fail(Kind::AcceptKey, "the 101 has no Sec-WebSocket-Accept"),
        (Some(_), Some(_)) => fail(
            Kind::AcceptKey,
            "the 101 has two Sec-WebSocket-Accept headers",
        ),
        (Some(accept), None)
            if accept.as_bytes().trim_ascii() == accept_key(key.as_bytes()).as_bytes() =>
        {
            Ok(())
        }
        _ => fail(
            Kind::AcceptKey,
            "the 101's Sec-WebSocket-Accept does not answer the client's key",
        ),
    }
}

/// What a tunnel needs once both sides are upgraded.
struct Tunnel {
    tap: Arc<Tap>,
    extensions: Extensions,
    reader: Box<dyn Dialect>,
    session: SessionHandle,
    /// How the client's connection ended, if it has ended.
    sensed: Arc<Sensed>,
}

impl Tunnel {
    /// The tunnel's task: first it opens the tunnel, then frees the memory for that and runs only
    /// the relay.
    fn run(self, client: ClientLeg, gateway: OnUpgrade) -> impl Future<Output = ()> + Send {
        let opening = Box::pin(self.open(client, gateway));
        async move {
            if let Some(relay) = opening.await {
                relay.await;
            }
        }
    }

    async fn open(
        self,
        client: ClientLeg,
        gateway: OnUpgrade,
    ) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        let Self {
            tap,
            extensions,
            reader,
            session,
            sensed,
        } = self;
        // The client's side is ready once hyper has written the 101. If the client left before
        // that, dropping the session records it.
        let client = client.ready().await?;
        let ended = sensed.end();
        session.record().tunnel_opened();
        if let Some(ended) = ended {
            // The client's FIN came with its request; the relay would date it after the 101.
            client_ended(&mut session.record(), ended);
        }
        session.settle_as_tunnel();
        let gateway = match gateway.await {
            Ok(gateway) => gateway,
            Err(error) => {
                fault(&session, &error.to_string());
                return None;
            }
        };
        let legs = client
            .into_parts()
            .and_then(|client| Ok((client, gateway_wire(gateway)?)));
        let ((client, ahead), gateway) = match legs {
            Ok(legs) => legs,
            Err(bug) => {
                fault(&session, &bug.to_string());
                return None;
            }
        };
        let bounds = (tap.config.timeouts(), &tap.config.limits().session);
        let client = Wire::new(client, ahead);
        let relay = Relay::new(client, gateway, extensions, reader, bounds, session);
        Some(Box::pin(relay.run(Arc::clone(&tap.drain))))
    }
}

fn fault(session: &SessionHandle, what: &str) {
    tracing::error!(what, "a tunnel could not be opened");
    session.record().faulted(what.to_owned(), Instant::now());
}

/// Takes the gateway's stream back from hyper, with the bytes that hyper had already read.
fn gateway_wire(upgraded: Upgraded) -> Result<Wire, Impossible> {
    let parts = upgraded.downcast::<TokioIo<LastLook>>();
    let parts = parts.map_err(|_| Impossible::Upgraded)?;
    let stream = parts.io.into_inner().into_inner();
    Ok(Wire::new(
        stream.ok_or(Impossible::Upgraded)?,
        parts.read_buf,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The state for opening a tunnel is not kept while the relay runs.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn a_tunnels_task_is_a_pointer_to_its_relay() {
        fn of<A, B, C, F: Future>(_: impl FnOnce(A, B, C) -> F) -> usize {
            size_of::<F>()
        }
        let task = of(Tunnel::run);
        assert!(task <= 64, "it takes {task} bytes");
    }
}
