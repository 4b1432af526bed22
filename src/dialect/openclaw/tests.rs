//! Messages as gateway 2026.9.6 and its CLI send them, and as a hostile peer might.

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
    fn facts(&self) -> (DialectFacts, Vec<Credential>) {
        let wall = "2026-11-21T00:00:00Z".parse().unwrap();
        self.dialect.facts(&Ending {
            anchor: &Anchor::new(wall, self.start),
            now: self.start + Duration::from_millis(self.ms),
            written_to_gateway: self.written,
        })
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
    let told = format!(
        "{}{}{facts:?}{credentials:?}",
        serde_json::to_string(&facts).unwrap(),
        serde_json::to_string(&credentials).unwrap(),
    );
    assert!(!told.contains("canary"), "a secret got into the facts");
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

/// What is remembered of a conversation, tested by what gets masked.
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

fn open() -> Talk {
    talk().gateway(CHALLENGE).client(CONNECT).gateway(HELLO)
}

impl Talk {
    fn rpc(&self) -> RpcFacts {
        self.facts().0.rpc.unwrap()
    }
    fn ask(self, id: &str, method: &str) -> Self {
        self.client(&format!(
            r#"{{"type":"req","id":"{id}","method":"{method}","params":{{"x":1}}}}"#
        ))
    }
    fn answer(self, id: &str) -> Self {
        self.gateway(&format!(
            r#"{{"type":"res","id":"{id}","ok":true,"payload":{{"id":"9"}}}}"#
        ))
    }
}

#[test]
fn requests_are_matched_with_their_answers() {
    let denied = r#"{"type":"res","id":"3","ok":false,"error":{"code":"FORBIDDEN","message":"missing scope: operator.write","details":{"code":"MISSING_SCOPE","missingScope":"operator.write"}}}"#;
    let mut talk = open()
        .ask("1", "health")
        .answer("1")
        .ask("2", "chat.send")
        .ask("3", "config.set")
        .ask("4", "health")
        .gateway(denied)
        .answer("4");
    talk.written = 5;
    let rpc = talk.rpc();
    assert_eq!((rpc.requests, rpc.responses, rpc.errors), (4, 3, 1));
    assert_eq!(rpc.unanswered_count, Some(1));
    let left = &rpc.unanswered[0];
    assert_eq!((left.method.as_str(), left.written), ("chat.send", true));
    assert!((left.age_ms - 5.0).abs() < 1e-9, "{}", left.age_ms);
    talk.written = 4;
    assert!(!talk.rpc().unanswered[0].written);
    let health = &rpc.methods[0];
    assert_eq!(health.method.as_ref().unwrap().as_str(), "health");
    assert_eq!(
        (health.requests, health.responses, health.errors),
        (2, 2, 0)
    );
    let latency = health.latency_ms.unwrap();
    assert!((latency.min - 1.0).abs() < 1e-9 && (latency.mean - 1.5).abs() < 1e-9);
    assert!((latency.max - 2.0).abs() < 1e-9);
    let failure = &rpc.failures[0];
    assert_eq!(failure.method.as_str(), "config.set");
    assert_eq!(
        failure.missing_scope.as_ref().unwrap().as_str(),
        "operator.write"
    );
    assert_eq!(
        failure.details_code.as_ref().unwrap().as_str(),
        "MISSING_SCOPE"
    );
}

#[test]
fn policy_limits_are_kept() {
    let (facts, _) = talk()
        .client(CONNECT)
        .gateway(&HELLO.replace(
            "26214400}",
            r#"26214400,"maxBufferedBytes":52428800,"tickIntervalMs":30000}"#,
        ))
        .facts();
    assert_eq!(facts.max_buffered, Some(52_428_800));
    assert_eq!(facts.tick_interval_ms, Some(30_000));
}

#[test]
fn odd_requests_and_answers_are_counted() {
    let rpc = open()
        .ask("1", "a")
        .ask("1", "b")
        .answer("1")
        .answer("1")
        .answer("never asked")
        .client("not json")
        .client(r#"{"type":"req","id":5,"method":"a"}"#)
        .client(&format!(r#"{{"params":"{}","id":"6"}}"#, "x".repeat(300)))
        .client(r#"{"type":"blob"}"#)
        .rpc();
    assert_eq!((rpc.requests, rpc.responses), (2, 1));
    assert_eq!((rpc.duplicate_ids, rpc.unmatched), (1, 2));
    assert_eq!((rpc.unseen_to_gateway, rpc.unseen_to_client), (3, 0));
    assert_eq!(rpc.unanswered_count, Some(0));
}

#[test]
fn an_answer_that_may_have_been_missed_leaves_no_claim() {
    let hidden = format!(
        r#"{{"payload":"{}","type":"res","id":"1"}}"#,
        "x".repeat(2000)
    );
    let rpc = open().ask("1", "health").gateway(&hidden).rpc();
    assert_eq!(rpc.unseen_to_client, 1);
    assert_eq!((rpc.unanswered_count, rpc.unanswered.len()), (None, 0));
    // What is no JSON object can be no answer.
    let rpc = open().ask("1", "health").gateway("ticker: 5").rpc();
    assert_eq!(rpc.unanswered_count, Some(1));
}

#[test]
fn the_tables_are_bounded_and_names_are_inert() {
    let mut talk = open();
    for at in 0..400 {
        talk = talk.ask(&format!("r{at}"), &format!("method.{at}"));
    }
    let rpc = talk.ask("r0", "\\u001b[31m").rpc();
    assert_eq!((rpc.requests, rpc.untracked), (401, 400 - 256));
    assert_eq!(rpc.unanswered_count, Some(256));
    assert_eq!(rpc.unanswered.len(), 16);
    assert_eq!(rpc.methods.len(), 33);
    assert_eq!(rpc.methods[32].method, None);
    assert_eq!(rpc.methods[32].requests, 401 - 32);
    let long = open().ask("1", &format!("\\u001b{}", "m".repeat(99))).rpc();
    let name = long.methods[0].method.as_ref().unwrap().as_str().to_owned();
    assert!(name.starts_with("\\u{1b}mm") && name.len() < 80, "{name}");
}

#[test]
fn a_refused_session_has_no_requests() {
    let refusal = r#"{"type":"res","id":"1:a","ok":false,"error":{"code":"X"}}"#;
    let (facts, _) = talk().client(CONNECT).gateway(refusal).facts();
    assert_eq!(facts.rpc, None);
}

#[test]
fn a_shutdown_event_in_any_order_or_cut_is_one() {
    let turned = r#"{"payload":{"reason":"gateway stopping"},"event":"shutdown","type":"event"}"#;
    let shutdown = open().gateway(turned).facts().0.shutdown.unwrap();
    assert_eq!(shutdown.reason.unwrap().as_str(), "gateway stopping");
    let long = format!(
        r#"{{"type":"event","event":"shutdown","payload":"{}"}}"#,
        "x".repeat(2000)
    );
    let shutdown = open().gateway(&long).facts().0.shutdown.unwrap();
    assert_eq!(shutdown.reason, None);
}

#[test]
fn what_was_accepted_waits_for_its_result() {
    let accepted = r#"{"type":"res","id":"1","ok":true,"payload":{"runId":"r","status":"accepted","acceptedAt":1}}"#;
    let run = open().ask("1", "agent").gateway(accepted);
    let rpc = run.rpc();
    assert_eq!((rpc.responses, rpc.unanswered_count), (1, Some(0)));
    assert_eq!(rpc.unfinished_count, Some(1));
    assert_eq!(rpc.unfinished[0].method.as_str(), "agent");
    let done = run.gateway(accepted).rpc();
    assert_eq!((done.responses, done.unmatched), (1, 0));
    assert_eq!(done.unfinished_count, Some(0));
    let failed = open().ask("1", "agent").gateway(accepted);
    let failed = failed
        .gateway(r#"{"type":"res","id":"1","ok":false,"error":{"code":"UNAVAILABLE"}}"#)
        .rpc();
    assert_eq!((failed.responses, failed.errors), (1, 1));
    assert_eq!(failed.methods[0].errors, 1);
    // The word elsewhere says nothing.
    let other = r#"{"type":"res","id":"1","ok":true,"payload":{"list":["accepted"]}}"#;
    let rpc = open().ask("1", "a").gateway(other).rpc();
    assert_eq!(rpc.unfinished_count, Some(0));
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
fn a_path_is_a_plugins_when_neither_side_speaks_the_gateways_protocol() {
    let plugin = talk_at("/voice/stream").gateway("welcome");
    assert!(plugin.dialect.is_open());
    assert_eq!(plugin.facts().0.endpoint, Some(Endpoint::Plugin));
    let plugin = talk_at("/voice/stream").client("{}").gateway("{\"a\":1}");
    assert_eq!(plugin.facts().0.endpoint, Some(Endpoint::Plugin));

    let gateways_own = talk_at("/voice/stream").gateway(CHALLENGE);
    assert!(!gateways_own.dialect.is_open());
    // No plugin has this one; and who sends connect means the gateway.
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

/// One of them reads for every open session.
#[test]
#[cfg(target_pointer_width = "64")]
fn a_reader_grows_by_nobodys_oversight() {
    let sizes = [
        (size_of::<OpenClaw>(), 360),
        (size_of::<Connect>(), 168),
        (size_of::<Hello>(), 184),
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
