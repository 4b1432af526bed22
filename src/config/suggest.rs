//! "Did you mean": the legal name that is nearest to what was written.

/// Keys that people know from elsewhere, with where they live here.
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

/// The name at the smallest edit distance, if it is small against the length of the word.
pub(super) fn nearest<'n>(word: &str, names: &[&'n str]) -> Option<&'n str> {
    let word = word.to_lowercase();
    if word.len() > 40 {
        return None;
    }
    let (distance, name) = names
        .iter()
        .map(|name| {
            (
                distance(&word.replace('-', "_"), &name.to_lowercase()),
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

/// Edits (insert, delete, replace, swap of neighbours) between two words.
pub(crate) fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    let mut previous = None;
    for (row, left) in from.chars().enumerate() {
        let mut current = vec![row + 1];
        let mut diagonal = row;
        for (column, right) in to.iter().enumerate() {
            let above = last.get(column + 1).copied().unwrap_or(usize::MAX);
            let beside = current.last().copied().unwrap_or(usize::MAX);
            let mut best = above
                .min(beside)
                .saturating_add(1)
                .min(diagonal + usize::from(left != *right));
            let earlier = column.checked_sub(1);
            let swapped = previous == Some(*right)
                && earlier.and_then(|column| to.get(column)) == Some(&left);
            if let (true, Some(cost)) =
                (swapped, earlier.and_then(|column| before_last.get(column)))
            {
                best = best.min(cost + 1);
            }
            diagonal = above;
            current.push(best);
        }
        previous = Some(left);
        before_last = std::mem::replace(&mut last, current);
    }
    last.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        for (from, to, edits) in [
            ("", "", 0),
            ("", "abc", 3),
            ("listen", "listen", 0),
            ("lsiten", "listen", 1),
            ("lsten", "listen", 1),
            ("dialact", "dialect", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(from, to), edits, "{from} {to}");
            assert_eq!(distance(to, from), edits, "{to} {from}");
        }
    }

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
