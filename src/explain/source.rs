//! Reads records line by line, in bounded memory; unreadable lines are counted.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::page_writer::inert;
use crate::session::SessionRecord;
use crate::session::record::{Repeats, SCHEMA};

/// The longest record that is read, in bytes. Real ones are a few KiB.
const MOST: usize = 4 * 1024 * 1024;

/// Lines that are not records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Unread {
    /// How many.
    pub count: u64,
    /// Where the first one is and why it is not a record, inert.
    pub first: Option<String>,
}

impl Unread {
    fn add(&mut self, file: &str, line: u64, why: &str) {
        self.count += 1;
        self.first
            .get_or_insert_with(|| inert(&format!("{file}, line {line}: {why}")));
    }
}

/// An open records file and its rotated files, the newest first.
#[derive(Debug)]
pub(crate) struct Files(Vec<(String, File)>);

impl Files {
    /// Opens `path` and its rotated siblings (`path.1`, `path.2` …). All are opened at once:
    /// otherwise a rotation in between could move one past us.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut opened = Vec::new();
        let mut failed = None;
        for path in std::iter::once(path.to_owned()).chain(rotated(path)) {
            match File::open(&path) {
                Ok(file) => opened.push((path.display().to_string(), file)),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            Some(error) if opened.is_empty() => Err(error),
            _ => Ok(Self(opened)),
        }
    }

    /// The files as readers, with their names.
    pub(crate) fn readers(self) -> impl Iterator<Item = (String, Box<dyn BufRead>)> {
        self.0.into_iter().map(|(name, file)| {
            let reader: Box<dyn BufRead> = Box::new(BufReader::with_capacity(64 * 1024, file));
            (name, reader)
        })
    }
}

/// The rotated files of `path`, the newest first.
#[must_use]
pub(crate) fn rotated(path: &Path) -> Vec<PathBuf> {
    let Some(name) = path.file_name() else {
        return Vec::new();
    };
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let number = |entry: &OsStr| {
        let entry = entry.to_str()?;
        let rest = entry.strip_prefix(name.to_str()?)?.strip_prefix('.')?;
        rest.parse::<u32>().ok().filter(|number| *number > 0)
    };
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((number(&entry.file_name())?, entry.path()))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

/// Passes the text of every record and its line to `visit`, until `visit` breaks. A record may be
/// on one line, or pretty-printed from a line `{` to a line `}`.
pub(crate) fn each(
    name: &str,
    mut reader: impl BufRead,
    unread: &mut Unread,
    mut visit: impl FnMut(u64, &[u8]) -> Result<ControlFlow<()>, String>,
) -> io::Result<ControlFlow<()>> {
    let mut text = Vec::new();
    let mut block: Option<u64> = None;
    let mut number = 0;
    loop {
        let before = text.len();
        let (more, fits) = line(&mut reader, &mut text)?;
        if !more {
            if let Some(begin) = block {
                unread.add(name, begin, "an object that does not end");
            }
            return Ok(ControlFlow::Continue(()));
        }
        number += 1;
        let last = text.get(before..).unwrap_or_default().trim_ascii_end();
        if !fits {
            unread.add(name, number, "longer than any record");
            block = None;
        } else if block.is_some() && last != b"}" {
            continue;
        } else if block.is_none() && last == b"{" {
            block = Some(number);
            continue;
        } else if block.is_some() || !last.is_empty() {
            let begin = block.take().unwrap_or(number);
            match visit(begin, &unwrapped(&text)) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => return Ok(ControlFlow::Break(())),
                Err(why) => unread.add(name, begin, &why),
            }
        }
        text.clear();
    }
}

/// Extracts a record from a log line: after a prefix (`docker compose logs`, the journal) or inside
/// Docker's own JSON. Other lines are returned unchanged.
fn unwrapped(line: &[u8]) -> Cow<'_, [u8]> {
    /// How every record begins.
    const BEGIN: &[u8] = br#"{"schema":"wstap."#;
    /// Maximum length of a prefix.
    const MOST: usize = 512;
    #[derive(Deserialize)]
    struct Docker {
        log: String,
    }
    if line.starts_with(b"{\"log\":") {
        let inner = serde_json::from_slice(line).map(|docker: Docker| docker.log.into_bytes());
        return inner.map_or(Cow::Borrowed(line), Cow::Owned);
    }
    let front = line.get(..line.len().min(MOST)).unwrap_or_default();
    let at = memchr::memmem::find(front, BEGIN).unwrap_or(0);
    Cow::Borrowed(line.get(at..).unwrap_or_default())
}

/// Appends one line to `text`, including its end. If it does not fit, the rest of the line is
/// skipped. Returns whether there was a line, and whether it fit.
fn line(reader: &mut impl BufRead, text: &mut Vec<u8>) -> io::Result<(bool, bool)> {
    let (mut any, mut fits) = (false, true);
    loop {
        let buffer = match reader.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if buffer.is_empty() {
            return Ok((any, fits));
        }
        any = true;
        let end = memchr::memchr(b'\n', buffer).map(|at| at + 1);
        let taken = end.unwrap_or(buffer.len());
        fits &= text.len() + taken <= MOST;
        if fits {
            text.extend_from_slice(buffer.get(..taken).unwrap_or_default());
        }
        reader.consume(taken);
        if end.is_some() {
            return Ok((true, fits));
        }
    }
}

