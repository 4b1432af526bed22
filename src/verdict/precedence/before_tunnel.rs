//! The steps of the stages that need no tunnel: from a bug of ours to the gateway's answer.

use super::step::Step;

/// See [`Stage::Fault`](super::Stage::Fault).
pub(super) const FAULT: &[Step] = &[&["tap.fault.bug"]];

/// See [`Stage::Denied`](super::Stage::Denied).
pub(super) const DENIED: &[Step] = &[
    &[
        "tap.denied.connections",
        "tap.denied.handshakes",
        "tap.denied.head_bytes",
        "tap.denied.headers",
        "tap.denied.loop",
        "tap.denied.misdirected",
        "tap.denied.origin",
        "tap.denied.origin_missing",
        "tap.denied.per_client",
        "tap.denied.remote_as_local",
    ],
    // A key of our policy, in the step above, refuses whether or not we are shutting down.
    &["tap.drain.request"],
    // Any other key of our policy.
    &["tap.denied.policy"],
];

/// See [`Stage::Passthrough`](super::Stage::Passthrough).
pub(super) const PASSTHROUGH: &[Step] = &[
    // The alert internal_error means a fault of the gateway itself. All its other alerts are about
    // the client's offer.
    &["gateway.fault.passed_tls"],
    &["client.fault.passed_tls"],
    &["client.fault.passed_to_plain"],
    &["client.fault.passed_plain"],
    &["client.fault.passed_other"],
    &["client.closed.passed_tls"],
    &["client.left.passed_hello"],
    &["probe.passed"],
    &["probe.passed_tls"],
    // A client that leaves a silent gateway is not the cause: before `client.left.passed`.
    &["gateway.silent.passed"],
    &["client.left.passed"],
    &["gateway.left.passed"],
    // Matches any connection that passed unread.
    &["ok.passed"],
];

/// See [`Stage::Connection`](super::Stage::Connection).
pub(super) const CONNECTION: &[Step] = &[
    // The PROXY header comes before TLS and HTTP. If it is missing, cut or unexpected, the bytes
    // after it may be misleading.
    &["tap.timeout.proxy_header"],
    &["hop.fault.proxy_header", "hop.fault.proxy_header_missing"],
    &["hop.fault.proxy_header_unexpected"],
    // A client that leaves right after TLS may not accept our certificate. `probe.tls` would call that
    // a health check.
    &["tap.certificate.name"],
    &["tap.certificate.untrusted"],
    // A browser's spare connection is not a stuck client, and a client that sent nothing is not
    // slow with its request head.
    &["probe.spare"],
    &["tap.timeout.silent_client"],
    &[
        "client.fault.certificate_expired",
        "client.fault.certificate_invalid",
        "client.fault.certificate_missing",
        "client.fault.certificate_revoked",
        "client.fault.certificate_untrusted",
        "client.fault.plain_on_tls",
        "client.fault.tls_on_plain",
        "probe.http2",
        "probe.tcp",
        "probe.tls",
        "tap.timeout.request_head",
        "tap.timeout.tls_handshake",
    ],
    // The alerts and failures that have one meaning.
    &[
        "client.fault.alpn",
        "tap.certificate.expired",
        "tap.certificate.revoked",
        "tap.certificate.unknown_ca",
        "tap.certificate.unsupported",
        "tap.fault.certificate",
    ],
    // The alerts that have several meanings.
    &["client.fault.not_tls", "tap.certificate.refused"],
    &["client.fault.tls_broken_early"],
    // `client.left.tls` comes only here: a client also leaves after an alert or a wrong protocol,
    // and then leaving is not the cause.
    &[
        "client.fault.ambiguous",
        "client.fault.http2",
        "client.fault.http2_flood",
        "client.fault.http2_preface",
        "client.fault.nominated",
        "client.fault.origin_list",
        "client.fault.upgrade",
        "client.fault.upgrade_http10",
        "client.left.tls",
    ],
    // Any other refused head, even if the client was gone before we could answer.
    &["client.fault.malformed"],
    &["client.left.request_head"],
    // Any other failed TLS handshake.
    &["client.fault.tls"],
];

