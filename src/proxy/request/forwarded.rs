//! Applies what `admission::forwarded` decides to the requests that go to the gateway.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use crate::admission::forwarded::page::claims_local_page;
use crate::admission::forwarded::write::{Keep, write};
use crate::admission::forwarded::{
    self, Action, Decision, Mode, Situation, brings_attribution, client_of, is_attribution,
};
use crate::admission::hop;
use crate::proxy::connection::Connection;
use crate::proxy::connection::session::SessionHandle;
use crate::proxy::request::error::Failure;
use crate::proxy::tap::Tap;
use crate::proxy::tap::clients::Counted;
use crate::session::dial::DialFacts;
use crate::session::record::DeniedFact;
use crate::session::record::gateway::{Acceptance, ForwardedFacts, ForwardedMode, ForwardedWhy};
use crate::session::text::PeerText;
use crate::upstream::pool::Reach;

/// Maximum length of a header name that is kept in a record.
const NAME_CAP: usize = 64;

/// Maximum number of names that are kept in a record.
const MAX_NAMES: usize = 16;

/// The connection that a request goes out on, as far as it is known.
#[derive(Clone, Debug)]
pub(crate) struct GatewayPath {
    addr: String,
    local: bool,
    our_ip: Option<IpAddr>,
}

impl GatewayPath {
    /// The path over a connection that was dialled for this request.
    pub(crate) fn dialled(tap: &Tap, facts: &DialFacts) -> Self {
        Self {
            addr: facts.addr.clone().unwrap_or_default(),
            local: facts.is_local() || tap.attribution.is_forwarded_to_loopback(),
            our_ip: facts.our_ip(),
        }
    }

    /// The path over a pooled connection. The connection is chosen only after the headers are
    /// written, so this is derived from the configuration and from earlier connections. [`Reach`]
    /// restricts the choice to connections for which the decision holds.
    pub(crate) fn pooled(tap: &Tap) -> Self {
        let gateway = tap.config.gateway();
        let our_ip = tap.attribution.our_ip();
        Self {
            addr: gateway.url().to_owned(),
            local: gateway.is_local()
                || our_ip.is_some_and(|ip| ip.is_loopback())
                || tap.attribution.is_forwarded_to_loopback(),
            our_ip,
        }
    }
}

/// Records who the client is where a trusted proxy names it, and takes a slot for that client.
pub(crate) fn note_client(
    tap: &Arc<Tap>,
    connection: &Connection,
    session: &SessionHandle,
    headers: &HeaderMap,
) -> Result<(), DeniedFact> {
    let proxies = tap.config.trusted_proxies();
    if !connection.peer().is_in(proxies) {
        // Its connection was counted when it was accepted.
        return Ok(());
    }
    let client = client_of(connection.peer(), headers, proxies);
    // A trusted proxy on a unix socket that names no client has no address either.
    let counted = match client.via {
        Some(_) => client.ip.into(),
        None => Counted::of(connection.peer()),
    };
    let place = tap.place_for(counted);
    if client.via.is_some() {
        session.record().client_named(client.shown(), client.via);
    }
    session.keep(place?);
    Ok(())
}

