//! What a record may say about a secret: how long it is, a fingerprint of it, and whether it has one
//! of the odd forms that explain most failed logins. Never the secret itself.
//!
//! Two token sources that should agree show up as two fingerprints, and anyone can compare a record
//! with a value of theirs without either being shown (the contract's "Fingerprints"). HMAC is
//! RFC 2104 with SHA-256, checked against the vectors of RFC 4231.
//!
//! Where credentials stand in a request is known to [`crate::admission::credentials`]; those inside
//! frames are known to the dialect.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::text::PeerText;

/// From this many characters on, a value is taken to be random enough that a part of its plain
/// SHA-256 can be published. Shorter ones could be found by trying words, so they need a key.
pub const PLAIN_FROM: usize = 32;

/// How anyone can check a `sha256:` fingerprint.
pub const CHECK_RECIPE: &str = r#"printf %s "$TOKEN" | sha256sum | cut -c1-8"#;

const PLACE_CAP: usize = 96;
const USER_CAP: usize = 64;

/// Secret bytes that are wiped when dropped, and that can be neither printed nor serialised.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over; copies that the caller made elsewhere are the caller's to wipe.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for hashing or for handing to whom they belong.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True for a secret of no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.0.len())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text.into_bytes())
    }
}

/// `sha256:1a2b3c4d` or `hmac:KEYID:1a2b3c4d`.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for the form that anyone can check without a key.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.0.starts_with("sha256:")
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.0
    }
}

/// Makes fingerprints. Cheap to clone: all clones share one key.
#[derive(Clone)]
pub struct Fingerprinter(Arc<Keyed>);

struct Keyed {
    /// The key as HMAC uses it: hashed when longer than a block, padded with zeros.
    block: Zeroizing<[u8; 64]>,
    id: String,
    ephemeral: bool,
}

impl Fingerprinter {
    /// Under a key that several hosts share (the content of `fingerprint_key_file`).
    ///
    /// Whether the key is long enough is for the configuration to judge.
    #[must_use]
    pub fn with_key(key: &[u8]) -> Self {
        Self::build(key, false)
    }

    /// Under a key for this run only; its id starts with `run-`.
    #[must_use]
    pub fn ephemeral(random: [u8; 32]) -> Self {
        let random = Zeroizing::new(random);
        Self::build(random.as_slice(), true)
    }

    fn build(key: &[u8], ephemeral: bool) -> Self {
        let mut block = Zeroizing::new([0_u8; 64]);
        if key.len() > block.len() {
            let digest: [u8; 32] = Sha256::digest(key).into();
            block
                .iter_mut()
                .zip(digest)
                .for_each(|(slot, byte)| *slot = byte);
        } else {
            block
                .iter_mut()
                .zip(key)
                .for_each(|(slot, byte)| *slot = *byte);
        }
        // Derived through the HMAC, so that the id says nothing that a fingerprint does not say.
        let id = first_hex(&hmac_sha256(&block, b"wstap fingerprint key id"));
        let id = if ephemeral { format!("run-{id}") } else { id };
        Self(Arc::new(Keyed {
            block,
            id,
            ephemeral,
        }))
    }

    /// The fingerprint of a value. Its form depends on the value's length alone.
    #[must_use]
    pub fn fingerprint(&self, secret: &[u8]) -> Fingerprint {
        if length(secret) >= PLAIN_FROM {
            let digest: [u8; 32] = Sha256::digest(secret).into();
            Fingerprint(format!("sha256:{}", first_hex(&digest)))
        } else {
            let tag = hmac_sha256(&self.0.block, secret);
            Fingerprint(format!("hmac:{}:{}", self.0.id, first_hex(&tag)))
        }
    }

    /// A short name of the key; equal ids mean that `hmac:` fingerprints can be compared.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.0.id
    }

    /// True when the key was made for this run.
    #[must_use]
    pub fn is_ephemeral(&self) -> bool {
        self.0.ephemeral
    }
}

impl fmt::Debug for Fingerprinter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprinter({})", self.0.id)
    }
}

fn hmac_sha256(block: &[u8; 64], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new(block.into());
    mac.update(message);
    mac.finalize().into_bytes().into()
}

fn first_hex(&[a, b, c, d, ..]: &[u8; 32]) -> String {
    format!("{:08x}", u32::from_be_bytes([a, b, c, d]))
}

