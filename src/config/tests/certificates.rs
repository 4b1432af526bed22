//! Certificates, keys, client certificates: mistakes in files.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ED25519};

use super::mistakes::{line, lines};
use super::*;

/// Certificate, key, place, expected, found.
const BAD_FILES: &[(&str, &str, &str, &str, &str)] = &[
    (
        "none.pem",
        "key.pem",
        "5:13",
        "a PEM file with certificates",
        "no file ",
    ),
    (
        "words.pem",
        "key.pem",
        "5:13",
        "a PEM file with certificates",
        "no CERTIFICATE section",
    ),
    (
        "cert.pem",
        "none.pem",
        "6:12",
        "a PEM file with a private key",
        "no file ",
    ),
    (
        "cert.pem",
        "words.pem",
        "6:12",
        "a PEM file with a private key",
        "no PRIVATE KEY section",
    ),
    (
        "cert.pem",
        "other.pem",
        "6:12",
        "the key of the certificate in",
        "the key of another certificate",
    ),
    (
        "cert.pem",
        "encrypted.pem",
        "6:12",
        "a private key without a pass phrase",
        "an encrypted key",
    ),
    (
        "empty.pem",
        "key.pem",
        "5:13",
        "a PEM file with certificates",
        "an empty file in",
    ),
    (
        "cert.pem",
        "empty.pem",
        "6:12",
        "a PEM file with a private key",
        "an empty file in",
    ),
    (
        "cert.der",
        "key.pem",
        "5:13",
        "a PEM file with certificates (`openssl x509 -inform der -in FILE -out PEM`)",
        "DER (the binary form) and no CERTIFICATE section in",
    ),
    (
        "cert.pem",
        "key.der",
        "6:12",
        "a PEM file with a private key (`openssl pkey -inform der -in FILE -out PEM`)",
        "DER (the binary form) and no PRIVATE KEY section in",
    ),
    (
        "key.pem",
        "key.pem",
        "5:13",
        "a PEM file with certificates",
        "a private key and no CERTIFICATE section in",
    ),
    (
        "cert.pem",
        "cert.pem",
        "6:12",
        "a PEM file with a private key",
        "a certificate and no PRIVATE KEY section in",
    ),
    (
        "strangers.pem",
        "key.pem",
        "5:13",
        "the issuer of certificate 1 (`CN=rcgen self signed cert`) as certificate 2",
        "`CN=rcgen self signed cert` with another key in",
    ),
];

#[test]
fn certificate_files_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| {
        fs::write(folder.path().join(name), content).unwrap();
    };
    let pair = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["b.example".to_owned()]).unwrap();
    write("cert.pem", &pair.cert.pem());
    write("key.pem", &pair.signing_key.serialize_pem());
    write("other.pem", &other.signing_key.serialize_pem());
    write("words.pem", "no PEM at all");
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    write("encrypted.pem", encrypted);
    write("empty.pem", "\n");
    fs::write(folder.path().join("cert.der"), pair.cert.der()).unwrap();
    fs::write(
        folder.path().join("key.der"),
        pair.signing_key.serialize_der(),
    )
    .unwrap();
    write(
        "strangers.pem",
        &format!("{}{}", pair.cert.pem(), other.cert.pem()),
    );
    let text = |cert: &str, key: &str| {
        with_gateway(&format!(
            "listeners:\n- listen: 'a:1'\n  tls:\n    certificates:\n    - cert: {0}/{cert}\n      key: {0}/{key}",
            folder.path().display()
        ))
    };
    let config = parse_text(&text("cert.pem", "key.pem")).unwrap();
    assert!(
        matches!(&config.listeners()[0].tls, ListenerTls::Files { identities, .. } if identities[0].names == ["a.example"])
    );
    for (cert, key, place, expected, found) in BAD_FILES {
        let line = line(&text(cert, key));
        let field = if *place == "5:13" { "cert" } else { "key" };
        let start = format!(
            "f.yaml:{place}: listeners[0].tls.certificates[0].{field}: expected {expected}"
        );
        assert!(line.starts_with(&start), "{line}");
        assert!(line.contains(found), "{line}");
    }
    let two = "listeners:\n- listen: 'a:1'\n  tls:\n    self_signed: {}\n    certificates:\n    - {}\n    - {}";
    assert_eq!(
        lines(&with_gateway(two)),
        [
            "f.yaml:3:3: listeners[0].tls: expected exactly one of `self_signed` and `certificates`, found both",
            "f.yaml:6:7: listeners[0].tls.certificates[0].cert: expected the path of a certificate, found nothing",
            "f.yaml:6:7: listeners[0].tls.certificates[0].key: expected the path of a private key, found nothing",
            "f.yaml:7:7: listeners[0].tls.certificates[1].cert: expected the path of a certificate, found nothing",
            "f.yaml:7:7: listeners[0].tls.certificates[1].key: expected the path of a private key, found nothing",
        ]
    );
}