/// Writes the attribution headers of a request that takes this path to the gateway, and returns the
/// connections on which it may go out.
pub(crate) fn apply(
    tap: &Tap,
    connection: &Connection,
    session: &SessionHandle,
    headers: &mut HeaderMap,
    way: &GatewayPath,
) -> Result<Reach, Failure> {
    if connection.is_redirected() {
        let facts = ForwardedFacts {
            mode: ForwardedMode::Pass,
            why: Some(ForwardedWhy::ClientAddress),
            brought: brought(headers),
            sent: Vec::new(),
            acceptance: Acceptance::NotChecked,
        };
        session.record().forwarded(facts);
        return Ok(Reach::Any);
    }
    let gateway = tap.config.gateway();
    let proxies = tap.config.trusted_proxies();
    let peer = connection.peer();
    let mode = gateway.forwarded();
    let situation = Situation {
        mode,
        allow_remote_as_local: gateway.allow_remote_as_local(),
        peer: peer.ip(),
        relayed: peer.is_relayed(),
        trusted: peer.is_in(proxies),
        brought: brings_attribution(headers),
        client: client_of(peer, headers, proxies).ip,
        gateway_local: way.local,
        acceptance: tap.attribution.acceptance(),
        our_ip: way.our_ip,
        local_page: claims_local_page(headers),
    };
    let decision = forwarded::decide(&situation);
    let brought = brought(headers);
    let keep = Keep {
        place: situation.trusted,
        identity: situation.trusted && mode == Mode::Auto,
    };
    let sent = write(headers, decision.action, connection.tls.is_some(), keep);
    let facts = ForwardedFacts {
        mode: mode_of(&decision),
        why: Some(decision.why),
        brought,
        sent,
        acceptance: situation.acceptance,
    };
    session.record().forwarded(facts);
    if decision.action == Action::Refuse {
        let addr = way.addr.clone();
        return Err(Failure::RemoteAsLocal { addr });
    }
    Ok(if decision.only_remote {
        Reach::NotLocal
    } else {
        Reach::Any
    })
}

/// Names of the attribution headers that the client brought.
fn brought(headers: &HeaderMap) -> Vec<PeerText> {
    headers
        .keys()
        .filter(|name| is_attribution(name) || hop::names_user(name.as_str()))
        .take(MAX_NAMES)
        .map(|name: &HeaderName| PeerText::new(name.as_str(), NAME_CAP))
        .collect()
}

fn mode_of(decision: &Decision) -> ForwardedMode {
    match decision.action {
        Action::Pass => ForwardedMode::Pass,
        Action::Overwrite(_) => ForwardedMode::Overwrite,
        Action::Strip | Action::Refuse => ForwardedMode::None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::config::{self, Overrides};
    use crate::session::credential::Fingerprinter;
    use crate::sink::{RecordPipeline, Wanted};
    use crate::transport::clock;

    /// The connections on which a request of this peer may go out, and its header lines after that.
    fn sent(mode: &str, peer: &str, local: bool) -> (Result<Reach, Failure>, usize) {
        let text = format!("gateway: {{ url: 'http://gw', forwarded: {mode} }}");
        let config = config::parse(&text, Path::new("test"), &Overrides::default()).unwrap();
        let pipeline = Arc::new(RecordPipeline::new(Vec::new(), Wanted::ALL));
        let fingerprinter = Fingerprinter::with_key(b"a key for the tests");
        let tap =
            Arc::new(Tap::new(config, fingerprinter, pipeline, "test".to_owned(), None).unwrap());
        let connection = tap.connection_of(peer.parse().unwrap());
        let session = tap.open_record(&connection, clock::anchor());
        let way = GatewayPath {
            addr: "127.0.0.1:80".to_owned(),
            local,
            our_ip: None,
        };
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", "127.0.0.1".parse().unwrap());
        let reach = apply(&tap, &connection, &session, &mut headers, &way);
        (reach, headers.len())
    }

    #[test]
    fn a_name_that_led_to_this_host_gets_no_bare_request_of_others() {
        let (reach, _) = sent("none", "203.0.113.9:5", true);
        assert!(matches!(reach, Err(Failure::RemoteAsLocal { addr }) if addr == "127.0.0.1:80"));
        let (reach, headers) = sent("none", "203.0.113.9:5", false);
        assert!(matches!(reach, Ok(Reach::NotLocal)));
        assert_eq!(headers, 0);
        let (reach, headers) = sent("auto", "203.0.113.9:5", true);
        assert!(matches!(reach, Ok(Reach::Any)));
        assert_eq!(headers, 3, "For, Proto and Forwarded; there is no Host");
    }
}
