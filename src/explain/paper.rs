//! Text for people: 80 columns wide, with styles that the writer strips where they do not belong.
//!
//! Whatever is put on paper is made inert first: a records file may have been written by anyone.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Color, Style};
use unicode_width::UnicodeWidthStr as _;

use crate::session::record::Class;
use crate::session::text::{PeerText, must_escape};

/// The width of every page, in columns.
pub(super) const WIDTH: usize = 80;

/// A page that grows.
#[derive(Debug, Default)]
pub(super) struct Paper(String);

impl Paper {
    /// The page, with styles and line ends.
    pub(super) fn finish(self) -> String {
        self.0
    }

    /// A bold line.
    pub(super) fn title(&mut self, text: &str) {
        self.styled(Style::new().bold(), "", "", text);
    }

    /// An empty line and a bold one.
    pub(super) fn heading(&mut self, text: &str) {
        self.0.push('\n');
        self.title(text);
    }

    /// The first line of a verdict, in its class's colour.
    pub(super) fn class(&mut self, class: Class, text: &str) {
        self.styled(class_style(class), "", "", text);
    }

    /// The same with something before it.
    pub(super) fn class_after(&mut self, class: Class, first: &str, text: &str) {
        self.styled(class_style(class), first, first, text);
    }

    /// A line that stays as it is, gaps included, up to the width.
    pub(super) fn table_row(&mut self, line: &str) {
        let _ = writeln!(self.0, "{}", cut(&inert(line), WIDTH).trim_end());
    }

    /// A paragraph.
    pub(super) fn text(&mut self, indent: &str, text: &str) {
        self.styled(Style::new(), indent, indent, text);
    }

    /// A paragraph with something before it: `first` before its first line, blanks before the
    /// others.
    pub(super) fn item(&mut self, first: &str, text: &str) {
        self.styled(Style::new(), first, &blanks(columns(first)), text);
    }

    /// The same with a dimmed text.
    pub(super) fn dim(&mut self, first: &str, text: &str) {
        self.styled(Style::new().dimmed(), first, &blanks(columns(first)), text);
    }

    /// `  name      text`, the name in so many columns.
    pub(super) fn row(&mut self, name: &str, width: usize, text: &str) {
        self.item(&format!("  {}  ", pad(&inert(name), width)), text);
    }

    /// What to do, with the whole width: commands should stay on one line.
    pub(super) fn next(&mut self, action: &str) {
        self.text("  ", &format!("next: {action}"));
    }

    /// An empty line.
    pub(super) fn gap(&mut self) {
        self.0.push('\n');
    }

    fn styled(&mut self, style: Style, first: &str, others: &str, text: &str) {
        let room = WIDTH.saturating_sub(columns(first).max(columns(others)));
        let mut before = first;
        for line in wrap(&inert(text), room) {
            let plain = format!("{before}{style}{line}{style:#}");
            // Writing to a String cannot fail.
            let _ = writeln!(self.0, "{}", plain.trim_end());
            before = others;
        }
    }
}

/// Colour of a class: green for what is fine, yellow for what happens, red for what is wrong.
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

/// How many columns a text takes on a terminal.
pub(super) fn columns(text: &str) -> usize {
    text.width()
}

/// `text` and blanks up to `width` columns; a longer one stays as it is.
pub(super) fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", blanks(width.saturating_sub(columns(text))))
}

/// Blanks and `text`, up to `width` columns.
pub(super) fn pad_left(text: &str, width: usize) -> String {
    format!("{}{text}", blanks(width.saturating_sub(columns(text))))
}

/// `1 message`, `2 messages`.
pub(super) fn count(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// At most so many columns of a text.
pub(super) fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    for c in text.chars() {
        if columns(&short) + columns(c.encode_utf8(&mut [0; 4])) >= width {
            break;
        }
        short.push(c);
    }
    short.push('…');
    short
}

fn blanks(count: usize) -> String {
    " ".repeat(count)
}

/// Lines of at most `room` columns. A command in backquotes stays on one line where it fits, so
/// that it can be copied; what is longer than a line is broken.
fn wrap(text: &str, room: usize) -> Vec<String> {
    let room = room.max(8);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in words(text, room) {
        let gap = usize::from(!line.is_empty());
        if !line.is_empty() && columns(&line) + gap + columns(&word) > room {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        for c in word.chars() {
            if columns(&line) + columns(c.encode_utf8(&mut [0; 4])) > room {
                lines.push(std::mem::take(&mut line));
            }
            line.push(c);
        }
    }
    lines.push(line);
    lines
}

/// Words, a span in backquotes being one if it fits.
fn words(text: &str, room: usize) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut open = false;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let quotes = word.matches('`').count();
        match words.last_mut() {
            Some(last) if open && columns(last) + 1 + columns(word) <= room => {
                last.push(' ');
                last.push_str(word);
            }
            _ => words.push(word.to_owned()),
        }
        open ^= quotes % 2 == 1;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_wrapped_at_words_and_commands_stay_whole() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("run `a b c` now", 10), ["run", "`a b c`", "now"]);
        assert_eq!(wrap("0123456789ab", 8), ["01234567", "89ab"]);
        assert_eq!(wrap("日本語日本語", 8), ["日本語日", "本語"]);
        assert_eq!(wrap("", 8), [""]);
    }

    #[test]
    fn what_is_put_on_paper_is_inert() {
        let mut paper = Paper::default();
        paper.row("a\u{1b}[2J", 4, "x\u{202e}y\nz");
        let page = anstream::adapter::strip_str(&paper.finish()).to_string();
        assert_eq!(page, "  a\\u{1b}[2J  x\\u{202e}y\\u{a}z\n");
    }

    #[test]
    fn texts_are_cut_by_columns() {
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(
            (pad("a", 3), pad_left("a", 3)),
            ("a  ".into(), "  a".into())
        );
    }
}
