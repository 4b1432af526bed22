//! Requests for a host other than the one TLS asked for.
//!
//! The certificates of both sides were chosen for the SNI name, but the request names a host as
//! well. A difference is recorded, and the request is refused only where the difference matters
//! (RFC 9110 section 15.5.20): if another certificate of ours is for that host, or if a client
//! certificate was required for the name that TLS asked for. Clients then retry on a separate
//! connection.

use std::sync::Arc;
use std::time::Instant;

use http::Request;
use http::header::HOST;
use http::uri::Authority;

use crate::proxy::connection::Connection;
use crate::proxy::connection::session::SessionHandle;
use crate::proxy::request::error::Failure;
use crate::proxy::request::from_client::FromClient;
use crate::session::record::{DeniedFact, DeniedKey};
use crate::session::text::PeerText;
use crate::transport::tls::terminator::Misdirected;

/// Records a difference, and refuses the request if it matters.
pub(crate) fn check(request: &Request<FromClient>, session: &SessionHandle) -> Result<(), Failure> {
    let Some(Differs { sni, host, why }) = differs(request) else {
        return Ok(());
    };
    session.record().host_differs();
    let because = match why {
        None => return Ok(()),
        Some(Misdirected::ClientAuth) => "client certificates are required",
        Some(Misdirected::OtherCertificate) => "another certificate is for that host",
    };
    let detail = format!("TLS asked for {sni}, the request is for {host}, and {because}");
    let denied = DeniedFact {
        key: DeniedKey::ListenerTls,
        detail: detail.clone(),
        limit: None,
    };
    session.record().denied(denied, Instant::now());
    Err(Failure::Misdirected(detail))
}

/// The two names, and why the request may not pass, if so.
struct Differs {
    sni: String,
    host: PeerText,
    why: Option<Misdirected>,
}

fn differs(request: &Request<FromClient>) -> Option<Differs> {
    let connection = request.extensions().get::<Arc<Connection>>()?;
    let terminator = connection.terminator.as_ref()?;
    let sni = connection.tls.as_ref()?.sni.as_ref()?.as_str();
    let host = host(request)?;
    if !crate::config::identity::names::differ(sni, &host) {
        return None;
    }
    Some(Differs {
        sni: sni.to_owned(),
        why: terminator.misdirected(sni, &host),
        host: PeerText::new(&host, 255),
    })
}

/// The request's host without its port. A value that cannot be parsed is returned whole: it matches
/// no name of ours.
fn host(request: &Request<FromClient>) -> Option<String> {
    if let Some(authority) = request.uri().authority() {
        return Some(authority.host().to_owned());
    }
    let value = request.headers().get(HOST)?.as_bytes();
    let host = match Authority::try_from(value) {
        Ok(authority) => authority.host().to_owned(),
        Err(_) => String::from_utf8_lossy(value).into_owned(),
    };
    Some(host)
}
