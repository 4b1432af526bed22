//! Messages as gateway 2026.9.6 and its CLI send them, and as a hostile peer might.

mod requests;

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::session::credential::Shape;
use crate::session::moment::Anchor;
use crate::session::record::dialect::RpcFacts;

struct Talk {
    dialect: OpenClaw,
    start: Instant,
    ms: u64,
    written: u64,
}

fn talk() -> Talk {
    talk_at("/")
}

fn talk_at(target: &str) -> Talk {
    let dialect = OpenClaw::new(Fingerprinter::with_key(b"a key for the tests"), target);
    Talk {
        dialect,
        start: Instant::now(),
        ms: 0,
        written: u64::MAX,
    }
}

impl Talk {
    fn say(mut self, direction: Direction, text: &str) -> Self {
        let wants = self.dialect.wants(direction, Opcode::Text);
        if wants > 0 {
            let bytes = &text.as_bytes()[..text.len().min(wants)];
            let whole = bytes.len() == text.len();
            let message = Message {
                opcode: Opcode::Text,
                compressed: false,
                bytes,
                whole,
                end: self.ms,
            };
            let now = self.start + Duration::from_millis(self.ms);
            self.dialect.message(direction, &message, now);
        }
        self.ms += 1;
        self
    }
    fn gateway(self, text: &str) -> Self {
        self.say(Direction::ToClient, text)
    }
    fn client(self, text: &str) -> Self {
        self.say(Direction::ToGateway, text)
    }
    fn facts(&self) -> (OpenClawFacts, Vec<Credential>) {
        let wall = "2026-11-21T00:00:00Z".parse().unwrap();
        let (facts, credentials) = self.dialect.facts(&Ending {
            anchor: &Anchor::new(wall, self.start),
            now: self.start + Duration::from_millis(self.ms),
            written_to_gateway: self.written,
        });
        (facts.openclaw().unwrap().clone(), credentials)
    }
}

const CHALLENGE: &str = r#"{"type":"event","event":"connect.challenge","payload":{"nonce":"2b6d","ts":1,"capabilities":[]}}"#;
const CONNECT: &str = r#"{"type":"req","id":"1:a","method":"connect","params":{"minProtocol":4,"maxProtocol":4,
 "client":{"id":"cli","version":"2026.9.6","platform":"linux","mode":"cli"},"caps":[],
 "auth":{"token":"canary-token-canary-token-canary-token"},"role":"operator","scopes":["operator.read"],
 "device":{"id":"d1","publicKey":"pk","signature":"canary-signature","signedAt":1,"nonce":"2b6d"}}}"#;
const HELLO: &str = r#"{"type":"res","id":"1:a","ok":true,"payload":{"type":"hello-ok","protocol":4,
 "server":{"version":"2026.9.6","buildId":"b","bootId":"boot","connId":"c-1"},
 "auth":{"method":"token","role":"operator","scopes":["operator.read"],"deviceToken":"canary-device-token"},
 "policy":{"maxPayload":26214400}}}"#;

#[test]
fn a_good_handshake() {
    let (facts, credentials) = talk()
        .gateway(CHALLENGE)
        .client(CONNECT)
        .gateway(HELLO)
        .facts();
    assert_eq!(facts.result, ConnectResult::Accepted);
    assert_eq!(facts.first_message, Some(FirstMessage::Connect));
    assert_eq!(
        facts.challenge_at.unwrap().to_string(),
        "2026-11-21T00:00:00.000000Z"
    );
    assert_eq!(
        facts.answered_at.unwrap().to_string(),
        "2026-11-21T00:00:00.002000Z"
    );
    assert_eq!(facts.conn_id.unwrap().as_str(), "c-1");
    assert_eq!(facts.server.unwrap().boot_id.unwrap().as_str(), "boot");
    assert_eq!(
        facts.protocol,
        ProtocolRange {
            min: Some(4),
            max: Some(4),
            agreed: Some(4)
        }
    );
    assert_eq!(facts.max_payload, Some(26_214_400));
    assert!(facts.device.present);
    assert_eq!(credentials.len(), 1);
    assert_eq!(credentials[0].place, "frame:connect.params.auth.token");
    assert_eq!(credentials[0].effective, Some(true));
    assert!(credentials[0].fingerprint.as_str().starts_with("sha256:"));
}

