//! The innermost service: passes a request to the gateway and its answer back.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use http::{Request, Response, Version};

use crate::admission::head::Asks;
use crate::proxy::connection::Connection;
use crate::proxy::connection::session::SessionHandle;
use crate::proxy::request::body::{Body, note_slow};
use crate::proxy::request::error::Failure;
use crate::proxy::request::exchange::{
    dial, dial_failed, is_no_turn_of_a_loop, no_answer, note_dial, note_head, pass_on, prepare,
};
use crate::proxy::request::forwarded;
use crate::proxy::request::forwarded::GatewayPath;
use crate::proxy::request::from_client::FromClient;
use crate::proxy::request::layers::asks;
use crate::proxy::request::progress::Progress;
use crate::proxy::tap::Tap;
use crate::proxy::tap::loops::{CameBack, Marks, Turn};
use crate::proxy::tunnel::upgrade;
use crate::session::moment::millis;
use crate::session::party::Leg;
use crate::session::record::gateway::RetriedFacts;
use crate::session::record::{GatewayError, GatewayErrorKind as Kind, TransportEnd};
use crate::upstream::pool::{PooledConnection, SendError, Step};

/// Proxies requests.
#[derive(Clone, Debug)]
pub(crate) struct Forward {
    tap: Arc<Tap>,
}

impl Forward {
    pub(crate) fn new(tap: &Arc<Tap>) -> Self {
        Self {
            tap: Arc::clone(tap),
        }
    }
}

impl tower::Service<Request<FromClient>> for Forward {
    type Response = Response<Body>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<FromClient>) -> Self::Future {
        let tap = Arc::clone(&self.tap);
        let extensions = request.extensions_mut();
        let session = extensions.remove::<SessionHandle>();
        let connection = extensions.remove::<Arc<Connection>>();
        Box::pin(async move {
            let (Some(session), Some(connection)) = (session, connection) else {
                return Err(Failure::Internal("a request has no session".to_owned()));
            };
            let marks = if connection.is_redirected() {
                Marks::Never
            } else {
                Marks::Similar
            };
            let turn = tap
                .loops
                .enter(&mut request, marks)
                .map_err(|CameBack| Failure::Loop)?;
            match asks(&request) {
                Asks::WebSocket => {
                    upgrade::attempt(&tap, &connection, session, request, &turn).await
                }
                Asks::StrippedWebSocket | Asks::Nothing => {
                    plain(&tap, &connection, session, request, &turn).await
                }
            }
        })
    }
}

async fn plain(
    tap: &Tap,
    connection: &Connection,
    session: SessionHandle,
    request: Request<FromClient>,
    turn: &Turn,
) -> Result<Response<Body>, Failure> {
    let (mut head, body) = request.into_parts();
    prepare(tap, &session, &mut head.headers, false);
    let way = way(tap, connection, &session).await?;
    let reach = forwarded::apply(tap, connection, &session, &mut head.headers, &way)?;
    let client_version = std::mem::replace(&mut head.version, Version::HTTP_11);
    let stripped_websocket = session.record().is_websocket();
    let progress: Arc<Progress> = head.extensions.remove().unwrap_or_default();
    let timeouts = tap.config.timeouts();
    let body = Body::request(body, Arc::clone(&progress), timeouts.request_body);
    let started = Instant::now();
    let mut request = Request::from_parts(head, body);
    connection
        .state
        .interim
        .listen(&mut request, client_version);
    let step = |step: Step<'_>| note_step(tap, &session, &step);
    let sending = tap.pool_for(connection).send(request, reach, step);
    let sent = connection.state.interim.before(sending).await;
    let response = sent.map_err(|error| {
        if let Some(slow) = progress.was_too_slow() {
            note_slow(&session, slow);
            return Failure::SlowBody;
        }
        // The exchange may have failed because the client's body could not be read.
        unreadable_body(connection, &session, &error)
            .unwrap_or_else(|| failed(tap, &session, error))
    })?;
    note_head(&session, &response, started);
    tap.attribution.answered(response.status());
    is_no_turn_of_a_loop(&response, turn)?;
    if response.status() == http::StatusCode::SWITCHING_PROTOCOLS {
        let kind = Kind::BadUpgrade;
        let detail = "a 101 came for a request that asked for no WebSocket".to_owned();
        return Err(Failure::Gateway(GatewayError { kind, detail }));
    }
    Ok(pass_on(
        session,
        response,
        (progress, timeouts.idle),
        stripped_websocket,
    ))
}

/// Why the client's body could not be read to its end, if that is why there is no answer.
fn unreadable_body(
    connection: &Connection,
    session: &SessionHandle,
    error: &SendError,
) -> Option<Failure> {
    if let Some(refusal) = connection.state.heads.broken_body() {
        return Some(Failure::Head(refusal));
    }
    let of_body = matches!(error, SendError::NoAnswer { error, .. } if error.is_user());
    let end = connection.state.sensed.end().filter(|_| of_body)?;
    session
        .record()
        .leg_ended(Leg::Client, end.kind, end.cause, end.at);
    Some(Failure::CutBody)
}

/// The path of a plain request, which uses the pool. For a client on our own host we need the
/// address under which a gateway on another host sees us; if no connection has shown it yet, one is
/// made to learn it.
async fn way(
    tap: &Tap,
    connection: &Connection,
    session: &SessionHandle,
) -> Result<GatewayPath, Failure> {
    let own_host = connection.peer().ip().is_loopback();
    if own_host && !tap.config.gateway().is_local() && tap.attribution.our_ip().is_none() {
        dial(tap, connection, session).await?;
    }
    Ok(GatewayPath::pooled(tap))
}

/// Records the steps of a request on its way to the gateway.
fn note_step(tap: &Tap, session: &SessionHandle, step: &Step<'_>) {
    match step {
        Step::Connected { connection, kept } => {
            note_dial(session, &connection.facts);
            tap.attribution.reached(&connection.facts);
            session.record().connection_chosen(*kept);
        }
        Step::Repeated {
            connection,
            kept,
            waited,
        } => {
            let end = connection.sensed.end();
            let retried = RetriedFacts {
                local_addr: connection.facts.local_addr.clone(),
                kept_ms: millis(*kept),
                waited_ms: millis(*waited),
                end: end.map_or(TransportEnd::None, |end| end.kind),
            };
            session.record().retried(retried);
        }
    }
}

/// Why a request on a pooled connection failed.
fn failed(tap: &Tap, session: &SessionHandle, error: SendError) -> Failure {
    match error {
        SendError::Dial(failed) => {
            tap.attribution.lost();
            dial_failed(session, &failed, tap.config.timeouts().connect);
            Failure::Gateway(failed.error)
        }
        SendError::SeenAsLocal(facts) => {
            // For the headers of the next requests.
            tap.attribution.reached(&facts);
            note_dial(session, &facts);
            let addr = facts.addr.unwrap_or_default();
            Failure::RemoteAsLocal { addr }
        }
        SendError::NoAnswer {
            connection: PooledConnection { sensed, .. },
            came_before,
            error,
        } => no_answer(session, Some(&sensed), came_before, &error.to_string()),
    }
}
