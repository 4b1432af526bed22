//! Pages for people, in the requested width, with styles that are stripped on output where they do
//! not belong.
//!
//! All text is made inert before it is written: a records file may come from anyone.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Color, Style};
use serde::Serialize;

use crate::session::record::Class;
use crate::session::text::{PeerText, must_escape};
use crate::terminal::text::{blanks, wrap};

pub(super) use crate::terminal::text::{columns, cut, pad, pad_left};

/// Width of the name column on the page of a session.
pub(super) const NAME: usize = 10;

/// Writes a page line by line.
#[derive(Debug)]
pub(super) struct PageWriter {
    text: String,
    /// In columns.
    width: usize,
}

impl PageWriter {
    /// An empty page of this width, in columns.
    pub(super) fn new(width: usize) -> Self {
        let text = String::new();
        Self { text, width }
    }

    /// The page, with styles and line ends.
    pub(super) fn finish(self) -> String {
        self.text
    }

    /// A bold line.
    pub(super) fn title(&mut self, text: &str) {
        self.styled(Style::new().bold(), "", "", text);
    }

    /// An empty line and a bold one.
    pub(super) fn heading(&mut self, text: &str) {
        self.text.push('\n');
        self.title(text);
    }

    /// The first line of a verdict, in its class's colour.
    pub(super) fn class(&mut self, class: Class, text: &str) {
        self.styled(class_style(class), "", "", text);
    }

    /// The same with a prefix.
    pub(super) fn class_after(&mut self, class: Class, first: &str, text: &str) {
        self.styled(class_style(class), first, first, text);
    }

    /// A line that is written as it is, gaps included, up to the width.
    pub(super) fn table_row(&mut self, line: &str) {
        let _ = writeln!(self.text, "{}", cut(&inert(line), self.width).trim_end());
    }

    /// A paragraph.
    pub(super) fn text(&mut self, indent: &str, text: &str) {
        self.styled(Style::new(), indent, indent, text);
    }

    /// A paragraph with a prefix: `first` before its first line, blanks before the others.
    pub(super) fn item(&mut self, first: &str, text: &str) {
        self.styled(Style::new(), first, &blanks(columns(first)), text);
    }

    /// The same with dimmed text.
    pub(super) fn dim(&mut self, first: &str, text: &str) {
        self.styled(Style::new().dimmed(), first, &blanks(columns(first)), text);
    }

    /// `  name      text`, with the name padded to `width` columns.
    pub(super) fn row(&mut self, name: &str, width: usize, text: &str) {
        self.item(&format!("  {}  ", pad(&inert(name), width)), text);
    }

    /// A next action, with the whole width: commands should stay on one line.
    pub(super) fn next(&mut self, action: &str) {
        self.text("  ", &format!("next: {action}"));
    }

    /// An empty line.
    pub(super) fn gap(&mut self) {
        self.text.push('\n');
    }

    fn styled(&mut self, style: Style, first: &str, others: &str, text: &str) {
        let room = self
            .width
            .saturating_sub(columns(first).max(columns(others)));
        let mut before = first;
        for line in wrap(&inert(text), room) {
            let plain = format!("{before}{style}{line}{style:#}");
            // Writing to a String cannot fail.
            let _ = writeln!(self.text, "{}", plain.trim_end());
            before = others;
        }
    }
}

/// Colour of a class: green for fine, yellow for an ordinary ending, red for a fault.
fn class_style(class: Class) -> Style {
    let colour = match class {
        Class::Ok | Class::Probe => AnsiColor::Green,
        Class::ClientLeft | Class::ClientClosed | Class::TapDrain | Class::GatewayLifecycle => {
            AnsiColor::Yellow
        }
        _ => AnsiColor::Red,
    };
    Style::new().fg_color(Some(Color::Ansi(colour))).bold()
}

/// Text that moves no cursor and forges no line.
pub(super) fn inert(text: &str) -> String {
    if text.chars().any(must_escape) {
        PeerText::new(text, usize::MAX).into()
    } else {
        text.to_owned()
    }
}

/// `1 message`, `2 messages`.
pub(super) fn count(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// The word by which a fact is recorded.
pub(super) fn word(fact: &impl Serialize) -> String {
    match serde_json::to_value(fact) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_on_paper_is_inert() {
        let mut writer = PageWriter::new(80);
        writer.row("a\u{1b}[2J", 4, "x\u{202e}y\nz");
        let page = anstream::adapter::strip_str(&writer.finish()).to_string();
        assert_eq!(page, "  a\\u{1b}[2J  x\\u{202e}y\\u{a}z\n");
    }
}