fn section(tls: &str) -> String {
    with_gateway(&format!("listeners:\n- listen: 'a:1'\n  tls:\n{tls}"))
}

#[test]
fn a_chain_stands_in_its_order() {
    let ca = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    };
    let (root_key, middle_key, key) = (
        KeyPair::generate().unwrap(),
        KeyPair::generate().unwrap(),
        KeyPair::generate().unwrap(),
    );
    let root = ca("root").self_signed(&root_key).unwrap();
    let above = Issuer::new(ca("root"), root_key);
    let middle = ca("middle").signed_by(&middle_key, &above).unwrap();
    let again = ca("middle").self_signed(&middle_key).unwrap();
    let above = Issuer::new(ca("middle"), middle_key);
    let leaf = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &above).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display();
    fs::write(folder.path().join("key"), key.serialize_pem()).unwrap();
    let text = |chain: &[&rcgen::Certificate]| {
        let pem: String = chain.iter().map(|one| one.pem()).collect();
        fs::write(folder.path().join("chain"), pem).unwrap();
        section(&format!(
            "    certificates: [{{ cert: {at}/chain, key: {at}/key }}]"
        ))
    };
    assert!(parse_text(&text(&[&leaf, &middle])).is_ok());
    assert!(parse_text(&text(&[&leaf, &middle, &root])).is_ok());
    assert!(
        parse_text(&text(&[&leaf, &again, &middle])).is_ok(),
        "two issuers of the same certificate"
    );
    let swapped = line(&text(&[&leaf, &root, &middle]));
    assert!(
        swapped.contains(
            "certificates[0].cert: expected the issuer of certificate 1 (`CN=middle`) as \
             certificate 2, found `CN=root` in "
        ),
        "{swapped}"
    );
    let first = line(&text(&[&middle, &leaf]));
    assert!(
        first.contains("found the key of certificate 2 of that file in "),
        "{first}"
    );
}

