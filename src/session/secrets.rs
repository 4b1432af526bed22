//! The secrets that a session has shown, kept only to mask them in its record: a peer may quote one
//! in a Close reason, an error text or a header.
//!
//! A text is searched for each secret as a whole and for every part of [`PART`] or more bytes. The
//! search reads the text as it is and with percent, JSON and [`PeerText`](super::text::PeerText)
//! escapes undone, and ignores the case of ASCII letters (hosts and hexadecimal digits change theirs on
//! the way). For other encodings, such as Basic credentials, the code that decodes the value remembers
//! both forms.

mod escapes;

use std::fmt::{self, Write as _};

use memchr::memmem;
use zeroize::Zeroizing;

use super::credential::{bare, is_left_open};
use super::record::texts::Quoting;
use escapes::Reading;

/// Shortest part of a secret that is masked. Shorter runs coincide by chance.
pub(crate) const PART: usize = 12;

/// Shorter secrets would match ordinary words.
const LEAST: usize = 6;

/// Maximum size of the secrets of one session: four cookies of the largest size that browsers send.
const ROOM: usize = 16 * 1024;

/// Maximum number of nested encodings that are undone.
const LEVELS: usize = 3;

/// Words that gateways and this program write themselves. A short secret that equals one of them is
/// not searched for: masks would hide the text, and their positions would reveal the secret.
const ORDINARY: [&str; 31] = [
    "access",
    "bearer",
    "browser",
    "client",
    "closed",
    "connect",
    "control",
    "device",
    "expired",
    "failed",
    "gateway",
    "invalid",
    "localhost",
    "mismatch",
    "missing",
    "openclaw",
    "operator",
    "origin",
    "pairing",
    "password",
    "policy",
    "reason",
    "rejected",
    "request",
    "required",
    "secret",
    "server",
    "session",
    "shutdown",
    "timeout",
    "websocket",
];

/// The secrets of one session, each with a length prefix, in one allocation that is wiped. It
/// cannot be printed or serialised.
#[derive(Clone, Default)]
pub struct SeenSecrets(Zeroizing<Box<[u8]>>);

impl fmt::Debug for SeenSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SeenSecrets({})", self.iter().count())
    }
}

impl SeenSecrets {
    /// Remembers a secret, without the blanks around it and without what was copied along with it.
    pub fn add(&mut self, secret: &[u8]) {
        // For `NAME=X`, leave out the name: gateways print variable names in their texts.
        let secret = bare(secret);
        if secret.len() < LEAST
            || self.iter().any(|one| one == secret)
            || ORDINARY
                .iter()
                .any(|word| secret.eq_ignore_ascii_case(word.as_bytes()))
            || is_left_open(secret)
        {
            return;
        }
        if self.0.len() + 2 + secret.len() > ROOM {
            if !self.overflowed() {
                self.push(&[]);
            }
            return;
        }
        self.push(secret);
    }

    /// Stores an entry; an empty entry means that others did not fit.
    fn push(&mut self, secret: &[u8]) {
        // Within [`ROOM`].
        let length = u16::try_from(secret.len()).unwrap_or_default();
        // A buffer that grows by itself would leave copies that are not wiped.
        let mut grown = Vec::with_capacity(self.0.len() + 2 + secret.len());
        grown.extend_from_slice(&self.0);
        grown.extend_from_slice(&length.to_le_bytes());
        grown.extend_from_slice(secret);
        self.0 = Zeroizing::new(grown.into_boxed_slice());
    }

    /// Some did not fit, so mask whatever looks like a part of a secret.
    fn overflowed(&self) -> bool {
        self.iter().any(<[u8]>::is_empty)
    }

    /// Adds the secrets that another part of the session has seen.
    pub fn add_all(&mut self, others: &Self) {
        for secret in others.iter() {
            if secret.is_empty() && !self.overflowed() {
                self.push(&[]);
            }
            self.add(secret);
        }
    }

    /// True if no secret was seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Builds the search index.
    #[must_use]
    pub fn masker(&self) -> Masker {
        Masker::new(self)
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest: &[u8] = &self.0;
        std::iter::from_fn(move || {
            let (length, tail) = rest.split_first_chunk::<2>()?;
            let (secret, tail) = tail.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
            rest = tail;
            Some(secret)
        })
    }
}

