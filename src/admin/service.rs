//! The pages of the admin listener: maps requests to answers.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use jiff::Timestamp;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::exposition::{self, Facts};
use super::guard::{self, Refusal};
use super::open;
use super::ready::{self, ListenerFacts, Ready};
use super::reloads::Reloads;
use crate::config::Admin;
use crate::session::moment::Moment;
use crate::sink::RecordPipeline;
use crate::upstream::Dialler;

/// The paths that the service answers.
const PATHS: &str = "/healthz, /readyz, /metrics, /sessions";

/// Browsers must not expose the answers to other pages; for the same reason there are no CORS
/// headers.
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Answers the requests of the admin listener.
#[derive(Debug)]
pub(crate) struct AdminService {
    admin: Admin,
    ready: Ready,
    draining: CancellationToken,
    pipeline: Arc<RecordPipeline>,
    now: NowReader,
    started: Instant,
    started_at: Timestamp,
}

/// The current state of the tap.
#[derive(Clone, Debug)]
pub(crate) struct Now {
    /// Client connections and tunnels that are open.
    pub connections: usize,
    /// Connections that have no session yet.
    pub handshakes: usize,
    /// Dials the gateway.
    pub dialler: Dialler,
    /// Outcomes of reloads.
    pub reloads: Reloads,
}

/// Reads the state of a tap. The tap's layer is beside this one, so this is a callback.
pub(crate) struct NowReader(pub Box<dyn Fn() -> Now + Send + Sync>);

impl std::fmt::Debug for NowReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NowReader")
    }
}

/// The parts of an [`AdminService`].
#[derive(Debug)]
pub(crate) struct Parts {
    /// The listener's section of the configuration.
    pub admin: Admin,
    /// The listeners of the tap.
    pub listeners: Vec<ListenerFacts>,
    /// Cancelled when the tap shuts down.
    pub draining: CancellationToken,
    /// Counts records and knows the open sessions.
    pub pipeline: Arc<RecordPipeline>,
    /// Where TLS secrets are written, if anywhere.
    pub tls_keylog: Option<PathBuf>,
    /// The other facts, which change.
    pub now: NowReader,
}

impl AdminService {
    /// A service for a tap whose sockets are bound.
    #[must_use]
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts {
            admin,
            listeners,
            draining,
            pipeline,
            tls_keylog,
            now,
        } = parts;
        Self {
            admin,
            ready: Ready::new(listeners, tls_keylog),
            draining,
            pipeline,
            now,
            started: Instant::now(),
            started_at: Timestamp::now(),
        }
    }

    /// Answers one request that came to the address `reached`. Its body is ignored.
    pub(super) async fn answer<B>(
        &self,
        request: Request<B>,
        reached: IpAddr,
    ) -> Response<Full<Bytes>> {
        if let Err(refusal) = guard::admit(&self.admin, &request, reached) {
            return refused(refusal);
        }
        match request.uri().path() {
            "/healthz" => self.health(),
            "/readyz" => self.readiness().await,
            "/metrics" => self.metrics(),
            "/sessions" => self.sessions().await,
            _ => text(
                StatusCode::NOT_FOUND,
                format!("wstap: not found; the paths are {PATHS}\n"),
            ),
        }
    }

    fn health(&self) -> Response<Full<Bytes>> {
        let body = json!({
            "status": "ok",
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_s": self.started.elapsed().as_secs(),
            "draining": self.draining.is_cancelled(),
        });
        as_json(StatusCode::OK, &body)
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let Now {
            connections,
            handshakes,
            dialler,
            reloads,
        } = (self.now.0)();
        let live = self.pipeline.live();
        let facts = Facts {
            counts: self.pipeline.metrics().counts(),
            traffic: live.traffic(),
            added: live.added(),
            phases: live.phases().to_vec(),
            connections,
            handshakes,
            dropped: self.pipeline.lost(),
            certificates: self.ready.expiries(),
            gateway: ready::gateway_is_up(&dialler),
            reloads,
            draining: self.draining.is_cancelled(),
            started: self.started_at.as_second(),
        };
        let page = exposition::text(&facts).into_bytes();
        response(StatusCode::OK, exposition::CONTENT_TYPE, page)
    }

    /// Built on a blocking thread: a long list must not delay the sessions of a worker.
    async fn sessions(&self) -> Response<Full<Bytes>> {
        let pipeline = Arc::clone(&self.pipeline);
        let made = tokio::task::spawn_blocking(move || {
            let sessions = open::look(&pipeline, Moment(Timestamp::now()));
            as_json(StatusCode::OK, &sessions)
        });
        made.await.unwrap_or_else(|error| {
            tracing::error!(%error, "failed to build the list of sessions");
            response(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", Vec::new())
        })
    }

    async fn readiness(&self) -> Response<Full<Bytes>> {
        let readiness = {
            let now = (self.now.0)();
            self.ready
                .ask(&now.dialler, self.draining.is_cancelled())
                .await
        };
        let status = if readiness.ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        as_json(status, &readiness)
    }
}

fn refused(refusal: Refusal) -> Response<Full<Bytes>> {
    let mut response = text(refusal.status(), format!("wstap: {refusal}\n"));
    let headers = response.headers_mut();
    match refusal {
        Refusal::Method => {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        Refusal::Token => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        Refusal::NoHost | Refusal::Host => {}
    }
    response
}

fn as_json(status: StatusCode, body: &impl serde::Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_vec(body) {
        Ok(mut body) => {
            body.push(b'\n');
            response(status, "application/json", body)
        }
        Err(error) => {
            tracing::error!(%error, "failed to write an answer of the admin listener");
            response(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", Vec::new())
        }
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", body.into_bytes())
}

fn response(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (RESOURCE_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
