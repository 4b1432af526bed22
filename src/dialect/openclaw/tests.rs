//! Messages as gateway 2026.9.6 and its CLI send them, and as a hostile peer might.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

struct Talk {
    dialect: OpenClaw,
    start: Instant,
    ms: u64,
}

fn talk() -> Talk {
    let dialect = OpenClaw::new(Fingerprinter::with_key(b"a key for the tests"));
    Talk {
        dialect,
        start: Instant::now(),
        ms: 0,
    }
}

impl Talk {
    fn say(mut self, direction: Direction, text: &str) -> Self {
        let wants = self.dialect.wants(direction);
        if wants > 0 {
            let bytes = &text.as_bytes()[..text.len().min(wants)];
            let whole = bytes.len() == text.len();
            let message = Message {
                opcode: Opcode::Text,
                compressed: false,
                bytes,
                whole,
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
    fn facts(&self) -> (DialectFacts, Vec<Credential>) {
        let wall = "2026-11-21T00:00:00Z".parse().unwrap();
        self.dialect.facts(&Anchor::new(wall, self.start))
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
    let told = format!(
        "{}{}{facts:?}{credentials:?}",
        serde_json::to_string(&facts).unwrap(),
        serde_json::to_string(&credentials).unwrap(),
    );
    assert!(!told.contains("canary"), "a secret got into the facts");
}

#[test]
fn a_secret_that_a_peer_quotes_is_masked() {
    let quoting = r#"{"type":"res","id":"1:a","ok":false,"error":{"message":"no: canary-token-canary-token-canary-token","details":{"reason":"canary-token-canary-token-canary-token"}}}"#;
    let talk = talk().client(CONNECT).gateway(quoting);
    let (facts, _) = talk.facts();
    assert_eq!(
        facts.error.unwrap().message.unwrap().as_str(),
        "no: [masked 38]"
    );
    let reason = talk
        .dialect
        .seen()
        .unwrap()
        .mask(b"was canary-token-canary-token-canary-token!");
    assert_eq!(reason.unwrap(), b"was [masked 38]!");
}

#[test]
fn a_secret_that_looks_like_its_mask_ends() {
    for secret in ["masked", "[masked 11]"] {
        let connect = CONNECT.replace("canary-token-canary-token-canary-token", secret);
        let talk = talk().client(&connect);
        assert!(
            talk.dialect
                .seen()
                .unwrap()
                .mask(secret.as_bytes())
                .is_some()
        );
    }
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
