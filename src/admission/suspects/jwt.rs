//! Finds JSON Web Tokens in a text.

use std::ops::Range;

/// The byte range of the first JSON Web Token (RFC 7519; signed or encrypted): `eyJ` is `{"` in
/// base64url, followed by at least one dot.
pub(in crate::admission) fn find_jwt(text: &str) -> Option<Range<usize>> {
    if text.len() < 16 || !text.as_bytes().contains(&b'.') {
        return None;
    }
    let mut start = 0;
    for run in text.split(|c: char| !(c.is_ascii_alphanumeric() || "-_.~+/=".contains(c))) {
        // Only the first one of a run matters: a later one is shorter and has no more dots. (Looking at
        // each would make a long run of `eyJeyJ…` expensive.)
        if let Some(at) = run.find("eyJ")
            && let Some(token) = run.get(at..)
            && token.len() >= 16
            && token.contains('.')
        {
            return Some(start + at..start + run.len());
        }
        // The separator is one character of any width.
        let end = start + run.len();
        let separator = text.get(end..).and_then(|rest| rest.chars().next());
        start = end + separator.map_or(0, char::len_utf8);
    }
    None
}