/// Id of a record and the number of sessions that it covers, without parsing the rest.
pub(crate) fn head(text: &[u8]) -> Result<(Uuid, Option<Repeats>), String> {
    #[derive(Deserialize)]
    struct Head {
        #[serde(default)]
        schema: Option<String>,
        #[serde(default)]
        id: Option<Uuid>,
        #[serde(default)]
        repeats: Option<Repeats>,
    }
    let head: Head = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let id = checked(head.schema.as_deref().unwrap_or(SCHEMA), head.id)?;
    Ok((id, head.repeats))
}

/// A record.
pub(crate) fn record(text: &[u8]) -> Result<SessionRecord, String> {
    let record: SessionRecord = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    checked(&record.schema, Some(record.id).filter(|id| !id.is_nil()))?;
    Ok(record)
}

fn checked(schema: &str, id: Option<Uuid>) -> Result<Uuid, String> {
    if schema != SCHEMA {
        return Err(format!("its schema is {schema:?}, expected {SCHEMA:?}"));
    }
    id.ok_or_else(|| "it has no id".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> (Vec<(u64, String)>, Unread) {
        let (mut found, mut unread) = (Vec::new(), Unread::default());
        // A small buffer: lines come in pieces.
        let reader = BufReader::with_capacity(3, text.as_bytes());
        let _ = each("f", reader, &mut unread, |number, text| {
            let text = String::from_utf8(text.to_vec()).unwrap();
            if text.starts_with("bad") {
                return Err("why\u{1b}".to_owned());
            }
            found.push((number, text));
            Ok(ControlFlow::Continue(()))
        });
        (found, unread)
    }

    #[test]
    fn lines_and_indented_objects_are_found_with_their_numbers() {
        let (found, unread) = lines("{\"a\":1}\n\n{\n \"b\": 2\n}\nlast");
        let found: Vec<(u64, &str)> = found.iter().map(|(n, text)| (*n, text.trim())).collect();
        assert_eq!(
            found,
            [(1, "{\"a\":1}"), (3, "{\n \"b\": 2\n}"), (6, "last")]
        );
        assert_eq!(unread, Unread::default());
    }

    #[test]
    fn records_are_taken_out_of_the_lines_of_logs() {
        let record = r#"{"schema":"wstap.session/1","id":"x"}"#;
        let docker = serde_json::json!({ "log": format!("{record}\n"), "stream": "stdout" });
        let text = format!(
            "wstap-1  | {record}\n\
             wstap-1  | 2026-11-21T10:00:00.0Z {record}\n\
             Nov 21 10:00:00 host wstap[12]: {record}\n\
             {docker}\n\
             wstap-1  | INFO listening {{}}\n"
        );
        let (found, _) = lines(&text);
        let found: Vec<&str> = found.iter().map(|(_, text)| text.trim_end()).collect();
        let other = "wstap-1  | INFO listening {}";
        assert_eq!(found, [record, record, record, record, other]);
    }

    #[test]
    fn what_is_no_record_is_counted_and_the_first_is_named() {
        let (found, unread) = lines("bad\ngood\nbad\n{\n 1\n");
        assert_eq!(found.len(), 1);
        assert_eq!(unread.count, 3);
        assert_eq!(unread.first.as_deref(), Some("f, line 1: why\\u{1b}"));
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        let text = format!("{}\ngood\n", "x".repeat(MOST + 10));
        let (found, unread) = lines(&text);
        assert_eq!(found, [(2, "good\n".to_owned())]);
        assert_eq!(
            unread.first.as_deref(),
            Some("f, line 1: longer than any record")
        );
    }

    #[test]
    fn rotated_files_come_newest_first() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["r", "r.2", "r.10", "r.1", "r.x", "r.0", "other.1"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let found = rotated(&folder.path().join("r"));
        let names: Vec<_> = found.iter().map(|path| path.file_name().unwrap()).collect();
        assert_eq!(names, ["r.1", "r.2", "r.10"]);
    }

    #[test]
    fn a_record_needs_its_schema_and_its_id() {
        let uuid = "019ab1c2-0000-7000-8000-000000000001";
        assert!(record(b"{}").is_err() && head(b"{}").is_err() && head(b"[]").is_err());
        let other = format!("{{\"schema\":\"other/1\",\"id\":\"{uuid}\"}}");
        assert!(head(other.as_bytes()).is_err() && record(other.as_bytes()).is_err());
        let good = format!("{{\"id\":\"{uuid}\"}}");
        assert_eq!(head(good.as_bytes()).unwrap().0.to_string(), uuid);
        assert_eq!(record(good.as_bytes()).unwrap().id.to_string(), uuid);
    }
}
