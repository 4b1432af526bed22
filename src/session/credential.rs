//! What a record may contain about a secret: its length, a fingerprint, and whether it has one of
//! the odd forms that explain most failed logins. Never the secret itself.
//!
//! Two token sources that should agree but do not show up as two fingerprints, and anyone can
//! compare a record with their own value without revealing either (the contract's "Fingerprints").
//! HMAC is
//! RFC 2104 with SHA-256, checked against the vectors of RFC 4231.
//!
//! [`crate::admission::credentials`] knows where credentials are in a request; the dialect knows
//! those inside frames.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::text::PeerText;

mod shape;

pub use shape::{Shape, shapes, trimmed};
pub(super) use shape::{bare, is_left_open};

/// From this many characters on, a value is assumed to be random enough that part of its plain
/// SHA-256 can be published. Shorter ones could be found by guessing, so they need a key.
pub const PLAIN_FROM: usize = 32;

/// How anyone can check a `sha256:` fingerprint.
pub const CHECK_RECIPE: &str = r#"printf %s "$TOKEN" | sha256sum | cut -c1-8"#;

const PLACE_CAP: usize = 96;
const USER_CAP: usize = 64;

/// Secret bytes that are wiped when dropped, and that can be neither printed nor serialised.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes ownership of the bytes; the caller must wipe any copies it made.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for hashing or for passing on to their owner.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
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
    /// Uses a key that several hosts share (the content of `fingerprint_key_file`).
    ///
    /// The configuration checks that the key is long enough.
    #[must_use]
    pub fn with_key(key: &[u8]) -> Self {
        Self::build(key, false)
    }

    /// Uses a key for this run only; its id starts with `run-`.
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
        // Derived through the HMAC, so that the id reveals no more than a fingerprint does.
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

/// The length of a value in characters (bytes that are not UTF-8 count one each, so this never
/// exceeds the length in bytes).
#[must_use]
pub fn length(value: &[u8]) -> usize {
    value
        .utf8_chunks()
        .map(|chunk| chunk.valid().chars().count() + chunk.invalid().len())
        .sum()
}

/// A credential that was seen: its place and what may be recorded about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Credential {
    /// `header:authorization`, `query:token`, `cookie:NAME`, `subprotocol`, `path`,
    /// `frame:connect.params.auth.token`, …
    pub place: String,
    /// The authentication scheme as written (`Bearer`), if the place has one.
    pub scheme: Option<String>,
    /// The user name of Basic credentials.
    pub user: Option<String>,
    /// Length of the value in characters, without surrounding blanks.
    pub length: usize,
    /// See [`Fingerprinter::fingerprint`].
    pub fingerprint: String,
    /// The fingerprint of the inner value, if the shape is `quoted`, `scheme`, `assignment` or
    /// `url`: of the X in `Bearer X` and `NAME=X`.
    pub inner: Option<Box<str>>,
    /// Odd forms of the value.
    pub shape: Vec<Shape>,
    /// Whether the gateway looks at this place: true where it is known to use it, false where it is
    /// known to ignore it, `None` where that is not known.
    pub effective: Option<bool>,
}

impl Credential {
    /// Describes `secret`, seen at `place` (parts of which may come from the peer and are escaped).
    /// Length and fingerprint are those of the value without surrounding blanks, wherever it was
    /// found: equal secrets have equal fingerprints.
    #[must_use]
    pub fn observe(fingerprinter: &Fingerprinter, place: &str, secret: &[u8]) -> Self {
        let value = trimmed(secret);
        let inner = bare(value);
        let is_wrapped = inner.len() < value.len() && !inner.is_empty() && !is_left_open(inner);
        Self {
            place: PeerText::new(place, PLACE_CAP).into(),
            scheme: None,
            user: None,
            length: length(value),
            fingerprint: fingerprinter.fingerprint(value).into(),
            inner: is_wrapped.then(|| String::from(fingerprinter.fingerprint(inner)).into()),
            shape: shapes(secret),
            effective: None,
        }
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

    /// Sets whether the gateway looks at this place.
    #[must_use]
    pub fn with_effective(mut self, effective: bool) -> Self {
        self.effective = Some(effective);
        self
    }
}

#[cfg(test)]
mod tests;
