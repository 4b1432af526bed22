//! `wstap explain`: the page of a rule, one session step by step, or the summary of a whole file.
//!
//! The explanation itself is pure and separate ([`steps`], [`phases`], [`session`], [`rules`],
//! [`summary`]); only [`source`] and this file read. Verdicts are computed again by
//! [`crate::verdict::decide`], the same function as in the running tap.

mod offset;
mod page_writer;
pub(crate) mod phases;
pub(crate) mod rules;
pub(crate) mod search;
pub(crate) mod session;
pub(crate) mod source;
pub(crate) mod steps;
pub(crate) mod summary;
pub(crate) mod symptoms;

use std::io::{self, BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use self::page_writer::{PageWriter, count, inert};
use self::rules::{named, near};
use self::search::{PartOfId, Search};
use self::session::{Story, one_line};
use self::source::{Files, Unread, rotated};
use self::summary::Summary;
use self::symptoms::Symptom;
use crate::config::{self, Overrides};
use crate::exit;

/// Arguments of `wstap explain`.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// A rule, a class or its beginning, a Close code, an HTTP status, an error message, a session's id, its
    /// beginning or its end, a file, or `-`.
    pub what: String,
    /// The records file to search; `-` is standard input.
    pub records: Option<PathBuf>,
    /// The configuration whose `records.path` is used otherwise.
    pub config: Option<PathBuf>,
    /// Settings of the environment that override it.
    pub overrides: Overrides,
    /// Prints one JSON object.
    pub json: bool,
    /// Width of pages in columns.
    pub width: usize,
}

/// Why there is no explanation.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExplainError {
    /// Nothing has this name.
    #[error("{message}")]
    NotFound {
        /// What was looked for, and where.
        message: String,
        /// Names or sessions that were perhaps meant.
        perhaps: Vec<String>,
    },
    /// No records file is named.
    #[error(
        "looking up a session needs a records file, and none is named\ngive --records FILE, set \
         WSTAP_RECORDS=FILE, or name a configuration with records.path by --config or \
         WSTAP_CONFIG; the tap writes such a file with `wstap serve --records FILE`"
    )]
    NoRecords,
    /// The configuration is not valid.
    #[error("{0}\nwithout a valid configuration: give --records FILE")]
    Config(#[from] config::ConfigErrors),
    /// A file could not be read.
    #[error("failed to read {0}: {1}")]
    Read(String, io::Error),
}

/// An explanation, for people or for programs.
struct Explanation {
    page: String,
    json: Value,
}

/// Writes the explanation to `out`, or an error to `err`, and returns the exit code.
pub(crate) fn run(
    options: &Options,
    input: Box<dyn BufRead>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    match explain(options, input) {
        Ok(explanation) => {
            let _ = if options.json {
                writeln!(out, "{}", inert_json(explanation.json))
            } else {
                write!(out, "{}", explanation.page)
            };
            let _ = out.flush();
            exit::OK
        }
        Err(error) => {
            if options.json {
                let _ = writeln!(out, "{}", inert_json(error.json()));
            }
            let _ = write!(err, "{}", error.page(options.width));
            error.code()
        }
    }
}

fn explain(options: &Options, input: Box<dyn BufRead>) -> Result<Explanation, ExplainError> {
    let what = options.what.as_str();
    if what == "-" {
        return summarise("standard input", input, 0, options.width);
    }
    if let Some(named) = named(what) {
        return Ok(Explanation {
            page: named.page(options.width),
            json: named.json(),
        });
    }
    let path = Path::new(what);
    let part = PartOfId::read(what);
    // With a records file given, the argument is an id.
    let exists = path.exists() && !path.is_dir();
    let is_file = exists && (part.is_none() || options.records.is_none());
    // No session id begins like a Close code or a status: ids begin with their time.
    let symptom = Symptom::read(what).filter(|_| !is_file && options.records.is_none());
    if let Some(found) = symptom.and_then(Symptom::candidates) {
        return Ok(Explanation {
            page: found.page(options.width),
            json: found.json(),
        });
    }
    match part {
        _ if is_file => {
            let file = std::fs::File::open(path);
            let file = file.map_err(|error| ExplainError::Read(what.to_owned(), error))?;
            let older = rotated(path).len();
            summarise(what, Box::new(BufReader::new(file)), older, options.width)
        }
        Some(part) => one_session(options, &part, input),
        None => Err(ExplainError::NotFound {
            message: format!("{what} is no rule, class, file, Close code or session's id"),
            perhaps: near(what).into_iter().map(str::to_owned).collect(),
        }),
    }
}

