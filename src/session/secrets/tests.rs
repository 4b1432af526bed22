//! Which quoted secrets are masked and which are not, in one table; and that nothing else changes.

use proptest::prelude::*;

use super::*;

const TOKEN: &str = "Zq83kd01-LwmX7pq_Ty5630dhsRt61bn0wVbC4ea+/="; // 43 characters
const PASSWORD: &str = "hunter2!";

fn seen(secrets: &[&str]) -> SeenSecrets {
    let mut seen = SeenSecrets::default();
    for secret in secrets {
        seen.add(secret.as_bytes());
    }
    seen
}

fn masked(secrets: &[&str], text: &str) -> String {
    let masker = seen(secrets).masker();
    masker.mask(text).unwrap_or_else(|| text.to_owned())
}

#[test]
fn quoted_secrets() {
    let upper = TOKEN.to_ascii_uppercase();
    let escaped = |write: fn(u8) -> String| TOKEN.bytes().map(write).collect::<Vec<_>>().concat();
    let percent = escaped(|byte| format!("%{byte:02x}"));
    let twice = percent.replace('%', "%25");
    let json = escaped(|byte| format!("\\u{byte:04X}"));
    let table = [
        // Whole, in any spelling.
        (
            format!("token {TOKEN} mismatch"),
            "token [masked 43] mismatch",
        ),
        (TOKEN.to_owned(), "[masked 43]"),
        (format!("{TOKEN}{TOKEN}"), "[masked 86]"),
        (format!("<{upper}>"), "<[masked 43]>"),
        (format!("at {percent}!"), "at [masked 129]!"),
        (format!("at {twice}!"), "at [masked 215]!"),
        (format!("at {json}!"), "at [masked 258]!"),
        (TOKEN.replace('/', "\\/"), "[masked 44]"),
        (TOKEN.replace('=', "%3D").replace('+', "%2B"), "[masked 47]"),
        // Parts: front, middle, end, and two of them.
        (format!("{}…", &TOKEN[..12]), "[masked 12]…"),
        (format!("x{}x", &TOKEN[9..24]), "x[masked 15]x"),
        (format!("…{}", &TOKEN[31..]), "…[masked 12]"),
        (
            format!("{} and {}", &TOKEN[..14], &TOKEN[20..40]),
            "[masked 14] and [masked 20]",
        ),
        // Too short to be recognised.
        (format!("{} x", &TOKEN[..11]), "Zq83kd01-Lw x"),
        ("mismatch".to_owned(), "mismatch"),
        // The part that was cut away may have been the rest of the secret.
        (format!("is {}…(+32)", &TOKEN[..5]), "is [masked 5]…(+32)"),
        (format!("is {}…(+32)", &TOKEN[..3]), "is Zq8…(+32)"),
        // A short secret is searched for only as a whole word.
        ("wrong: hunter2!".to_owned(), "wrong: [masked 8]"),
        ("wrong: HUNTER2!.".to_owned(), "wrong: [masked 8]."),
        ("wrong: hunter2%21".to_owned(), "wrong: [masked 10]"),
        ("huntress, hunter2".to_owned(), "huntress, hunter2"),
        ("xhunter2!x".to_owned(), "xhunter2!x"),
    ];
    for (text, shown) in &table {
        assert_eq!(masked(&[TOKEN, PASSWORD], text), *shown);
    }
}

#[test]
fn words_that_are_no_secrets_stay() {
    for (secret, text) in [
        ("openclaw", "openclaw gateway"),
        ("Password", "unauthorized: gateway password mismatch"),
        ("undefined", "token undefined"),
        ("${OPENCLAW_GATEWAY_TOKEN}", "set OPENCLAW_GATEWAY_TOKEN"),
        ("__OPENCLAW_REDACTED__", "__OPENCLAW_REDACTED__ is reserved"),
        ("abc", "abc"),
        ("", ""),
    ] {
        assert_eq!(masked(&[secret], text), text);
    }
    assert_eq!(masked(&["admin1"], "not admin1"), "not [masked 6]");
    // The name of the variable is not secret, its value is.
    assert_eq!(
        masked(
            &["OPENCLAW_GATEWAY_TOKEN=Zq83kd01LwmX7pq"],
            "set OPENCLAW_GATEWAY_TOKEN, not Zq83kd01LwmX7pq"
        ),
        "set OPENCLAW_GATEWAY_TOKEN, not [masked 15]"
    );
    assert_eq!(
        masked(&["Bearer Zq83kd"], "bearer Zq83kd"),
        "bearer [masked 6]"
    );
}

