//! Replaces the names of settings in the rules' texts by those for an attached tap and for a probe.

use crate::session::record::{TapMode, Verdict};

/// Settings of a configured tap, and their counterparts for an attached one (`wstap attach`).
const ATTACHED: [(&str, &str); 7] = [
    ("gateway.dialect: plain", "`wstap attach --dialect plain`"),
    (
        "connect again once the tap is back",
        "connect again: new connections go straight to the gateway",
    ),
    // An attached tap finds out the gateway's protocol once, when it attaches.
    (
        "the gateway speaks TLS and gateway.url must begin with https://",
        "the gateway now speaks TLS: attach again",
    ),
    (
        "use https:// (or wss://) in gateway.url",
        "attach again: the gateway has begun to speak TLS",
    ),
    (
        "use http:// (or ws://) in gateway.url",
        "attach again without --cert and --key",
    ),
    (
        "whether it wants https in gateway.url",
        "whether it has begun to speak TLS",
    ),
    ("gateway.url", "`wstap attach --port`"),
];

/// The same for a probe, which has a URL and no settings. Its reader wants to know what real clients have to do.
const PROBE: [(&str, &str); 25] = [
    (
        "set gateway.tls.ca to the file of the CA (or of the self-signed certificate) of the gateway",
        "give clients the CA of the gateway's certificate: for the OpenClaw CLI NODE_EXTRA_CA_CERTS=FILE, or \
         gateway.remote.tlsFingerprint; if the CA is a public one, make the gateway send its \
         intermediate certificate",
    ),
    (
        "set gateway.tls.server_name to a name that its certificate carries",
        "use a name in the URL that the certificate carries, or pin the certificate \
         (gateway.remote.tlsFingerprint of the OpenClaw CLI)",
    ),
    (
        "put the gateway's service name into gateway.url, for example http://openclaw-gateway:18789; \
         or start",
        "put the gateway's service name into the URL, for example ws://openclaw-gateway:18789; or start",
    ),
    (
        "if it needs this long, raise timeouts.upgrade",
        "a healthy gateway needs milliseconds",
    ),
    (
        "use https:// (or wss://) in gateway.url",
        "use wss:// in the URL",
    ),
    (
        "use http:// (or ws://) in gateway.url",
        "use ws:// in the URL",
    ),
    (
        "and gateway.url must begin with https://",
        "and the URL must begin with wss://",
    ),
    (
        "whether it wants https in gateway.url",
        "whether it wants wss in the URL",
    ),
    (" and gateway.url says plain", " and the URL says plain"),
    ("gateway.url says", "the URL says"),
    ("gateway.url", "the URL"),
    (
        "put it into gateway.tls.fingerprint (with `wstap attach`: attach again)",
        "put it into the client's gateway.remote.tlsFingerprint",
    ),
    (
        "put it and wstap on one network",
        "put it and its client on one network",
    ),
    ("join tap and gateway in", "join client and gateway in"),
    ("the gateway is http", "the gateway is ws"),
    (
        "must run and share a network with wstap",
        "must run and share a network with its clients",
    ),
    ("our timer timeouts.", "the probe's timer "),
    ("within timeouts.", "within the probe's limit for "),
    ("timeouts.", "the probe's timer "),
    (
        "this tap's host is named",
        "the host that was probed is named",
    ),
    ("the tap's host", "the client's host"),
    ("the tap's container", "the client's container"),
    ("the tap's user", "the client's user"),
    ("between tap and gateway", "between here and the gateway"),
    ("wstap's namespace", "the client's namespace"),
];

/// Replaces the names of settings in our texts by those of a tap in this mode.
pub(crate) fn of_tap(mode: TapMode, verdict: &mut Verdict) {
    let replace = |text: &mut String, table: &[(&str, &str)]| {
        for (setting, other) in table {
            if text.contains(setting) {
                *text = text.replace(setting, other);
            }
        }
    };
    match mode {
        TapMode::Inline => {}
        TapMode::Attached => replace(&mut verdict.next, &ATTACHED),
        TapMode::Probe => {
            replace(&mut verdict.next, &PROBE);
            replace(&mut verdict.summary, &PROBE);
            for evidence in &mut verdict.evidence {
                replace(&mut evidence.fact, &PROBE);
            }
        }
    }
}