/// The length of a value in characters (bytes that are not UTF-8 are counted one by one, so this
/// never exceeds the length in bytes).
#[must_use]
pub fn length(value: &[u8]) -> usize {
    value
        .utf8_chunks()
        .map(|chunk| chunk.valid().chars().count() + chunk.invalid().len())
        .sum()
}

/// An odd form of a value, each a well-known way to end up with the wrong token.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Nothing at all: a variable that was not set.
    Empty,
    /// A blank at the beginning or the end.
    Whitespace,
    /// A CR or LF anywhere, mostly at the end: a file read whole.
    Newline,
    /// The value with its quotes on, as from a Docker `--env-file`.
    Quoted,
    /// A template that nobody filled in, such as a literal `${VAR}`.
    Placeholder,
}

impl Shape {
    /// The name used in records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Whitespace => "whitespace",
            Self::Newline => "newline",
            Self::Quoted => "quoted",
            Self::Placeholder => "placeholder",
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// All odd forms of a value, in the order of [`Shape`]; none for an ordinary one.
#[must_use]
pub fn shapes(value: &[u8]) -> Vec<Shape> {
    if value.is_empty() {
        return vec![Shape::Empty];
    }
    let mut found = Vec::new();
    let text = String::from_utf8_lossy(value);
    let text = Zeroizing::new(text.into_owned());
    let lines = text.trim_matches(['\r', '\n']);
    if lines.trim() != lines {
        found.push(Shape::Whitespace);
    }
    if value.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        found.push(Shape::Newline);
    }
    let inner = text.trim();
    let unquoted = unquote(inner);
    if unquoted.is_some() {
        found.push(Shape::Quoted);
    }
    if is_placeholder(unquoted.unwrap_or(inner).trim()) {
        found.push(Shape::Placeholder);
    }
    found
}

fn unquote(text: &str) -> Option<&str> {
    ['"', '\'']
        .iter()
        .find_map(|&q| text.strip_prefix(q)?.strip_suffix(q))
}

/// True for what templates and examples leave behind.
fn is_placeholder(text: &str) -> bool {
    is_template(text) || is_stand_in(text)
}

fn is_template(text: &str) -> bool {
    let holds = |open: &str, close: &str| {
        text.split_once(open)
            .is_some_and(|(_, rest)| rest.contains(close))
    };
    let wrapped = |open: &str, close: &str| {
        text.strip_prefix(open)
            .and_then(|rest| rest.strip_suffix(close))
    };
    // Only capitals: `$ecret` is a password, `$SECRET` a variable.
    let variable = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
            && name
                .chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    };
    holds("${", "}")
        || holds("{{", "}}")
        || wrapped("$(", ")").is_some()
        || text.strip_prefix('$').is_some_and(variable)
        || text
            .get(..5)
            .is_some_and(|head| head.eq_ignore_ascii_case("$env:"))
        || wrapped("%", "%").is_some_and(variable)
        || wrapped("<", ">").is_some_and(|name| {
            !name.is_empty()
                && name
                    .chars()
                    .all(|c| c.is_alphanumeric() || " _-.:".contains(c))
        })
}

fn is_stand_in(text: &str) -> bool {
    const WORDS: [&str; 13] = [
        "changeme",
        "changethis",
        "replaceme",
        "replacethis",
        "replacewithyourtoken",
        "placeholder",
        "todo",
        "fixme",
        "tbd",
        "undefined",
        "null",
        "redacted",
        "objectobject",
    ];
    let only =
        |filler: char| text.len() >= 3 && text.chars().all(|c| c.eq_ignore_ascii_case(&filler));
    let word: String = text
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    let word = Zeroizing::new(word);
    let names_it = ["token", "key", "secret", "password"]
        .iter()
        .any(|noun| word.contains(noun));
    // A real token can contain all that by chance; a stand-in is short and has its words to itself.
    WORDS.contains(&word.as_str())
        || only('x')
        || only('*')
        || only('.')
        || (names_it && word.len() <= 40 && (word.starts_with("your") || word.ends_with("here")))
}

