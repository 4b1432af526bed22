//! Records as JSON lines.

use std::io::{self, Write};

use super::batch::Batch;
use super::{Consumer, Flushed, Unwritten};
use crate::session::SessionRecord;

/// Writes JSON lines to a writer, all waiting records at once.
#[derive(Debug)]
pub(crate) struct JsonLines<W> {
    writer: W,
    batch: Batch,
    torn: bool,
}

impl<W> JsonLines<W> {
    /// Creates a JSON lines consumer for this writer.
    pub(crate) fn new(writer: W) -> Self {
        Self {
            writer,
            batch: Batch::default(),
            torn: false,
        }
    }
}

impl<W: Write + Send + 'static> Consumer for JsonLines<W> {
    fn consume(&mut self, record: &SessionRecord) -> io::Result<()> {
        self.batch.add(|text| line(text, record))
    }

    fn has_much(&self) -> bool {
        self.batch.has_much()
    }

    fn flush(&mut self) -> Result<Flushed, Unwritten> {
        self.batch.write_next(&mut self.writer, &mut self.torn)
    }
}

/// Appends a record as one line.
pub(super) fn line(text: &mut Vec<u8>, record: &SessionRecord) -> io::Result<()> {
    serde_json::to_writer(&mut *text, record)?;
    text.push(b'\n');
    Ok(())
}
