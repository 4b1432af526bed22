//! Requests after the handshake, and their answers.

use super::*;

pub(super) fn open() -> Talk {
    talk().gateway(CHALLENGE).client(CONNECT).gateway(HELLO)
}

impl Talk {
    pub(super) fn rpc(&self) -> RpcFacts {
        self.facts().0.rpc.unwrap()
    }
    pub(super) fn ask(self, id: &str, method: &str) -> Self {
        self.client(&format!(
            r#"{{"type":"req","id":"{id}","method":"{method}","params":{{"x":1}}}}"#
        ))
    }
    pub(super) fn answer(self, id: &str) -> Self {
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
    // A message that is not a JSON object cannot be an answer.
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
    // The word elsewhere does not count.
    let other = r#"{"type":"res","id":"1","ok":true,"payload":{"list":["accepted"]}}"#;
    let rpc = open().ask("1", "a").gateway(other).rpc();
    assert_eq!(rpc.unfinished_count, Some(0));
}

#[test]
fn a_missing_scope_is_read_from_the_message_where_there_are_no_details() {
    let scope = |error: &str| {
        let text = format!(r#"{{"type":"res","id":"r","ok":false,"error":{error}}}"#);
        let (facts, _) = talk()
            .gateway(CHALLENGE)
            .client(CONNECT)
            .gateway(HELLO)
            .client(r#"{"type":"req","id":"r","method":"config.get"}"#)
            .gateway(&text)
            .facts();
        let failure = facts.rpc.unwrap().failures.remove(0);
        let text = |text: PeerText| text.as_str().to_owned();
        (failure.missing_scope.map(text), failure.message.map(text))
    };
    let old = scope(r#"{"code":"INVALID_REQUEST","message":"missing scope: operator.read"}"#);
    assert_eq!(old.0.as_deref(), Some("operator.read"));
    assert_eq!(old.1.as_deref(), Some("missing scope: operator.read"));
    for other in [
        r#"{"code":"INVALID_REQUEST","message":"missing scope: two words"}"#,
        r#"{"code":"INVALID_REQUEST","message":"unknown method: missing scope: x"}"#,
        r#"{"code":"X","message":"missing scope: a","details":{"code":"OTHER"}}"#,
    ] {
        assert_eq!(scope(other).0, None, "{other}");
    }
    let long = format!(r#"{{"code":"X","message":"{}"}}"#, "m".repeat(600));
    assert!(
        scope(&long).1.unwrap().len() < 300,
        "the message is bounded"
    );
}
