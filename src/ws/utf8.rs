//! Incremental UTF-8 validation (RFC 6455 section 8.1, RFC 3629).

/// Bytes that are checked together: nearly all are ASCII, for which the check is faster.
const CHUNK: usize = 4096;

/// Carries an unfinished character from one piece to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Utf8Stream {
    carry: [u8; 4],
    carried: u8,
}

impl Utf8Stream {
    /// Takes the next bytes. Whether the text so far may still be valid; after `false` the state
    /// means nothing.
    pub(super) fn push(&mut self, bytes: &[u8]) -> bool {
        bytes
            .chunks(CHUNK)
            .all(|chunk| (self.is_between() && chunk.is_ascii()) || self.push_any(chunk))
    }

    /// Whether the text so far ends between two characters.
    pub(super) fn is_between(&self) -> bool {
        self.carried == 0
    }

    fn push_any(&mut self, mut bytes: &[u8]) -> bool {
        while self.carried > 0 {
            let Some((next, rest)) = bytes.split_first() else {
                return true;
            };
            let at = usize::from(self.carried);
            let Some(slot) = self.carry.get_mut(at) else {
                return false;
            };
            *slot = *next;
            self.carried += 1;
            bytes = rest;
            match std::str::from_utf8(self.carry.get(..=at).unwrap_or_default()) {
                Ok(_) => self.carried = 0,
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return false,
            }
        }
        match std::str::from_utf8(bytes) {
            Ok(_) => true,
            Err(error) if error.error_len().is_none() => {
                let (_, tail) = bytes.split_at(error.valid_up_to());
                for (slot, byte) in self.carry.iter_mut().zip(tail) {
                    *slot = *byte;
                    self.carried += 1;
                }
                true
            }
            Err(_) => false,
        }
    }

    /// Whether the text ended between two characters; resets for the next message.
    pub(super) fn finish(&mut self) -> bool {
        std::mem::take(&mut self.carried) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(pieces: &[&[u8]]) -> bool {
        let mut stream = Utf8Stream::default();
        pieces.iter().all(|piece| stream.push(piece)) && stream.finish()
    }

    #[test]
    fn long_texts_are_checked_over_every_seam() {
        for front in 0..4 {
            let mut text = "x".repeat(front);
            text.push_str(&"\u{1f9ed}".repeat(CHUNK));
            text.push_str(&"x".repeat(CHUNK));
            assert!(check(&[text.as_bytes()]));
            for (at, broken) in [
                (front + 3, 0xc0),
                (text.len() - 1, 0xff),
                (CHUNK * 4 - 1, b'x'),
            ] {
                let mut bytes = text.clone().into_bytes();
                bytes[at] = broken;
                assert_eq!(
                    check(&[&bytes]),
                    std::str::from_utf8(&bytes).is_ok(),
                    "{at}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_std_however_it_is_cut(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..24),
                ".{0,12}".prop_map(String::into_bytes),
            ],
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
        ) {
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(check(&pieces), std::str::from_utf8(&bytes).is_ok());
        }
    }
}
