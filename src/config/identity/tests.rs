use std::fs;
use std::path::PathBuf;

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use super::*;

struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

fn pair(names: &[&str]) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let certificate = CertificateParams::new(names)
        .unwrap()
        .self_signed(&key)
        .unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn fault(cert: &Path, key: &Path) -> IdentityError {
    Identity::load(cert, key).unwrap_err()
}

#[test]
fn a_pair_that_belongs_together_is_loaded() {
    let files = Files::new();
    let (cert_pem, key_pem) = pair(&["claw.example", "127.0.0.1", "::1"]);
    let cert = files.write("cert.pem", &cert_pem);
    let key = files.write("key.pem", &key_pem);
    let identity = Identity::load(&cert, &key).unwrap();
    assert_eq!(identity.names, ["claw.example", "127.0.0.1", "::1"]);
    assert!(identity.not_after > identity.not_before);
    let der = CertificateDer::from_pem_slice(cert_pem.as_bytes()).unwrap();
    assert_eq!(identity.sha256, <[u8; 32]>::from(Sha256::digest(&der)));
    assert_eq!(identity.sha256_hex().len(), 64);
    assert!(!format!("{identity:?}").contains("certified"));

    let both = files.write("both.pem", &format!("{key_pem}{cert_pem}"));
    assert!(
        Identity::load(&both, &both).is_ok(),
        "one file with both is fine"
    );
}

#[test]
fn each_fault_is_told_apart() {
    let files = Files::new();
    let (cert_pem, key_pem) = pair(&["a.example"]);
    let cert = files.write("cert.pem", &cert_pem);
    let key = files.write("key.pem", &key_pem);
    let none = files.folder.path().join("none.pem");
    let empty = files.write("empty.pem", "");

    assert!(matches!(fault(&none, &key).fault(), Fault::Missing));
    assert!(matches!(fault(&cert, &none).fault(), Fault::Missing));
    assert_eq!(fault(&cert, &none).role(), Role::Key);
    assert!(matches!(
        fault(files.folder.path(), &key).fault(),
        Fault::Unreadable(_)
    ));
    assert!(matches!(
        fault(&empty, &key).fault(),
        Fault::NoCertificate(_)
    ));
    assert!(matches!(fault(&key, &key).fault(), Fault::NoCertificate(_)));
    assert!(matches!(fault(&cert, &empty).fault(), Fault::NoKey(_)));
    assert!(matches!(fault(&cert, &cert).fault(), Fault::NoKey(_)));

    let cut = files.write("cut.pem", cert_pem.split("-----END").next().unwrap());
    assert!(matches!(fault(&cut, &key).fault(), Fault::BadPem(_)));
    let rubbish = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let rubbish = files.write("rubbish.pem", rubbish);
    assert!(matches!(
        fault(&rubbish, &key).fault(),
        Fault::BadCertificate(_)
    ));
    let rubbish = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let rubbish = files.write("rubbish-key.pem", rubbish);
    assert!(matches!(
        fault(&cert, &rubbish).fault(),
        Fault::UnsupportedKey(_)
    ));
}

#[test]
fn encrypted_keys_are_named_as_such() {
    let files = Files::new();
    let (cert_pem, _) = pair(&["a.example"]);
    let cert = files.write("cert.pem", &cert_pem);
    for content in [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\r\nProc-Type: 4,ENCRYPTED\r\nDEK-Info: AES-256-CBC,00\r\n\
         \r\nAAAA\r\n-----END RSA PRIVATE KEY-----\r\n",
    ] {
        let key = files.write("encrypted.pem", content);
        assert!(
            matches!(fault(&cert, &key).fault(), Fault::EncryptedKey),
            "{content}"
        );
    }
}

#[test]
fn a_key_of_another_certificate_says_so() {
    let files = Files::new();
    let (first, _) = pair(&["first.example"]);
    let (second, second_key) = pair(&["second.example"]);
    let cert = files.write("cert.pem", &first);
    let key = files.write("key.pem", &second_key);
    let error = fault(&cert, &key);
    assert!(matches!(
        error.fault(),
        Fault::Mismatch { position: None, .. }
    ));
    assert_eq!(error.role(), Role::Key);
    assert!(
        error
            .to_string()
            .contains("found the key of another certificate"),
        "{error}"
    );

    let chain = files.write("chain.pem", &format!("{first}{second}"));
    let error = fault(&chain, &key);
    assert!(matches!(
        error.fault(),
        Fault::Mismatch {
            position: Some(2),
            ..
        }
    ));
    assert!(
        error
            .to_string()
            .contains("the key of certificate 2 of that file"),
        "{error}"
    );
}

#[test]
fn errors_do_not_show_the_key() {
    let files = Files::new();
    let (cert_pem, _) = pair(&["a.example"]);
    let cert = files.write("cert.pem", &cert_pem);
    for content in [
        "-----BEGIN hunter2\n",
        "-----BEGIN PRIVATE KEY-----\nhunter2!\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nhunter2",
    ] {
        let key = files.write("key.pem", content);
        let error = fault(&cert, &key);
        assert!(
            !format!("{error} {error:?}").contains("hunter2"),
            "{error:?}"
        );
    }
}

#[test]
fn roots_have_to_be_certificates() {
    let files = Files::new();
    let (first, _) = pair(&["first.example"]);
    let (second, _) = pair(&["second.example"]);
    let bundle = files.write("ca.pem", &format!("{first}{second}"));
    assert_eq!(roots(&bundle).unwrap().len(), 2);
    let rubbish = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let mixed = files.write("mixed.pem", &format!("{first}{rubbish}"));
    assert!(matches!(
        roots(&mixed).unwrap_err().fault(),
        Fault::BadCertificate(_)
    ));
}
