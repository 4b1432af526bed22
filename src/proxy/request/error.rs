//! Why a request could not be served, and the one answer that each reason gets.

use std::borrow::Cow;

use http::StatusCode;

use crate::admission::head::Refusal;
use crate::session::record::{DeniedKey, GatewayError, GatewayErrorKind as Kind, HeadFault};

/// Our policy refused it (RFC 9209 section 2.3.22).
pub(crate) const DENIED: &str = "http_request_denied";

/// A request that the tap itself answers.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The gateway gave no usable answer.
    #[error("failed to get an answer from the gateway: {}", .0.detail)]
    Gateway(GatewayError),
    /// A timer of ours ended the wait for the gateway.
    #[error("failed to get an answer from the gateway in time")]
    GatewayTimeout,
    /// The check of the request's head refused it.
    #[error("failed to take the request: {}", .0.detail)]
    Head(Refusal),
    /// The gateway would treat a remote client as local.
    #[error("failed to pass the request on: the gateway at {addr} would take its client for local")]
    RemoteAsLocal {
        /// The gateway's address that we connected to.
        addr: String,
    },
    /// The client's connection ended in the middle of its request's body.
    #[error("failed to read the request's body: the client ended the connection too early")]
    CutBody,
    /// The client sent a part of its request's body and then nothing for too long.
    #[error("failed to read the request's body: nothing came for timeouts.idle")]
    SlowBody,
    /// Our policy refuses a well-formed request.
    #[error("failed to let the request in: {text}")]
    Denied {
        /// For the reader of the body.
        text: String,
    },
    /// The request came on a connection that was opened for another host (RFC 9110 section
    /// 15.5.20).
    #[error("failed to take the request: {0}")]
    Misdirected(String),
    /// The request has passed through this tap before.
    #[error("failed to pass the request on: gateway.url leads back to this tap")]
    Loop,
    /// The client already has too many sessions.
    #[error("failed to take the request: limits.per_client is reached")]
    TooMany,
    /// All clients together have too many sessions.
    #[error("failed to take the request: {0} is reached")]
    Full(DeniedKey),
    /// The tap is shutting down.
    #[error("failed to take the request: the tap is shutting down")]
    Draining,
    /// A bug of ours.
    #[error("failed inside wstap: {0}")]
    Internal(String),
}

/// The answer for a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// HTTP status.
    pub(crate) status: StatusCode,
    /// Error type as registered for `Proxy-Status` (RFC 9209 section 2.3).
    pub(crate) proxy_error: &'static str,
    /// Text for the reader of the body. No address, name or path of the inner network.
    pub(crate) text: Cow<'static, str>,
}

impl Failure {
    /// The one place that maps a failure to an answer.
    pub(crate) fn answer(&self) -> Answer {
        let (status, proxy_error, text) = match self {
            Self::Gateway(error) => return gateway_answer(error.kind),
            Self::Denied { text } => {
                return Answer {
                    status: StatusCode::FORBIDDEN,
                    proxy_error: DENIED,
                    text: Cow::Owned(text.clone()),
                };
            }
            Self::Misdirected(detail) => {
                return Answer {
                    status: StatusCode::MISDIRECTED_REQUEST,
                    proxy_error: DENIED,
                    text: Cow::Owned(format!(
                        "{detail}; connect again for the host that you want"
                    )),
                };
            }
            Self::GatewayTimeout => (
                StatusCode::GATEWAY_TIMEOUT,
                "http_response_timeout",
                "the gateway took the request and did not answer in time",
            ),
            Self::Head(refusal) => return head_answer(refusal),
            Self::CutBody => (
                StatusCode::BAD_REQUEST,
                "http_request_error",
                "the connection ended in the middle of the request's body",
            ),
            Self::SlowBody => (
                StatusCode::REQUEST_TIMEOUT,
                "http_request_error",
                "the rest of the request's body did not come in time",
            ),
            Self::RemoteAsLocal { .. } => (
                StatusCode::FORBIDDEN,
                DENIED,
                "passed on, this request would look local to the gateway \
                 (gateway.allow_remote_as_local)",
            ),
            Self::Loop => (
                StatusCode::LOOP_DETECTED,
                "proxy_loop_detected",
                "the request came back to the proxy (gateway.url)",
            ),
            Self::Full(key) => {
                return Answer {
                    status: StatusCode::SERVICE_UNAVAILABLE,
                    proxy_error: "proxy_internal_response",
                    text: Cow::Owned(format!("too many sessions are open ({key})")),
                };
            }
            Self::TooMany => (
                StatusCode::TOO_MANY_REQUESTS,
                DENIED,
                "this client has too many sessions open (limits.per_client)",
            ),
            Self::Draining => (
                StatusCode::SERVICE_UNAVAILABLE,
                "proxy_internal_response",
                "the proxy is shutting down",
            ),
            Self::Internal(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "proxy_internal_error",
                "the proxy failed; this is a bug of wstap",
            ),
        };
        Answer {
            status,
            proxy_error,
            text: text.into(),
        }
    }
}

