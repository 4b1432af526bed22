//! Which implementations of cryptography TLS uses: chosen here, once, and passed on explicitly.
//!
//! All are of `ring`. With the feature `aws-lc-rs` those that cost most are of that library: key
//! exchange, signatures, and the ciphers of TLS 1.3. Hashes and what is derived by them stay:
//! theirs allocates for each, which costs more than they save. That library also brings
//! X25519MLKEM768, which comes first, as browsers and OpenSSL 3.5 offer it; `ring` has nothing like
//! it. Everything else that is offered and accepted is the same with both.

use std::sync::{Arc, LazyLock};

use rustls::Error;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::ProducesTickets;
use rustls::sign::SigningKey;
use rustls_pki_types::PrivateKeyDer;

/// What records are protected with behind a handshake with a client.
#[cfg(not(feature = "aws-lc-rs"))]
pub(crate) use ::ring::aead;
#[cfg(feature = "aws-lc-rs")]
pub(crate) use aws_lc_rs::aead;

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(chosen()));

/// The one of this process.
#[must_use]
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::clone(&PROVIDER)
}

/// A certificate's key. With every feature the same ones are taken: what ring takes, which every
/// client can verify.
pub(crate) fn signing_key(key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
    let taken = ring::default_provider()
        .key_provider
        .load_private_key(key.clone_key())?;
    Ok(PROVIDER.key_provider.load_private_key(key).unwrap_or(taken))
}

/// Keys of session tickets, which nobody else has.
pub(crate) fn ticketer() -> Result<Arc<dyn ProducesTickets>, Error> {
    ring::Ticketer::new()
}

#[cfg(not(feature = "aws-lc-rs"))]
fn chosen() -> CryptoProvider {
    ring::default_provider()
}

#[cfg(feature = "aws-lc-rs")]
fn chosen() -> CryptoProvider {
    use rustls::crypto::{CipherSuiteCommon, aws_lc_rs};
    use rustls::{SupportedCipherSuite, Tls13CipherSuite};

    let (ring, theirs) = (ring::default_provider(), aws_lc_rs::default_provider());
    // Its own generator is seeded when it is first used: no client shall wait for that.
    let _ = theirs.secure_random.fill(&mut [0]);
    let of_theirs = |suite: &SupportedCipherSuite| {
        let same = theirs
            .cipher_suites
            .iter()
            .find(|other| other.suite() == suite.suite());
        let (SupportedCipherSuite::Tls13(own), Some(SupportedCipherSuite::Tls13(other))) =
            (*suite, same)
        else {
            return *suite;
        };
        let joined = Tls13CipherSuite {
            common: CipherSuiteCommon {
                suite: own.common.suite,
                hash_provider: own.common.hash_provider,
                confidentiality_limit: own.common.confidentiality_limit,
            },
            hkdf_provider: own.hkdf_provider,
            aead_alg: other.aead_alg,
            quic: None,
        };
        // Once a process: the library wants them to live as long as it does.
        SupportedCipherSuite::Tls13(Box::leak(Box::new(joined)))
    };
    let groups = ring.kx_groups.iter().map(|group| {
        let same = theirs
            .kx_groups
            .iter()
            .find(|other| other.name() == group.name());
        *same.unwrap_or(group)
    });
    let hybrid = aws_lc_rs::kx_group::X25519MLKEM768;
    CryptoProvider {
        cipher_suites: ring.cipher_suites.iter().map(of_theirs).collect(),
        kx_groups: std::iter::once(hybrid).chain(groups).collect(),
        key_provider: theirs.key_provider,
        ..ring
    }
}

#[cfg(test)]
mod tests {
    use rustls::NamedGroup;

    use super::*;

    #[test]
    fn what_is_offered_is_the_same_with_every_feature_but_for_the_hybrid() {
        let (chosen, ring) = (provider(), ring::default_provider());
        let suites = |provider: &CryptoProvider| {
            let suites = provider.cipher_suites.iter();
            suites
                .map(rustls::SupportedCipherSuite::suite)
                .collect::<Vec<_>>()
        };
        let groups = |provider: &CryptoProvider| {
            let groups = provider.kx_groups.iter();
            groups.map(|group| group.name()).collect::<Vec<_>>()
        };
        assert_eq!(suites(&chosen), suites(&ring));
        let mut offered = groups(&chosen);
        if cfg!(feature = "aws-lc-rs") {
            assert_eq!(offered.remove(0), NamedGroup::X25519MLKEM768);
        }
        assert_eq!(offered, groups(&ring));
    }

    #[test]
    #[cfg(feature = "aws-lc-rs")]
    fn a_key_that_few_clients_can_verify_is_refused_with_every_feature() {
        use aws_lc_rs::signature::{
            ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair,
        };

        for (algorithm, taken) in [
            (&ECDSA_P256_SHA256_ASN1_SIGNING, true),
            (&ECDSA_P521_SHA512_ASN1_SIGNING, false),
        ] {
            let pair = EcdsaKeyPair::generate(algorithm).unwrap();
            let der = pair.to_pkcs8v1().unwrap();
            let key = PrivateKeyDer::Pkcs8(der.as_ref().to_vec().into());
            assert_eq!(signing_key(key).is_ok(), taken);
        }
    }

    #[test]
    #[cfg(feature = "aws-lc-rs")]
    fn what_costs_most_is_of_the_other_library() {
        use rustls::SupportedCipherSuite::Tls13;
        use rustls::crypto::SupportedKxGroup;

        let (chosen, ring) = (provider(), ring::default_provider());
        for (one, other) in chosen.cipher_suites.iter().zip(&ring.cipher_suites) {
            if let (Tls13(one), Tls13(other)) = (one, other) {
                assert!(!std::ptr::eq(one.aead_alg, other.aead_alg));
                assert!(std::ptr::eq(one.hkdf_provider, other.hkdf_provider));
            }
        }
        for group in &chosen.kx_groups {
            let same = |other: &&dyn SupportedKxGroup| std::ptr::addr_eq(*group, *other);
            assert!(!ring.kx_groups.iter().any(same), "{:?}", group.name());
        }
        assert!(format!("{:?}", chosen.key_provider).contains("AwsLc"));
    }
}
