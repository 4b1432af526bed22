//! The messages of a bench: the handshake of `openclaw`, requests of a given size and their
//! answers.
//!
//! The handshake has the fields and the lengths of a real one (gateway 2026.9.6 and its own page in
//! a browser); its names and secrets are invented.

use std::sync::LazyLock;

use super::frames::{self, TEXT};

/// The gateway's first message: 164 bytes.
pub const CHALLENGE: &str = r#"{"type":"event","event":"connect.challenge","payload":{"nonce":"2c6a3f5e-11aa-4c1b-8a45-0123456789ab","ts":1795281219623,"capabilities":["model-catalog-snapshot"]}}"#;

/// The client's first message: 1.3 KiB.
pub const CONNECT: &str = concat!(
    r#"{"type":"req","id":"1:2c6a3f5e-11aa-4c1b-8a45-00000000ffff","method":"connect","params":{"#,
    r#""minProtocol":4,"maxProtocol":4,"client":{"id":"openclaw-control-ui","version":"2026.9.6","#,
    r#""buildId":"2026.9.6-release-0123456789ab-2026-09-23T16-33-12.144Z","platform":"Linux x86_64","#,
    r#""mode":"webchat","instanceId":"2c6a3f5e-11aa-4c1b-8a45-00000000eeee","timeZone":"UTC"},"#,
    r#""role":"operator","scopes":["operator.admin","operator.read","operator.write","#,
    r#""operator.approvals","operator.questions","operator.pairing"],"#,
    r#""device":{"id":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","#,
    r#""publicKey":"bench-bench-bench-bench-bench-bench-bench-b","#,
    r#""signature":"bench-bench-bench-bench-bench-bench-bench-bench-bench-bench-bench-bench-bench-bench-be","#,
    r#""signedAt":1795281219623,"nonce":"2c6a3f5e-11aa-4c1b-8a45-0123456789ab"},"#,
    r#""modelCatalog":{"sessionKey":"main"},"caps":["agent-kind","approvals","task-suggestions","#,
    r#""terminal-offset-seq","terminal-session-metadata","terminal-upload-path-style","tool-events","#,
    r#""inline-widgets","model-selection-policy","ui-commands","usage-refreshing","#,
    r#""model-catalog-snapshot"],"auth":{"token":"bench-token-0123456789abcdef0123456789abcdef","#,
    r#""password":"bench-token-0123456789abcdef0123456789abcdef"},"userAgent":"Mozilla/5.0 (X11; "#,
    r#"Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/148.0.0.0 Safari/537.36","#,
    r#""locale":"en-US"}}"#,
);

/// The gateway's answer to [`CONNECT`]: 15.5 KiB, of which three quarters are names of methods and
/// events.
pub static HELLO: LazyLock<String> = LazyLock::new(|| {
    let (methods, events, capabilities) = (names(466), names(64), names(21));
    format!(
        r#"{HELLO_FRONT}"features":{{"methods":[{methods}],"events":[{events}],"capabilities":[{capabilities}]}},{HELLO_BACK}"#
    )
});