fn gateway_answer(kind: Kind) -> Answer {
    let (status, proxy_error, text) = match kind {
        Kind::Dns => (
            StatusCode::BAD_GATEWAY,
            "dns_error",
            "the gateway's name could not be resolved",
        ),
        Kind::Refused => (
            StatusCode::BAD_GATEWAY,
            "connection_refused",
            "the gateway refused the connection",
        ),
        Kind::Unreachable => (
            StatusCode::BAD_GATEWAY,
            "destination_ip_unroutable",
            "the gateway is not reachable",
        ),
        Kind::ConnectTimeout => (
            StatusCode::GATEWAY_TIMEOUT,
            "connection_timeout",
            "connecting to the gateway took too long",
        ),
        Kind::OpenFiles | Kind::SystemFiles | Kind::Memory | Kind::Watches | Kind::Ports => (
            StatusCode::SERVICE_UNAVAILABLE,
            "proxy_internal_error",
            "the proxy has reached a limit of its own host",
        ),
        Kind::NoAddress => (
            StatusCode::BAD_GATEWAY,
            "destination_ip_unroutable",
            "the proxy's host has no address of the gateway's address family",
        ),
        Kind::Forbidden => (
            StatusCode::BAD_GATEWAY,
            "destination_unavailable",
            "the proxy's host does not let it connect to the gateway",
        ),
        Kind::SocketMissing | Kind::SocketDenied | Kind::Backlog | Kind::Connect => (
            StatusCode::BAD_GATEWAY,
            "destination_unavailable",
            "the connection to the gateway failed",
        ),
        Kind::NotTls | Kind::TlsCut | Kind::Tls | Kind::TlsBroken | Kind::WantsTls => (
            StatusCode::BAD_GATEWAY,
            "tls_protocol_error",
            "TLS between proxy and gateway failed",
        ),
        Kind::CertificateUntrusted
        | Kind::CertificatePin
        | Kind::CertificateExpired
        | Kind::CertificateName => (
            StatusCode::BAD_GATEWAY,
            "tls_certificate_error",
            "the gateway's certificate was not accepted",
        ),
        Kind::ClosedBeforeStatus | Kind::ResetBeforeStatus | Kind::BodyIncomplete => (
            StatusCode::BAD_GATEWAY,
            "http_response_incomplete",
            "the gateway ended the connection without an answer",
        ),
        Kind::Unacknowledged => (
            StatusCode::GATEWAY_TIMEOUT,
            "connection_read_timeout",
            "the gateway's host no longer acknowledges the request",
        ),
        Kind::Unread => (
            StatusCode::GATEWAY_TIMEOUT,
            "connection_write_timeout",
            "the gateway read no more of the request",
        ),
        Kind::UpgradeTimeout => (
            StatusCode::GATEWAY_TIMEOUT,
            "http_response_timeout",
            "the gateway took the request and did not answer in time",
        ),
        Kind::AcceptKey | Kind::BadUpgrade => (
            StatusCode::BAD_GATEWAY,
            "http_upgrade_failed",
            "the server behind the proxy answered the upgrade incorrectly",
        ),
        Kind::NotHttp | Kind::Other => (
            StatusCode::BAD_GATEWAY,
            "http_protocol_error",
            "the server behind the proxy does not speak HTTP",
        ),
    };
    Answer {
        status,
        proxy_error,
        text: text.into(),
    }
}

fn head_answer(refusal: &Refusal) -> Answer {
    let status = match refusal.fault {
        HeadFault::HeadBytes | HeadFault::Headers => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        HeadFault::WebsocketVersion => StatusCode::UPGRADE_REQUIRED,
        HeadFault::TooSlow => StatusCode::REQUEST_TIMEOUT,
        HeadFault::ConnectProtocol => StatusCode::NOT_IMPLEMENTED,
        _ => StatusCode::BAD_REQUEST,
    };
    Answer {
        status,
        proxy_error: "http_request_error",
        text: refusal.detail.clone().into(),
    }
}
