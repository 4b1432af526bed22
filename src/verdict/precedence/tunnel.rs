//! The steps of the stages about the tunnel, and of the last stage.

use super::step::Step;

/// See [`Stage::Refusal`](super::Stage::Refusal).
pub(super) const REFUSAL: &[Step] = &[
    // A credential in a place that the gateway does not read is not missing, a gateway that starts
    // is not overloaded, and a device that was let in before is not new.
    &[
        "gateway.auth.ignored_place",
        "gateway.lifecycle.starting",
        "gateway.pairing.lost",
    ],
    // The evidence of other sessions about a refused token comes before the refusal itself.
    &["gateway.auth.device_token_as_token"],
    // The gateway let the client in with this Origin before: its list changed, whatever the Origin lacks.
    // Before `gateway.origin.invalid`.
    &["gateway.origin.changed"],
    // Special cases of origins, pairings, signatures and protocol versions, whose general rules follow.
    &[
        "gateway.origin.invalid",
        "gateway.pairing.node_changed",
        "gateway.protocol.device_signature",
        "gateway.protocol.stale_page",
    ],
    // If two gateways share one address, nobody changed the token: before
    // `gateway.auth.token_changed`.
    &["gateway.auth.two_gateways"],
    &["gateway.auth.token_changed"],
    &["gateway.auth.token_two_sources"],
    // One code or one text each.
    &[
        "gateway.auth.attribution",
        "gateway.auth.control_ui_insecure",
        "gateway.auth.control_ui_no_device",
        "gateway.auth.device_clock",
        "gateway.auth.device_identity_broken",
        "gateway.auth.device_identity_required",
        "gateway.auth.device_nonce",
        "gateway.auth.device_signature",
        "gateway.auth.device_token_mismatch",
        "gateway.auth.device_token_scope",
        "gateway.auth.identity_header",
        "gateway.auth.password_mismatch",
        "gateway.auth.password_missing",
        "gateway.auth.password_not_configured",
        "gateway.auth.profile_unavailable",
        "gateway.auth.rate_limited",
        "gateway.auth.repeated_calls",
        "gateway.auth.setup_code",
        "gateway.auth.tailscale",
        "gateway.auth.token_mismatch",
        "gateway.auth.token_missing",
        "gateway.auth.token_not_configured",
        "gateway.auth.verified_user",
        "gateway.auth.worker_credential",
        "gateway.limit.handshake_frames",
        "gateway.origin.not_allowed",
        "gateway.pairing.metadata_upgrade",
        "gateway.pairing.not_paired",
        "gateway.pairing.role_upgrade",
        "gateway.pairing.scope_upgrade",
        "gateway.protocol.client_version",
        "gateway.protocol.invalid_params",
        "gateway.protocol.invalid_role",
        "gateway.protocol.version",
        "gateway.protocol.worker",
    ],
    // After `gateway.auth.identity_header`, whose code names the missing header: this one knows only that
    // the identity was not accepted, and the reasons of both begin alike.
    &["gateway.auth.trusted_proxy"],
    // The first message was not connect; after the codes, which say more.
    &["gateway.protocol.not_connect", "gateway.protocol.not_json"],
    // General codes.
    &["gateway.auth.access_denied"],
    &["gateway.lifecycle.unavailable", "gateway.pairing.required"],
    // Any other refused credential.
    &["gateway.auth.refused"],
    // Any other refusal.
    &["gateway.closed.refused"],
];

