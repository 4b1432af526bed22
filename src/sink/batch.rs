//! Batches of serialised records that are written together, with an exact count of those written.
//!
//! A write can fail in the middle: a full disk, a reader that went away. Bytes that were accepted
//! before that are written, the rest is lost, and one record can be torn.

use std::io::{self, ErrorKind, Write};

use super::queue::{Flushed, Unwritten};

/// A batch of this size is written before it takes more records.
const MUCH: usize = 64 * 1024;

/// Maximum bytes per write if a reader can block us: a pipe takes up to `PIPE_BUF` bytes whole or
/// not at all, so we know which records it has.
const AT_ONCE: u64 = 4096;

/// Serialised records, in order.
#[derive(Debug, Default)]
pub(super) struct Batch {
    text: Vec<u8>,
    /// End offset of each record's text.
    ends: Vec<usize>,
}

/// Result of a write.
#[derive(Debug)]
pub(super) struct Written {
    /// Number of whole records that the writer accepted; they have left the batch.
    pub(super) records: u64,
    /// Bytes of those records.
    pub(super) bytes: usize,
    /// Bytes of the next record that the writer accepted.
    pub(super) torn: usize,
    /// Error that stopped the write.
    pub(super) error: Option<io::Error>,
}

impl Batch {
    /// Adds the text of one record, which `write` appends. Adds nothing if that fails.
    pub(super) fn add<E>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let before = self.text.len();
        let written = write(&mut self.text);
        match written {
            Ok(()) => self.ends.push(self.text.len()),
            Err(_) => self.text.truncate(before),
        }
        written
    }

    /// Whether the batch should be written before it takes more.
    pub(super) fn has_much(&self) -> bool {
        self.text.len() >= MUCH
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Number of records in the batch.
    pub(super) fn records(&self) -> u64 {
        self.ends.len() as u64
    }

    /// Size of its first record.
    pub(super) fn first(&self) -> u64 {
        self.ends.first().copied().unwrap_or_default() as u64
    }

    /// Writes the records that fit into `limit` bytes together, and at least one.
    pub(super) fn write_some(&self, writer: &mut impl Write, limit: u64) -> Written {
        let more = self.ends.iter().skip(1);
        let fit = more.take_while(|end| **end as u64 <= limit).count() + 1;
        let until = self.ends.get(fit - 1).copied().unwrap_or_default();
        let (taken, error) = write(writer, self.text.get(..until).unwrap_or_default());
        let records = self.ends.iter().take_while(|end| **end <= taken).count();
        let bytes = match records {
            0 => 0,
            some => self.ends.get(some - 1).copied().unwrap_or_default(),
        };
        Written {
            records: records as u64,
            bytes,
            torn: taken - bytes,
            error,
        }
    }

    /// Removes what was written.
    pub(super) fn remove(&mut self, written: &Written) {
        let records = usize::try_from(written.records).unwrap_or(usize::MAX);
        self.text.drain(..written.bytes.min(self.text.len()));
        self.ends.drain(..records.min(self.ends.len()));
        for end in &mut self.ends {
            *end -= written.bytes;
        }
    }

    /// Writes the next few records, and flushes the writer. After a failure all remaining records
    /// are lost. `torn` notes whether a record was torn, so that the next one begins on a new line.
    pub(super) fn write_next(
        &mut self,
        writer: &mut impl Write,
        torn: &mut bool,
    ) -> Result<Flushed, Unwritten> {
        if !self.is_empty() && *torn {
            match write(writer, b"\n") {
                (_, None) => *torn = false,
                (_, Some(error)) => return Err(self.lost(error)),
            }
        }
        if self.is_empty() {
            return Ok(Flushed::All);
        }
        let written = self.write_some(writer, AT_ONCE);
        self.remove(&written);
        *torn |= written.torn > 0;
        match written.error.or_else(|| writer.flush().err()) {
            Some(error) => Err(self.lost(error)),
            None if self.is_empty() => Ok(Flushed::All),
            None => Ok(Flushed::Some(written.records)),
        }
    }

    /// Drops all records, which were not written for this reason.
    pub(super) fn lost(&mut self, error: io::Error) -> Unwritten {
        let records = self.records();
        self.text.clear();
        self.ends.clear();
        Unwritten { records, error }
    }
}