#[test]
fn a_refusal_keeps_code_details_and_request_id() {
    let refusal = r#"{"type":"res","id":"1:a","ok":false,"error":{"code":"NOT_PAIRED","message":"pairing required","details":{"code":"PAIRING_REQUIRED","reason":"not-paired","requestId":"r-1","recommendedNextStep":"wait_then_retry"},"retryable":true,"retryAfterMs":500}}"#;
    let (facts, _) = talk()
        .gateway(CHALLENGE)
        .client(CONNECT)
        .gateway(refusal)
        .facts();
    assert_eq!(facts.result, ConnectResult::Refused);
    let error = facts.error.unwrap();
    assert_eq!(error.code.unwrap().as_str(), "NOT_PAIRED");
    assert_eq!(error.details_code.unwrap().as_str(), "PAIRING_REQUIRED");
    assert_eq!(error.details_reason.unwrap().as_str(), "not-paired");
    assert_eq!(error.request_id.unwrap().as_str(), "r-1");
    assert_eq!(error.retry_after_ms, Some(500));
}

#[test]
fn a_response_to_another_request_is_not_the_answer() {
    let other = r#"{"type":"res","id":"9","ok":false,"error":{"code":"X"}}"#;
    let (facts, _) = talk().client(CONNECT).gateway(other).facts();
    assert_eq!(facts.result, ConnectResult::None);
}

#[test]
fn the_shutdown_event_is_found_after_hello_and_before() {
    let event = r#"{"type":"event","event":"shutdown","payload":{"reason":"gateway restarting","restartExpectedMs":1500}}"#;
    for talk in [
        talk().client(CONNECT).gateway(HELLO).gateway(event),
        talk().gateway(event),
    ] {
        let shutdown = talk.facts().0.shutdown.unwrap();
        assert_eq!(shutdown.reason.unwrap().as_str(), "gateway restarting");
        assert_eq!(shutdown.restart_expected_ms, Some(1500));
    }
    let quote = r#"{"type":"event","event":"chat","payload":{"text":"say \"shutdown\""}}"#;
    assert_eq!(
        talk()
            .client(CONNECT)
            .gateway(HELLO)
            .gateway(quote)
            .facts()
            .0
            .shutdown,
        None
    );
}

#[test]
fn first_messages_are_told_apart() {
    let first = |text: &str| talk().client(text).facts().0.first_message.unwrap();
    assert_eq!(first("not json"), FirstMessage::NotJson);
    assert_eq!(first("[1]"), FirstMessage::NotARequest);
    assert_eq!(
        first(r#"{"type":"req","method":"health"}"#),
        FirstMessage::OtherRequest
    );
    assert_eq!(
        first(&format!("\"{}\"", "x".repeat(70_000))),
        FirstMessage::TooLong
    );
    let mut binary = talk();
    let message = Message {
        opcode: Opcode::Binary,
        compressed: false,
        bytes: b"{}",
        whole: true,
        end: 2,
    };
    binary
        .dialect
        .message(Direction::ToGateway, &message, binary.start);
    assert_eq!(binary.facts().0.first_message, Some(FirstMessage::Binary));
}

#[test]
fn a_hello_too_long_to_read_still_opens_the_session() {
    let long = HELLO.replace("\"b\"", &format!("\"{}\"", "b".repeat(70_000)));
    let talk = talk().client(CONNECT).gateway(&long);
    assert!(talk.dialect.is_open());
    assert_eq!(talk.facts().0.server, None);
}

#[test]
fn wrong_types_and_unknown_auth_keys_are_facts() {
    let odd = r#"{"type":"req","id":7,"method":"connect","params":{"minProtocol":"four","client":[],"auth":{"canary-name":"canary-value","token":5},"scopes":[1,"a"],"device":"x"}}"#;
    let (facts, credentials) = talk().client(odd).facts();
    assert_eq!(facts.protocol, ProtocolRange::default());
    assert!(!facts.device.present);
    assert_eq!(facts.scopes_asked.unwrap().len(), 1);
    assert_eq!(credentials.len(), 1);
    assert_eq!(credentials[0].place, "frame:connect.params.auth.(unknown)");
    assert_eq!(credentials[0].effective, Some(false));
}

#[test]
fn no_secret_of_a_handshake_is_in_its_facts() {
    let (facts, credentials) = talk()
        .gateway(CHALLENGE)
        .client(CONNECT)
        .gateway(HELLO)
        .facts();
    let facts_text = format!(
        "{}{}{facts:?}{credentials:?}",
        serde_json::to_string(&facts).unwrap(),
        serde_json::to_string(&credentials).unwrap(),
    );
    assert!(
        !facts_text.contains("canary"),
        "a secret got into the facts"
    );
}

#[test]
fn a_secret_under_any_name_is_known() {
    for name in ["snapshot", "features", "payload", "mystery"] {
        let connect = format!(
            r#"{{"type":"req","id":"c","method":"connect","params":{{"auth":{{"{name}":"canary-value-of-no-known-kind"}}}}}}"#
        );
        let (_, credentials) = talk().client(&connect).facts();
        assert_eq!(credentials.len(), 1, "{name}");
    }
}

/// The remembered secrets of a conversation, tested by what is masked.
fn masked(talk: &Talk, text: &str) -> String {
    let masker = talk.dialect.seen().unwrap().masker();
    masker.mask(text).unwrap_or_else(|| text.to_owned())
}

#[test]
fn a_secret_that_a_peer_quotes_is_masked() {
    let talk = talk().client(CONNECT);
    let text = "was canary-token-canary-token-canary-token!";
    assert_eq!(masked(&talk, text), "was [masked 38]!");
}

#[test]
fn secrets_in_odd_places_of_a_handshake_are_remembered() {
    let connect = r#"{"type":"req","id":"c","method":"connect","params":{"auth":{
        "tokens":[{"value":"nested-Zq83kd01"}],"pin":190273645501}}}"#;
    let hello = r#"{"type":"res","id":"c","ok":true,"payload":{"type":"hello-ok",
        "auth":{"role":"operator","deviceTokens":[{"deviceToken":"issued-Lw02mx7pq"}]},
        "pluginSurfaceUrls":{"canvas":"http://h/__openclaw__/cap/cap-Ty5630dhs/x"}}}"#;
    let talk = talk().gateway(CHALLENGE).client(connect).gateway(hello);
    for secret in [
        "nested-Zq83kd01",
        "190273645501",
        "issued-Lw02mx7pq",
        "cap-Ty5630dhs",
    ] {
        assert_eq!(
            masked(&talk, &format!("<{secret}>")),
            format!("<[masked {}]>", secret.len())
        );
    }
    assert_eq!(masked(&talk, "operator"), "operator");
}

