//! Access to the admin listener: a request must name the listener as its operator does, carry the
//! token if one is configured, and only read.

use std::net::IpAddr;

use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, Method, Request, StatusCode};

use crate::config::{Admin, AdminToken};

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// No Host header, or more than one, or a target that contains a host.
    #[error("expected one Host header and a target without a host")]
    NoHost,
    /// A name that does not belong to the listener: a page may have made the name point here (DNS
    /// rebinding).
    #[error("this Host is not known; if it is a name of this listener, add it to admin.hosts")]
    Host,
    /// No token, or a wrong one. The answer does not say which.
    #[error("expected the token of admin.token_file, as `Authorization: Bearer TOKEN`")]
    Token,
    /// The method is not GET or HEAD; the listener is read-only.
    #[error("only GET and HEAD")]
    Method,
}

impl Refusal {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::NoHost => StatusCode::BAD_REQUEST,
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::Token => StatusCode::UNAUTHORIZED,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
        }
    }
}

/// Whether a request that came to the address `reached` is answered. The host is checked first: a
/// page that was led here learns nothing else.
pub(super) fn admit<B>(
    admin: &Admin,
    request: &Request<B>,
    reached: IpAddr,
) -> Result<(), Refusal> {
    let host = sole(request.headers(), &HOST).filter(|_| request.uri().authority().is_none());
    let host = host.ok_or(Refusal::NoHost)?;
    let known = str::from_utf8(host).is_ok_and(|host| admin.is_known_as(host, reached));
    if !known {
        return Err(Refusal::Host);
    }
    if let Some(token) = &admin.token
        && !brings(request.headers(), token)
    {
        return Err(Refusal::Token);
    }
    match *request.method() {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(Refusal::Method),
    }
}

fn brings(headers: &HeaderMap, token: &AdminToken) -> bool {
    let Some(value) = sole(headers, &AUTHORIZATION) else {
        return false;
    };
    let Some((scheme, given)) = value.split_at_checked(7) else {
        return false;
    };
    scheme.eq_ignore_ascii_case(b"bearer ") && token.is(given)
}

/// The value of a header that occurs exactly once.
fn sole<'h>(headers: &'h HeaderMap, name: &http::HeaderName) -> Option<&'h [u8]> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (Some(value), None) => Some(value.as_bytes()),
        _ => None,
    }
}
