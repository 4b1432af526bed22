//! Masking of frames: which direction must mask, and how the masking key applies to the bytes of a
//! payload (RFC 6455 sections 5.1 and 5.3).

/// Whether a direction's frames must be masked (RFC 6455 section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Masking {
    /// From client to gateway.
    Masked,
    /// From gateway to client.
    Unmasked,
}

/// XORs `bytes`, which begin at `offset` of a payload, with `key` (RFC 6455 section 5.3).
pub fn apply_mask(bytes: &mut [u8], key: [u8; 4], offset: u64) {
    let key = two_keys(key, offset);
    let wide = u64::from_ne_bytes(key);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
    }
}

/// Whether `bytes`, which begin at `offset` of a payload and are masked with `key`, are ASCII once
/// unmasked. It writes nothing, so the common case needs only one pass.
#[must_use]
pub(super) fn is_masked_ascii(bytes: &[u8], key: [u8; 4], offset: u64) -> bool {
    let key = two_keys(key, offset);
    let wide = u64::from_ne_bytes(key);
    let (words, rest) = bytes.as_chunks::<8>();
    let seen = words
        .iter()
        .fold(0, |seen, word| seen | (u64::from_ne_bytes(*word) ^ wide));
    let last = rest
        .iter()
        .zip(key)
        .fold(0, |seen, (byte, key)| seen | (byte ^ key));
    (seen & 0x8080_8080_8080_8080) == 0 && last.is_ascii()
}

/// The masking key aligned to the eight bytes from `offset` on.
fn two_keys(key: [u8; 4], offset: u64) -> [u8; 8] {
    let shift = (offset % 4) as u32 * 8;
    let [a, b, c, d] = u32::from_be_bytes(key).rotate_left(shift).to_be_bytes();
    [a, b, c, d, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mask_applied_in_pieces_is_the_mask_applied_at_once() {
        let key = [1, 2, 3, 4];
        let mut whole: Vec<u8> = (0..40).collect();
        apply_mask(&mut whole, key, 0);
        for cut in 0..40 {
            let mut parts: Vec<u8> = (0..40).collect();
            let (left, right) = parts.split_at_mut(cut);
            apply_mask(left, key, 0);
            apply_mask(right, key, cut as u64);
            assert_eq!(parts, whole);
        }
    }

    #[test]
    fn masked_ascii_is_seen_without_unmasking() {
        let text = *b"the quick brown fox jumps over it";
        for key in [[0, 0, 0, 0], [0x80, 1, 0xff, 0x7f]] {
            for (from, to) in
                (0..text.len()).flat_map(|from| (from..=text.len()).map(move |to| (from, to)))
            {
                let look = |mut plain: Vec<u8>| {
                    apply_mask(&mut plain, key, 0);
                    is_masked_ascii(&plain[from..to], key, from as u64)
                };
                assert!(look(text.to_vec()));
                for odd in 0..text.len() {
                    let mut plain = text.to_vec();
                    plain[odd] |= 0x80;
                    assert_eq!(
                        look(plain),
                        !(from..to).contains(&odd),
                        "{odd} of {from}..{to}"
                    );
                }
            }
        }
    }
}
