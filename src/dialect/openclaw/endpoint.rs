//! Which of the gateway's services a path belongs to. Most paths, most of all `/`, are served by
//! the one that challenges; a few use another protocol and never do (gateway 2026.9.6,
//! `server-http-upgrades.ts`).

use crate::session::record::dialect::openclaw::Endpoint;

/// Paths with a service of their own; paths below them belong to it too.
const SERVICES: [(&str, Endpoint); 5] = [
    ("/__openclaw__/worker", Endpoint::Worker),
    ("/desktop/observe", Endpoint::Desktop),
    ("/node-desktop/attach", Endpoint::NodeDesktop),
    ("/node-portal/attach", Endpoint::NodePortal),
    ("/__openclaw__/cap", Endpoint::Plugin),
];

/// The service at a request target. Paths that plugins registered cannot be known from outside:
/// they show in the gateway's first message.
#[must_use]
pub(crate) fn of(target: &str) -> Endpoint {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let found = SERVICES.iter().find(|(start, _)| {
        path.strip_prefix(start)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    found.map_or(Endpoint::Gateway, |(_, endpoint)| *endpoint)
}

/// Whether gateways before 2026.4 announce changes of a canvas on this path, and never challenge.
/// Other gateways serve their own protocol there, or refuse the upgrade: the messages show which.
#[must_use]
pub(crate) fn may_be_canvas(target: &str) -> bool {
    target.split(['?', '#']).next() == Some("/__openclaw__/ws")
}

/// Whether the gateway's own service is served at this path, whatever plugins registered.
#[must_use]
pub(super) fn is_root(target: &str) -> bool {
    matches!(target.split(['?', '#']).next(), Some("" | "/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_belong_to_services() {
        for (target, endpoint) in [
            ("/", Endpoint::Gateway),
            ("/ws?x=/desktop/observe", Endpoint::Gateway),
            ("/desktop/observer", Endpoint::Gateway),
            ("/desktop/observe?ticket=1", Endpoint::Desktop),
            ("/node-desktop/attach", Endpoint::NodeDesktop),
            ("/node-portal/attach#x", Endpoint::NodePortal),
            ("/__openclaw__/worker", Endpoint::Worker),
            ("/__openclaw__/worker/more", Endpoint::Worker),
            ("/__openclaw__/worker-bundle/v1", Endpoint::Gateway),
            ("/__openclaw__/cap/secret/canvas", Endpoint::Plugin),
            ("", Endpoint::Gateway),
            // Only the messages show which one it is.
            ("/__openclaw__/ws", Endpoint::Gateway),
        ] {
            assert_eq!(of(target), endpoint, "{target}");
        }
    }

    #[test]
    fn one_path_may_be_a_canvas() {
        assert!(may_be_canvas("/__openclaw__/ws"));
        assert!(may_be_canvas("/__openclaw__/ws?x=1"));
        for other in [
            "/",
            "/ws",
            "/__openclaw__/wss",
            "/__openclaw__/ws/x",
            "/?x=/__openclaw__/ws",
        ] {
            assert!(!may_be_canvas(other), "{other}");
        }
    }
}
