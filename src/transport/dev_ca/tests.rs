//! First start, reuse, renewal, broken states, and many starts at once, on real files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tempfile::TempDir;

use super::*;

const FILES: [&str; 4] = [
    "dev-ca.pem",
    "dev-ca-key.pem",
    "dev-leaf.pem",
    "dev-leaf-key.pem",
];

/// A change to a state folder.
type Change<'a> = &'a dyn Fn(&Path);

fn start() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn after(days: i64) -> Timestamp {
    start() + SignedDuration::from_hours(24 * days)
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn contents(folder: &TempDir) -> Vec<Vec<u8>> {
    FILES
        .iter()
        .map(|name| fs::read(folder.path().join(name)).unwrap_or_default())
        .collect()
}

fn made(folder: &TempDir, wanted: &[&str], now: Timestamp) -> Made {
    ensure(folder.path(), &names(wanted), now).unwrap().made
}

fn fails(folder: &TempDir, now: Timestamp) -> String {
    let before = contents(folder);
    let error = ensure(folder.path(), &names(&["wstap", "new.example"]), now).unwrap_err();
    assert_eq!(contents(folder), before, "a failure leaves all files alone");
    assert!(!format!("{error:?}").contains("PRIVATE"));
    error.to_string()
}

/// Whether a TLS client that trusts the CA would accept the served files.
fn is_good_for(files: &DevFiles, name: &str, now: Timestamp) -> bool {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(&files.ca).unwrap())
        .unwrap();
    let chain: Vec<_> = CertificateDer::pem_file_iter(&files.cert)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
    CertifiedKey::from_der(chain.clone(), key, &provider)
        .unwrap()
        .keys_match()
        .unwrap();
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .unwrap();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now.as_second().try_into().unwrap()));
    let host = ServerName::try_from(name.to_owned()).unwrap();
    verifier
        .verify_server_cert(&chain[0], &chain[1..], &host, &[], now)
        .is_ok()
}

#[test]
fn first_start_makes_all_and_the_next_reuses_it() {
    let outer = tempfile::tempdir().unwrap();
    let state = outer.path().join("a/b");
    let wanted = names(&[
        "wstap",
        "Claw.Example.COM.",
        "*.lan.example",
        "192.0.2.7",
        "[2001:db8::1]",
    ]);
    let files = ensure(&state, &wanted, start()).unwrap();
    assert_eq!(files.made, Made::CaAndLeaf);
    for name in [
        "localhost",
        "127.0.0.1",
        "::1",
        "wstap",
        "claw.example.com",
        "x.lan.example",
        "192.0.2.7",
        "2001:db8::1",
    ] {
        assert!(is_good_for(&files, name, start()), "{name}");
    }
    assert!(!is_good_for(&files, "other.example", start()));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(&files.ca), mode(&files.cert), mode(&files.key)),
        (0o644, 0o644, 0o600)
    );
    assert_eq!(mode(&state.join("dev-ca-key.pem")), 0o600);

    // Reuse writes nothing, not even the lock.
    fs::remove_file(state.join(".dev-ca.lock")).unwrap();
    let again = ensure(&state, &wanted, after(300)).unwrap();
    assert_eq!(
        again,
        DevFiles {
            made: Made::Reused,
            ..files
        }
    );
    let mut found: Vec<_> = fs::read_dir(&state)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(
        found,
        [
            "dev-ca-key.pem",
            "dev-ca.pem",
            "dev-leaf-key.pem",
            "dev-leaf.pem"
        ]
    );
}

#[test]
fn the_profile() {
    let folder = tempfile::tempdir().unwrap();
    let files = ensure(folder.path(), &[], start()).unwrap();
    let parse = |path: &Path| CertificateDer::from_pem_file(path).unwrap();
    let (ca_der, leaf_der) = (parse(&files.ca), parse(&files.cert));
    let (_, ca) = x509_parser::parse_x509_certificate(&ca_der).unwrap();
    let (_, leaf) = x509_parser::parse_x509_certificate(&leaf_der).unwrap();
    assert!(
        ca.subject()
            .to_string()
            .starts_with("CN=wstap development CA ")
    );
    let usage = ca.key_usage().unwrap().unwrap().value;
    assert!(usage.key_cert_sign() && !usage.digital_signature());
    let basic = ca.basic_constraints().unwrap().unwrap();
    assert!(basic.critical && basic.value.ca && basic.value.path_len_constraint == Some(0));
    let days = |cert: &x509_parser::certificate::X509Certificate<'_>| {
        (cert.validity().not_after.timestamp() - cert.validity().not_before.timestamp()) / DAY
    };
    assert_eq!((days(&ca), days(&leaf)), (3652, 397));
    assert!(!leaf.basic_constraints().unwrap().unwrap().value.ca);
    assert!(
        leaf.extended_key_usage()
            .unwrap()
            .unwrap()
            .value
            .server_auth
    );
    assert_ne!(ca.serial, leaf.serial);
    assert_eq!(leaf.raw_serial().len(), 16);
}

