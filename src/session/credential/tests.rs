//! RFC vectors, the forms of fingerprints, a table of shapes, and text that must not be printed.

use super::*;
use proptest::prelude::*;

const CANARY: &str = "canary-5f1d2c8a";

#[test]
fn hmac_follows_rfc_4231() {
    // Case 2: a short key is padded; case 6: a key longer than a block is hashed first.
    assert_eq!(
        tag_hex(hmac_sha256(
            &Fingerprinter::with_key(b"Jefe").0.block,
            b"what do ya want for nothing?"
        )),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
    assert_eq!(
        tag_hex(hmac_sha256(
            &Fingerprinter::with_key(&[0xaa; 131]).0.block,
            b"Test Using Larger Than Block-Size Key - Hash Key First"
        )),
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
    );
}

#[test]
fn the_form_depends_on_the_length_alone() {
    let keyed = Fingerprinter::with_key(b"a shared key");
    // printf %s aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | sha256sum | cut -c1-8
    assert_eq!(keyed.fingerprint(&[b'a'; 32]).as_str(), "sha256:3ba3f5f4");
    assert!(keyed.fingerprint(&[b'a'; 32]).is_plain());
    let short = keyed.fingerprint(&[b'a'; 31]);
    assert!(
        short
            .as_str()
            .starts_with(&format!("hmac:{}:", keyed.key_id())),
        "{short}"
    );
    assert_eq!(short.as_str().rsplit(':').next().unwrap().len(), 8);
    // 31 characters stay short, however many bytes they take.
    assert!(!keyed.fingerprint("é".repeat(31).as_bytes()).is_plain());
    assert!(keyed.fingerprint("é".repeat(32).as_bytes()).is_plain());
}

#[test]
fn keys_tell_themselves_apart() {
    let (one, same, other) = (
        Fingerprinter::with_key(b"k1"),
        Fingerprinter::with_key(b"k1"),
        Fingerprinter::with_key(b"k2"),
    );
    assert_eq!(one.key_id(), same.key_id());
    assert_eq!(one.fingerprint(b"x"), same.clone().fingerprint(b"x"));
    assert_ne!(one.key_id(), other.key_id());
    assert_ne!(one.fingerprint(b"x"), other.fingerprint(b"x"));
    let run = Fingerprinter::ephemeral([7; 32]);
    assert!(run.is_ephemeral() && run.key_id().starts_with("run-"));
    assert!(!one.is_ephemeral() && !one.key_id().starts_with("run-"));
    // The plain form is the same everywhere.
    assert_eq!(one.fingerprint(&[1; 40]), run.fingerprint(&[1; 40]));
}

#[test]
fn shapes_of_common_accidents() {
    use Shape::{
        Assignment, Empty, Newline, Placeholder, Quoted, Redacted, Scheme, Url, Whitespace,
    };
    let table: &[(&[u8], &[Shape])] = &[
        (b"", &[Empty]),
        (b"plain-token", &[]),
        (b"two words", &[]),
        (b" ", &[Empty, Whitespace]),
        (b" token", &[Whitespace]),
        (b"token\t", &[Whitespace]),
        ("token\u{a0}".as_bytes(), &[Whitespace]),
        (b"token\n", &[Newline]),
        (b"token\r\n", &[Newline]),
        (b"\n", &[Empty, Newline]),
        (b"to\nken", &[Newline]),
        (b"token \n", &[Whitespace, Newline]),
        (b"\"token\"", &[Quoted]),
        (b"'token'", &[Quoted]),
        (b"'token'\n", &[Newline, Quoted]),
        (b"\"token'", &[]),
        (b"\"", &[]),
        (b"\"\"", &[Quoted]),
        (b"${OPENCLAW_GATEWAY_TOKEN}", &[Placeholder]),
        (b"${TOKEN:-x}", &[Placeholder]),
        (b"\"${TOKEN}\"", &[Quoted, Placeholder]),
        (b"$TOKEN", &[Placeholder]),
        (b"$ecret1", &[]),
        (b"$env:TOKEN", &[Placeholder]),
        (b"%TOKEN%", &[Placeholder]),
        (b"$(cat /run/secrets/t)", &[Placeholder]),
        (b"{{ .Values.token }}", &[Placeholder]),
        (b"<token>", &[Placeholder]),
        (b"<your gateway token>", &[Placeholder]),
        (b"<>", &[]),
        (b"changeme", &[Placeholder]),
        (b"Change-Me", &[Placeholder]),
        (b"your-token-here", &[Placeholder]),
        (b"YOUR_API_KEY", &[Placeholder]),
        (b"put-your-token-here", &[Placeholder]),
        (b"undefined", &[Placeholder]),
        (b"xxxxxxxx", &[Placeholder]),
        (b"***", &[Redacted]),
        (b"__OPENCLAW_REDACTED__", &[Redacted]),
        (b"[REDACTED]", &[Redacted]),
        ("sk-aB3\u{2026}9fQ".as_bytes(), &[Redacted]),
        (
            b"OPENCLAW_GATEWAY_TOKEN=__OPENCLAW_REDACTED__",
            &[Redacted, Assignment],
        ),
        (b"Bearer s3cret", &[Scheme]),
        (b"bearer\ts3cret", &[Scheme]),
        (b"Authorization: Bearer s3cret", &[Scheme]),
        (b"Bearer ${TOKEN}", &[Placeholder, Scheme]),
        (b"bearer-s3cret", &[]),
        (b"Bearers3cret", &[]),
        (b"OPENCLAW_GATEWAY_TOKEN=s3cret", &[Assignment]),
        (
            b"export OPENCLAW_GATEWAY_TOKEN='s3cret'",
            &[Quoted, Assignment],
        ),
        (b"OPENCLAW_GATEWAY_TOKEN=s3cret\n", &[Newline, Assignment]),
        (b"MY_API_KEY = s3cret", &[Assignment]),
        // Base64 tokens end with "=", and any token may contain one.
        (b"c2VjcmV0LXNlY3JldC1zZWNyZXQ==", &[]),
        (b"ABC=defghijklmnop", &[]),
        (b"token=s3cret", &[]),
        (b"T0KEN+x/y=", &[]),
        (b"http://gw:18789/#token=s3cret", &[Url]),
        (b"https://gw/chat?session=main&token=s3cret", &[Url]),
        (b"https://gw/chat", &[]),
        (b"mykeyring-9", &[]),
        (b"tok{en", &[]),
        (b"\xff\xfe", &[]),
    ];
    for (value, expected) in table {
        assert_eq!(
            shapes(value),
            *expected,
            "{}",
            String::from_utf8_lossy(value)
        );
    }
}

#[test]
fn equal_secrets_have_equal_fingerprints_wherever_they_are() {
    let keyed = Fingerprinter::with_key(b"k");
    let print = |value: &str| {
        let one = Credential::observe(&keyed, "path", value.as_bytes());
        (one.fingerprint, one.length, one.inner)
    };
    for secret in ["s3cret", "0123456789abcdef0123456789abcdef"] {
        let plain = print(secret);
        assert_eq!(plain.2, None);
        for padded in [
            format!(" {secret}"),
            format!("{secret}\r\n"),
            format!("\u{feff}{secret}\t"),
        ] {
            assert_eq!(print(&padded), plain, "{padded:?}");
        }
        for copied in [
            format!("Bearer {secret}"),
            format!("OPENCLAW_GATEWAY_TOKEN={secret}"),
            format!("export OPENCLAW_GATEWAY_TOKEN=\"{secret}\"\n"),
            format!("'{secret}'"),
            format!("http://127.0.0.1:18789/#token={secret}"),
        ] {
            let (fingerprint, length, inner) = print(&copied);
            assert_ne!(fingerprint, plain.0, "{copied:?}");
            assert_eq!(length, trimmed(copied.as_bytes()).len());
            assert_eq!(inner.as_deref(), Some(plain.0.as_str()), "{copied:?}");
        }
    }
    // There is no secret inside.
    for value in ["Bearer ${TOKEN}", "''", "TOKEN=", "TOKEN=changeme"] {
        assert_eq!(print(value).2, None, "{value}");
    }
}

#[test]
fn nothing_prints_the_secret() {
    let secret = Secret::from(CANARY.to_owned());
    assert_eq!(format!("{secret:?}"), format!("Secret({})", CANARY.len()));
    assert_eq!(secret.expose(), CANARY.as_bytes());
    let keyed = Fingerprinter::with_key(CANARY.as_bytes());
    let credential = Credential::observe(&keyed, "query:token", CANARY.as_bytes());
    let all = format!(
        "{keyed:?} {credential:?} {}",
        serde_json::to_string(&credential).unwrap()
    );
    assert!(!all.contains("canary"), "{all}");
}

#[test]
fn a_credential_keeps_its_json_form() {
    let credential = Credential::observe(
        &Fingerprinter::with_key(b"k"),
        "header:authorization",
        b" \n",
    )
    .with_scheme("Bearer")
    .with_effective(false);
    let json = serde_json::to_value(&credential).unwrap();
    assert_eq!(json["scheme"], "Bearer");
    assert_eq!(json["user"], serde_json::Value::Null);
    assert_eq!(
        json["shape"],
        serde_json::json!(["empty", "whitespace", "newline"])
    );
    assert_eq!(json["effective"], false);
    assert_eq!(
        serde_json::from_value::<Credential>(json).unwrap(),
        credential
    );
}

proptest! {
    #[test]
    fn any_bytes_are_described(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let keyed = Fingerprinter::with_key(&bytes);
        let credential = Credential::observe(&keyed, "path", &bytes);
        prop_assert!(credential.length <= bytes.len());
        prop_assert_eq!(credential.shape.contains(&Shape::Empty), trimmed(&bytes).is_empty());
        prop_assert_eq!(credential.fingerprint.starts_with("sha256:"), credential.length >= 32);
    }
}

fn tag_hex(tag: [u8; 32]) -> String {
    let (high, low) = tag.split_at(16);
    let half = |bytes: &[u8]| u128::from_be_bytes(bytes.try_into().unwrap());
    format!("{:032x}{:032x}", half(high), half(low))
}
