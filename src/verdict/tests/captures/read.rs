//! Reads the captures of `tests/fixtures/gateway-versions` (its README describes the form).

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::session::party::Direction;

/// The gateways whose captures are kept, oldest first.
pub(super) const VERSIONS: [&str; 6] = [
    "2026.1.24-3",
    "2026.3.7",
    "2026.4.29",
    "2026.5.7",
    "2026.7.35",
    "2026.9.6",
];

/// A gateway's behaviour in one scenario.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scenario {
    #[serde(rename = "scenario")]
    pub(super) name: String,
    pub(super) path: Option<String>,
    #[serde(default)]
    pub(super) frames: Vec<Frame>,
    pub(super) status: Option<u16>,
    #[serde(default)]
    pub(super) headers: std::collections::BTreeMap<String, String>,
    pub(super) body: Option<String>,
}

/// A command of a real command line tool, and the sessions that it had.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Command {
    pub(super) gateway: String,
    pub(super) cli: String,
    #[serde(rename = "command")]
    pub(super) line: String,
    pub(super) sessions: Vec<Session>,
}

/// One session of a command.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Session {
    /// The gateway was told that the client is on another host.
    pub(super) remote: bool,
    pub(super) frames: Vec<Frame>,
}

/// A frame.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Vec<Value>")]
pub(super) struct Frame {
    pub(super) direction: Direction,
    pub(super) ms: f64,
    pub(super) what: What,
}

/// The content of a frame.
#[derive(Debug)]
pub(super) enum What {
    /// A message: its length on the wire, and its text, which may be shorter. `None` for a binary one.
    Message(usize, Option<String>),
    /// A Close.
    Close(Option<u16>, String),
}

impl TryFrom<Vec<Value>> for Frame {
    type Error = String;

    fn try_from(parts: Vec<Value>) -> Result<Self, String> {
        let wrong = || format!("no frame: {parts:?}");
        let direction = match parts.first().and_then(Value::as_str) {
            Some("<") => Direction::ToClient,
            Some(">") => Direction::ToGateway,
            _ => return Err(wrong()),
        };
        let text = |at: usize| parts.get(at).and_then(Value::as_str).map(str::to_owned);
        let number = |at: usize| parts.get(at).and_then(Value::as_u64);
        let what = if text(2).as_deref() == Some("close") {
            let code = number(3).map(|code| u16::try_from(code).unwrap());
            What::Close(code, text(4).ok_or_else(wrong)?)
        } else {
            let length = number(2).ok_or_else(wrong)?;
            What::Message(usize::try_from(length).unwrap(), text(3))
        };
        let ms = parts.get(1).and_then(Value::as_f64).ok_or_else(wrong)?;
        Ok(Self {
            direction,
            ms,
            what,
        })
    }
}

/// The scenarios of a gateway.
pub(super) fn scenarios(version: &str) -> Vec<Scenario> {
    lines(&format!("{version}.jsonl"))
}

/// The commands of command line tools.
pub(super) fn commands() -> Vec<Command> {
    lines("command-line.jsonl")
}

fn lines<T: for<'de> Deserialize<'de>>(name: &str) -> Vec<T> {
    let path = folder().join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let read = |(at, line)| {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{name}:{at}: {error}"))
    };
    (1..).zip(text.lines()).map(read).collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gateway-versions")
}
