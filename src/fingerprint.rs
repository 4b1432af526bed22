//! `wstap fingerprint`: prints the fingerprint by which records identify a secret, never the secret
//! itself.
//!
//! It answers "is the token in this file the one that my client sent?" without either being shown.
//! The same care applies to errors: parsers quote their input, so their messages are reduced to a
//! position.

mod error;
mod input;
mod kind;
mod limits;
mod secret_ref;

use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

pub(crate) use self::error::FingerprintError;
use serde_json::Value;

use self::input::{Found, drop_newline, read};
use self::kind::kind;
use self::limits::{KEY_CAP, MAX_DEPTH};
use crate::session::credential::{
    CHECK_RECIPE, Fingerprinter, Secret, Shape, length, shapes, trimmed,
};
use crate::session::text::PeerText;
use crate::terminal::Look;

/// Where the secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// An environment variable.
    Env(String),
    /// A file: its whole content, or one value of a JSON, JSON5 or YAML file.
    File {
        /// The file.
        path: PathBuf,
        /// A dotted path such as `gateway.auth.token`; array elements by number.
        key: Option<String>,
    },
    /// Standard input.
    Stdin,
}

/// The output format.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    /// One JSON object.
    Json,
    /// Lines for people.
    Text(Look),
}

/// Reads the secret, prints its fingerprint, length and odd forms to `out`, and wipes it.
///
/// `input` is read for [`Source::Stdin`] only.
pub(crate) fn run(
    source: Source,
    fingerprinter: &Fingerprinter,
    form: Form,
    input: &mut dyn Read,
    out: &mut dyn Write,
) -> Result<(), FingerprintError> {
    let found = match source {
        Source::Env(name) => {
            let value = std::env::var_os(&name)
                .ok_or_else(|| FingerprintError::NotSet(PeerText::new(&name, KEY_CAP)))?;
            Found::plain(Secret::new(value.into_encoded_bytes()))
        }
        Source::Stdin => drop_newline(&read(input, "standard input")?),
        Source::File { path, key } => {
            let shown = path.display().to_string();
            let mut file = File::open(&path).map_err(|cause| FingerprintError::Read {
                from: shown.clone(),
                cause,
            })?;
            let content = read(&mut file, &shown)?;
            match key {
                None => drop_newline(&content),
                Some(key) => value_at(&content, &path, &key)?,
            }
        }
    };
    let text = match form {
        Form::Json => as_json(&found, fingerprinter),
        Form::Text(look) => look.fit(&as_text(&found, fingerprinter)),
    };
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(FingerprintError::Write)
}

fn as_text(found: &Found, fingerprinter: &Fingerprinter) -> String {
    let secret = &found.secret;
    let value = trimmed(secret.expose());
    let fingerprint = fingerprinter.fingerprint(value);
    let odd: Vec<_> = shapes(secret.expose())
        .into_iter()
        .map(Shape::as_str)
        .collect();
    let odd = if odd.is_empty() {
        "-".to_owned()
    } else {
        odd.join(", ")
    };
    let mut text = format!("{fingerprint}  length {}  shape: {odd}\n", length(value));
    if let Some(followed) = &found.followed {
        text.push_str("followed the reference to ");
        text.push_str(followed);
        text.push('\n');
    }
    if found.newline_ignored {
        text.push_str("1 trailing newline ignored\n");
    }
    if fingerprint.is_plain() {
        text.push_str("check: ");
        text.push_str(CHECK_RECIPE);
    } else if fingerprinter.is_ephemeral() {
        text.push_str(
            "the key is random and for this run only: \
             set fingerprint_key_file to compare short secrets with records",
        );
    } else {
        text.push_str("key ");
        text.push_str(fingerprinter.key_id());
        text.push_str(": compare with records of the same key");
    }
    text.push('\n');
    text
}

