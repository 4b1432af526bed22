//! Odd forms of a credential: how copying, templates and files alter a token on its way.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::Zeroizing;

/// An odd form of a value, each a well-known way to end up with the wrong token.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Empty, or only blanks: a variable that was not set.
    Empty,
    /// A blank at the beginning or the end.
    Whitespace,
    /// A CR or LF anywhere, mostly at the end: a file read whole.
    Newline,
    /// The value with quotes around it, as from a Docker `--env-file`.
    Quoted,
    /// A template that nobody filled in, such as a literal `${VAR}`.
    Placeholder,
    /// A text that a program printed in place of the secret, such as `__OPENCLAW_REDACTED__`.
    Redacted,
    /// An authentication scheme in front of the value: `Bearer X` in a field for X.
    Scheme,
    /// A whole line of an `.env` file: `NAME=X`, with or without `export`.
    Assignment,
    /// A URL that carries the token, such as the dashboard's `…/#token=X`.
    Url,
}

impl Shape {
    /// Name of the shape in records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Whitespace => "whitespace",
            Self::Newline => "newline",
            Self::Quoted => "quoted",
            Self::Placeholder => "placeholder",
            Self::Redacted => "redacted",
            Self::Scheme => "scheme",
            Self::Assignment => "assignment",
            Self::Url => "url",
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The value without blanks and line breaks at its ends, as JavaScript's `trim` leaves it, which
/// the gateway applies to both sides before it compares them. For a value that is not UTF-8, only
/// ASCII blanks are removed.
#[must_use]
pub fn trimmed(value: &[u8]) -> &[u8] {
    match std::str::from_utf8(value) {
        Ok(text) => trim(text).as_bytes(),
        Err(_) => value.trim_ascii(),
    }
}

fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
}

/// All odd shapes of a value, in the order of [`Shape`]; empty for a normal value.
#[must_use]
pub fn shapes(value: &[u8]) -> Vec<Shape> {
    let mut found = Vec::new();
    let text = String::from_utf8_lossy(value);
    let text = Zeroizing::new(text.into_owned());
    let mut inner = trim(&text);
    if inner.is_empty() {
        found.push(Shape::Empty);
    }
    let lines = text.trim_matches(['\r', '\n']);
    if trim(lines) != lines {
        found.push(Shape::Whitespace);
    }
    if value.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        found.push(Shape::Newline);
    }
    while let Some((shape, rest)) = unwrap(inner) {
        if !found.contains(&shape) {
            found.push(shape);
        }
        inner = rest;
    }
    if is_redacted(inner) {
        found.push(Shape::Redacted);
    } else if is_template(inner) || is_stand_in(inner) {
        found.push(Shape::Placeholder);
    }
    found.sort_unstable();
    found
}

/// The secret inside a value: without surrounding blanks, quotes, scheme, variable name or URL.
pub(in crate::session) fn bare(value: &[u8]) -> &[u8] {
    let Ok(text) = std::str::from_utf8(value) else {
        return value.trim_ascii();
    };
    let mut inner = trim(text);
    while let Some((_, rest)) = unwrap(inner) {
        inner = rest;
    }
    inner.as_bytes()
}

/// Whether a value contains no secret: a filler word, or only the name of a variable.
pub(in crate::session) fn is_left_open(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else {
        return false;
    };
    let name = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let between = |open: &str, close: &str| {
        text.strip_prefix(open)
            .and_then(|rest| rest.strip_suffix(close))
            .is_some_and(name)
    };
    is_filler(text)
        || is_redaction(text)
        || between("${", "}")
        || between("%", "%")
        || text.strip_prefix('$').is_some_and(name)
}

/// Strips one layer that was copied along with a secret. (`text` is trimmed, and so is the result,
/// which is always shorter.)
fn unwrap(text: &str) -> Option<(Shape, &str)> {
    let layers = [
        (Shape::Quoted, unquote(text)),
        (Shape::Scheme, after_scheme(text)),
        (Shape::Assignment, after_name(text)),
        (Shape::Url, in_url(text)),
    ];
    layers
        .into_iter()
        .find_map(|(shape, rest)| Some((shape, trim(rest?))))
}

fn unquote(text: &str) -> Option<&str> {
    ['"', '\'', '`']
        .iter()
        .find_map(|&quote| text.strip_prefix(quote)?.strip_suffix(quote))
}

