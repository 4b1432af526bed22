//! The answer that the client got.

use super::Recorder;
use crate::session::record::{AnswerBy, AnswerFacts};

impl Recorder {
    /// The tap answered the request itself, with the value of the answer's `x-wstap-error` header,
    /// if any.
    pub fn answered_by_tap(&mut self, status: u16, error: Option<&str>) {
        self.facts.answer = Some(AnswerFacts {
            by: AnswerBy::Tap,
            status,
            error: error.map(str::to_owned),
            body_bytes: None,
            request_body_bytes: None,
            complete: true,
        });
    }

    /// The tap's answer could not be written completely.
    pub fn answer_cut(&mut self) {
        if let Some(answer) = &mut self.facts.answer {
            answer.complete = false;
        }
    }

    /// The head of an answer is on its way to the client. It counts as the gateway's unless the tap
    /// is known to have made it.
    pub fn answer_began(&mut self, status: u16, upgraded: bool) {
        self.facts.answer.get_or_insert(AnswerFacts {
            by: AnswerBy::Gateway,
            status,
            error: None,
            body_bytes: (!upgraded).then_some(0),
            request_body_bytes: (!upgraded).then_some(0),
            complete: upgraded,
        });
    }

    /// The body of the answer has ended or was given up. `bytes` and `request_bytes` are the body
    /// bytes of the answer and of the request.
    pub fn answer_ended(&mut self, bytes: u64, request_bytes: u64, complete: bool) {
        if let Some(answer) = &mut self.facts.answer {
            answer.body_bytes = Some(bytes);
            answer.request_body_bytes = Some(request_bytes);
            answer.complete = complete;
        }
    }
}
