//! What is said in a bench: the handshake of `openclaw`, requests of a given size and their answers.

use super::frames::{self, TEXT};

/// The client's first message. The token is no secret of anyone.
pub const CONNECT: &str = r#"{"type":"req","id":"c","method":"connect","params":{"minProtocol":3,"maxProtocol":3,"client":{"id":"bench","version":"1","platform":"linux","mode":"backend"},"role":"operator","scopes":["operator.read"],"auth":{"token":"bench-token-0123456789abcdef"}}}"#;
/// The gateway's answer to it.
pub const HELLO: &str = r#"{"type":"res","id":"c","ok":true,"payload":{"type":"hello-ok","protocol":3,"server":{"version":"bench","connId":"bench"},"policy":{"maxPayload":26214400,"maxBufferedBytes":52428800,"tickIntervalMs":30000}}}"#;

/// How a request begins; the gateway answers with the same text and `res` in it.
const FRONT: &str = r#"{"type":"req","id":"00000000","method":"bench.echo","params":{"x":""#;
const ID_AT: usize = 20;
const BACK: &str = r#""}}"#;

/// Makes the client's frames of one size.
///
/// Requests with an id of their own each, so that the dialect has its real work. What is too short for
/// a request is a text that says nothing.
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

    /// The next message, as it goes on the wire.
    pub fn next(&mut self) -> &[u8] {
        if self.is_request {
            self.next = (self.next + 1) % 100_000_000;
            let id = format!("{:08}", self.next);
            frames::overwrite(&mut self.frame, ID_AT, id.as_bytes());
        }
        &self.frame
    }
}

/// Turns a message of the client into the gateway's answer, in place and as long, so that a message
/// has one size both ways.
pub fn answer(payload: &mut [u8]) -> &[u8] {
    const KIND: &[u8] = br#"{"type":"req""#;
    const ASKED: &[u8] = br#","method":"bench.echo","params":{"x":""#;
    const ANSWERED: &[u8] = br#","ok":true,"payload":{"x":"xxxxxxxxxxx"#;
    const {
        assert!(
            ASKED.len() == ANSWERED.len(),
            "an answer is as long as its request"
        );
    };
    if payload == CONNECT.as_bytes() {
        return HELLO.as_bytes();
    }
    if payload.starts_with(KIND)
        && payload
            .get(ID_AT + 9..)
            .is_some_and(|it| it.starts_with(ASKED))
    {
        payload[KIND.len() - 2] = b's';
        payload[ID_AT + 9..][..ANSWERED.len()].copy_from_slice(ANSWERED);
    }
    payload
}