fn summarise(
    name: &str,
    reader: Box<dyn BufRead>,
    older: usize,
    width: usize,
) -> Result<Explanation, ExplainError> {
    let (mut summary, mut unread) = (Summary::default(), Unread::default());
    let read = source::each(name, reader, &mut unread, |_, text| {
        summary.add(&source::record(text)?);
        Ok(ControlFlow::Continue(()))
    });
    let _ = read.map_err(|error| ExplainError::Read(name.to_owned(), error))?;
    if summary.records() == 0 {
        let why = unread.first.map_or_else(String::new, |first| {
            format!(
                "; {}, the first: {first}",
                count(unread.count, "unreadable line")
            )
        });
        return Err(ExplainError::NotFound {
            message: format!("{name} holds no records{why}"),
            perhaps: Vec::new(),
        });
    }
    Ok(Explanation {
        page: summary.page(name, &unread, older, width),
        json: summary.json(name, &unread),
    })
}

fn one_session(
    options: &Options,
    part: &PartOfId,
    input: Box<dyn BufRead>,
) -> Result<Explanation, ExplainError> {
    let path = records_path(options)?;
    let name = path.display().to_string();
    let failed = |error| ExplainError::Read(name.clone(), error);
    let search = if path == Path::new("-") {
        Search::run(part, [("standard input".to_owned(), input)])
    } else {
        Search::run(part, Files::open(&path).map_err(failed)?.readers())
    };
    let search = search.map_err(failed)?;
    let what = &options.what;
    let broken = match (&search.unread.first, search.unread.count) {
        (Some(first), lines) => {
            format!("; {}, the first: {first}", count(lines, "unreadable line"))
        }
        (None, _) => String::new(),
    };
    let looked_at = search.where_from();
    match search.found.as_slice() {
        [record] => {
            let story = Story::new(record);
            let mut json = story.json();
            if let Some(json) = json.as_object_mut() {
                json.insert("unreadable".into(), json!(search.unread));
            }
            let mut page = story.page(options.width);
            if !broken.is_empty() {
                let mut writer = PageWriter::new(options.width);
                writer.gap();
                writer.text("", &format!("looked at {looked_at}{broken}"));
                page.push_str(&writer.finish());
            }
            Ok(Explanation { page, json })
        }
        [] => {
            let joined = if search.among.is_empty() {
                ""
            } else {
                "; sessions that ended alike share the record of the last of them, and by its time it can \
                 be one of these"
            };
            Err(ExplainError::NotFound {
                message: format!(
                    "no session's id begins or ends with {what}; looked at {looked_at}{broken}{joined}"
                ),
                perhaps: search.among.iter().map(one_line).collect(),
            })
        }
        several => Err(ExplainError::NotFound {
            message: format!(
                "{} sessions' ids begin or end with {what}; looked at {looked_at}{broken}",
                search.count
            ),
            perhaps: several.iter().map(one_line).collect(),
        }),
    }
}

fn records_path(options: &Options) -> Result<PathBuf, ExplainError> {
    if let Some(path) = &options.records {
        return Ok(path.clone());
    }
    // As in the running tap, it takes precedence over the configuration file.
    if let Some(path) = options.overrides.records_given() {
        return Ok(path);
    }
    let file = options.config.as_deref().ok_or(ExplainError::NoRecords)?;
    let config = config::load(Some(file), &options.overrides)?;
    config.records().path.clone().ok_or(ExplainError::NoRecords)
}

impl ExplainError {
    fn code(&self) -> u8 {
        match self {
            Self::NotFound { .. } => exit::FAILED,
            Self::NoRecords | Self::Config(_) | Self::Read(..) => exit::USAGE,
        }
    }

    fn page(&self, width: usize) -> String {
        let mut writer = PageWriter::new(width);
        for line in self.to_string().lines() {
            writer.text("", &format!("wstap: {line}"));
        }
        if let Self::NotFound { perhaps, .. } = self
            && !perhaps.is_empty()
        {
            writer.text("", "Did you mean");
            for one in perhaps {
                writer.item("  ", one);
            }
        }
        anstream::adapter::strip_str(&writer.finish()).to_string()
    }

    fn json(&self) -> Value {
        let perhaps = match self {
            Self::NotFound { perhaps, .. } => perhaps.as_slice(),
            _ => &[],
        };
        json!({ "explains": null, "error": self.to_string(), "perhaps": perhaps })
    }
}

/// The same with every text inert: a records file may have been written by anyone.
fn inert_json(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(inert(&text)),
        Value::Array(items) => items.into_iter().map(inert_json).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(key, value)| (inert(&key), inert_json(value)))
            .collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests;
