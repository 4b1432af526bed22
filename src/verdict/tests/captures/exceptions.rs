//! Scenarios that rightly have another class with an older gateway, and the reason.

use crate::session::record::Class;

/// One reason, and the scenarios and gateways that it covers.
pub(super) struct Exception {
    /// Beginnings of the scenarios' names.
    pub(super) scenarios: &'static [&'static str],
    /// The gateways.
    pub(super) versions: &'static [&'static str],
    /// The class with these gateways.
    pub(super) class: Class,
    /// What these gateways do.
    pub(super) why: &'static str,
}

impl Exception {
    pub(super) fn covers(&self, scenario: &str, version: &str) -> bool {
        self.versions.contains(&version)
            && self.scenarios.iter().any(|name| scenario.starts_with(name))
    }
}

/// Shorthands for versions.
const V1: &str = "2026.1.24-3";
const V3: &str = "2026.3.7";
const V4: &str = "2026.4.29";
const V5: &str = "2026.5.7";
const V7: &str = "2026.7.35";

const fn exception(
    scenarios: &'static [&'static str],
    versions: &'static [&'static str],
    class: Class,
    why: &'static str,
) -> Exception {
    Exception {
        scenarios,
        versions,
        class,
        why,
    }
}

pub(super) const EXCEPTIONS: &[Exception] = &[
    exception(
        &["05-right-token-device-v1"],
        &[V1],
        Class::Ok,
        "takes signatures of the first form, which have no nonce",
    ),
    exception(
        &["07-right-token-device-v3"],
        &[V1],
        Class::GatewayProtocol,
        "does not know signatures of the third form",
    ),
    exception(
        &["09-stale-device-token"],
        &[V1],
        Class::GatewayProtocol,
        "its schema has no auth.deviceToken",
    ),
    exception(
        &["13a-protocol-3-only"],
        &[V1, V3, V4, V5],
        Class::Ok,
        "speaks protocol 3",
    ),
    exception(
        &["13b-protocol-4-only"],
        &[V1, V3, V4, V5],
        Class::GatewayProtocol,
        "speaks protocol 3 and no other",
    ),
    exception(
        &["23-first-80KiB", "24-first-600KiB"],
        &[V1, V3],
        Class::Ok,
        "has no smaller limit for the first message",
    ),
    exception(
        &["26-open-600KiB"],
        &[V1],
        Class::GatewayLimit,
        "takes messages of 512 KiB at most",
    ),
    exception(
        &["29-missing-scope"],
        &[V1],
        Class::Ok,
        "config.get needs no scope there",
    ),
    exception(
        &["30-device-bad-signature"],
        &[V1],
        Class::GatewayProtocol,
        "says the same of a signature of the third form, which is what a client of this release sends",
    ),
    exception(
        &[
            "35-controlui-foreign-origin",
            "36-controlui-no-origin",
            "37-controlui-null-origin",
            "40-cli-foreign-origin",
        ],
        &[V1],
        Class::Ok,
        "does not check the Origin",
    ),
    exception(
        &["41-xff", "50-remote-right-token", "45-http-readyz-xff"],
        &[V1, V3, V4, V5, V7],
        Class::Ok,
        "does not refuse attribution headers of a peer that it does not trust",
    ),
    exception(
        &["42-xff", "51-remote-right-token-device"],
        &[V1, V3, V4, V5, V7],
        Class::GatewayPairing,
        "does not refuse attribution headers, and wants the remote device to be paired",
    ),
    exception(
        &["43-path___openclaw___a2ui_"],
        &[V1, V3, V4, V5],
        Class::Ok,
        "serves its own protocol at this path",
    ),
    exception(
        &["43-path___openclaw___canvas_"],
        &[V7],
        Class::GatewayRefused,
        "wants a capability in this path",
    ),
    exception(
        &["43-path___openclaw___ws"],
        &[V3],
        Class::GatewaySilent,
        "the live reload of the canvas, which says nothing",
    ),
    exception(
        &["43-path___openclaw___ws"],
        &[V4, V5, V7],
        Class::GatewayRefused,
        "the live reload of the canvas, which wants a credential",
    ),
    exception(
        &[
            "43-path___openclaw___worker",
            "43-path_desktop_observe",
            "43-path_node_desktop_attach",
        ],
        &[V1, V3, V4, V5, V7],
        Class::Ok,
        "has no such service and serves its own protocol at this path",
    ),
    exception(
        &[
            "44-http___openclaw___control_ui_config_json",
            "44-http_api_x",
        ],
        &[V1],
        Class::Ok,
        "answers every unknown path with the page of the Control UI",
    ),
    exception(
        &["44-http_v1_models", "48-http-models-wrong-bearer"],
        &[V1, V3, V4, V5],
        Class::Ok,
        "answers with the page of the Control UI where the API is off",
    ),
    exception(
        &[
            "92-trusted-remote-device-not-paired-controlui",
            "94-trusted-remote-controlui-foreign-origin",
        ],
        &[V1],
        Class::GatewayPairing,
        "does not check the Origin, and wants the device to be paired",
    ),
    exception(
        &["93-trusted-remote-controlui-no-device"],
        &[V1],
        Class::GatewayAuth,
        "does not check the Origin, and wants a device identity",
    ),
    exception(
        &["98-paired-local"],
        &[V3],
        Class::GatewayPairing,
        "the approval before it had failed: its device was not paired",
    ),
    exception(
        &["99b-paired-metadata-change"],
        &[V1],
        Class::Ok,
        "does not compare the device's platform",
    ),
];