fn as_json(found: &Found, fingerprinter: &Fingerprinter) -> String {
    let secret = &found.secret;
    let value = trimmed(secret.expose());
    let fingerprint = fingerprinter.fingerprint(value);
    let plain = fingerprint.is_plain();
    let object = serde_json::json!({
        "fingerprint": fingerprint,
        "length": length(value),
        "shape": shapes(secret.expose()),
        "trailing_newline_ignored": found.newline_ignored,
        "followed": found.followed,
        "key_id": (!plain).then(|| fingerprinter.key_id()),
        "check": plain.then_some(CHECK_RECIPE),
    });
    format!("{object}\n")
}

fn value_at(content: &[u8], path: &Path, key: &str) -> Result<Found, FingerprintError> {
    let shown = path.display().to_string();
    let document = parse(content, path)?;
    let mut at = &document;
    let mut walked: Vec<&str> = Vec::new();
    for segment in key.split('.') {
        let next = match at {
            Value::Object(map) => map.get(segment),
            Value::Array(items) => segment
                .parse()
                .ok()
                .and_then(|index: usize| items.get(index)),
            _ => None,
        };
        at = next.ok_or_else(|| FingerprintError::NoKey {
            path: shown.clone(),
            segment: PeerText::new(segment, KEY_CAP).into(),
            place: match walked.as_slice() {
                [] => "at the top level".to_owned(),
                keys => format!("under {}", PeerText::new(&keys.join("."), 4 * KEY_CAP)),
            },
            found: kind(at),
        })?;
        walked.push(segment);
    }
    if let Some(reference) = secret_ref::Reference::of(at) {
        return reference.follow(&document, (&shown, key));
    }
    match at {
        Value::String(text) => Ok(Found::plain(Secret::from(text.clone()))),
        other => Err(FingerprintError::NotText {
            path: shown,
            key: PeerText::new(key, 4 * KEY_CAP).into(),
            found: kind(other),
        }),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Json5,
    Yaml,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "JSON",
            Self::Json5 => "JSON5",
            Self::Yaml => "YAML",
        })
    }
}

/// Line and column, both from 1.
type LineColumn = Option<(usize, usize)>;

fn parse(content: &[u8], path: &Path) -> Result<Value, FingerprintError> {
    let shown = path.display().to_string();
    let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
    let formats: &[Format] = match extension.to_str() {
        // OpenClaw's own openclaw.json is JSON5, comments included.
        Some("json") => &[Format::Json, Format::Json5],
        Some("json5" | "jsonc") => &[Format::Json5],
        Some("yaml" | "yml") => &[Format::Yaml],
        _ => &[Format::Json, Format::Json5, Format::Yaml],
    };
    let Ok(text) = std::str::from_utf8(content) else {
        return Err(FingerprintError::Syntax {
            path: shown,
            problems: vec!["not UTF-8 text".into()],
        });
    };
    if depth(text) > MAX_DEPTH {
        return Err(FingerprintError::TooDeep(shown));
    }
    let mut problems = Vec::new();
    for &format in formats {
        match parse_as(format, text) {
            Ok(value) => return Ok(value),
            Err(Some((line, column))) => {
                problems.push(format!("not {format} (line {line}, column {column})"));
            }
            Err(None) => problems.push(format!("not {format}")),
        }
    }
    Err(FingerprintError::Syntax {
        path: shown,
        problems,
    })
}

/// The parsers' own messages may quote the file, so only the position survives.
fn parse_as(format: Format, text: &str) -> Result<Value, LineColumn> {
    match format {
        Format::Json => {
            serde_json::from_str(text).map_err(|error| Some((error.line(), error.column())))
        }
        Format::Json5 => json5::from_str(text)
            .map_err(|error| error.position().map(|at| (at.line + 1, at.column + 1))),
        Format::Yaml => serde_yaml::from_str(text)
            .map_err(|error| error.location().map(|at| (at.line(), at.column()))),
    }
}

/// The deepest nesting of brackets; those inside strings count too, which errs on the safe side.
fn depth(text: &str) -> usize {
    let (mut now, mut deepest) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => {
                now += 1;
                deepest = deepest.max(now);
            }
            b']' | b'}' => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests;
