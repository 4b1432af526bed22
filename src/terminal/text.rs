//! Text in columns: its width, wrapping and truncation.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Width of a text on a terminal, in columns.
#[must_use]
pub(crate) fn columns(text: &str) -> usize {
    text.width()
}

/// A string of `count` blanks.
#[must_use]
pub(crate) fn blanks(count: usize) -> String {
    " ".repeat(count)
}

/// `text` and blanks up to `width` columns; a longer one stays as it is.
#[must_use]
pub(crate) fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", blanks(width.saturating_sub(columns(text))))
}

/// Blanks and `text`, up to `width` columns.
#[must_use]
pub(crate) fn pad_left(text: &str, width: usize) -> String {
    format!("{}{text}", blanks(width.saturating_sub(columns(text))))
}

/// Cuts a text to at most `width` columns; `…` marks the cut.
#[must_use]
pub(crate) fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut used = 1;
    let fits = |c: &char| {
        used += c.width().unwrap_or(0);
        used <= width
    };
    let mut short: String = text.chars().take_while(fits).collect();
    short.push('…');
    short
}

/// Lines of at most `room` columns. A command in backquotes stays on one line if it fits, so that
/// it can be copied; a word that is longer than a line is broken.
#[must_use]
pub(crate) fn wrap(text: &str, room: usize) -> Vec<String> {
    let room = room.max(8);
    let (mut lines, mut line, mut used) = (Vec::new(), String::new(), 0);
    for word in words(text, room) {
        if used > 0 && used + 1 + columns(&word) > room {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        for c in word.chars() {
            let width = c.width().unwrap_or(0);
            if used + width > room {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push(c);
            used += width;
        }
    }
    lines.push(line);
    lines
}

/// Splits into words; a span in backquotes counts as one word if it fits.
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

/// Breaks the lines that are longer than `width`; continuation lines are indented by two more
/// columns. Short lines stay as they are, blanks included.
#[must_use]
pub(crate) fn fit(text: &str, width: usize) -> String {
    let mut fitted = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (line, end) = match line.strip_suffix('\n') {
            Some(line) => (line, "\n"),
            None => (line, ""),
        };
        if columns(line) <= width {
            fitted.push_str(line);
        } else {
            let own = line.len() - line.trim_start_matches(' ').len();
            let indent = blanks(own + 2);
            let room = width.saturating_sub(indent.len());
            let mut first = blanks(own);
            for (index, part) in wrap(line, room).into_iter().enumerate() {
                if index > 0 {
                    fitted.push('\n');
                    first.clone_from(&indent);
                }
                fitted.push_str(&first);
                fitted.push_str(&part);
            }
        }
        fitted.push_str(end);
    }
    fitted
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
    fn texts_are_cut_by_columns() {
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("abc", 3), "abc");
        let padded = (pad("a", 3), pad_left("a", 3));
        assert_eq!(padded, ("a  ".into(), "  a".into()));
    }

    #[test]
    fn only_long_lines_are_broken_and_the_rest_is_indented() {
        let text = "short   line\n  a line that is too long\nlast";
        assert_eq!(
            fit(text, 16),
            "short   line\n  a line that\n    is too long\nlast"
        );
        assert_eq!(fit("", 16), "");
        for line in fit(&"x".repeat(100), 20).lines() {
            assert!(columns(line) <= 20, "{line}");
        }
    }
}