/// Like `write_all`, but returns how many bytes were accepted.
fn write(writer: &mut impl Write, bytes: &[u8]) -> (usize, Option<io::Error>) {
    let mut rest = bytes;
    let error = loop {
        if rest.is_empty() {
            break None;
        }
        match writer.write(rest) {
            Ok(0) => break Some(ErrorKind::WriteZero.into()),
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => break Some(error),
        }
    };
    (bytes.len() - rest.len(), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Accepts this many bytes, a few at a time.
    struct Room(usize, Vec<u8>);

    impl Write for Room {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.0).min(3);
            if count == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            self.0 -= count;
            self.1.extend_from_slice(&bytes[..count]);
            Ok(count)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn batch(texts: &[&str]) -> Batch {
        let mut batch = Batch::default();
        for text in texts {
            let add = |bytes: &mut Vec<u8>| {
                bytes.extend_from_slice(text.as_bytes());
                io::Result::Ok(())
            };
            batch.add(add).unwrap();
        }
        batch
    }

    #[test]
    fn records_that_were_written_before_a_failure_are_not_lost() {
        for room in 0..=12 {
            let (mut batch, mut torn) = (batch(&["aaa\n", "bbb\n", "ccc\n"]), false);
            let mut writer = Room(room, Vec::new());
            let lost = batch.write_next(&mut writer, &mut torn);
            let lost = lost.err().map_or(0, |unwritten| unwritten.records);
            assert_eq!(lost, 3 - room as u64 / 4, "{room}");
            assert_eq!(torn, room % 4 > 0);
            assert!(batch.is_empty());
        }
    }

    #[test]
    fn the_record_after_a_torn_one_begins_on_its_own_line() {
        let mut torn = false;
        let mut writer = Room(6, Vec::new());
        batch(&["aaa\n", "bbb\n"])
            .write_next(&mut writer, &mut torn)
            .unwrap_err();
        writer.0 = 100;
        batch(&["ccc\n"])
            .write_next(&mut writer, &mut torn)
            .unwrap();
        assert_eq!(writer.1, b"aaa\nbb\nccc\n");
    }

    #[test]
    fn a_part_has_at_most_so_many_bytes_and_at_least_one_record() {
        let mut batch = batch(&["aaaaaaaa\n", "b\n", "c\n"]);
        let mut writer = Room(100, Vec::new());
        for (limit, records) in [(4, 1), (4, 2)] {
            let written = batch.write_some(&mut writer, limit);
            batch.remove(&written);
            assert_eq!(written.records, records);
        }
        assert_eq!(writer.1, b"aaaaaaaa\nb\nc\n");
        assert!(batch.is_empty());
    }

    #[test]
    fn a_record_that_cannot_be_written_down_leaves_nothing_behind() {
        let mut batch = batch(&["a\n"]);
        let half = |bytes: &mut Vec<u8>| {
            bytes.push(b'{');
            Err(())
        };
        batch.add(half).unwrap_err();
        assert_eq!((batch.records(), batch.first()), (1, 2));
    }

    #[test]
    fn records_are_written_a_few_at_a_time() {
        let line = "x".repeat(1500);
        let mut batch = batch(&[line.as_str(); 5]);
        let (mut writer, mut torn) = (Room(usize::MAX, Vec::new()), false);
        for expected in [
            Flushed::Some(2),
            Flushed::Some(2),
            Flushed::All,
            Flushed::All,
        ] {
            let written = batch.write_next(&mut writer, &mut torn).unwrap();
            assert_eq!(written, expected);
        }
        assert_eq!(writer.1.len(), 5 * 1500);
    }
}
