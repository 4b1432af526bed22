//! "Did you mean": the valid name that is nearest to the written one.

use strsim::osa_distance;

/// Keys that people know from other programs, with their place here.
const MOVED: [(&str, &str, &str); 7] = [
    ("", "allowedOrigins", "origins.allowed"),
    ("", "allowed_origins", "origins.allowed"),
    ("", "listen", "listeners[].listen"),
    ("", "url", "gateway.url"),
    ("", "upstream", "gateway"),
    ("gateway", "upstream", "url"),
    ("gateway", "target", "url"),
];

/// The place of a key that exists under another path.
pub(super) fn moved(parent: &str, key: &str) -> Option<&'static str> {
    MOVED
        .iter()
        .find(|(p, k, _)| *p == parent && *k == key)
        .map(|(_, _, place)| *place)
}

/// The name at the smallest edit distance, if that is small compared with the length of the word.
pub(super) fn nearest<'n>(word: &str, names: &[&'n str]) -> Option<&'n str> {
    let word = word.to_lowercase();
    if word.len() > 40 {
        return None;
    }
    let (distance, name) = names
        .iter()
        .map(|name| {
            (
                osa_distance(&word.replace('-', "_"), &name.to_lowercase()),
                *name,
            )
        })
        .min_by_key(|(distance, _)| *distance)?;
    let limit = (name.chars().count() / 3).max(1);
    (distance <= limit).then_some(name)
}

/// ``"`a`, `b` or `c`"``.
pub(super) fn list(names: &[&str]) -> String {
    let mut text = String::new();
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            text.push_str(if index + 1 == names.len() {
                " or "
            } else {
                ", "
            });
        }
        text.push('`');
        text.push_str(name);
        text.push('`');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_names_are_suggested() {
        assert_eq!(
            nearest("Listners", &["gateway", "listeners"]),
            Some("listeners")
        );
        assert_eq!(nearest("head-bytes", &["head_bytes"]), Some("head_bytes"));
        assert_eq!(nearest("admin", &["gateway", "listeners"]), None);
        assert_eq!(nearest("x", &[]), None);
    }

    #[test]
    fn names_are_listed_in_english() {
        assert_eq!(list(&["a"]), "`a`");
        assert_eq!(list(&["a", "b", "c"]), "`a`, `b` or `c`");
    }
}
