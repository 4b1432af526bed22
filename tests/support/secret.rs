//! Fingerprints, computed independently of the code under test.

use sha2::{Digest as _, Sha256};

/// What a record must say of a secret of 32 characters or more.
pub fn fingerprint(secret: &str) -> String {
    assert!(secret.len() >= 32, "shorter ones are keyed");
    let digest = Sha256::digest(secret.as_bytes());
    let hex: Vec<String> = digest
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{}", hex.concat())
}

#[test]
fn the_recipe_of_the_documentation() {
    // printf %s 0123456789abcdef0123456789abcdef | sha256sum | cut -c1-8
    assert_eq!(
        fingerprint("0123456789abcdef0123456789abcdef"),
        "sha256:3eb1bd43"
    );
}