/// A credential that was seen: where it stood and what may be said about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Credential {
    /// `header:authorization`, `query:token`, `cookie:NAME`, `subprotocol`, `path`,
    /// `frame:connect.params.auth.token`, …
    pub place: String,
    /// The authentication scheme as written (`Bearer`), where the place has one.
    pub scheme: Option<String>,
    /// The user name of Basic credentials.
    pub user: Option<String>,
    /// Length of the value in characters.
    pub length: usize,
    /// See [`Fingerprinter::fingerprint`].
    pub fingerprint: String,
    /// Odd forms of the value.
    pub shape: Vec<Shape>,
    /// Whether the gateway looks at this place: false where it is known to ignore it, true where it
    /// is known to use it, `None` where that is not known.
    pub effective: Option<bool>,
}

/// The credential that a gateway compared when it looks under these keys of `connect.params.auth`,
/// the first first; of those that it looks at, the first where none of them was sent. Clients send
/// several at once: a stored device token beside the shared one when they try again.
#[must_use]
pub fn compared<'a>(all: &'a [Credential], keys: &[&str]) -> Option<&'a Credential> {
    let looked_at = || all.iter().filter(|one| one.effective == Some(true));
    let under = |key: &&str| {
        let here =
            |one: &&Credential| one.place.strip_prefix("frame:connect.params.auth.") == Some(*key);
        // For the gateway an empty one is none.
        looked_at().filter(here).find(|one| one.length > 0)
    };
    keys.iter().find_map(under).or_else(|| looked_at().next())
}

impl Credential {
    /// Describes `secret`, seen at `place` (whose parts may be the peer's words and are escaped).
    #[must_use]
    pub fn observe(fingerprinter: &Fingerprinter, place: &str, secret: &[u8]) -> Self {
        Self {
            place: PeerText::new(place, PLACE_CAP).into(),
            scheme: None,
            user: None,
            length: length(secret),
            fingerprint: fingerprinter.fingerprint(secret).into(),
            shape: shapes(secret),
            effective: None,
        }
    }

    /// Notes that blanks or line breaks stood at its ends, which whoever compares it cuts off.
    #[must_use]
    pub fn with_blanks_around(mut self, any: bool) -> Self {
        if any && !self.shape.contains(&Shape::Whitespace) {
            self.shape.push(Shape::Whitespace);
        }
        self
    }

    /// Adds the scheme.
    #[must_use]
    pub fn with_scheme(mut self, scheme: &str) -> Self {
        self.scheme = Some(PeerText::new(scheme, USER_CAP).into());
        self
    }

    /// Adds the user name.
    #[must_use]
    pub fn with_user(mut self, user: &[u8]) -> Self {
        self.user = Some(PeerText::from_bytes(user, USER_CAP).into());
        self
    }

    /// Says whether the gateway looks at this place.
    #[must_use]
    pub fn with_effective(mut self, effective: bool) -> Self {
        self.effective = Some(effective);
        self
    }
}

/// The secrets that a session has shown so far, kept only to keep them out of its record: a peer
/// may quote one back in a close reason or an error text.
#[derive(Debug, Default)]
pub struct Seen(Vec<Secret>);

impl Seen {
    /// Shorter ones would be found in ordinary words.
    const LEAST: usize = 6;

    /// Remembers a secret.
    pub fn add(&mut self, secret: &[u8]) {
        let is_known = || self.0.iter().any(|one| one.expose() == secret);
        if secret.len() >= Self::LEAST && !is_known() {
            self.0.push(Secret::new(secret.to_vec()));
        }
    }

    /// The text with every secret replaced; `None` when it holds none.
    #[must_use]
    pub fn mask(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut masked: Option<Vec<u8>> = None;
        for secret in &self.0 {
            let before = masked.as_deref().unwrap_or(text);
            if before.len() < secret.len() {
                continue;
            }
            // One pass: what is put in is not looked at again.
            let found: Vec<usize> = memchr::memmem::find_iter(before, secret.expose()).collect();
            if found.is_empty() {
                continue;
            }
            let instead = format!("[masked {}]", length(secret.expose()));
            let (mut next, mut from) = (Vec::new(), 0);
            for at in found {
                next.extend_from_slice(before.get(from..at).unwrap_or_default());
                next.extend_from_slice(instead.as_bytes());
                from = at + secret.len();
            }
            next.extend_from_slice(before.get(from..).unwrap_or_default());
            masked = Some(next);
        }
        masked
    }
}

#[cfg(test)]
mod tests;
