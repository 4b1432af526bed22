//! Text that a peer controls, made safe to store and to show.
//!
//! Close reasons, user agents, origins, paths and header values come from peers. Written
//! unchanged to a terminal or a log, they can move the cursor, forge lines, reverse the reading
//! direction or hide in invisible characters (RFC 9110 §5.5 and RFC 6455 §7.1.6 leave all of that
//! to the receiver). [`PeerText`] is the only form in which such text enters a record.
//!
//! Not done here: HTML escaping, which is the page's job, and masking secrets, which is the job of
//! [`crate::admission::mask`].

use std::fmt::{self, Write as _};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// Peer-controlled text that is inert in JSON, on a terminal and in a log line.
///
/// * Control characters (C0, DEL, C1), bidirectional controls, zero-width and other invisible
///   characters, line separators and non-characters are written as `\u{1b}`.
/// * Bytes that are not valid UTF-8 are written as `\xff`.
/// * What does not fit is cut, and the cut is marked: `…(+12)` means that 12 more characters (or
///   invalid bytes) followed.
///
/// A backslash of the peer's own is left alone, so text that was already escaped passes unchanged,
/// and a stored value read back from a file is the same value. The price: `\u{1b}` may also be what
/// the peer literally wrote. A text that was cut is longer than its cap by the mark, so cutting it
/// again under the same cap may shorten it further; reading a record never cuts.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct PeerText(Box<str>);

impl PeerText {
    /// Escapes `bytes`, showing at most `cap` characters of the escaped form (plus the cut's mark).
    #[must_use]
    pub fn from_bytes(bytes: &[u8], cap: usize) -> Self {
        // Fast path: nearly all text needs no escaping.
        if bytes.len() <= cap
            && is_printable_ascii(bytes)
            && let Ok(text) = std::str::from_utf8(bytes)
        {
            return Self(text.into());
        }
        let mut out = Bounded::new(cap);
        out.add(bytes);
        Self(out.finish().into())
    }

    /// Like `new`, for the beginning of a text of which `hidden` more bytes were not kept: they are
    /// included in the cut mark.
    #[must_use]
    pub fn front(bytes: &[u8], cap: usize, hidden: u64) -> Self {
        let Ok(hidden @ 1..) = usize::try_from(hidden) else {
            return Self::from_bytes(bytes, cap);
        };
        let mut out = Bounded::new(cap);
        out.add(bytes);
        out.hidden = out.hidden.saturating_add(hidden);
        Self(out.finish().into())
    }

    /// Like [`PeerText::from_bytes`], for text that is already known to be UTF-8.
    #[must_use]
    pub fn new(text: &str, cap: usize) -> Self {
        Self::from_bytes(text.as_bytes(), cap)
    }

    /// The escaped text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True when the peer sent nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for PeerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for PeerText {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<PeerText> for String {
    fn from(text: PeerText) -> Self {
        text.0.into()
    }
}

impl<'de> Deserialize<'de> for PeerText {
    /// A record file may have been edited by anyone: what is read is escaped again (not cut).
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Self::new(&text, usize::MAX))
    }
}

/// Whether a text contains a character that [`must_escape`].
#[must_use]
pub fn holds_what_must_be_escaped(text: &str) -> bool {
    !is_printable_ascii(text.as_bytes()) && text.chars().any(must_escape)
}

/// True for nearly all text, which then needs no closer look.
fn is_printable_ascii(bytes: &[u8]) -> bool {
    // Not `all`: without an early exit, the loop checks many bytes at once.
    let odd = |byte: &u8| !(b' '..=b'~').contains(byte);
    !bytes.iter().fold(false, |any, byte| any | odd(byte))
}

/// True for characters that must not reach a terminal, a log or a reader's eye unescaped.
#[must_use]
pub fn must_escape(c: char) -> bool {
    let code = u32::from(c);
    c.is_control()
        || code & 0xfffe == 0xfffe // the two non-characters that end each plane
        || matches!(code,
            // soft hyphen, grapheme joiner, Arabic letter mark, Hangul fillers, Khmer inherent vowels
            0x00ad | 0x034f | 0x061c | 0x115f | 0x1160 | 0x3164 | 0xffa0 | 0x17b4 | 0x17b5
            // Mongolian variation selectors and vowel separator
            | 0x180b..=0x180f
            // zero-width space and joiners, left-to-right and right-to-left marks
            | 0x200b..=0x200f
            // line and paragraph separator, bidi embeddings and overrides
            | 0x2028..=0x202e
            // word joiner, invisible operators, bidi isolates, deprecated format characters
            | 0x2060..=0x206f
            // variation selectors, byte order mark, interlinear annotation
            | 0xfe00..=0xfe0f | 0xfeff | 0xfff0..=0xfffb
            // non-characters of the Arabic block
            | 0xfdd0..=0xfdef
            // shorthand and musical format controls
            | 0x1_bca0..=0x1_bca3 | 0x1_d173..=0x1_d17a
            // tags and the variation selector supplement: a whole hidden alphabet
            | 0xe_0000..=0xe_0fff)
}

/// Whether a text is an origin that is safe in a line that people paste: none of its characters has
/// a meaning in YAML, JSON or a shell. Records that are judged again may have been written by
/// anyone.
#[must_use]
pub fn is_plain_origin(text: &str) -> bool {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '/' | '.' | '-' | '_' | '[' | ']');
    text.len() <= 300 && text.contains("://") && text.chars().all(plain)
}

/// Collects pieces until the cap, then only counts.
struct Bounded {
    out: String,
    room: usize,
    hidden: usize,
}

