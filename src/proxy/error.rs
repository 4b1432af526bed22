//! Why a request could not be served, and the one answer that each reason gets.

use http::StatusCode;

use crate::session::record::{GatewayError, GatewayErrorKind as Kind};

/// A request that the tap itself answers.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The gateway gave no usable answer.
    #[error("failed to get an answer from the gateway: {}", .0.detail)]
    Gateway(GatewayError),
    /// A timer of ours ended the wait for the gateway.
    #[error("failed to get an answer from the gateway in time")]
    GatewayTimeout,
    /// The head is larger than we take.
    #[error("failed to take the request: its head is larger than {key} allows")]
    HeadTooLarge {
        /// The key of the configuration.
        key: &'static str,
    },
    /// A request that cannot be passed on as what it is.
    #[error("failed to take the request: {0}")]
    Malformed(&'static str),
    /// The gateway would take a remote client for local.
    #[error("failed to pass the request on: the gateway at {addr} would take its client for local")]
    RemoteAsLocal {
        /// The address that was connected.
        addr: String,
    },
    /// The tap is shutting down.
    #[error("failed to take the request: the tap is shutting down")]
    Draining,
    /// A bug of ours.
    #[error("failed inside wstap: {0}")]
    Internal(String),
}

/// The answer for a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// HTTP status.
    pub(super) status: StatusCode,
    /// Error type as registered for `Proxy-Status` (RFC 9209 section 2.3).
    pub(super) proxy_error: &'static str,
    /// For whoever reads the body. No address, name or path of the inner network.
    pub(super) text: &'static str,
}

impl Failure {
    /// The one place that maps a failure to an answer.
    pub(super) fn answer(&self) -> Answer {
        let (status, proxy_error, text) = match self {
            Self::Gateway(error) => return gateway_answer(error.kind),
            Self::GatewayTimeout => (
                StatusCode::GATEWAY_TIMEOUT,
                "http_response_timeout",
                "the gateway took the request and did not answer in time",
            ),
            Self::HeadTooLarge { .. } => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "http_request_error",
                "the request head is too large",
            ),
            Self::Malformed(what) => (StatusCode::BAD_REQUEST, "http_request_error", *what),
            Self::RemoteAsLocal { .. } => (
                StatusCode::BAD_GATEWAY,
                "destination_unavailable",
                "passed on, this request would look local to the gateway \
                 (gateway.allow_remote_as_local)",
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
            text,
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
            "the gateway could not be connected in time",
        ),
        Kind::SocketMissing | Kind::SocketDenied | Kind::Connect => (
            StatusCode::BAD_GATEWAY,
            "destination_unavailable",
            "the gateway could not be connected",
        ),
        Kind::NotTls | Kind::Tls | Kind::WantsTls => (
            StatusCode::BAD_GATEWAY,
            "tls_protocol_error",
            "TLS between proxy and gateway failed",
        ),
        Kind::CertificateUntrusted | Kind::CertificateExpired | Kind::CertificateName => (
            StatusCode::BAD_GATEWAY,
            "tls_certificate_error",
            "the gateway's certificate was not accepted",
        ),
        Kind::ClosedBeforeStatus | Kind::ResetBeforeStatus | Kind::BodyIncomplete => (
            StatusCode::BAD_GATEWAY,
            "http_response_incomplete",
            "the gateway ended the connection without an answer",
        ),
        Kind::UpgradeTimeout => (
            StatusCode::GATEWAY_TIMEOUT,
            "http_response_timeout",
            "the gateway took the request and did not answer in time",
        ),
        Kind::AcceptKey | Kind::BadUpgrade => (
            StatusCode::BAD_GATEWAY,
            "http_upgrade_failed",
            "what stands behind the proxy answered the upgrade wrongly",
        ),
        Kind::NotHttp | Kind::Other => (
            StatusCode::BAD_GATEWAY,
            "http_protocol_error",
            "what stands behind the proxy does not speak HTTP",
        ),
    };
    Answer {
        status,
        proxy_error,
        text,
    }
}
