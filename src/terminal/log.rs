//! The standard error output while the program runs: its log, and its messages.
//!
//! One thread writes both, in order. No caller waits for a terminal that is paused (Ctrl-S) or a pipe that
//! nobody reads: lines that find the queue full are lost and counted, and at the end of the process
//! the remaining lines have a second to be written.

use std::io::{self, Write};
use std::sync::mpsc::channel;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use anstream::adapter::strip_str;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

use super::Look;

/// Time limit for the last lines at the end of the process. The guard's own limits add up to 1.1 s.
const LAST: Duration = Duration::from_millis(1200);

/// The queue of that thread, once it runs.
static QUEUE: OnceLock<NonBlocking> = OnceLock::new();

/// Starts the thread, and returns the writer for the log.
#[must_use]
pub(crate) fn start() -> (NonBlocking, LogGuard) {
    let (queue, guard) = queue(NonBlockingBuilder::default(), io::stderr());
    (QUEUE.get_or_init(|| queue).clone(), guard)
}

/// Writes lines for people: wrapped at the terminal's width, and with a line end.
pub(crate) fn say(text: &str) {
    write(&format!("{}\n", Look::stderr().fit(text)));
}

/// Writes the text, without its styles if stderr shows none.
pub(crate) fn write(text: &str) {
    let plain;
    let text = if Look::stderr().styled {
        text
    } else {
        plain = strip_str(text).to_string();
        &plain
    };
    let _ = match QUEUE.get() {
        Some(queue) => queue.clone().write_all(text.as_bytes()),
        None => io::stderr().write_all(text.as_bytes()),
    };
}

fn queue(
    builder: NonBlockingBuilder,
    writer: impl Write + Send + 'static,
) -> (NonBlocking, LogGuard) {
    let lost = Arc::default();
    let writer = Counting {
        writer,
        lost: Arc::clone(&lost),
        reported: 0,
    };
    let (queue, guard) = builder.finish(writer);
    let _ = lost.set(queue.error_counter());
    (queue, LogGuard(Some(guard)))
}

/// On drop, writes the remaining lines, for little more than a second.
#[derive(Debug)]
pub(crate) struct LogGuard(Option<WorkerGuard>);

impl Drop for LogGuard {
    fn drop(&mut self) {
        let guard = self.0.take();
        let (done, ended) = channel();
        // Not on this thread: with a full queue the guard prints a line on stdout, which may be blocked as well.
        let dropping = thread::Builder::new().spawn(move || {
            drop(guard);
            let _ = done.send(());
        });
        if dropping.is_ok() {
            let _ = ended.recv_timeout(LAST);
        }
    }
}

/// Reports how many lines were lost, as soon as the output is read again.
struct Counting<W> {
    writer: W,
    lost: Arc<OnceLock<ErrorCounter>>,
    reported: usize,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.writer.write(text)
    }

    /// Called when the queue is empty: the lost lines belong here.
    fn flush(&mut self) -> io::Result<()> {
        let lost = self.lost.get().map_or(0, ErrorCounter::dropped_lines);
        if lost > self.reported {
            let lines = lost - self.reported;
            self.reported = lost;
            writeln!(
                self.writer,
                "wstap: lines missing here: {lines} (nobody read this output in time)"
            )?;
        }
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, Sender};

    use super::*;

    /// Writes when the test lets it.
    struct Gated {
        arrived: Sender<()>,
        gate: Receiver<()>,
        text: Arc<Mutex<String>>,
    }

    impl Write for Gated {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            let _ = self.arrived.send(());
            let _ = self.gate.recv();
            let mut all = self.text.lock().unwrap();
            all.push_str(str::from_utf8(text).unwrap());
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(lines: usize) -> String {
        let (arrived, arrival) = channel();
        let (open, gate) = channel();
        let text = Arc::default();
        let gated = Gated {
            arrived,
            gate,
            text: Arc::clone(&text),
        };
        let room = NonBlockingBuilder::default().buffered_lines_limit(2);
        let (mut queue, guard) = queue(room, gated);
        for line in 0..lines {
            queue.write_all(format!("{line}\n").as_bytes()).unwrap();
            if line == 0 {
                // The line is being written, and no longer in the queue.
                arrival.recv().unwrap();
            }
        }
        drop(open);
        drop(guard);
        let text = text.lock().unwrap();
        text.clone()
    }

    #[test]
    fn lost_lines_are_counted_when_somebody_reads_again() {
        assert_eq!(
            written(5),
            "0\n1\n2\nwstap: lines missing here: 2 (nobody read this output in time)\n"
        );
    }

    #[test]
    fn lines_that_only_wait_are_not_lost() {
        assert_eq!(written(3), "0\n1\n2\n");
    }

    #[test]
    fn a_reader_that_never_comes_does_not_hold_up_the_end() {
        let (arrived, _arrival) = channel();
        let (_open, gate) = channel();
        let gated = Gated {
            arrived,
            gate,
            text: Arc::default(),
        };
        let room = NonBlockingBuilder::default().buffered_lines_limit(1);
        let (mut queue, guard) = queue(room, gated);
        for _ in 0..5 {
            queue.write_all(b"a line\n").unwrap();
        }
        drop(guard);
    }
}
