//! Made from the captures of `tests/fixtures/gateway-versions`; do not edit. Which gateways were seen to
//! bring about which rule. (`make docs`)

/// Sorted by id; versions oldest first.
#[rustfmt::skip]
pub(super) static SEEN: &[(&str, &[&str])] = &[
    ("channel.missing_scope", &["2026.1.24-3", "2026.3.7", "2026.4.29", "2026.5.7", "2026.6.11", "2026.7.35", "2026.9.6"]),
    ("gateway.auth.control_ui_no_device", &["2026.1.24-3", "2026.3.7", "2026.4.29", "2026.5.7", "2026.7.35", "2026.9.6"]),
    ("gateway.auth.device_clock", &["2026.1.24-3", "2026.3.7", "2026.4.29", "2026.5.7", "2026.7.35", "2026.9.6"]),
    ("gateway.auth.device_identity_broken", &["2026.1.24-3", "2026.3.7", "2026.4.29", "2026.5.7", "2026.7.35", "2026.9.6"]),
    ("gateway.auth.device_identity_required", &["2026.1.24-3", "2026.3.7", "2026.4.29", "2026.5.7", "2026.7.35", "2026.9.6"]),
    ("gateway.auth.device_nonce", &["2026.1.24-3", "2026.3.7", "2026.4.29", "2026.5.7", "2026.7.35", "2026.9.6"]),
    ("gateway.auth.device_signature", &["2026.3.7", "2026.4.29", "2026.5.7", "2026.7.35", "2026.9.6"]),
    ("gateway.auth.device_token_mismatch", &["2026.3.7", "2026.4.29", "2026.5.7", "2026.7.35", "2026.9.6"]),
    ("gateway.auth.token_mismatch", &["2026.1.24-3", "2026.2.17", "2026.3.7", "2026.4.29", "2026.5.7", "2026.6.11", "2026.7.35", "2026.9.6"]),
    ("gateway.auth.token_missing", &["2026.1.24-3", "2026.3.7", "2026.4.29", "2026.5.7", "2026.7.35", "2026.9.6"]),
    ("gateway.limit.first_frame", &["2026.1.24-3", "2026.3.7", "2026.4.29", "2026.5.7", "2026.7.35", "2026.9.6"]),
    ("gateway.limit.message_too_big", &["2026.1.24-3", "2026.3.7", "2026.4.29", "2026.5.7", "2026.7.35", "2026.9.6"]),
    ("gateway.origin.invalid", &["2026.3.7", "2026.4.29", "2026.5.7", "2026.7.35", "2026.9.6"]),
    ("gateway.origin.not_allowed", &["2026.3.7", "2026.4.29", "2026.5.7", "2026.7.35", "2026.9.6"]),
    ("gateway.pairing.metadata_upgrade", &["2026.4.29", "2026.5.7", "2026.7.35", "2026.9.6"]),
    ("gateway.pairing.not_paired", &["2026.3.7", "2026.4.29", "2026.5.7", "2026.7.35", "2026.9.6"]),
    ("gateway.pairing.required", &["2026.1.24-3", "2026.2.17"]),
    ("gateway.pairing.role_upgrade", &["2026.4.29", "2026.5.7", "2026.7.35", "2026.9.6"]),
    ("gateway.pairing.scope_upgrade", &["2026.4.29", "2026.5.7", "2026.7.35", "2026.9.6"]),
    ("gateway.protocol.device_signature", &["2026.1.24-3", "2026.2.17"]),
    ("gateway.protocol.invalid_params", &["2026.1.24-3", "2026.2.17", "2026.3.7", "2026.4.29", "2026.5.7", "2026.7.35", "2026.9.6"]),
    ("gateway.protocol.invalid_role", &["2026.1.24-3", "2026.3.7", "2026.4.29", "2026.5.7", "2026.7.35", "2026.9.6"]),
    ("gateway.protocol.not_connect", &["2026.1.24-3", "2026.3.7", "2026.4.29", "2026.5.7", "2026.7.35", "2026.9.6"]),
    ("gateway.protocol.not_json", &["2026.1.24-3", "2026.3.7", "2026.4.29", "2026.5.7", "2026.7.35", "2026.9.6"]),
    ("gateway.protocol.version", &["2026.1.24-3", "2026.2.17", "2026.3.7", "2026.4.29", "2026.5.7", "2026.6.11", "2026.7.35", "2026.9.6"]),
    ("gateway.protocol.worker", &["2026.9.6"]),
    ("gateway.refused.attribution_proxy", &["2026.9.6"]),
    ("gateway.refused.credential", &["2026.4.29", "2026.5.7", "2026.7.35", "2026.9.6"]),
    ("gateway.silent.no_hello", &["2026.3.7"]),
    ("http.error.attribution", &["2026.9.6"]),
];
