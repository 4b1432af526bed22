//! Decides which client the attribution headers name.
//!
//! From attribution headers and the peer's address the gateway decides which clients are local, and
//! it trusts local clients more. So: **it must see every client with the locality that it would
//! have without the tap.** [`decide`] is that rule, as a function of everything it depends on;
//! [`chain`] finds the client behind trusted proxies, [`write`](mod@write) makes the headers, and
//! [`acceptance`] plans how we learn whether the gateway believes them.

pub(crate) mod acceptance;
pub(crate) mod chain;
pub(crate) mod page;
pub(crate) mod trusted;
pub(crate) mod write;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};
use schemars::JsonSchema;
use serde::Deserialize;

pub(crate) use self::chain::client_of;
use self::page::is_private;
pub(crate) use self::trusted::Trusted;
use crate::admission::hop;
use crate::session::record::gateway::{Acceptance, ForwardedWhy as Why};

/// `gateway.forwarded`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Decided for each connection, so that a client is local or remote as it would be without the
    /// tap.
    #[default]
    Auto,
    /// The headers pass unchanged, nothing is added.
    Pass,
    /// One set with the client's address is written for everybody; all other attribution headers
    /// are dropped.
    Overwrite,
    /// All attribution headers are dropped, nothing is added.
    None,
}

impl Mode {
    /// As it is written in a configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Pass => "pass",
            Self::Overwrite => "overwrite",
            Self::None => "none",
        }
    }
}

/// Headers in which proxies name the client. The gateway reads all of these.
#[must_use]
pub(crate) fn is_attribution(name: &HeaderName) -> bool {
    hop::is_attribution(name.as_str())
}

/// Whether a head has attribution headers, even empty ones.
#[must_use]
pub(crate) fn brings_attribution(headers: &HeaderMap) -> bool {
    headers.keys().any(is_attribution)
}

/// The inputs of [`decide`]. All addresses are canonical: an IPv4 address is never written as an
/// IPv6 one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Situation {
    /// `gateway.forwarded`.
    pub mode: Mode,
    /// `gateway.allow_remote_as_local`.
    pub allow_remote_as_local: bool,
    /// The peer; if it is relayed, the client that the proxy named.
    pub peer: IpAddr,
    /// It came through a proxy by PROXY protocol: it is remote, whatever address the header has.
    pub relayed: bool,
    /// The peer is in `trusted_proxies`.
    pub trusted: bool,
    /// The request has attribution headers.
    pub brought: bool,
    /// The client: the peer, or the one that the trusted chain names.
    pub client: IpAddr,
    /// The gateway sees this connection as coming from its own host: by loopback or unix socket.
    pub gateway_local: bool,
    /// What the acceptance check found.
    pub acceptance: Acceptance,
    /// Our end of the connection to the gateway: what it would see of a client on our host.
    pub our_ip: Option<IpAddr>,
    /// The request claims that its page comes from this machine ([`page::claims_local_page`]).
    pub local_page: bool,
}

impl Situation {
    /// The peer itself is a process of our host.
    fn is_on_loopback(&self) -> bool {
        self.peer.is_loopback() && !self.relayed
    }
}

/// What is done with the attribution headers of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// They go out as they came; nothing is added.
    Pass,
    /// They are dropped, and one set is written that names this client.
    Overwrite(IpAddr),
    /// They are dropped, and nothing is added.
    Strip,
    /// The request must not go out: a remote client would look local to the gateway.
    Refuse,
}

/// What [`decide`] decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// What to do.
    pub action: Action,
    /// Why.
    pub why: Why,
    /// The request may only go out on a connection that is known not to be local to the gateway:
    /// it has no attribution headers, and its client is not a local one.
    pub only_remote: bool,
}

/// What is done with the attribution headers of a request.
#[must_use]
pub(crate) fn decide(situation: &Situation) -> Decision {
    let Situation {
        mode,
        trusted,
        brought,
        gateway_local,
        ..
    } = *situation;
    let loopback = situation.is_on_loopback();
    let chain = trusted && brought;
    let (action, why) = match mode {
        Mode::Pass => (Action::Pass, Why::Configured),
        Mode::None => (Action::Strip, Why::Configured),
        // The gateway itself decides whether to trust a process on its own host.
        Mode::Auto if !chain && loopback && gateway_local => {
            let why = if brought {
                Why::LoopbackProxy
            } else {
                Why::LocalClient
            };
            (Action::Pass, why)
        }
        // Not for a local gateway: without headers it would take everybody for local.
        Mode::Auto if situation.acceptance == Acceptance::Refused && !gateway_local => {
            (Action::Strip, Why::GatewayRefusedOverwrite)
        }
        Mode::Auto | Mode::Overwrite => overwrite(situation),
    };
    // A loopback proxy that brings headers speaks for somebody else: only a loopback client without
    // headers would be local without us as well.
    let bare = match action {
        Action::Pass => !brought,
        Action::Strip => true,
        Action::Overwrite(_) | Action::Refuse => false,
    };
    let stranger = !loopback || brought;
    let allowed = situation.allow_remote_as_local && mode != Mode::Auto;
    let only_remote = bare && stranger && !allowed;
    if only_remote && gateway_local {
        return Decision {
            action: Action::Refuse,
            why: Why::WouldBeLocal,
            only_remote,
        };
    }
    // A gateway on another host is no safer, if it sees us under a private address.
    if only_remote && situation.local_page && !is_private(situation.client) {
        return Decision {
            action: Action::Refuse,
            why: Why::LocalPage,
            only_remote,
        };
    }
    Decision {
        action,
        why,
        only_remote,
    }
}

fn overwrite(situation: &Situation) -> (Action, Why) {
    let Situation {
        peer,
        trusted,
        brought,
        client,
        gateway_local,
        our_ip,
        ..
    } = *situation;
    // To a gateway on another host, a client on our host has our address: 127.0.0.1 would mean the
    // gateway's own host.
    let own_host = peer.is_loopback() || our_ip == Some(peer);
    if client == peer && own_host && !gateway_local {
        return (Action::Overwrite(our_ip.unwrap_or(peer)), Why::OwnHost);
    }
    let why = if trusted && brought {
        Why::TrustedChain
    } else if situation.is_on_loopback() {
        Why::Configured
    } else if brought {
        Why::Stranger
    } else {
        Why::RemoteClient
    };
    (Action::Overwrite(client), why)
}
