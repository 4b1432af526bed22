//! Repeatable chance: the seed is printed, and `WSTAP_TEST_SEED` brings it back.

use std::env;
use std::time::{SystemTime, UNIX_EPOCH};

/// `SplitMix64`: small, good enough, and the same everywhere.
pub struct Dice(u64);

impl Dice {
    /// A seed of the environment's, else of the clock's. `cargo test` shows it when the test fails.
    pub fn seeded(test: &str) -> Self {
        let seed = match env::var("WSTAP_TEST_SEED") {
            Ok(given) => given.parse().expect("WSTAP_TEST_SEED is a number"),
            Err(_) => clock(),
        };
        eprintln!("{test}: WSTAP_TEST_SEED={seed}");
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to but not including `end`.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap();
        usize::try_from(self.next() % end).unwrap()
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(len + 8);
        while out.len() < len {
            out.extend_from_slice(&self.next().to_le_bytes());
        }
        out.truncate(len);
        out
    }

    /// Cuts `bytes` into pieces of up to `longest`, many of them tiny.
    pub fn split(&mut self, bytes: &[u8], longest: usize) -> Vec<Vec<u8>> {
        let mut pieces = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let cap = if self.one_in(3) { 8 } else { longest };
            let len = (1 + self.below(cap)).min(rest.len());
            let (piece, after) = rest.split_at(len);
            pieces.push(piece.to_vec());
            rest = after;
        }
        pieces
    }
}

fn clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::from(since.subsec_nanos()) ^ (since.as_secs() << 20)
}
