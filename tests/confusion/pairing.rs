//! Refusals that are about the state of the device or of the gateway: pairing, versions, start.

use serde_json::json;

use super::refusals::{by, coded, refused, token};
use super::table::Fault;

const PAIRING_ID: &str = "0e1b6a5e-6f7f-4a53-9a39-111111111111";

pub fn faults() -> Vec<Fault> {
    let mut all = pairing();
    all.extend(versions());
    all
}

fn pairing() -> Vec<Fault> {
    let with = |rule, reason, message| {
        let details = json!({
            "code": "PAIRING_REQUIRED", "reason": reason, "requestId": PAIRING_ID,
            "deviceId": "d0", "requestedRole": "operator",
        });
        refused(rule, "NOT_PAIRED", message, &details, token())
    };
    vec![
        with(
            "gateway.pairing.not_paired",
            "not-paired",
            "pairing required: device is not approved yet (requestId: 0e1b6a5e-6f7f-4a53-9a39-111111111111)",
        ),
        with(
            "gateway.pairing.scope_upgrade",
            "scope-upgrade",
            "pairing required: device is asking for more scopes than currently approved (requestId: 0e1b6a5e-6f7f-4a53-9a39-111111111111)",
        ),
        with(
            "gateway.pairing.role_upgrade",
            "role-upgrade",
            "pairing required: device is asking for a higher role than currently approved (requestId: 0e1b6a5e-6f7f-4a53-9a39-111111111111)",
        ),
        with(
            "gateway.pairing.metadata_upgrade",
            "metadata-upgrade",
            "pairing required: device identity changed and must be re-approved (requestId: 0e1b6a5e-6f7f-4a53-9a39-111111111111)",
        ),
        with(
            "gateway.pairing.required",
            "some-new-reason",
            "pairing required",
        ),
    ]
}

fn versions() -> Vec<Fault> {
    const BAD: &str = "INVALID_REQUEST";
    let plain = |name, rule, message: &'static str| {
        let error = json!({ "code": BAD, "message": message });
        by(name, rule, 1008, message, error, token())
    };
    vec![
        by(
            "refused: PROTOCOL_MISMATCH",
            "gateway.protocol.version",
            1002,
            "protocol mismatch",
            json!({
                "code": BAD, "message": "protocol mismatch",
                "details": { "code": "PROTOCOL_MISMATCH", "expectedProtocol": 4 },
            }),
            token(),
        ),
        by(
            "refused: a stale Control UI",
            "gateway.protocol.stale_page",
            1008,
            "protocol mismatch: Control UI updated; reload this page to continue",
            json!({
                "code": "UNAVAILABLE", "retryable": false,
                "message": "protocol mismatch: Control UI updated; reload this page to continue",
                "details": { "code": "PROTOCOL_MISMATCH", "reloadRequired": true },
            }),
            token(),
        ),
        by(
            "refused: the gateway is starting",
            "gateway.lifecycle.starting",
            1013,
            "gateway starting",
            json!({
                "code": "UNAVAILABLE", "message": "gateway starting", "retryable": true,
                "retryAfterMs": 500, "details": { "reason": "startup-sidecars" },
            }),
            token(),
        ),
        by(
            "refused: a restart in progress",
            "gateway.lifecycle.unavailable",
            1013,
            "gateway restart in progress",
            json!({ "code": "UNAVAILABLE", "message": "gateway restart in progress", "retryable": true }),
            token(),
        ),
        refused(
            "gateway.protocol.client_version",
            BAD,
            "client version mismatch",
            &coded("CLIENT_VERSION_MISMATCH"),
            token(),
        ),
        plain(
            "refused: invalid params",
            "gateway.protocol.invalid_params",
            "invalid connect params: at /client/id: must be equal to one of the allowed values",
        ),
        plain(
            "refused: an invalid role",
            "gateway.protocol.invalid_role",
            "invalid role",
        ),
        plain(
            "refused: a reason of a newer gateway",
            "gateway.closed.refused",
            "too green",
        ),
        plain(
            "refused: too many handshake frames",
            "gateway.limit.handshake_frames",
            "too many pending handshake frames",
        ),
    ]
}
