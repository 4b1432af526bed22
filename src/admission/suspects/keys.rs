//! Decides which texts look like keys: random or signed.
//!
//! A text is split at every character that is not a letter or digit. Words, numbers, camel case and
//! short digests are pieces of names. A piece that mixes letters and digits, or upper and lower
//! case, irregularly is a piece of a key. So the page's own `chat-page-registration-s2YVszJl.js` is
//! a name, and the 24 characters of a webhook are a key, with or without dashes.

use super::jwt::find_jwt;

/// Shortest key: 24 characters of base64 are 144 bits, which is what webhooks use.
const KEY: usize = 24;

/// Share of a key's characters that must be in key-like pieces; dashes and a word in between can
/// occur by chance.
const RANDOM: usize = 20;

/// Shorter pieces are not conclusive: `v2x4`, `23T16`.
const PIECE: usize = 6;

/// A run of hexadecimal digits is a key from this length on; a shorter one is an id or a short
/// digest.
const HEX_KEY: usize = 32;

/// Shortest key where a key is expected, after `/hooks/`.
const HOOK_KEY: usize = 16;

/// True for a value that looks random or signed: a JWT, 32 hexadecimal digits, or 24 characters
/// that are mostly mixed. False for a UUID: it is an id, which correlates records with other logs.
pub(in crate::admission) fn looks_secret(text: &str) -> bool {
    find_jwt(text).is_some()
        || pieces(text).any(|piece| piece.len() >= HEX_KEY && is_hex(piece))
        || text.len() >= KEY && random(text) >= RANDOM
}

/// Like [`looks_secret`] for a path segment after one that [`opens_hook`]. There, shorter values
/// and UUIDs are keys too.
pub(in crate::admission) fn looks_secret_after_hook(text: &str) -> bool {
    let digests: usize = pieces(text)
        .filter(|piece| piece.len() >= 4 && is_hex(piece) && !is_word(piece))
        .map(str::len)
        .sum();
    looks_secret(text) || random(text) + digests >= HOOK_KEY
}

/// Whether a key follows this path segment: `/hooks/KEY`, `/api/webhooks/ID/KEY`.
pub(in crate::admission) fn opens_hook(segment: &str) -> bool {
    const NAMES: [&str; 8] = [
        "hook", "hooks", "webhook", "webhooks", "invite", "ping", "token", "key",
    ];
    NAMES.iter().any(|name| segment.eq_ignore_ascii_case(name))
}

/// True for words, numbers and names of things: `agent:main:main`.
pub(in crate::admission) fn is_worded(text: &str) -> bool {
    pieces(text).all(|piece| piece.len() < PIECE || is_word(piece))
}

/// True for the name of a file that pages consist of, whose digest is no secret
/// (`name-Hash.js`, `main.5d41402abc4b2a76b9719d911017c592.css.map`, `x.woff2`, `y.js.br`). Documents and
/// media have short digests only: a longer one may be the key of a shared link.
pub(in crate::admission) fn is_own_asset(segment: &str) -> bool {
    /// Extensions of files that bundlers name by a digest of any length.
    const BUILT: [&str; 12] = [
        "js",
        "mjs",
        "cjs",
        "css",
        "map",
        "wasm",
        "woff",
        "woff2",
        "ttf",
        "otf",
        "eot",
        "webmanifest",
    ];
    /// Extensions of documents and media, which anyone may share by a link whose name is the key.
    const SHARED: [&str; 12] = [
        "svg", "png", "jpg", "jpeg", "gif", "webp", "avif", "ico", "html", "txt", "mp3", "md",
    ];
    const PACKED: [&str; 3] = [".br", ".gz", ".zst"];
    /// Longest base64 digest that is shorter than SHA-256.
    const DIGEST: usize = 32;
    /// The longest digest in the name of a document: bundlers take 8 or 10 characters.
    const SHORT_DIGEST: usize = 12;
    let name = PACKED
        .iter()
        .find_map(|packed| segment.strip_suffix(packed))
        .unwrap_or(segment);
    let Some((stem, kind)) = name.rsplit_once('.') else {
        return false;
    };
    if find_jwt(stem).is_some() {
        return false;
    }
    if SHARED.contains(&kind) {
        let mixed = pieces(stem).filter(|piece| piece.len() >= PIECE && !is_word(piece));
        return mixed.map(str::len).sum::<usize>() <= SHORT_DIGEST;
    }
    BUILT.contains(&kind)
        && pieces(stem).all(|piece| {
            let longest = if is_hex(piece) { 64 } else { DIGEST - 1 };
            piece.len() <= longest || is_word(piece)
        })
}

/// True if the value of `?v=` or a similar parameter names a version or build, at a path that ends with
/// `file`: `2026.9.6-release-eb377ac59e6c-2026-09-23T16-33-12.144Z`, a number, the digest of an asset.
pub(in crate::admission) fn is_build_id(file: &str, name: &str, value: &str) -> bool {
    const NAMES: [&str; 8] = [
        "v", "ver", "version", "build", "buildid", "build_id", "rev", "revision",
    ];
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '+');
    let digest = is_hex(value) && is_own_asset(file);
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
        && (1..=64).contains(&value.len())
        && value.chars().all(plain)
        && (!looks_secret(value) || digest)
}

fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric())
}

/// Number of characters in pieces of a key.
fn random(text: &str) -> usize {
    pieces(text)
        .filter(|piece| piece.len() >= PIECE && !is_word(piece) && !is_hex(piece))
        .map(str::len)
        .sum()
}

/// Digits of one case: a digest or an id.
fn is_hex(piece: &str) -> bool {
    let digits = |letters: std::ops::RangeInclusive<u8>| {
        piece
            .bytes()
            .all(|byte| byte.is_ascii_digit() || letters.contains(&byte))
    };
    has_digit(piece) && (digits(b'a'..=b'f') || digits(b'A'..=b'F'))
}

fn has_digit(piece: &str) -> bool {
    piece.bytes().any(|byte| byte.is_ascii_digit())
}

/// A number, or letters with a few digits around them, in one case or in camel case with few
/// capitals. (Half of all random letters are capitals.)
fn is_word(piece: &str) -> bool {
    const AROUND: usize = 4;
    let letters = piece.trim_matches(|c: char| c.is_ascii_digit());
    if letters.is_empty() {
        return true;
    }
    let capitals = letters.bytes().filter(u8::is_ascii_uppercase).count();
    piece.len() - letters.len() <= AROUND
        && letters.bytes().all(|byte| byte.is_ascii_alphabetic())
        && (capitals * 3 <= letters.len() || capitals == letters.len())
}
