//! Random messages of the application.

use super::Dice;
use crate::session::record::dialect::openclaw::{DialectError, FirstMessage, OpenClawFacts};
use crate::session::record::dialect::{
    ConnectResult, DialectFacts, OtherError, OtherFacts, PlainFacts, RpcFacts, RpcFailure,
    ShutdownFacts, UnansweredRequest,
};
use crate::session::text::PeerText;
use crate::verdict::openclaw::said;

impl Dice<'_> {
    pub(super) fn dialect(&mut self) -> DialectFacts {
        match self.pick(&["openclaw", "plain", "other"]) {
            "openclaw" => self.openclaw().into(),
            "plain" => DialectFacts::Plain(PlainFacts),
            _ => self.other().into(),
        }
    }
    fn other(&mut self) -> OtherFacts {
        OtherFacts {
            name: "other".to_owned(),
            asked_at: self.maybe(Self::moment),
            answered_at: self.maybe(Self::moment),
            result: self.result(),
            error: self.maybe(|dice| OtherError {
                code: dice.maybe(Self::text),
                message: dice.maybe(Self::text),
                retry_after_ms: dice.maybe(|dice| u64::from(dice.byte())),
            }),
            shutdown: self.maybe(Self::shutdown),
            ..OtherFacts::default()
        }
    }
    fn result(&mut self) -> ConnectResult {
        self.pick(&[
            ConnectResult::None,
            ConnectResult::Accepted,
            ConnectResult::Refused,
        ])
    }
    fn shutdown(&mut self) -> ShutdownFacts {
        ShutdownFacts {
            reason: self.maybe(Self::text),
            restart_expected_ms: self.maybe(|dice| u64::from(dice.byte())),
            at: self.moment(),
        }
    }
    fn openclaw(&mut self) -> OpenClawFacts {
        OpenClawFacts {
            challenge_at: self.maybe(Self::moment),
            connect_at: self.maybe(Self::moment),
            answered_at: self.maybe(Self::moment),
            first_message: self.maybe(|dice| {
                dice.pick(&[
                    FirstMessage::Connect,
                    FirstMessage::OtherRequest,
                    FirstMessage::NotARequest,
                    FirstMessage::NotJson,
                    FirstMessage::Binary,
                    FirstMessage::TooLong,
                    FirstMessage::Compressed,
                ])
            }),
            result: self.result(),
            error: self.maybe(|dice| DialectError {
                code: dice.maybe(Self::text),
                details_code: dice.maybe(|dice| PeerText::new(dice.pick(&said::CODES), 64)),
                details_reason: dice.maybe(Self::text),
                message: dice.maybe(Self::text),
                request_id: dice.maybe(Self::text),
                next_step: dice.maybe(Self::text),
                retry_after_ms: dice.maybe(|dice| u64::from(dice.byte())),
                expected_protocol: dice.maybe(|dice| u64::from(dice.byte())),
            }),
            shutdown: self.maybe(Self::shutdown),
            max_payload: self.maybe(|_| 26_214_400),
            scopes_asked: self.maybe(|dice| vec![dice.text()]),
            scopes_granted: self.maybe(|_| Vec::new()),
            rpc: self.maybe(Self::rpc),
            ..OpenClawFacts::default()
        }
    }
    fn rpc(&mut self) -> RpcFacts {
        let responses = u64::from(self.byte() % 3);
        RpcFacts {
            requests: 3,
            responses,
            errors: self.pick(&[responses, 0]),
            unmatched: self.pick(&[0, 1]),
            unanswered_count: self.maybe(|dice| u64::from(dice.byte() % 3)),
            unanswered: self
                .maybe(|dice| UnansweredRequest {
                    method: dice.text(),
                    at: dice.moment(),
                    age_ms: dice.pick(&[0.1, 9000.0, 1e9]),
                    written: dice.pick(&[true, false]),
                })
                .into_iter()
                .collect(),
            failures: self
                .maybe(|dice| RpcFailure {
                    method: dice.text(),
                    code: dice.maybe(Self::text),
                    details_code: dice.maybe(|_| PeerText::new("MISSING_SCOPE", 64)),
                    message: dice.maybe(Self::text),
                    missing_scope: dice.maybe(Self::text),
                    count: 1 + u64::from(dice.byte()),
                    first_at: dice.moment(),
                })
                .into_iter()
                .collect(),
            ..RpcFacts::default()
        }
    }
}