/// Searches texts for secrets. Built at a session's end and dropped with it.
pub struct Masker {
    /// In lower case, each with its start and end.
    bytes: Zeroizing<Vec<u8>>,
    places: Vec<(usize, usize)>,
    /// Bloom filter of the runs of [`GRAM`] bytes that occur in a secret of at least [`PART`]
    /// bytes.
    grams: Vec<u64>,
    overflowed: bool,
}

/// The runs that are looked up. Each part of [`PART`] bytes contains one that starts at a multiple
/// of [`STRIDE`], so most runs of a text need no lookup.
const GRAM: usize = 8;
const STRIDE: usize = PART - GRAM + 1;

impl Masker {
    fn new(seen: &SeenSecrets) -> Self {
        let mut bytes = Zeroizing::new(Vec::with_capacity(seen.0.len()));
        let mut places = Vec::new();
        for secret in seen.iter().filter(|secret| !secret.is_empty()) {
            let start = bytes.len();
            bytes.extend(secret.iter().map(u8::to_ascii_lowercase));
            places.push((start, bytes.len()));
        }
        // Eight bits per run keep false hits below one in eight; rounded up so that a mask selects
        // the bit.
        let words = (bytes.len() / 8).next_power_of_two().max(8);
        let mut masker = Self {
            bytes,
            places,
            grams: vec![0; words],
            overflowed: seen.overflowed(),
        };
        let mut grams = std::mem::take(&mut masker.grams);
        for secret in masker.secrets().filter(|secret| secret.len() >= PART) {
            for gram in secret.array_windows::<GRAM>() {
                let (word, bit) = place_of(*gram, words);
                if let Some(word) = grams.get_mut(word) {
                    *word |= bit;
                }
            }
        }
        masker.grams = grams;
        masker
    }

    fn secrets(&self) -> impl Iterator<Item = &[u8]> {
        self.places
            .iter()
            .filter_map(|&(start, end)| self.bytes.get(start..end))
    }

    /// The text with every secret, and every long part of one, replaced by `[masked N]`; `None`
    /// when it contains none.
    #[must_use]
    pub fn mask(&self, text: &str) -> Option<String> {
        if !self.may_hold(text.as_bytes()) {
            return None;
        }
        let mut hidden = vec![false; text.len()];
        let mut reading = Some(Reading::plain(text));
        for _ in 0..=LEVELS {
            let Some(now) = reading else { break };
            self.hide(&now, &mut hidden);
            reading = now.without_escapes();
        }
        if self.overflowed {
            hide_suspects(text, &mut hidden);
        }
        replaced(text, &hidden)
    }

    /// Masks secrets that a text quotes.
    pub fn apply(&self, text: &mut dyn Quoting) {
        if let Some(masked) = self.mask(text.text()) {
            text.rewrite(masked);
        }
    }

    /// Quick check whether the text needs a full search; for nearly all texts it returns false
    /// after few instructions.
    fn may_hold(&self, text: &[u8]) -> bool {
        let sampled = || {
            let grams = text.windows(GRAM).step_by(STRIDE);
            grams
                .filter_map(|gram| gram.first_chunk::<GRAM>())
                .any(|gram| self.holds_gram(*gram))
        };
        let short = || self.secrets().any(|secret| secret.len() < PART);
        self.overflowed
            || memchr::memchr2(b'%', b'\\', text).is_some()
            || sampled()
            || short()
            || cut_at(text).is_some()
    }