#[test]
fn the_login_of_another_protocol_is_remembered() {
    let talk = talk().client(r#"{"op":"auth","token":"other-Rt61bn0w","user":"ana-maria-x"}"#);
    assert_eq!(masked(&talk, "other-Rt61bn0w"), "[masked 14]");
    assert_eq!(masked(&talk, "ana-maria-x"), "ana-maria-x");
}

proptest! {
    #[test]
    fn never_panics(messages in proptest::collection::vec((any::<bool>(), ".{0,80}"), 0..6)) {
        let mut talk = talk();
        for (to_gateway, text) in messages {
            let direction = if to_gateway { Direction::ToGateway } else { Direction::ToClient };
            talk = talk.say(direction, &text);
        }
        let _ = talk.facts();
    }
}

#[test]
fn services_with_another_protocol_are_open_at_once_and_not_read() {
    let talk = talk_at("/__openclaw__/worker");
    assert!(talk.dialect.is_open());
    let talk = talk.client(CONNECT).gateway("{}");
    let (facts, credentials) = talk.facts();
    assert_eq!(facts.endpoint, Some(Endpoint::Worker));
    assert_eq!((facts.first_message, facts.rpc), (None, None));
    assert!(credentials.is_empty());
}

#[test]
fn a_silent_canvas_is_known_at_the_end() {
    let path = "/__openclaw__/ws";
    let talk = talk_at(path);
    assert!(!talk.dialect.is_open(), "it may still challenge");
    assert!(talk.dialect.was_open());
    assert_eq!(talk.facts().0.endpoint, Some(Endpoint::Canvas));
    let reloads = talk_at(path).gateway("reload");
    assert!(reloads.dialect.is_open());
    assert_eq!(reloads.facts().0.endpoint, Some(Endpoint::Canvas));
    // Gateways of 2026.1 and since 2026.8 serve their own protocol there, and a client that sends
    // connect wants that.
    for talk in [
        talk_at(path).gateway(CHALLENGE),
        talk_at(path).client(CONNECT),
        talk_at("/ws"),
        talk_at("/"),
    ] {
        assert!(!talk.dialect.was_open());
        assert_eq!(talk.facts().0.endpoint, Some(Endpoint::Gateway));
    }
}

#[test]
fn a_path_is_a_plugins_when_neither_side_speaks_the_gateways_protocol() {
    let plugin = talk_at("/voice/stream").gateway("welcome");
    assert!(plugin.dialect.is_open());
    assert_eq!(plugin.facts().0.endpoint, Some(Endpoint::Plugin));
    let plugin = talk_at("/voice/stream").client("{}").gateway("{\"a\":1}");
    assert_eq!(plugin.facts().0.endpoint, Some(Endpoint::Plugin));

    let gateways_own = talk_at("/voice/stream").gateway(CHALLENGE);
    assert!(!gateways_own.dialect.is_open());
    // No plugin can have this path; and a client that sends connect means the gateway.
    for talk in [
        talk_at("/?token=x").gateway("welcome"),
        talk_at("/ws").client(CONNECT).gateway(CONNECT),
    ] {
        let (facts, _) = talk.facts();
        assert!(!talk.dialect.is_open());
        assert_eq!(facts.endpoint, Some(Endpoint::Gateway));
        assert_ne!(facts.first_of_gateway, Some(FirstOfGateway::Challenge));
    }
}

#[test]
fn blanks_around_a_secret_do_not_make_it_another() {
    let with = |token: &str| {
        let connect = CONNECT.replace("canary-token-canary-token-canary-token", token);
        let (_, credentials) = talk().gateway(CHALLENGE).client(&connect).facts();
        let one = credentials.into_iter().next().unwrap();
        (one.fingerprint, one.length, one.shape)
    };
    let (print, length, plain) = with("secret-secret-secret-secret-secret");
    assert!(plain.is_empty());
    let padded = with("  secret-secret-secret-secret-secret\\n");
    let both = vec![Shape::Whitespace, Shape::Newline];
    assert_eq!(padded, (print, length, both));
    let (_, length, shape) = with(" \\n");
    assert_eq!((length, shape.first()), (0, Some(&Shape::Empty)));
    assert_eq!(with("one\\ntwo").2, [Shape::Newline]);
}

/// Every open session has one reader.
#[test]
#[cfg(target_pointer_width = "64")]
fn a_reader_grows_by_nobodys_oversight() {
    let sizes = [
        (size_of::<OpenClaw>(), 360),
        (size_of::<Connect>(), 168),
        (size_of::<Hello>(), 192),
    ];
    for (size, bound) in sizes {
        assert!(size <= bound, "{size} bytes, and not {bound}");
    }
}

const HEALTH: &str = r#"{"type":"event","event":"health","payload":{}}"#;

#[test]
fn a_hello_that_cannot_be_read_shows_by_the_events_behind_it() {
    let unread = format!("{{\"pad\":\"{}\"}}", "x".repeat(HANDSHAKE_BYTES));
    let talk = talk().gateway(CHALLENGE).client(CONNECT).gateway(&unread);
    let one = talk.gateway(HEALTH);
    assert_eq!(one.facts().0.result, ConnectResult::None);
    let three = one.gateway(HEALTH).gateway(HEALTH);
    let (facts, _) = three.facts();
    assert_eq!(facts.result, ConnectResult::Accepted);
    assert!(three.dialect.is_open() && facts.answered_at.is_some());
}

#[test]
fn an_event_that_overtakes_the_answer_hides_no_refusal() {
    let refusal = r#"{"type":"res","id":"1:a","ok":false,"error":{"code":"NOT_PAIRED"}}"#;
    let talk = talk().gateway(CHALLENGE).client(CONNECT).gateway(HEALTH);
    let (facts, _) = talk.gateway(refusal).facts();
    assert_eq!(facts.result, ConnectResult::Refused);
    assert_eq!(facts.error.unwrap().code.unwrap().as_str(), "NOT_PAIRED");
}

#[test]
fn the_uptime_of_hello_ok_tells_when_the_process_began() {
    let hello = HELLO.replace(
        r#""server":{"#,
        r#""snapshot":{"presence":[{"uptimeMs":5}],"uptimeMs":60000},"server":{"#,
    );
    let (facts, _) = talk()
        .gateway(CHALLENGE)
        .client(CONNECT)
        .gateway(&hello)
        .facts();
    assert_eq!(facts.server.as_ref().unwrap().uptime_ms, Some(60_000));
    let began = facts.process_began_at().unwrap();
    assert_eq!(facts.answered_at.unwrap().millis_since(began), 60_000);
    let (without, _) = talk()
        .gateway(CHALLENGE)
        .client(CONNECT)
        .gateway(HELLO)
        .facts();
    assert_eq!(without.process_began_at(), None);
}
