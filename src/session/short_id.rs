//! The short form of a session's id, for people. A `UUIDv7` begins with its time, so sessions of
//! one minute begin alike; its last digits are random.

use uuid::Uuid;

/// Number of hexadecimal digits in the short form: 32 random bits. Among the 100,000 records of a
/// large file, a short id is also another session's in one case of 40,000, and then `wstap explain`
/// shows both.
pub(crate) const DIGITS: usize = 8;

/// The last digits of an id.
#[must_use]
pub(crate) fn of(id: Uuid) -> String {
    let mut buffer = Uuid::encode_buffer();
    let text: &str = id.simple().encode_lower(&mut buffer);
    text.get(text.len() - DIGITS..).unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn sessions_of_one_moment_have_different_short_ids() {
        let ids: Vec<String> = (0..200).map(|_| of(Uuid::now_v7())).collect();
        let different: HashSet<&String> = ids.iter().collect();
        assert_eq!(different.len(), ids.len());
        assert!(ids.iter().all(|id| id.len() == DIGITS));
    }
}
