//! The user's terminal: whether there is one, how wide it is, and whether text may be styled. All
//! output for people uses this module, so that all of it obeys `NO_COLOR` and has the same width.

pub(crate) mod log;
pub(crate) mod text;

use std::io::Write as _;
use std::os::fd::AsFd;

use anstream::stream::RawStream;
use anstream::{AutoStream, ColorChoice};

/// The width of pages and tables without a terminal, and on one that does not report its size.
pub(crate) const USUAL: usize = 80;

/// Maximum width: longer lines are hard to read.
const MOST: usize = 120;

/// Minimum width: a narrower terminal wraps the lines itself.
const LEAST: usize = 40;

/// Writes to the standard output; `false` if it is closed.
pub(crate) fn print(text: &str) -> bool {
    let stdout = std::io::stdout();
    let choice = AutoStream::choice(&stdout);
    let mut out = AutoStream::new(stdout, choice);
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.is_ok()
}

/// How text for people is written to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// With colours and bold text.
    pub styled: bool,
    /// Lines are wrapped at this width; `None` if there is no terminal, and lines are not wrapped.
    pub width: Option<usize>,
}

impl Look {
    /// No terminal, no styles.
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self {
        styled: false,
        width: None,
    };

    /// The look for this stream now: a terminal can change its size.
    pub(crate) fn of(stream: &(impl RawStream + AsFd)) -> Self {
        Self {
            styled: AutoStream::choice(stream) != ColorChoice::Never,
            width: stream.is_terminal().then(|| columns(stream)),
        }
    }

    /// The look for the standard output now.
    #[must_use]
    pub(crate) fn stdout() -> Self {
        Self::of(&std::io::stdout())
    }

    /// The look for the standard error output now.
    #[must_use]
    pub(crate) fn stderr() -> Self {
        Self::of(&std::io::stderr())
    }

    /// The width of pages and tables.
    #[must_use]
    pub(crate) fn page(&self) -> usize {
        self.width.unwrap_or(USUAL)
    }

    /// The text, with long lines wrapped if there is a terminal.
    #[must_use]
    pub(crate) fn fit(&self, text: &str) -> String {
        match self.width {
            Some(width) => text::fit(text, width),
            None => text.to_owned(),
        }
    }
}

fn columns(stream: impl AsFd) -> usize {
    match terminal_size::terminal_size_of(stream) {
        Some((terminal_size::Width(columns), _)) => usize::from(columns).clamp(LEAST, MOST),
        None => USUAL,
    }
}
