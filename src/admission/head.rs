//! The check of a client's raw bytes, before any HTTP library has seen them (RFC 9112, RFC 6455
//! section 4.2.1).
//!
//! A library repairs or hides faults that we have to see: it may accept a bare LF, drop a
//! Content-Length beside a Transfer-Encoding, merge equal duplicates, cut a fragment off a target.
//! Each of those is a way to make one request here and two behind us. So a small, strict state
//! machine reads every head of a connection, and the framing of every body between them. All strict
//! parsers understand what it lets pass alike; bytes after a refused request are never read.
//!
//! Pure and bounded: bytes in, [`Step`]s out. It holds offsets, never a copy of a body, and no
//! more of a head than [`Limits::bytes`].

mod checked;
mod chunked;
pub mod http2;
mod limits;
mod lines;
mod octets;
mod raw;
mod refusal;
mod rules;
mod target;

#[cfg(test)]
mod tests;

pub use checked::{Asks, Checked};
pub use limits::Limits;
pub use raw::RawHead;
pub use refusal::Refusal;

use chunked::Chunked;
use lines::Lines;

use crate::session::record::HeadFault;

/// What to do with the bytes so far.
#[derive(Debug)]
pub enum Step {
    /// More bytes are needed.
    More,
    /// Drop this many leading bytes: an empty line before a request.
    Skip(usize),
    /// This many leading bytes are a head that may pass.
    Head(usize, Box<Checked>),
    /// This many leading bytes belong to a body and may pass.
    Body(usize),
    /// Neither this head nor anything after it may pass.
    Refused(Box<Checked>),
    /// The body of a request whose head has already passed is broken.
    BrokenBody(Refusal),
}

/// The requests of one connection.
#[derive(Debug)]
pub struct Requests {
    limits: Limits,
    state: State,
    /// An empty line before a request line was skipped (RFC 9112 section 2.2 allows one).
    skipped: bool,
}

#[derive(Debug)]
enum State {
    Head(Lines),
    /// A body with this many bytes left.
    Length(u64),
    Chunked(Chunked),
    /// After an upgrade or a refusal: further bytes are not requests.
    Over,
}

impl Requests {
    /// Waits for the first head.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Head(Lines::default()),
            skipped: false,
        }
    }

    /// A head comes next or has begun.
    #[must_use]
    pub fn is_at_head(&self) -> bool {
        matches!(self.state, State::Head(_))
    }

    /// A body has begun and is not complete.
    #[must_use]
    pub fn is_in_body(&self) -> bool {
        matches!(self.state, State::Length(_) | State::Chunked(_))
    }

    /// Reads the bytes that are still pending. The caller removes as many leading bytes as the step
    /// names and calls again; bytes of an unfinished head stay, and are not read twice.
    pub fn step(&mut self, bytes: &[u8]) -> Step {
        match &mut self.state {
            State::Over => Step::More,
            State::Length(left) => {
                let count = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                *left -= count as u64;
                if *left == 0 {
                    self.state = State::Head(Lines::default());
                }
                body(count)
            }
            State::Chunked(chunked) => match chunked.read(bytes, self.limits) {
                Ok((count, ended)) => {
                    if ended {
                        self.state = State::Head(Lines::default());
                    }
                    body(count)
                }
                Err(refusal) => {
                    self.state = State::Over;
                    Step::BrokenBody(refusal)
                }
            },
            State::Head(lines) => {
                if bytes.starts_with(b"\r\n") && !self.skipped {
                    self.skipped = true;
                    *lines = Lines::default();
                    return Step::Skip(2);
                }
                match lines.read(bytes, self.limits) {
                    Ok(None) => Step::More,
                    Ok(Some(end)) => self.head(bytes.get(..end).unwrap_or_default()),
                    Err(refusal) => Step::Refused(Box::new(self.refuse(refusal, bytes))),
                }
            }
        }
    }

    /// Refuses a head that did not end in time.
    pub fn too_slow(&mut self, bytes: &[u8], detail: String) -> Box<Checked> {
        Box::new(self.refuse(Refusal::new(HeadFault::TooSlow, detail), bytes))
    }

    /// All of a head is there.
    fn head(&mut self, bytes: &[u8]) -> Step {
        let State::Head(lines) = std::mem::replace(&mut self.state, State::Over) else {
            return Step::More;
        };
        self.skipped = false;
        let head = lines.into_head(bytes);
        let asks = rules::asks(&head);
        match rules::check(&head, asks) {
            Ok(framing) => {
                self.state = match framing {
                    _ if asks == Asks::WebSocket => State::Over,
                    rules::Framing::Length(0) => State::Head(Lines::default()),
                    rules::Framing::Length(length) => State::Length(length),
                    rules::Framing::Chunked => State::Chunked(Chunked::default()),
                };
                let refusal = None;
                let checked = Checked {
                    head,
                    asks,
                    refusal,
                };
                Step::Head(bytes.len(), Box::new(checked))
            }
            Err(refusal) => Step::Refused(Box::new(Checked {
                head,
                asks,
                refusal: Some(refusal),
            })),
        }
    }

    fn refuse(&mut self, refusal: Refusal, bytes: &[u8]) -> Checked {
        let head = match std::mem::replace(&mut self.state, State::Over) {
            State::Head(lines) => lines.into_head(bytes),
            _ => RawHead::default(),
        };
        let asks = rules::asks(&head);
        let refusal = Some(refusal);
        Checked {
            head,
            asks,
            refusal,
        }
    }
}

fn body(count: usize) -> Step {
    if count == 0 {
        Step::More
    } else {
        Step::Body(count)
    }
}