#[test]
fn only_the_leaf_is_renewed() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(made(&folder, &["a.example"], start()), Made::CaAndLeaf);
    let first = contents(&folder);
    let kept = |renewed: &[Vec<u8>]| [0, 1, 3].iter().all(|&i| renewed[i] == first[i]);

    // Another name: the old one stays, and so does the key.
    assert_eq!(made(&folder, &["b.example"], start()), Made::Leaf);
    let files = ensure(folder.path(), &names(&["a.example"]), start()).unwrap();
    assert_eq!(files.made, Made::Reused);
    assert!(is_good_for(&files, "a.example", start()) && is_good_for(&files, "b.example", start()));
    assert!(kept(&contents(&folder)) && contents(&folder)[2] != first[2]);

    // Age: 397 days, of which the last 30 count as over.
    assert_eq!(made(&folder, &[], after(366)), Made::Reused);
    assert_eq!(made(&folder, &[], after(367)), Made::Leaf);
    assert!(is_good_for(&files, "a.example", after(760)));
    assert!(kept(&contents(&folder)));

    // A clock that was set back: the leaf is not valid yet.
    assert_eq!(made(&folder, &[], start()), Made::Leaf);
    assert_eq!(made(&folder, &[], start()), Made::Reused);
}

#[test]
fn a_damaged_leaf_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    made(&folder, &["a.example"], start());
    let other = tempfile::tempdir().unwrap();
    made(&other, &["a.example"], start());
    let foreign = contents(&other);
    let damages: [&dyn Fn(); 7] = [
        &|| fs::remove_file(path("dev-leaf.pem")).unwrap(),
        &|| fs::remove_file(path("dev-leaf-key.pem")).unwrap(),
        &|| fs::write(path("dev-leaf.pem"), "garbage").unwrap(),
        &|| fs::write(path("dev-leaf-key.pem"), b"\xff\0").unwrap(),
        &|| fs::write(path("dev-leaf.pem"), &foreign[2]).unwrap(),
        &|| fs::write(path("dev-leaf-key.pem"), &foreign[3]).unwrap(),
        // The chain without its second half.
        &|| {
            let chain = fs::read_to_string(path("dev-leaf.pem")).unwrap();
            let half = chain.rfind("-----BEGIN").unwrap();
            fs::write(path("dev-leaf.pem"), &chain[..half]).unwrap();
        },
    ];
    for (index, damage) in damages.iter().enumerate() {
        damage();
        let files = ensure(folder.path(), &names(&["a.example"]), start()).unwrap();
        assert_eq!(files.made, Made::Leaf, "damage {index}");
        assert!(is_good_for(&files, "a.example", start()), "damage {index}");
        assert_eq!(
            fs::metadata(&files.key).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    // Files left by a killed process are no obstacle.
    fs::remove_file(path("dev-leaf.pem")).unwrap();
    fs::write(path("dev-leaf.pem.new"), "half").unwrap();
    assert_eq!(made(&folder, &[], start()), Made::Leaf);
    assert!(!path("dev-leaf.pem.new").exists());
}

#[test]
fn a_ca_is_never_replaced() {
    let other = tempfile::tempdir().unwrap();
    made(&other, &[], start());
    let foreign = contents(&other);
    let with = |change: Change<'_>| {
        let folder = tempfile::tempdir().unwrap();
        made(&folder, &[], start());
        change(folder.path());
        folder
    };
    let untouched = with(&|_| ());
    let text = fails(&untouched, after(3652));
    assert!(
        text.contains("dev-ca.pem: expired on 2036-02-28T12:00:00Z; delete ")
            && text.contains("dev-ca-key.pem"),
        "{text}"
    );
    assert!(fails(&untouched, after(-2)).contains("check the clock first"));
    // The last leaf expires with its CA, and is not renewed at every start for that reason.
    assert_eq!(made(&untouched, &[], after(3640)), Made::Leaf);
    assert_eq!(made(&untouched, &[], after(3645)), Made::Reused);

    let cases: [(Change<'_>, &str); 6] = [
        (
            &|at| fs::write(at.join("dev-ca.pem"), "garbage").unwrap(),
            "not a certificate in PEM form",
        ),
        (
            &|at| {
                fs::copy(at.join("dev-leaf.pem"), at.join("dev-ca.pem")).unwrap();
            },
            "not the certificate of a CA",
        ),
        (
            &|at| fs::remove_file(at.join("dev-ca.pem")).unwrap(),
            "missing, but its key is there",
        ),
        (
            &|at| fs::remove_file(at.join("dev-ca-key.pem")).unwrap(),
            "its key is missing",
        ),
        (
            &|at| fs::write(at.join("dev-ca-key.pem"), &foreign[1]).unwrap(),
            "belongs to another CA",
        ),
        (
            &|at| fs::write(at.join("dev-ca-key.pem"), "garbage").unwrap(),
            "its key is damaged",
        ),
    ];
    for (change, expected) in cases {
        let text = fails(&with(change), start());
        assert!(
            text.contains(expected) && text.contains("; delete "),
            "{text}"
        );
    }
}

#[test]
fn a_ca_without_its_key_still_serves() {
    // The key may be kept elsewhere until a renewal is due.
    let folder = tempfile::tempdir().unwrap();
    made(&folder, &[], start());
    fs::remove_file(folder.path().join("dev-ca-key.pem")).unwrap();
    assert_eq!(made(&folder, &[], start()), Made::Reused);
}

#[test]
fn notes_around_the_ca_do_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dev-ca.pem");
    made(&folder, &[], start());
    let pem = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("my note\n{pem}end of note\n")).unwrap();
    let files = ensure(folder.path(), &names(&["new.example"]), start()).unwrap();
    assert_eq!(files.made, Made::Leaf);
    assert!(is_good_for(&files, "new.example", start()));
}