impl Bounded {
    fn new(cap: usize) -> Self {
        Self {
            out: String::new(),
            room: cap,
            hidden: 0,
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        for chunk in bytes.utf8_chunks() {
            for c in chunk.valid().chars() {
                self.character(c);
            }
            for &byte in chunk.invalid() {
                self.invalid(byte);
            }
        }
    }

    fn character(&mut self, c: char) {
        if must_escape(c) {
            // `{:x}` of a char code is at most six digits: `\u{10ffff}`.
            self.piece(format_args!("\\u{{{:x}}}", u32::from(c)));
        } else if self.hidden == 0 && self.room > 0 {
            self.out.push(c);
            self.room -= 1;
        } else {
            self.hidden += 1;
        }
    }

    fn invalid(&mut self, byte: u8) {
        self.piece(format_args!("\\x{byte:02x}"));
    }

    /// Adds an escape as a whole or not at all: half an escape would be misleading.
    fn piece(&mut self, escape: fmt::Arguments<'_>) {
        if self.hidden > 0 {
            self.hidden += 1;
            return;
        }
        let before = self.out.len();
        // Writing to a String cannot fail.
        let _ = self.out.write_fmt(escape);
        let size = self.out.len() - before;
        if size <= self.room {
            self.room -= size;
        } else {
            self.out.truncate(before);
            self.hidden = 1;
        }
    }

    fn finish(mut self) -> String {
        if self.hidden > 0 {
            let _ = write!(self.out, "…(+{})", self.hidden);
        }
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(bytes: &[u8]) -> String {
        PeerText::from_bytes(bytes, 200).to_string()
    }

    #[test]
    fn plain_text_passes() {
        assert_eq!(
            text("pairing required: déjà vu 日本 🦞".as_bytes()),
            "pairing required: déjà vu 日本 🦞"
        );
        assert_eq!(text(b""), "");
        assert_eq!(
            text(br#"back\slash "quote" <b>"#),
            r#"back\slash "quote" <b>"#
        );
    }

    #[test]
    fn what_could_act_on_a_terminal_is_escaped() {
        assert_eq!(
            text(b"\x1b[31mred\r\nforged line\0"),
            r"\u{1b}[31mred\u{d}\u{a}forged line\u{0}"
        );
        assert_eq!(text("a\u{9b}31m\u{7f}".as_bytes()), r"a\u{9b}31m\u{7f}");
        assert_eq!(
            text("\u{202e}gpj.exe\u{2066}".as_bytes()),
            r"\u{202e}gpj.exe\u{2066}"
        );
        assert_eq!(
            text("to\u{200b}ken\u{feff}".as_bytes()),
            r"to\u{200b}ken\u{feff}"
        );
        assert_eq!(
            text("\u{fffe}\u{1ffff}\u{fdd0}".as_bytes()),
            r"\u{fffe}\u{1ffff}\u{fdd0}"
        );
        assert_eq!(text("\u{e0041}\u{2028}".as_bytes()), r"\u{e0041}\u{2028}");
    }

    #[test]
    fn invalid_utf8_is_shown_byte_by_byte() {
        assert_eq!(text(b"a\xff\xc3(\xe2\x82"), r"a\xff\xc3(\xe2\x82");
    }

    #[test]
    fn a_cut_is_marked_and_counted() {
        assert_eq!(PeerText::from_bytes(b"abcdef", 4).as_str(), "abcd…(+2)");
        assert_eq!(PeerText::from_bytes(b"abcd", 4).as_str(), "abcd");
        assert_eq!(PeerText::from_bytes(b"abc", 0).as_str(), "…(+3)");
        // An escape that does not fit is left out whole, and nothing after it is shown in its
        // place.
        assert_eq!(PeerText::from_bytes(b"ab\x1bcd", 4).as_str(), "ab…(+3)");
        assert_eq!(PeerText::front(b"abcd", 4, 90).as_str(), "abcd…(+90)");
        assert_eq!(PeerText::front(b"abcd", 3, 90).as_str(), "abc…(+91)");
        assert_eq!(PeerText::front(b"abcd", 4, 0).as_str(), "abcd");
    }

    #[test]
    fn json_round_trip_and_hostile_file() {
        let text = PeerText::from_bytes(b"x\x1b[2J\xff", 64);
        let json = serde_json::to_string(&text).unwrap();
        assert_eq!(serde_json::from_str::<PeerText>(&json).unwrap(), text);
        let read: PeerText = serde_json::from_str("\"\\u001b[2J\"").unwrap();
        assert_eq!(read.as_str(), r"\u{1b}[2J");
    }

    proptest! {
        #[test]
        fn output_is_inert_and_bounded(bytes in proptest::collection::vec(any::<u8>(), 0..300), cap in 0usize..200) {
            let text = PeerText::from_bytes(&bytes, cap);
            prop_assert!(!text.as_str().chars().any(must_escape));
            // The mark is `…(+N)` with N below 1000 here.
            prop_assert!(text.as_str().chars().count() <= cap + 7);
        }

        #[test]
        fn any_string_is_inert_and_stable(s in any::<String>()) {
            let once = PeerText::new(&s, usize::MAX);
            prop_assert!(!once.as_str().chars().any(must_escape));
            prop_assert_eq!(PeerText::new(once.as_str(), usize::MAX), once.clone());
            let json = serde_json::to_string(&once).unwrap();
            prop_assert_eq!(serde_json::from_str::<PeerText>(&json).unwrap(), once);
        }
    }
}
