//! Finds a session by its id, or the beginning or end of its id, in a records file and its rotated
//! files.

use std::io::{self, BufRead};
use std::ops::ControlFlow;

use uuid::Uuid;

use super::page_writer::count;
use super::source::{self, Unread};
use crate::session::record::Repeats;
use crate::session::{SessionRecord, short_id};

/// Maximum number of sessions that are kept for an ambiguous part of an id.
const MOST: usize = 8;
/// Number of hexadecimal digits in a whole id.
const WHOLE: usize = 32;

/// An id, its beginning, or its end: terminals show the end, which is the random part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartOfId(String);

impl PartOfId {
    /// Reads hexadecimal digits, with or without dashes; `None` for anything else.
    #[must_use]
    pub(crate) fn read(text: &str) -> Option<Self> {
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        let hex = digits.chars().all(|c| c.is_ascii_hexdigit());
        let fits = !digits.is_empty() && digits.len() <= WHOLE;
        (hex && fits).then(|| Self(digits.to_ascii_lowercase()))
    }

    /// Whether an id begins or ends with these digits. Fewer digits than a short id has match only
    /// the beginning.
    #[must_use]
    pub(crate) fn is_of(&self, id: Uuid) -> bool {
        let mut buffer = Uuid::encode_buffer();
        let text: &str = id.simple().encode_lower(&mut buffer);
        let ends = self.0.len() >= short_id::DIGITS && text.ends_with(&self.0);
        text.starts_with(&self.0) || ends
    }

    /// Earliest and latest start of a session whose id begins with these digits, in milliseconds
    /// since 1970: the first 48 bits of a `UUIDv7`. `None` if there are too few digits.
    fn times(&self) -> Option<(i64, i64)> {
        /// Hex digits of the timestamp; `ENOUGH` of them give it to about a minute.
        const TIME: usize = 12;
        const ENOUGH: usize = 8;
        let digits = self.0.get(..self.0.len().min(TIME))?;
        if digits.len() < ENOUGH {
            return None;
        }
        let with = |fill: char| {
            let text: String = digits
                .chars()
                .chain(std::iter::repeat(fill))
                .take(TIME)
                .collect();
            i64::from_str_radix(&text, 16).ok()
        };
        Some((with('0')?, with('f')?))
    }

    /// Whether a session whose id begins with these digits may be one of those joined into this
    /// record.
    fn may_be_among(&self, repeats: &Repeats) -> bool {
        let (first, last) = (repeats.first_at.0, repeats.last_at.0);
        self.times().is_some_and(|(earliest, latest)| {
            first.as_millisecond() <= latest && earliest <= last.as_millisecond()
        })
    }

    fn is_whole(&self) -> bool {
        self.0.len() == WHOLE
    }
}

/// The result of a search.
#[derive(Debug, Default)]
pub(crate) struct Search {
    /// Sessions whose id begins or ends with these digits, at most eight, those of the newest file
    /// first.
    pub found: Vec<SessionRecord>,
    /// How many sessions match, including the kept ones.
    pub count: u64,
    /// Records of joined sessions from that time, at most eight: the session may be among them.
    pub among: Vec<SessionRecord>,
    /// The files that were read, with the number of their records.
    pub looked_at: Vec<(String, u64)>,
    /// Lines that are not records.
    pub unread: Unread,
}

impl Search {
    /// Searches one file after the other; a whole id ends the search where it is found.
    pub(crate) fn run(
        part: &PartOfId,
        files: impl IntoIterator<Item = (String, Box<dyn BufRead>)>,
    ) -> io::Result<Self> {
        let mut search = Self::default();
        for (name, reader) in files {
            let mut records = 0;
            let mut unread = std::mem::take(&mut search.unread);
            let done = source::each(&name, reader, &mut unread, |_, text| {
                let (id, repeats) = source::head(text)?;
                records += 1;
                if !part.is_of(id) {
                    let may_be = |repeats| part.may_be_among(&repeats);
                    if search.among.len() < MOST && repeats.is_some_and(may_be) {
                        search.among.push(source::record(text)?);
                    }
                    return Ok(ControlFlow::Continue(()));
                }
                search.take(source::record(text)?);
                Ok(if part.is_whole() {
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
        // The same session twice: two copies of a tap's file were concatenated.
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
    pub(crate) fn where_from(&self) -> String {
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
    fn a_session_that_was_joined_is_looked_for_by_the_time_in_its_id() {
        let at = |text: &str| crate::session::moment::Moment(text.parse().unwrap());
        let repeats = Repeats {
            count: 9,
            first_at: at("2026-11-21T10:00:00Z"),
            last_at: at("2026-11-21T10:01:00Z"),
            many_clients: false,
        };
        let among = |time: &str, digits: usize| {
            let ms = at(time).0.as_millisecond();
            let text = format!("{ms:012x}7000800000000000");
            let part = PartOfId::read(&text[..digits]).unwrap();
            part.may_be_among(&repeats)
        };
        assert!(among("2026-11-21T10:00:30Z", 28));
        assert!(among("2026-11-21T10:00:30Z", 8));
        assert!(!among("2026-11-21T10:00:30Z", 7), "that could be any hour");
        assert!(!among("2026-11-21T10:01:01Z", 28));
        assert!(!among("2026-11-21T09:59:59Z", 12));
    }

    #[test]
    fn the_short_form_finds_its_session_and_fewer_digits_do_not() {
        let id: Uuid = "019ab1c2-0000-7000-8000-0123456789ab".parse().unwrap();
        let short = short_id::of(id);
        assert_eq!(short, "456789ab");
        let is_of = |text: &str| PartOfId::read(text).unwrap().is_of(id);
        assert!(is_of(&short) && is_of("0123456789AB") && is_of("8000-0123456789ab"));
        assert!(!is_of("56789ab") && !is_of("456789ac") && !is_of("23456789"));
    }

    #[test]
    fn prefixes_are_hexadecimal_with_or_without_dashes() {
        let id: Uuid = "019ab1c2-0000-7000-8000-000000000082".parse().unwrap();
        for text in ["0", "019ab1c2-0000-7", "019AB1C200007", &id.to_string()] {
            assert!(PartOfId::read(text).unwrap().is_of(id), "{text}");
        }
        assert!(!PartOfId::read("019b").unwrap().is_of(id));
        for text in ["", "-", "gateway", "019ab1c2-0000-7000-8000-0000000000820"] {
            assert_eq!(PartOfId::read(text), None, "{text}");
        }
    }
}
