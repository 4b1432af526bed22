//! The check for `gateway.forwarded: none` and `pass`. A gateway on the same host treats every
//! request without attribution headers as local, even if it came to us from a remote client.

use crate::admission::forwarded::Mode;
use crate::config::error::ConfigError;
use crate::config::gateway::{Gateway, Target};
use crate::config::listener::Listener;
use crate::config::schema::At;

const EXPECTED: &str = "`auto` (or `allow_remote_as_local: true` beside it, which lets the gateway \
                        take every client for local)";

/// The error for a gateway on this host, in a mode that would make remote clients local there.
/// `pass` does so only if other hosts can connect: clients on our own host are local anyway.
pub(super) fn only_elsewhere(mode: &At<Mode>, listeners: &[Listener]) -> Option<ConfigError> {
    let reachable = listeners
        .iter()
        .any(|listener| !listener.serves_this_host_only());
    let risky = match mode.value {
        Mode::None => true,
        Mode::Pass => reachable,
        Mode::Auto | Mode::Overwrite => false,
    };
    risky.then(|| ConfigError::at(&mode.spot, EXPECTED, ""))
}

/// That error, if the URL alone shows that the gateway is on this host.
pub(super) fn guard(gateway: &Gateway) -> Option<ConfigError> {
    let found = match gateway.target() {
        Target::Unix(_) => {
            "a gateway behind a unix socket, which treats requests without forwarded headers as local"
        }
        Target::Tcp { .. } => {
            "a gateway on this host, which treats requests without forwarded headers as local"
        }
    };
    gateway
        .must_be_elsewhere(found)
        .filter(|_| gateway.is_local())
}