/// See [`Stage::Dial`](super::Stage::Dial).
pub(super) const DIAL: &[Step] = &[
    // A proxy of the environment, or a limit of the tap's own host: the gateway was never
    // contacted, so no rule may blame it.
    &[
        "hop.fault.proxy_login",
        "hop.fault.proxy_refused",
        "hop.fault.proxy_silent",
        "hop.fault.proxy_unreachable",
        "tap.fault.memory",
        "tap.fault.open_files",
        "tap.fault.ports",
        "tap.fault.system_files",
        "tap.fault.watches",
    ],
    // The same loss as `network.cut.request`, with a size that explains it.
    &["network.cut.large_request"],
    // Other sessions showed that the gateway went down. That explains every symptom of the following
    // steps: a refused connection (in a container, too), a kept connection that ended, silence.
    &["gateway.lifecycle.restarting", "gateway.lifecycle.stopping"],
    // Special cases of the errors in the next step.
    &[
        "gateway.silent.kept",
        "gateway.unreachable.loopback_in_container",
        "network.cut.request",
    ],
    &[
        "gateway.silent.closed",
        "gateway.silent.reset",
        "gateway.silent.tls_broken",
        "gateway.silent.unread",
        "gateway.silent.upgrade",
        "gateway.unreachable.backlog",
        "gateway.unreachable.certificate_expired",
        "gateway.unreachable.certificate_name",
        "gateway.unreachable.certificate_pin",
        "gateway.unreachable.certificate_untrusted",
        "gateway.unreachable.connect",
        "gateway.unreachable.dns",
        "gateway.unreachable.forbidden",
        "gateway.unreachable.no_address",
        "gateway.unreachable.not_tls",
        "gateway.unreachable.refused",
        "gateway.unreachable.socket_denied",
        "gateway.unreachable.socket_missing",
        "gateway.unreachable.timeout",
        "gateway.unreachable.tls",
        "gateway.unreachable.tls_cut",
        "gateway.unreachable.unreachable",
        "gateway.unreachable.wants_tls",
    ],
    // A client that gives up after a long dial is not at fault: before `client.left.dial`.
    &["gateway.unreachable.no_answer"],
    // Any other error.
    &["gateway.unreachable.other"],
    // No error: only some of the attempts failed.
    &["gateway.unreachable.partly"],
];

/// See [`Stage::Answer`](super::Stage::Answer).
pub(super) const ANSWER: &[Step] = &[
    // A loop is recognised by its status, whichever server sends it: before
    // `hop.fault.foreign_answer`.
    &["hop.fault.loop"],
    // Upgrade was lost in front of us. The resulting answer is not the fault of a proxy behind us.
    &["hop.fault.upgrade_stripped"],
    // Bodies that only one cause has.
    &[
        "gateway.lifecycle.admission_closed",
        "gateway.lifecycle.handlers_unavailable",
        "gateway.limit.preauth_sockets",
        "gateway.refused.attribution",
        "gateway.refused.attribution_behind",
        "gateway.refused.attribution_client",
        "gateway.refused.attribution_proxy",
        "hop.fault.upgrade_stripped_behind",
    ],
    // A broken handshake with the marks of a proxy is the proxy's fault; without them, in the next
    // step, it is the gateway's.
    &[
        "gateway.refused.service_unavailable",
        "hop.fault.accept_key",
        "hop.fault.handshake_mangled",
    ],
    &[
        "gateway.refused.accept_key",
        "gateway.refused.bad_handshake",
        "gateway.refused.bad_upgrade",
        "gateway.refused.credential",
        "gateway.refused.not_http",
        "gateway.refused.rate_limited",
        "http.error.attribution",
        "tap.timeout.answer",
        "tap.timeout.request_body",
        "tap.timeout.slow_body",
        "tap.timeout.unread",
    ],
    // The page says what is wrong with the proxy's upstream: before `hop.fault.bad_gateway`.
    &["hop.fault.upstream_scheme"],
    // Envoy's bare 403 is about upgrades and does not ask for a login: before `hop.fault.login`.
    &["hop.fault.upgrade_not_enabled"],
    // Statuses that have one meaning, before `hop.fault.foreign_answer` takes the rest.
    &["hop.fault.rate_limited"],
    &["hop.fault.login", "hop.fault.redirect"],
    &["hop.fault.too_large"],
    // A proxy's 502 to a plain request says nothing about the gateway: before `http.error.server`.
    &[
        "gateway.refused.upgrade_failed",
        "hop.fault.bad_gateway",
        "hop.fault.http_answer",
    ],
    &["gateway.limit.head"],
    // Any other answer of another server.
    &["hop.fault.foreign_answer"],
    // Any other error in answer to a plain request.
    &["http.error.client", "http.error.server"],
    // Many cancelled attempts say more than a single one.
    &["client.left.again"],
    &["client.left.dial"],
    &["client.left.upgrade"],
    // The gateway cut its answer short, so the client had nothing to wait for: before
    // `client.left.answer`.
    &["gateway.left.answer"],
    &["client.left.answer"],
    // Any other refused upgrade.
    &["client.left.unread", "gateway.refused.other"],
];