#[test]
fn a_certificate_that_nobody_can_get_is_a_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display();
    let make = |file: &str, key: KeyPair, names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).unwrap();
        let pem = params.self_signed(&key).unwrap().pem() + &key.serialize_pem();
        fs::write(folder.path().join(file), pem).unwrap();
    };
    let ec = || KeyPair::generate().unwrap();
    make("one", ec(), &["a.example", "*.a.example"]);
    make("same", ec(), &["A.example"]);
    make("more", ec(), &["a.example", "b.example"]);
    make("address", ec(), &["10.0.0.1"]);
    make(
        "ed",
        KeyPair::generate_for(&PKCS_ED25519).unwrap(),
        &["a.example"],
    );
    let text = |files: &[&str]| {
        let entries: Vec<String> = files
            .iter()
            .map(|file| format!("    - {{ cert: {at}/{file}, key: {at}/{file} }}\n"))
            .collect();
        section(&format!("    certificates:\n{}", entries.concat()))
    };
    assert_eq!(
        line(&text(&["one", "same"])),
        "f.yaml:6:7: listeners[0].tls.certificates[1]: expected a certificate for a name, or with \
         a kind of key, that no entry before has, found one with a key of the same kind (ECDSA) for \
         a.example, which `certificates[0]` has already"
    );
    assert_eq!(
        line(&text(&["one", "address"])),
        "f.yaml:6:7: listeners[0].tls.certificates[1]: expected a certificate for a name, or with \
         a kind of key, that no entry before has, found one that no client can ask for: it has no \
         DNS name"
    );
    let fine = parse_text(&text(&["one", "ed"])).unwrap();
    assert!(
        fine.warnings()
            .iter()
            .all(|it| !it.key_path().contains("tls"))
    );
    let odd = parse_text(&text(&["one", "more"])).unwrap();
    let odd: Vec<String> = odd.warnings().iter().map(ToString::to_string).collect();
    assert!(
        odd.contains(
            &"listeners[0].tls.certificates[1].cert: clients that ask for a.example get \
              certificates[0], which comes first and has the same kind of key"
                .to_owned()
        ),
        "{odd:?}"
    );
}

#[test]
fn what_clients_must_bring_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display();
    let pair = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    fs::write(folder.path().join("ca"), pair.cert.pem()).unwrap();
    fs::write(folder.path().join("words"), "no PEM").unwrap();
    fs::write(
        folder.path().join("broken"),
        "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
    )
    .unwrap();
    let with = |rest: &str| section(&format!("    self_signed: {{}}\n    {rest}"));
    let optional = format!("client_auth: {{ ca: {at}/ca, mode: optional }}");
    let config = parse_text(&with(&format!("{optional}\n    min_version: '1.3'"))).unwrap();
    let policy = config.listeners()[0].tls.policy().unwrap();
    assert_eq!(policy.min_version, MinVersion::Tls13);
    let auth = policy.client_auth.as_ref().unwrap();
    assert_eq!(auth.mode, ClientAuthMode::Optional);
    let other = parse_text(&with(&format!("client_auth: {{ ca: {at}/ca }}"))).unwrap();
    let other = other.listeners()[0]
        .tls
        .policy()
        .unwrap()
        .client_auth
        .clone();
    let other = other.unwrap();
    assert_eq!(other.mode, ClientAuthMode::Required);
    assert!(*auth != other, "the mode counts");

    for (rest, expected) in [
        (
            "min_version: '1.1'".to_owned(),
            "tls.min_version: expected `1.2` or `1.3` (in quotes in a file), found `1.1`, which nobody should speak any \
             more (RFC 8996)",
        ),
        (
            "client_auth: {}".to_owned(),
            "tls.client_auth.ca: expected the path of the CA that signs clients' certificates, \
             found nothing",
        ),
        (
            "client_auth:".to_owned(),
            "tls.client_auth: expected a mapping with `ca`",
        ),
        (
            format!("client_auth: {{ ca: {at}/words }}"),
            "tls.client_auth.ca: expected a PEM file with certificates, found no CERTIFICATE \
             section in",
        ),
        (
            format!("client_auth: {{ ca: {at}/ca, crl: {at}/ca }}"),
            "tls.client_auth.crl: expected a PEM file with revocation lists (X509 CRL), found a \
             certificate and no X509 CRL section in",
        ),
        (
            format!("client_auth: {{ ca: {at}/ca, crl: {at}/broken }}"),
            "tls.client_auth.crl: expected revocation lists that can be read, found",
        ),
        (
            format!("client_auth: {{ ca: {at}/ca, mode: maybe }}"),
            "tls.client_auth.mode: expected one of `optional` or `required`",
        ),
    ] {
        let line = line(&with(&rest));
        assert!(line.contains(expected), "{line}");
    }
}
