//! A pipe that nobody reads.

use std::io::{PipeReader, PipeWriter, Write as _, pipe};

use rustix::pipe::fcntl_getpipe_size;

/// A pipe without room for one byte more.
pub fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().expect("a pipe");
    let room = fcntl_getpipe_size(&writer).expect("its size");
    writer.write_all(&vec![b' '; room]).expect("fill it");
    (reader, writer)
}
