//! Floods of the dialect, after its handshake: no two messages are alike, so that state kept for a
//! request, a method or an event is kept for each of them.

use std::ops::Range;

use super::support::client::{Client, Stream};
use super::support::frames::{Counter, TEXT, of_client, of_server};
use super::support::{Fallible, talk};

/// Number of messages per write.
const BATCH: usize = 128;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distinct {
    /// Requests, each with a different id and method; without answers.
    Requests,
    /// The same, and each is answered.
    Answered,
    /// Answers to requests that were never made.
    Answers,
    /// Events, each with a different name.
    Events,
}

impl Distinct {
    pub const ALL: [Self; 4] = [Self::Requests, Self::Answered, Self::Answers, Self::Events];

    pub fn words(self) -> &'static str {
        match self {
            Self::Requests => "distinct requests that nobody answers",
            Self::Answered => "distinct requests and their answers",
            Self::Answers => "answers to nothing",
            Self::Events => "distinct events",
        }
    }

    /// Sends `count` of them in an open session and waits until all have arrived.
    pub fn send(self, count: usize, client: &mut Client, gateway: &mut Stream) -> Fallible<()> {
        greet(client, gateway)?;
        std::thread::scope(|scope| {
            let other = match self {
                Self::Requests => {
                    let other = scope.spawn(|| listen(gateway, count));
                    for numbers in batches(count) {
                        client.stream.write_all(&requests(numbers))?;
                    }
                    other
                }
                Self::Answered => {
                    let other = scope.spawn(|| answer_all(gateway, count));
                    for numbers in batches(count) {
                        let asked = numbers.len();
                        client.stream.write_all(&requests(numbers))?;
                        client.hear(asked)?;
                    }
                    other
                }
                Self::Answers | Self::Events => {
                    let other = scope.spawn(|| client.hear(count));
                    for numbers in batches(count) {
                        let bytes = match self {
                            Self::Events => numbers.flat_map(event).collect(),
                            _ => answers(numbers),
                        };
                        gateway.write_all(&bytes)?;
                    }
                    other
                }
            };
            other.join().map_err(|_| "the other end panicked")?
        })
    }
}

/// The dialect's handshake.
fn greet(client: &mut Client, gateway: &mut Stream) -> Fallible<()> {
    gateway.write_all(&of_server(TEXT, talk::CHALLENGE.as_bytes()))?;
    client.hear(1)?;
    let connect = of_client(TEXT, talk::CONNECT.as_bytes());
    client.stream.write_all(&connect)?;
    listen(gateway, 1)?;
    gateway.write_all(&of_server(TEXT, talk::HELLO.as_bytes()))?;
    client.hear(1)
}

/// Reads `count` messages and discards them.
fn listen(stream: &mut Stream, count: usize) -> Fallible<()> {
    let mut buffer = vec![0; 64 * 1024];
    let (mut counter, mut heard) = (Counter::default(), 0);
    while heard < count {
        match stream.read(&mut buffer)? {
            0 => return Err(format!("the connection ended after {heard} of {count}").into()),
            more => heard += counter.feed(&buffer[..more]).messages,
        }
    }
    Ok(())
}

/// Sends a batch of answers for each batch of requests.
fn answer_all(stream: &mut Stream, count: usize) -> Fallible<()> {
    for numbers in batches(count) {
        listen(stream, numbers.len())?;
        stream.write_all(&answers(numbers))?;
    }
    Ok(())
}

fn batches(count: usize) -> impl Iterator<Item = Range<usize>> {
    let starts = (0..count).step_by(BATCH);
    starts.map(move |start| start..count.min(start + BATCH))
}

fn requests(numbers: Range<usize>) -> Vec<u8> {
    let request = |number| {
        let id = id(number);
        let text =
            format!(r#"{{"type":"req","id":"{id}","method":"area.method{number}","params":{{}}}}"#);
        of_client(TEXT, text.as_bytes())
    };
    numbers.flat_map(request).collect()
}

fn answers(numbers: Range<usize>) -> Vec<u8> {
    let answer = |number| {
        let id = id(number);
        let text = format!(r#"{{"type":"res","id":"{id}","ok":true,"payload":{{}}}}"#);
        of_server(TEXT, text.as_bytes())
    };
    numbers.flat_map(answer).collect()
}

fn event(number: usize) -> Vec<u8> {
    let text =
        format!(r#"{{"type":"event","event":"area.event{number}","payload":{{}},"seq":{number}}}"#);
    of_server(TEXT, text.as_bytes())
}

fn id(number: usize) -> String {
    format!("2:2c6a3f5e-11aa-4c1b-8a45-{number:012}")
}