const HELLO_FRONT: &str = concat!(
    r#"{"type":"res","id":"1:2c6a3f5e-11aa-4c1b-8a45-00000000ffff","ok":true,"payload":{"#,
    r#""type":"hello-ok","protocol":4,"server":{"version":"2026.9.6","#,
    r#""buildId":"2026.9.6-release-0123456789ab-2026-09-23T16-33-12.144Z","#,
    r#""bootId":"2c6a3f5e-11aa-4c1b-8a45-00000000bbbb","controlUiBuildSource":"bundled","#,
    r#""connId":"2c6a3f5e-11aa-4c1b-8a45-00000000cccc"},"#,
);
const HELLO_BACK: &str = concat!(
    r#""snapshot":{"suspension":{"phase":"accepting"},"presence":[{"host":"bench","ip":"192.0.2.2","#,
    r#""version":"2026.9.6","platform":"linux 6.18.44","deviceFamily":"Linux","mode":"gateway","#,
    r#""reason":"self","instanceId":"2c6a3f5e-11aa-4c1b-8a45-00000000dddd","#,
    r#""text":"Gateway: bench (192.0.2.2), version 2026.9.6, mode gateway, reason self","#,
    r#""ts":1795281219685}],"health":{"ok":true,"ts":1795281218480,"durationMs":136,"#,
    r#""plugins":{"loaded":["plugin-one","plugin-two","plugin-three","plugin-four","plugin-five","#,
    r#""plugin-six","plugin-seven","plugin-eight","plugin-nine","plugin-ten","plugin-eleven"],"#,
    r#""errors":[],"unavailable":[]},"configReload":{"hotReloadStatus":"active"},"channels":{},"#,
    r#""channelOrder":[],"channelLabels":{},"heartbeatSeconds":1800,"defaultAgentId":"main","#,
    r#""agents":[{"agentId":"main","isDefault":true,"heartbeat":{"enabled":true,"every":"30m","#,
    r#""everyMs":1800000,"prompt":"A text of some three hundred characters that tells the agent what it "#,
    r#"is to do whenever half an hour has gone by: look at what there is to be done, do not repeat what "#,
    r#"has been done, and say so if there is nothing that anybody would want to hear about at this time "#,
    r#"of the day or of the night.","target":"owner","ackMaxChars":300},"sessions":{"#,
    r#""path":"/home/bench/state/agents/main/agent/agent.sqlite","count":0,"recent":[]}}],"#,
    r#""sessions":{"path":"/home/bench/state/agents/main/agent/agent.sqlite","count":0,"recent":[]},"#,
    r#""eventLoop":{"degraded":false,"degradedSinceMs":null,"reasons":[],"intervalMs":1012.6554589999996,"#,
    r#""delayP99Ms":179.4,"delayMaxMs":179.4,"utilization":0.501,"cpuCoreRatio":0.508,"#,
    r#""cpuBreakdown":{"mainThreadCoreRatio":0.425,"hostUtilization":1,"hostCpuCount":2}}},"#,
    r#""stateVersion":{"presence":1,"health":2},"uptimeMs":16082,"#,
    r#""appliedConfigHash":"hmac-sha256:v1:bench-bench-bench-bench-bench-bench-bench-b","#,
    r#""sessionDefaults":{"defaultAgentId":"main","modelConfigured":false,"ownership":"sole","#,
    r#""selectionRequired":false,"mainKey":"main","mainSessionKey":"agent:main:main","scope":"per-sender"},"#,
    r#""updateSchedule":{"channel":"stable","autoEnabled":false,"install":{"kind":"package"}}},"#,
    r#""controlUiWidgetKinds":[{"pluginId":"session","kind":"session:one","label":"One"},"#,
    r#"{"pluginId":"session","kind":"session:two","label":"Two"},"#,
    r#"{"pluginId":"session","kind":"session:three","label":"Three"}],"#,
    r#""controlUiLinkReaders":[{"pluginId":"reader","id":"reader","label":"Reader","icon":"reader","#,
    r#""linkReader":{"hosts":["reader.example"],"pathPattern":"^/[^/]+/[^/]+/(?:page/[1-9][0-9]{0,9})/?$","#,
    r#""detailMethod":"reader.detail","previewMethod":"reader.preview","imageMethod":"reader.image"}}],"#,
    r#""pluginSurfaceUrls":{"canvas":"https://localhost:18789/__openclaw__/cap/bench-bench-bench-bench-"},"#,
    r#""auth":{"method":"token","role":"operator","scopes":["operator.admin","operator.read","#,
    r#""operator.write","operator.approvals","operator.questions","operator.pairing"],"#,
    r#""deviceToken":"bench-bench-bench-bench-bench-bench-bench-b","issuedAtMs":1795281219700,"#,
    r#""recoveryScope":"bench-bench-bench-bench-bench-bench-bench-b"},"#,
    r#""policy":{"maxPayload":26214400,"maxBufferedBytes":52428800,"tickIntervalMs":30000,"#,
    r#""attachments":{"maxBytes":19464192,"maxImageBytes":6291456},"#,
    r#""allowedSessionVisibilities":["shared","read-only","suggest","draft"],"#,
    r#""hasMultipleSessionSharingIdentities":false}}}"#,
);

/// `count` names like those of methods and events: 18 characters each.
fn names(count: usize) -> String {
    let name = |number| format!(r#""area{:02}.resource{number:03}""#, number % 40);
    (0..count).map(name).collect::<Vec<_>>().join(",")
}

/// The front of a request; the gateway answers with the same text, with `res` in it.
const FRONT: &str = r#"{"type":"req","id":"2:2c6a3f5e-11aa-4c1b-8a45-000000000000","method":"bench.echo","params":{"x":""#;
/// Position of the counter digits in the id, and the text after the id.
const DIGITS_AT: usize = 50;
const ID_END: usize = 59;
const BACK: &str = r#""}}"#;

/// Makes the client's frames of one size.
///
/// Each is a request with a different id, so that the dialect does its real work. A size too small
/// for a request gives a text without meaning.
#[derive(Clone, Debug)]
pub struct Messages {
    frame: Vec<u8>,
    is_request: bool,
    next: u32,
}

impl Messages {
    /// Payloads have exactly this many bytes.
    pub fn new(size: usize) -> Self {
        let room = size.checked_sub(FRONT.len() + BACK.len());
        let text = match room {
            Some(room) => format!("{FRONT}{}{BACK}", "x".repeat(room)),
            None => "x".repeat(size),
        };
        Self {
            frame: frames::of_client(TEXT, text.as_bytes()),
            is_request: room.is_some(),
            next: 0,
        }
    }

    /// The next message, in its wire form.
    pub fn next(&mut self) -> &[u8] {
        if self.is_request {
            self.next = (self.next + 1) % 100_000_000;
            let id = format!("{:08}", self.next);
            frames::overwrite(&mut self.frame, DIGITS_AT, id.as_bytes());
        }
        &self.frame
    }
}

/// Turns a message of the client into the gateway's answer, in place and with the same length, so
/// that a message has one size both ways.
pub fn answer(payload: &mut [u8]) -> &[u8] {
    const KIND: &[u8] = br#"{"type":"req""#;
    const ASKED: &[u8] = br#","method":"bench.echo","params":{"x":""#;
    const ANSWERED: &[u8] = br#","ok":true,"payload":{"x":"xxxxxxxxxxx"#;
    const {
        assert!(
            ASKED.len() == ANSWERED.len(),
            "an answer is as long as its request"
        );
        assert!(
            ID_END + ASKED.len() == FRONT.len(),
            "the method follows the id"
        );
    };
    if payload == CONNECT.as_bytes() {
        return HELLO.as_bytes();
    }
    if payload.starts_with(KIND)
        && payload
            .get(ID_END..)
            .is_some_and(|it| it.starts_with(ASKED))
    {
        payload[KIND.len() - 2] = b's';
        payload[ID_END..][..ANSWERED.len()].copy_from_slice(ANSWERED);
    }
    payload
}
