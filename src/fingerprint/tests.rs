//! Known fingerprints from each source, key paths that lead nowhere, and a canary in files that do
//! not parse.

use std::io;

use proptest::prelude::*;

use super::limits::MAX_INPUT;
use super::*;

const TOKEN: &str = "CANARY-0123456789abcdef0123456789";

fn keyed() -> Fingerprinter {
    Fingerprinter::with_key(b"test key")
}

fn stdin(content: &[u8], json: bool) -> Result<String, FingerprintError> {
    let mut out = Vec::new();
    let form = if json {
        Form::Json
    } else {
        Form::Text(Look::PLAIN)
    };
    run(Source::Stdin, &keyed(), form, &mut &*content, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

fn file(name: &str, content: &str, key: Option<&str>) -> Result<String, FingerprintError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    let mut out = Vec::new();
    let source = Source::File {
        path,
        key: key.map(str::to_owned),
    };
    run(
        source,
        &keyed(),
        Form::Text(Look::PLAIN),
        &mut io::empty(),
        &mut out,
    )?;
    Ok(String::from_utf8(out).unwrap())
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap()
}

fn expected() -> String {
    format!(
        "{}  length 33  shape: -",
        keyed().fingerprint(TOKEN.as_bytes())
    )
}

#[test]
fn a_known_value() {
    // printf %s aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | sha256sum | cut -c1-8
    let text = stdin(&[b'a'; 32], false).unwrap();
    assert_eq!(
        text,
        "sha256:3ba3f5f4  length 32  shape: -\ncheck: printf %s \"$TOKEN\" | sha256sum | cut -c1-8\n"
    );
}

#[test]
fn one_newline_is_ignored_and_said() {
    for end in ["\n", "\r\n"] {
        let text = stdin(format!("{TOKEN}{end}").as_bytes(), false).unwrap();
        assert_eq!(first_line(&text), expected());
        assert!(text.contains("\n1 trailing newline ignored\n"));
    }
    let text = stdin(format!("{TOKEN}\n\n").as_bytes(), false).unwrap();
    assert!(
        first_line(&text).ends_with("length 33  shape: newline"),
        "{text}"
    );
}

#[test]
fn short_values_name_their_key() {
    let text = stdin(b" ${X}", false).unwrap();
    let key = keyed().key_id().to_owned();
    assert!(
        text.starts_with(&format!("hmac:{key}:"))
            && text.contains("shape: whitespace, placeholder"),
        "{text}"
    );
    assert!(text.contains(&format!("key {key}: ")));
    let mut out = Vec::new();
    run(
        Source::Stdin,
        &Fingerprinter::ephemeral([1; 32]),
        Form::Text(Look::PLAIN),
        &mut &b"x"[..],
        &mut out,
    )
    .unwrap();
    assert!(
        String::from_utf8(out)
            .unwrap()
            .contains("for this run only")
    );
}

#[test]
fn json_output() {
    let value: Value = serde_json::from_str(&stdin(b"abc\n", true).unwrap()).unwrap();
    assert_eq!(value["length"], 3);
    assert_eq!(value["trailing_newline_ignored"], true);
    assert_eq!(value["key_id"], keyed().key_id());
    assert_eq!(value["check"], Value::Null);
    let value: Value = serde_json::from_str(&stdin(TOKEN.as_bytes(), true).unwrap()).unwrap();
    assert_eq!(value["check"], CHECK_RECIPE);
    assert_eq!(value["key_id"], Value::Null);
    assert_eq!(value["shape"], serde_json::json!([]));
}

#[test]
fn environment() {
    // Cargo sets this one for every test.
    let mut out = Vec::new();
    run(
        Source::Env("CARGO_PKG_NAME".into()),
        &keyed(),
        Form::Text(Look::PLAIN),
        &mut io::empty(),
        &mut out,
    )
    .unwrap();
    assert!(String::from_utf8(out).unwrap().contains("length 5 "));
    let error = run(
        Source::Env("WSTAP_NO_SUCH\u{1b}".into()),
        &keyed(),
        Form::Text(Look::PLAIN),
        &mut io::empty(),
        &mut io::sink(),
    );
    assert_eq!(
        error.unwrap_err().to_string(),
        r"environment variable WSTAP_NO_SUCH\u{1b} is not set"
    );
}

#[test]
fn values_in_files() {
    let key = Some("gateway.auth.tokens.1");
    for (name, content) in [
        (
            "a.json",
            format!(r#"{{"gateway": {{"auth": {{"tokens": ["x", "{TOKEN}"]}}}}}}"#),
        ),
        (
            "openclaw.json",
            format!("// comment\n{{gateway: {{auth: {{tokens: ['x', '{TOKEN}',]}}}}}}"),
        ),
        (
            "a.json5",
            format!("{{gateway: {{auth: {{tokens: ['x', '{TOKEN}',]}}}}}}"),
        ),
        (
            "a.yaml",
            format!("gateway:\n  auth:\n    tokens:\n    - x\n    - {TOKEN}\n"),
        ),
        (
            "noext",
            format!("gateway: {{auth: {{tokens: [x, {TOKEN}]}}}}\n"),
        ),
    ] {
        assert_eq!(
            first_line(&file(name, &content, key).unwrap()),
            expected(),
            "{name}"
        );
    }
    assert_eq!(
        first_line(&file("token", &format!("{TOKEN}\n"), None).unwrap()),
        expected()
    );
}

#[test]
fn a_failed_walk_names_keys_and_no_values() {
    let content = format!(
        r#"{{"gateway": {{"auth": {{"mode": "{TOKEN}", "n": 12345678, "e": {{}}}}}}, "o\u001bk": ["{TOKEN}"]}}"#
    );
    let fails = |key: &str| {
        let text = file("c.json", &content, Some(key)).unwrap_err().to_string();
        assert!(
            !text.contains("CANARY") && !text.contains("12345678"),
            "{text}"
        );
        text.split_once("c.json: ").unwrap().1.to_owned()
    };
    assert_eq!(
        fails("gatway"),
        r#"no "gatway" at the top level; an object with the keys gateway, o\u{1b}k"#
    );
    assert_eq!(
        fails("gateway.auth.token"),
        r#"no "token" under gateway.auth; an object with the keys e, mode, n"#
    );
    assert_eq!(
        fails("gateway.auth.mode.x"),
        r#"no "x" under gateway.auth.mode; a string"#
    );
    assert_eq!(
        fails("gateway.auth"),
        "gateway.auth: found an object with the keys e, mode, n, expected a string"
    );
    assert_eq!(
        fails("gateway.auth.e.x"),
        r#"no "x" under gateway.auth.e; an object without keys"#
    );
    assert!(fails("gateway.auth.n").contains("found a number (a secret of digits needs quotes)"));
}

#[test]
fn syntax_errors_give_positions_only() {
    for (name, content, expected) in [
        (
            "a.json",
            format!("{{\n  \"t\": {TOKEN}\n}}"),
            "not JSON (line 2, column 8), not JSON5 (line 2, column 8)",
        ),
        (
            "a.yaml",
            format!("a: \"{TOKEN}\n b: [{TOKEN}"),
            "not YAML (line ",
        ),
        ("a.json5", format!("{{t: '{TOKEN}"), "not JSON5 (line 1, "),
    ] {
        let error = file(name, &content, Some("t")).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(expected), "{text}");
        assert!(!format!("{text} {error:?}").contains("CANARY"), "{error:?}");
    }
}

#[test]
fn bounds() {
    assert!(matches!(
        stdin(&vec![b'a'; MAX_INPUT + 1], false),
        Err(FingerprintError::TooLarge(_))
    ));
    assert!(
        stdin(&vec![b'a'; MAX_INPUT], false)
            .unwrap()
            .contains("length 1048576")
    );
    let deep = "[".repeat(100_000);
    assert!(matches!(
        file("a.json5", &deep, Some("0")),
        Err(FingerprintError::TooDeep(_))
    ));
    let missing = Source::File {
        path: "/nonexistent/file".into(),
        key: None,
    };
    let error = run(
        missing,
        &keyed(),
        Form::Text(Look::PLAIN),
        &mut io::empty(),
        &mut io::sink(),
    )
    .unwrap_err();
    assert!(
        error.to_string().starts_with("/nonexistent/file: "),
        "{error}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn arbitrary_content(text in any::<String>(), key in any::<String>(), index in 0usize..4) {
        let name = ["a.json", "a.json5", "a.yaml", "a"][index];
        let _ = value_at(text.as_bytes(), Path::new(name), &key);
    }

    #[test]
    fn arbitrary_input_never_comes_out(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let mut input = TOKEN.as_bytes().to_vec();
        input.extend(bytes);
        prop_assert!(!stdin(&input, false).unwrap().contains("CANARY"));
    }
}
