//! Finding a session by its id, or the beginning of it, in a records file and its older siblings.

use std::io::{self, BufRead};
use std::ops::ControlFlow;

use uuid::Uuid;

use super::paper::count;
use super::source::{self, Unread};
use crate::session::SessionRecord;

/// How many of an ambiguous prefix are kept.
const MOST: usize = 8;
/// Hexadecimal digits of a whole id.
const WHOLE: usize = 32;

/// An id, or its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// Reads hexadecimal digits, with or without dashes; `None` for anything else.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        let hex = digits.chars().all(|c| c.is_ascii_hexdigit());
        let fits = !digits.is_empty() && digits.len() <= WHOLE;
        (hex && fits).then(|| Self(digits.to_ascii_lowercase()))
    }

    /// Whether an id begins so.
    #[must_use]
    pub fn begins(&self, id: Uuid) -> bool {
        let mut buffer = Uuid::encode_buffer();
        let text: &str = id.simple().encode_lower(&mut buffer);
        text.starts_with(&self.0)
    }

    fn is_whole(&self) -> bool {
        self.0.len() == WHOLE
    }
}

/// What a search came to.
#[derive(Debug, Default)]
pub struct Search {
    /// Sessions whose id begins so, at most [`MOST`], the newest file's first.
    pub found: Vec<SessionRecord>,
    /// How many there are, the kept ones included.
    pub count: u64,
    /// The files that were read, with the number of their records.
    pub looked_at: Vec<(String, u64)>,
    /// Lines that are no records.
    pub unread: Unread,
}

impl Search {
    /// Searches one file after the other; a whole id ends the search where it is found.
    pub fn run(
        prefix: &Prefix,
        files: impl IntoIterator<Item = (String, Box<dyn BufRead>)>,
    ) -> io::Result<Self> {
        let mut search = Self::default();
        for (name, reader) in files {
            let mut records = 0;
            let mut unread = std::mem::take(&mut search.unread);
            let done = source::each(&name, reader, &mut unread, |_, text| {
                let id = source::id(text)?;
                records += 1;
                if !prefix.begins(id) {
                    return Ok(ControlFlow::Continue(()));
                }
                search.take(source::record(text)?);
                Ok(if prefix.is_whole() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                })
            });
            search.unread = unread;
            search.looked_at.push((name, records));
            if done?.is_break() {
                break;
            }
        }
        Ok(search)
    }

    fn take(&mut self, record: SessionRecord) {
        // The same session twice: two files of one tap were read as one.
        if self.found.iter().any(|known| known.id == record.id) {
            return;
        }
        self.count += 1;
        if self.found.len() < MOST {
            self.found.push(record);
        }
    }

    /// `2 files (r.jsonl: 12 records, r.jsonl.1: 40 records)`
    #[must_use]
    pub fn where_from(&self) -> String {
        let mut parts: Vec<String> = self
            .looked_at
            .iter()
            .take(10)
            .map(|(name, records)| format!("{name} ({})", count(*records, "record")))
            .collect();
        if self.looked_at.len() > parts.len() {
            parts.push(format!("{} more files", self.looked_at.len() - parts.len()));
        }
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_hexadecimal_with_or_without_dashes() {
        let id: Uuid = "019ab1c2-0000-7000-8000-000000000082".parse().unwrap();
        for text in ["0", "019ab1c2-0000-7", "019AB1C200007", &id.to_string()] {
            assert!(Prefix::read(text).unwrap().begins(id), "{text}");
        }
        assert!(!Prefix::read("019b").unwrap().begins(id));
        for text in ["", "-", "gateway", "019ab1c2-0000-7000-8000-0000000000820"] {
            assert_eq!(Prefix::read(text), None, "{text}");
        }
    }
}