    fn holds_gram(&self, gram: [u8; GRAM]) -> bool {
        let (word, bit) = place_of(gram, self.grams.len());
        self.grams.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Marks the parts of secrets in one reading of a text.
    fn hide(&self, reading: &Reading, hidden: &mut [bool]) {
        let text = reading.bytes();
        let mut at = 0;
        while let Some(part) = text.get(at..).and_then(<[u8]>::first_chunk::<PART>) {
            let is_known = part
                .first_chunk::<GRAM>()
                .is_some_and(|gram| self.holds_gram(*gram));
            let longest = is_known.then(|| self.longest(part, text.get(at..).unwrap_or_default()));
            match longest {
                Some(length) if length > 0 => {
                    reading.hide(at..at + length, hidden);
                    // Skip to the next part that extends further.
                    at += length - PART + 1;
                }
                _ => at += 1,
            }
        }
        for secret in self.secrets() {
            if secret.len() < PART {
                hide_word(secret, reading, hidden);
            }
            hide_cut(secret, reading, hidden);
        }
    }

    /// Length of the longest prefix of `text`, starting with `part`, that occurs in one secret.
    fn longest(&self, part: &[u8; PART], text: &[u8]) -> usize {
        let alike = |secret: &[u8]| {
            let at = memmem::find(secret, part)?;
            let pairs = secret.get(at..)?.iter().zip(text);
            Some(pairs.take_while(|(a, b)| a == b).count())
        };
        self.secrets().filter_map(alike).max().unwrap_or_default()
    }
}

/// Word and bit of a run in the filter. Setting bit 5 of each byte folds letters to lower case;
/// other characters may collide, which only costs a full search.
fn place_of(gram: [u8; GRAM], words: usize) -> (usize, u64) {
    const FOLD: u64 = 0x2020_2020_2020_2020;
    // The fraction of the golden ratio spreads neighbours over the upper bits (Knuth, 6.4).
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let hash = (u64::from_le_bytes(gram) | FOLD).wrapping_mul(SPREAD) >> 32;
    let word = usize::try_from(hash >> 6).unwrap_or_default() & (words - 1);
    (word, 1 << (hash & 63))
}

/// Masks a short secret only where it is a word of its own.
fn hide_word(secret: &[u8], reading: &Reading, hidden: &mut [bool]) {
    let text = reading.bytes();
    let letter = |at: Option<usize>| {
        at.and_then(|at| text.get(at))
            .is_some_and(u8::is_ascii_alphanumeric)
    };
    for at in memmem::find_iter(text, secret) {
        let end = at + secret.len();
        if !letter(at.checked_sub(1)) && !letter(Some(end)) {
            reading.hide(at..end, hidden);
        }
    }
}

/// Masks the beginning of a secret where the text was cut (`…(+12)`).
fn hide_cut(secret: &[u8], reading: &Reading, hidden: &mut [bool]) {
    const FEWEST: usize = 4;
    let text = reading.bytes();
    let Some(end) = cut_at(text) else { return };
    let before = text.get(..end).unwrap_or_default();
    let front = (FEWEST..secret.len().min(before.len() + 1))
        .rev()
        .find(|&length| {
            secret
                .get(..length)
                .is_some_and(|front| before.ends_with(front))
        });
    if let Some(length) = front {
        reading.hide(end - length..end, hidden);
    }
}

/// Position of the cut in a text that was cut.
fn cut_at(text: &[u8]) -> Option<usize> {
    text.ends_with(b")")
        .then(|| memmem::rfind(text, "…(+".as_bytes()))
        .flatten()
}

/// Masks runs that could be part of any secret.
fn hide_suspects(text: &str, hidden: &mut [bool]) {
    let mut start = 0;
    for run in text.split(|c: char| !(c.is_ascii_alphanumeric() || "-_+/=.~".contains(c))) {
        let digits = run.bytes().any(|byte| byte.is_ascii_digit());
        let letters = run.bytes().any(|byte| byte.is_ascii_alphabetic());
        if run.len() >= PART && digits && letters {
            let run = hidden.get_mut(start..start + run.len());
            run.unwrap_or_default().fill(true);
        }
        let rest = text.get(start + run.len()..).unwrap_or_default();
        start += run.len() + rest.chars().next().map_or(0, char::len_utf8);
    }
}

/// The text with each masked run replaced; a character with one masked byte is masked as a whole.
fn replaced(text: &str, hidden: &[bool]) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut run = 0_usize;
    let mut any = false;
    let close = |run: usize, out: &mut String| {
        if run > 0 {
            // Writing to a String cannot fail.
            let _ = write!(out, "[masked {run}]");
        }
    };
    for (at, c) in text.char_indices() {
        let is_hidden = hidden
            .get(at..at + c.len_utf8())
            .is_some_and(|bytes| bytes.contains(&true));
        if is_hidden {
            (run, any) = (run + 1, true);
        } else {
            close(std::mem::take(&mut run), &mut out);
            out.push(c);
        }
    }
    close(run, &mut out);
    any.then_some(out)
}

#[cfg(test)]
mod tests;