#[test]
fn bytes_and_characters_that_are_not_ascii() {
    let secret = "pässwörd-日本語-x1";
    assert_eq!(masked(&[secret], &format!("é{secret}é")), "é[masked 15]é");
    // A match that ends inside a character masks the whole character.
    let mut seen = SeenSecrets::default();
    seen.add(b"0123456789a\xc3\xa9tail\xff\xfe");
    assert_eq!(
        seen.masker().mask(r"0123456789aétail\xff\xfe!").unwrap(),
        "[masked 24]!"
    );
}

#[test]
fn nothing_prints_them() {
    let seen = seen(&[TOKEN, PASSWORD]);
    assert_eq!(format!("{seen:?}"), "SeenSecrets(2)");
}

#[test]
fn each_is_kept_once_and_they_are_bounded() {
    let mut seen = seen(&[TOKEN, TOKEN, " hunter2! "]);
    seen.add_all(&seen.clone());
    assert_eq!(seen.iter().count(), 2);
    assert_eq!(seen.0.len(), TOKEN.len() + PASSWORD.len() + 2 * 2);
    for number in 0..100_000_u32 {
        seen.add(format!("secret-number-{number:08}-{}", "x".repeat(200)).as_bytes());
    }
    assert!(seen.0.len() <= ROOM + 2);
    // What did not fit is masked because it looks like a secret.
    let masker = seen.masker();
    let shown = masker.mask("no: aB3dE5gH7jK9mN, hello-ok 2026");
    assert_eq!(shown.as_deref(), Some("no: [masked 14], hello-ok 2026"));
    let mut other = SeenSecrets::default();
    other.add_all(&seen);
    assert!(other.overflowed());
}

#[test]
fn a_secret_that_looks_like_its_mask_ends() {
    for secret in ["[masked 11]", "[masked 12] and more"] {
        let shown = masked(&[secret], &format!("it is {secret}, yes"));
        assert!(shown.starts_with("it is [masked "), "{shown}");
    }
}

#[test]
fn large_secrets_and_texts_are_searched_fast_enough_to_end() {
    let secret = "ab".repeat(7000);
    let text = "ab".repeat(4000) + "c" + &"ba".repeat(4000);
    assert_eq!(masked(&[&secret], &text), "[masked 8000]c[masked 8000]");
}

fn text() -> impl Strategy<Value = String> {
    "[a-z %\\\\u0-9é(+)…=/-]{0,60}"
}

proptest! {
    /// Wherever a part of 12 bytes or more is placed, it is masked and its surroundings are not.
    #[test]
    fn every_part_is_found(
        secret in "[A-Za-z0-9_-]{12,80}", from in 0_usize..80, length in 12_usize..80,
        before in "[ .,:]{0,20}", after in "[ .,:]{0,20}",
    ) {
        let from = from.min(secret.len() - 12);
        let length = length.min(secret.len() - from);
        let part = &secret[from..from + length];
        prop_assume!(!is_left_open(bare(secret.as_bytes())));
        let shown = masked(&[&secret], &format!("{before}{part}{after}"));
        prop_assert_eq!(shown, format!("{before}[masked {length}]{after}"));
    }

    /// Texts that share no run of 12 bytes with the secret stay unchanged.
    #[test]
    fn other_texts_pass(secret in "[A-Z0-9]{12,40}", other in "[g-z ]{0,200}") {
        prop_assume!(!secret.to_ascii_lowercase().bytes().all(|b| other.as_bytes().contains(&b)));
        prop_assert_eq!(masked(&[&secret], &other), other);
    }

    #[test]
    fn anything_goes(secrets in proptest::collection::vec(text(), 0..4), text in text()) {
        let mut seen = SeenSecrets::default();
        for secret in &secrets {
            seen.add(secret.as_bytes());
        }
        if let Some(shown) = seen.masker().mask(&text) {
            prop_assert!(shown.contains("[masked "));
        }
    }
}
