//! Texts with their escapes undone, and the original position of each byte.

use std::ops::Range;

/// One reading of a text: its bytes in lower case, each with its position in the original text.
pub(super) struct Reading {
    bytes: Vec<u8>,
    /// `None`: each byte is at its own position.
    places: Option<Vec<Range<usize>>>,
}

impl Reading {
    /// The text as it is.
    pub(super) fn plain(text: &str) -> Self {
        Self {
            bytes: text.as_bytes().to_ascii_lowercase(),
            places: None,
        }
    }

    /// The bytes, in lower case.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Marks the original positions of these bytes.
    pub(super) fn hide(&self, range: Range<usize>, hidden: &mut [bool]) {
        let place = match &self.places {
            None => Some(range),
            Some(places) => places.get(range).and_then(|places| {
                let (first, last) = (places.first()?, places.last()?);
                Some(first.start..last.end)
            }),
        };
        if let Some(slots) = place.and_then(|place| hidden.get_mut(place)) {
            slots.fill(true);
        }
    }

    /// The reading with one level of escapes undone; `None` where there are none.
    pub(super) fn without_escapes(&self) -> Option<Self> {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut places = Vec::with_capacity(self.bytes.len());
        let mut at = 0;
        while let Some(rest) = self.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let (c, length) = unescape(rest).map_or_else(
                || {
                    (
                        Unescaped::Byte(rest.first().copied().unwrap_or_default()),
                        1,
                    )
                },
                |(c, length)| (c, length),
            );
            let place = self.place(at..at + length);
            let mut room = [0; 4];
            let written: &[u8] = match &c {
                Unescaped::Byte(byte) => std::slice::from_ref(byte),
                Unescaped::Char(c) => c.encode_utf8(&mut room).as_bytes(),
            };
            for byte in written {
                bytes.push(byte.to_ascii_lowercase());
                places.push(place.clone());
            }
            at += length;
        }
        (bytes.len() < self.bytes.len()).then_some(Self {
            bytes,
            places: Some(places),
        })
    }

    fn place(&self, range: Range<usize>) -> Range<usize> {
        let Some(places) = &self.places else {
            return range;
        };
        let start = places.get(range.start).map_or(0, |place| place.start);
        let end = places.get(range.end - 1).map_or(start, |place| place.end);
        start..end
    }
}

enum Unescaped {
    Byte(u8),
    Char(char),
}

/// The character that an escape at the start of `text` (in lower case) encodes, and the escape's
/// length: `%2f` (RFC 3986 section 2.1), JSON string escapes (RFC 8259 section 7), and `\xff` and
/// `\u{1b}` of [`PeerText`](crate::session::text::PeerText).
fn unescape(text: &[u8]) -> Option<(Unescaped, usize)> {
    match text {
        [b'%', high, low, ..] => Some((Unescaped::Byte(hex_byte(*high, *low)?), 3)),
        [b'\\', b'x', high, low, ..] => Some((Unescaped::Byte(hex_byte(*high, *low)?), 4)),
        [b'\\', b'u', b'{', rest @ ..] => {
            let digits = rest.iter().take(6).position(|byte| *byte == b'}')?;
            let code = hex(rest.get(..digits)?)?;
            Some((Unescaped::Char(char::from_u32(code)?), digits + 4))
        }
        [b'\\', b'u', rest @ ..] => {
            let code = hex(rest.get(..4)?)?;
            Some((Unescaped::Char(char::from_u32(code)?), 6))
        }
        [b'\\', c @ (b'"' | b'\\' | b'/' | b'\''), ..] => Some((Unescaped::Byte(*c), 2)),
        _ => None,
    }
}

fn hex_byte(high: u8, low: u8) -> Option<u8> {
    u8::try_from(hex(&[high, low])?).ok()
}

fn hex(digits: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(digits).ok()?;
    let all_digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    all_digits
        .then(|| u32::from_str_radix(text, 16).ok())
        .flatten()
}