/// The value after `Bearer` and a blank, or after `Bearer:`.
fn after_scheme(text: &str) -> Option<&str> {
    const SCHEMES: [&str; 3] = ["authorization", "bearer", "basic"];
    SCHEMES.iter().find_map(|scheme| {
        let (head, rest) = text.split_at_checked(scheme.len())?;
        let is_scheme = head.eq_ignore_ascii_case(scheme) && rest.starts_with([' ', '\t', ':']);
        is_scheme.then(|| rest.trim_start_matches([' ', '\t', ':']))
    })
}

/// The value after `NAME=`. The name must be in capitals and look like a secret's name: a token may
/// itself begin with letters and contain `=`.
fn after_name(text: &str) -> Option<&str> {
    const NOUNS: [&str; 7] = [
        "TOKEN", "PASSWORD", "PASSWD", "SECRET", "API_KEY", "APIKEY", "OPENCLAW",
    ];
    let line = text.strip_prefix("export ").unwrap_or(text).trim_start();
    let (name, rest) = line.split_once('=')?;
    let name = name.trim_end();
    let spelled = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let names_a_secret = name.bytes().all(spelled) && NOUNS.iter().any(|noun| name.contains(noun));
    names_a_secret.then_some(rest)
}

/// The value of `token=` in a URL's query or fragment.
fn in_url(text: &str) -> Option<&str> {
    const SCHEMES: [&str; 4] = ["http://", "https://", "ws://", "wss://"];
    if !SCHEMES.iter().any(|scheme| text.starts_with(scheme)) {
        return None;
    }
    let (_, parameters) = text.split_once(['#', '?'])?;
    parameters
        .split(['&', '#', '?'])
        .find_map(|parameter| parameter.strip_prefix("token="))
}

/// A text printed in place of a secret, or a secret shortened in the middle.
fn is_redacted(text: &str) -> bool {
    is_redaction(text) || text.contains('…')
}

/// Texts that `OpenClaw`, people and other programs print where they hide a secret.
fn is_redaction(text: &str) -> bool {
    let word = plain_word(text);
    matches!(
        word.as_str(),
        "redacted" | "openclawredacted" | "xoxbredacted" | "xappredacted"
    ) || is_only(text, '*')
        || is_only(text, '•')
}

fn is_template(text: &str) -> bool {
    let holds = |open: &str, close: &str| {
        text.split_once(open)
            .is_some_and(|(_, rest)| rest.contains(close))
    };
    let wrapped = |open: &str, close: &str| {
        text.strip_prefix(open)
            .and_then(|rest| rest.strip_suffix(close))
    };
    // Only capitals: `$ecret` is a password, `$SECRET` a variable.
    let variable = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
            && name
                .chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    };
    holds("${", "}")
        || holds("{{", "}}")
        || wrapped("$(", ")").is_some()
        || text.strip_prefix('$').is_some_and(variable)
        || text
            .get(..5)
            .is_some_and(|head| head.eq_ignore_ascii_case("$env:"))
        || wrapped("%", "%").is_some_and(variable)
        || wrapped("<", ">").is_some_and(|name| {
            !name.is_empty()
                && name
                    .chars()
                    .all(|c| c.is_alphanumeric() || " _-.:".contains(c))
        })
}

fn is_stand_in(text: &str) -> bool {
    let word = plain_word(text);
    let names_it = ["token", "key", "secret", "password"]
        .iter()
        .any(|noun| word.contains(noun));
    // A real token can contain all of these by chance. A stand-in is short, and its words are
    // separate.
    is_filler(text)
        || (names_it && word.len() <= 40 && (word.starts_with("your") || word.ends_with("here")))
}

/// Words and runs that mean "not filled in".
fn is_filler(text: &str) -> bool {
    const WORDS: [&str; 12] = [
        "changeme",
        "changethis",
        "replaceme",
        "replacethis",
        "replacewithyourtoken",
        "placeholder",
        "todo",
        "fixme",
        "tbd",
        "undefined",
        "null",
        "objectobject",
    ];
    WORDS.contains(&plain_word(text).as_str()) || is_only(text, 'x') || is_only(text, '.')
}

fn is_only(text: &str, filler: char) -> bool {
    text.chars().nth(2).is_some() && text.chars().all(|c| c.eq_ignore_ascii_case(&filler))
}

/// Only letters and digits, in lower case.
fn plain_word(text: &str) -> Zeroizing<String> {
    let word = text
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    Zeroizing::new(word)
}