#[test]
fn errors_name_the_path_and_the_cause() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let text = ensure(&file.join("state"), &[], start())
        .unwrap_err()
        .to_string();
    assert!(
        text.starts_with("read ") && text.contains("file/state/dev-ca.pem: "),
        "{text}"
    );
    fs::create_dir(folder.path().join("dev-leaf.pem")).unwrap();
    let text = ensure(folder.path(), &[], start()).unwrap_err().to_string();
    assert!(text.contains("dev-leaf.pem"), "{text}");
    for name in [
        "", " ", "a b", "*", "*.*.a", "a..b", "-a", "http://a", "a:443", "a/b", "[::1", "x.*.y",
    ] {
        let error = ensure(folder.path(), &names(&[name]), start()).unwrap_err();
        assert!(
            matches!(error, DevCaError::Name { .. }),
            "{name:?}: {error}"
        );
    }
    let empty = tempfile::tempdir().unwrap();
    let error = ensure(empty.path(), &[], Timestamp::UNIX_EPOCH).unwrap_err();
    assert!(
        matches!(error, DevCaError::Clock(_))
            && fs::read_dir(empty.path()).unwrap().next().is_none()
    );
}

#[test]
fn many_starts_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let results: Vec<(usize, DevFiles)> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8)
            .map(|i| {
                let folder = folder.path();
                scope.spawn(move || {
                    let wanted = names(&[&format!("n{}.example", i % 4)]);
                    let files = ensure(folder, &wanted, start()).unwrap();
                    // Whatever the other threads do meanwhile, the files match each other now.
                    assert!(is_good_for(&files, &format!("n{}.example", i % 4), start()));
                    (i, files)
                })
            })
            .collect();
        starts
            .into_iter()
            .map(|start| start.join().unwrap())
            .collect()
    });
    let cas = results
        .iter()
        .filter(|(_, files)| files.made == Made::CaAndLeaf)
        .count();
    assert_eq!(cas, 1, "{results:?}");
    let renewals = results
        .iter()
        .filter(|(_, files)| files.made == Made::Leaf)
        .count();
    assert_eq!(renewals, 3, "one for each further name");
    for (i, files) in &results {
        assert!(is_good_for(files, &format!("n{}.example", i % 4), start()));
    }
}

proptest! {
    #[test]
    fn any_name_is_judged_without_panic(text in any::<String>()) {
        let _ = Name::parse(&text);
    }

    #[test]
    fn any_bytes_are_judged_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Ca::parse(&bytes);
        let _ = issue::parse_key(&bytes);
    }
}
