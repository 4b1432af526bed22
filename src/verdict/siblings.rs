//! What recent sessions add to any finding, in words.

use super::View;
use super::view::{fact, short};
use crate::session::record::{Class, Evidence};

/// Attempts in a minute that are a storm.
const STORM: u32 = 20;

/// Wrong tokens in five minutes that are worth telling.
const MISMATCHES: u32 = 3;

/// Evidence from other sessions that belongs to a verdict of this class.
pub(super) fn evidence(view: &View<'_>, class: Class) -> Vec<Evidence> {
    let Some(context) = &view.record().context else {
        return Vec::new();
    };
    let mut all = Vec::new();
    let about_auth = matches!(class, Class::GatewayAuth | Class::GatewayPairing);
    if about_auth {
        for other in &context.other_credentials {
            let became = if other.accepted {
                "and was let in"
            } else {
                "and was refused too"
            };
            all.push(fact(format!(
                "the same client address sent {} in the same place lately ({} sessions, last at \
                 {}) {became}",
                other.fingerprint, other.sessions, other.last_at
            )));
        }
        let told = |print: &str| {
            let others = &context.other_credentials;
            others.iter().any(|other| other.fingerprint == print)
        };
        if let Some(works) = context
            .working
            .as_ref()
            .filter(|works| !told(&works.fingerprint))
        {
            all.push(fact(format!(
                "{} other client addresses were let in with {} in the same place ({} sessions, \
                 last at {})",
                works.clients, works.fingerprint, works.sessions, works.last_at
            )));
        }
        if context.mismatches > MISMATCHES {
            all.push(fact(format!(
                "{} wrong tokens came to this gateway in the last five minutes",
                context.mismatches
            )));
        }
    }
    let about_process = about_auth || matches!(class, Class::GatewayLeft | Class::GatewayLifecycle);
    if about_process && context.boots_alternate {
        let ids: Vec<&str> = context.boots.iter().map(|boot| boot.id.as_str()).collect();
        all.push(fact(format!(
            "two gateway processes answer in turn at this address (boot ids {})",
            ids.join(", ")
        )));
    } else if about_process && context.boots.len() > 1 {
        let newest = context.boots.last();
        all.extend(newest.map(|boot| {
            fact(format!(
                "the gateway's process is another one since {} (boot id {})",
                boot.first_at, boot.id
            ))
        }));
    }
    if class == Class::GatewayProtocol {
        all.extend(versions(view));
    }
    if context.attempts > STORM {
        all.push(fact(format!(
            "this client address tried {} times within a minute",
            context.attempts
        )));
    }
    all
}

/// The versions of client and gateway, where they differ and other sessions showed the gateway's.
fn versions(view: &View<'_>) -> Option<Evidence> {
    let client = view.record().dialect.as_ref()?.client.as_ref()?;
    let client = client.version.as_ref()?;
    let gateway = view.gateway_version()?;
    (client != gateway).then(|| {
        fact(format!(
            "the client says that it is version {}, the gateway is {}",
            short(client),
            short(gateway)
        ))
    })
}