/// See [`Stage::Close`](super::Stage::Close).
pub(super) const CLOSE: &[Step] = &[
    // A lost network looks like a silent peer, so this comes before all rules about silence. A
    // message that was too large for the path explains the loss.
    &["network.cut.large_messages"],
    // Another protocol has no handshake that could be late: before the rules that miss one.
    &["gateway.silent.not_openclaw"],
    &[
        "network.cut.client",
        "network.cut.client_unanswered",
        "network.cut.gateway",
        "network.cut.gateway_unanswered",
    ],
    // The other end, or our timer, gave up because of the loss. Both legs may stall at once, for
    // example when the tap's own host loses its network: then one of them must be named.
    &["network.cut.client_stalled"],
    &["network.cut.gateway_stalled"],
    // A breach of the protocol explains the Close that answers it. A cap that was reached does not
    // need a drain as its reason. Capped scopes explain a missing scope.
    &[
        "channel.scopes_capped",
        "client.fault.violation",
        "gateway.fault.frames",
        "tap.denied.message_bytes",
        "tap.denied.session_bytes",
        "tap.denied.session_rate",
    ],
    // A Close that breaks the protocol, before the rules that trust its code.
    &["client.fault.close_frame", "gateway.fault.close_frame"],
    // `channel.locality_lost` explains a missing scope, `gateway.limit.smaller_limit` a message that is
    // too large.
    &[
        "channel.locality_lost",
        "gateway.limit.smaller_limit",
        "tap.drain.session",
    ],
    // From here to `gateway.silent.requests` before `ok.client_closed`: a session that ended with 1000
    // and achieved nothing did not end well.
    &["channel.missing_scope"],
    &["channel.invalid_requests"],
    // An announced restart or stop, before what the code 1012 alone says.
    &[
        "channel.requests_failed",
        "gateway.lifecycle.restart",
        "gateway.lifecycle.stop",
    ],
    &["gateway.silent.requests"],
    // Codes that have one meaning.
    &[
        "gateway.lifecycle.auth_changed",
        "gateway.lifecycle.device_removed",
        "gateway.lifecycle.policy_changed",
        "gateway.lifecycle.reconnect",
        "gateway.limit.slow_consumer_close",
        "hop.fault.close_1014",
        "ok.client_closed",
        "ok.client_going_away",
        "ok.gateway_closed",
    ],
    // 1011 for a missing pong is no failure inside the gateway: before `gateway.fault.internal`.
    &["gateway.lifecycle.ping_timeout", "gateway.silent.pings"],
    &[
        "client.fault.close_code",
        "client.fault.no_first_frame",
        "gateway.auth.forbidden",
        "gateway.auth.unauthorized",
        "gateway.fault.close_code",
        "gateway.fault.internal",
        "gateway.limit.first_frame",
    ],
    // The gateway had announced to others that it goes down: that is why it did not answer.
    &["gateway.lifecycle.unanswered_in_shutdown"],
    &[
        "gateway.limit.message_too_big",
        "gateway.silent.no_challenge",
        "gateway.silent.no_hello",
    ],
    &[
        "gateway.lifecycle.going_away",
        "gateway.lifecycle.restart_or_stop",
        "tap.timeout.idle",
    ],
    // The general case of `gateway.lifecycle.auth_changed` and its neighbours.
    &["gateway.lifecycle.invalidated"],
    // The tap itself missed the ticks. The next step relies on the client's claim only.
    &["gateway.silent.ticks"],
    &["client.closed.tick_timeout"],
    &["client.closed.connect_failed"],
    &[
        "client.closed.protocol",
        "client.closed.too_big",
        "gateway.closed.protocol",
    ],
    // A Close within the handshake.
    &["client.left.cancelled", "gateway.closed.before_hello"],
    &["tap.timeout.closing"],
    // Any other timer.
    &["tap.timeout.other"],
    &["gateway.closed.timeout"],
    // Any other Close.
    &["client.closed.code", "gateway.closed.code"],
];

/// See [`Stage::Transport`](super::Stage::Transport).
pub(super) const TRANSPORT: &[Step] = &[
    // A broken TLS stream is the reason for the end of its transport.
    &["client.fault.tls_broken", "gateway.left.tls"],
    // An announced end is no crash.
    &[
        "gateway.lifecycle.lost_in_restart",
        "gateway.lifecycle.lost_in_stop",
    ],
    // The proxy that removed the subprotocol is the reason why the client left.
    &["hop.fault.subprotocol_stripped"],
    // A client that did not get its subprotocol is not a probe.
    &["client.left.subprotocol"],
    &["gateway.lifecycle.crash", "probe.websocket"],
    // A client that does not read does not answer pings, either: before missed pongs.
    &["gateway.limit.slow_consumer"],
    &["gateway.lifecycle.missed_pongs"],
    // After all endings with a known cause: health checks, missed pongs, slow consumers. They can
    // be as regular as a proxy's timer.
    &["hop.fault.idle_cadence"],
    &["gateway.left.before_hello"],
    &["gateway.left.mid_frame"],
    &["client.left.before_hello"],
    // The client cancelled one HTTP/2 stream. Its connection was not reset: before `client.left.reset`.
    &["client.left.stream"],
    &[
        "client.left.reset",
        "client.left.timeout",
        "gateway.left.reset",
        "gateway.left.timeout",
    ],
    // Any other end of an open session.
    &["client.left.open", "gateway.left.open"],
];

/// See [`Stage::Fine`](super::Stage::Fine).
pub(super) const FINE: &[Step] = &[
    &["ok.http"],
    // Nothing explains it: our own fault.
    &["tap.fault.unexplained"],
];
