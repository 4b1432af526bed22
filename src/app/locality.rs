//! Refuses a gateway whose name resolves to this host, if that would make remote clients local.

use super::start_error::StartError;
use crate::config::{Config, Target};

/// Refuses a gateway whose name resolves to this host, if that would make remote clients local. A
/// name that does not resolve yet is left to the check of each connection.
pub(super) async fn locality(config: &Config) -> Result<(), StartError> {
    let gateway = config.gateway();
    if gateway.must_be_elsewhere("").is_none() {
        return Ok(());
    }
    let Target::Tcp { host, port } = gateway.target() else {
        return Ok(());
    };
    let Some(name) = host.name() else {
        return Ok(());
    };
    let lookup = tokio::net::lookup_host((name, *port));
    let found = tokio::time::timeout(config.timeouts().connect, lookup).await;
    let Ok(Ok(mut found)) = found else {
        return Ok(());
    };
    let local = found.find(|addr| addr.ip().to_canonical().is_loopback());
    let error = local.and_then(|addr| {
        let found = format!("`{name}`, which resolves to {} on this host", addr.ip());
        gateway.must_be_elsewhere(&found)
    });
    error.map_or(Ok(()), |error| Err(StartError::Locality(Box::new(error))))
}
