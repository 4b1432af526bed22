//! Rules, views and `explain` judge by kinds and codes, never by the words of an error: the text of a
//! library, of an alert or of our own message may change in any release, and no verdict with it.
//!
//! This reads the sources of `verdict` and `explain` and finds each place that matches a text. The
//! places that may do so are in [`ALLOWED`], with the reason: the documented words of a peer, after
//! its codes; tokens of a protocol; names of ours that are not prose.

mod lexer;
mod names;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use self::lexer::{Token, production_part, tokens};
use crate::layers::{collect, is_for_tests};

/// A place that may match a text.
struct Allowed {
    /// Below `src`.
    file: &'static str,
    /// The matches as [`matched`] returns them; empty: every match in this file.
    what: &'static [&'static str],
    why: &'static str,
}

const fn allow(file: &'static str, what: &'static [&'static str], why: &'static str) -> Allowed {
    Allowed { file, what, why }
}

const GATEWAY: &str =
    "documented words and codes of OpenClaw's gateway and clients, after their codes";
const PEER: &str = "documented words of a library's Close, after its code";
const SERVER: &str = "the names that `View::foreign_server` gives";
const HEADER: &str = "names and values of HTTP headers";
const TOKEN: &str = "a token of HTTP, TLS or a URL";
const OURS: &str = "an identifier of ours, not prose";
const INPUT: &str = "what the user typed, or the form of a file: nothing is judged";

const ALLOWED: &[Allowed] = &[
    allow("explain.rs", &["== \"-\""], INPUT),
    allow("explain/rules.rs", &[".starts_with(begins)"], INPUT),
    allow("explain/search.rs", &[], INPUT),
    allow("explain/source.rs", &[], INPUT),
    allow(
        "explain/steps/opening.rs",
        &[".trim_start_matches(\"TLS: \")"],
        "the sentence around it says TLS already: nothing is judged",
    ),
    allow(
        "explain/steps/opening.rs",
        &[".starts_with(\"frame:\")"],
        OURS,
    ),
    allow(
        "explain/steps/openclaw.rs",
        &[".starts_with(\"frame:\")"],
        OURS,
    ),
    allow("explain/summary/show.rs", &[".strip_prefix(class)"], OURS),
    allow("explain/symptoms.rs", &[], INPUT),
    allow(
        "verdict/answers.rs",
        &[".eq_ignore_ascii_case(name)"],
        HEADER,
    ),
    allow(
        "verdict/answers.rs",
        &[".starts_with(\"frame:\")", "== \"header:authorization\""],
        OURS,
    ),
    allow(
        "verdict/answers.rs",
        &[".starts_with(\"/cdn-cgi/access\")", "== \"https\""],
        TOKEN,
    ),
    allow(
        "verdict/openclaw/credential.rs",
        &[
            ".starts_with(\"hmac:run-\")",
            ".ends_with(\"password\")",
            ".starts_with(PLAIN)",
        ],
        OURS,
    ),
    allow(
        "verdict/foreign.rs",
        &[".eq_ignore_ascii_case(name)", ".starts_with(start)"],
        HEADER,
    ),
    allow(
        "verdict/hops.rs",
        &[
            "\"nginx\" =>",
            "\"OpenResty\" =>",
            "\"Tengine\" =>",
            "\"HAProxy\" =>",
        ],
        SERVER,
    ),
    allow(
        "verdict/hops.rs",
        &[
            ".eq_ignore_ascii_case(wanted)",
            "\"via\" =>",
            "\"forwarded\" =>",
            "\"x-real-ip\" =>",
            ".starts_with(\"x-forwarded\")",
            ".eq_ignore_ascii_case(\"via\")",
        ],
        HEADER,
    ),
    allow("verdict/hops.rs", &["== \"HTTP/1.0\""], TOKEN),
    allow(
        "verdict/names.rs",
        &[".contains(setting)"],
        "replaces names of settings in our own next action: nothing is judged",
    ),
    allow(
        "verdict/rules/openclaw/auth_identity.rs",
        &[
            ".strip_prefix(\"trusted_proxy_missing_header_\")",
            "== \"FORBIDDEN\"",
            "== \"AUTH_UNAUTHORIZED\"",
            ".strip_prefix(\"trusted_proxy_\")",
            "\"user_missing\" =>",
            "\"user_not_allowed\" =>",
            "\"loopback_source\" =>",
            "\"untrusted_source\" =>",
            "\"local_interface_source\" =>",
            "\"origin_not_allowed\" =>",
        ],
        GATEWAY,
    ),
    allow(
        "verdict/rules/openclaw/channel.rs",
        &[".eq_ignore_ascii_case(\"x-openclaw-scopes\")"],
        HEADER,
    ),
    allow(
        "verdict/rules/openclaw/channel.rs",
        &["== \"operator.admin\"", "== \"INVALID_REQUEST\""],
        GATEWAY,
    ),
    allow(
        "verdict/rules/client_again.rs",
        &[".starts_with(\"http\")"],
        TOKEN,
    ),
    allow(
        "verdict/rules/openclaw/client.rs",
        &[".starts_with(words)", ".starts_with(\"tick timeout\")"],
        GATEWAY,
    ),
    allow("verdict/rules/client_fault.rs", &["== \"h2\""], TOKEN),
    allow(
        "verdict/rules/forward_proxy.rs",
        &["== \"CONNECT\"", "== \"HTTP/1.1\""],
        TOKEN,
    ),
    allow(
        "verdict/rules/hop.rs",
        &[".eq_ignore_ascii_case(name)", ".contains(word)"],
        HEADER,
    ),
    allow(
        "verdict/rules/hop_access.rs",
        &["\"Envoy\" =>", "\"Envoy (Istio)\" =>"],
        SERVER,
    ),
    allow(
        "verdict/rules/hop_header.rs",
        &[".strip_prefix(\"listeners[\")", "\"unix\" =>"],
        OURS,
    ),
    allow(
        "verdict/rules/kept.rs",
        &[
            "\"GET\" =>",
            "\"HEAD\" =>",
            "\"OPTIONS\" =>",
            "\"TRACE\" =>",
            "\"PUT\" =>",
            "\"DELETE\" =>",
        ],
        TOKEN,
    ),
    allow(
        "verdict/rules/lifecycle.rs",
        &[".starts_with(reason)"],
        GATEWAY,
    ),
    allow(
        "verdict/rules/openclaw/lifecycle.rs",
        &["== \"startup-sidecars\"", "== \"UNAVAILABLE\""],
        GATEWAY,
    ),
    allow(
        "verdict/rules/openclaw/lifecycle_session.rs",
        &[".starts_with(reason)"],
        GATEWAY,
    ),
    allow(
        "verdict/rules/openclaw/limit.rs",
        &[
            ".starts_with(\"slow consumer\")",
            ".starts_with(\"slow-consumer\")",
        ],
        GATEWAY,
    ),
    allow(
        "verdict/rules/openclaw/origin.rs",
        &["\"\" =>", "== \"null\""],
        HEADER,
    ),
    allow(
        "verdict/rules/openclaw/origin.rs",
        &[".starts_with(\"origin missing\")"],
        GATEWAY,
    ),
    allow(
        "verdict/rules/openclaw/pairing.rs",
        &["== \"NOT_PAIRED\""],
        GATEWAY,
    ),
    allow("verdict/rules/pings.rs", &[".starts_with(words)"], PEER),
    allow(
        "verdict/rules/openclaw/protocol.rs",
        &[
            ".contains(\"unexpected property 'deviceToken'\")",
            "\"unexpected property 'deviceToken'\" =>",
            ".strip_prefix(\"at \")",
            ".split_once(\": \")",
            "== \"CONTROL_UI_BUILD_MISMATCH\"",
        ],
        GATEWAY,
    ),
    allow(
        "verdict/rules/silent.rs",
        &[".strip_prefix(\"http://\")"],
        TOKEN,
    ),
    allow(
        "verdict/rules/openclaw/silent.rs",
        &[".starts_with(\"tick timeout\")"],
        GATEWAY,
    ),
    allow(
        "verdict/rules/openclaw/together_auth.rs",
        &["== \"not-paired\""],
        GATEWAY,
    ),
    allow("verdict/openclaw/said.rs", &[], GATEWAY),
    allow("verdict/openclaw/skew.rs", &[], GATEWAY),
    allow("verdict/trust.rs", &["== \"unix\""], OURS),
    allow(
        "verdict/trust.rs",
        &[".eq_ignore_ascii_case(name)", "== \"x-forwarded-for\""],
        HEADER,
    ),
    allow(
        "verdict/openclaw/facts.rs",
        &["== \"openclaw\"", "== \"token\""],
        OURS,
    ),
];

/// Methods that only texts have.
const OF_TEXTS: [&str; 9] = [
    "ends_with",
    "eq_ignore_ascii_case",
    "rsplit_once",
    "split_once",
    "starts_with",
    "strip_prefix",
    "strip_suffix",
    "trim_end_matches",
    "trim_start_matches",
];

/// Methods that lists and iterators have as well.
const OF_OTHERS: [&str; 6] = ["contains", "eq", "find", "matches", "ne", "rfind"];

/// Names that texts for people have in these sources.
const TEXTS: [&str; 10] = [
    "body",
    "cause",
    "complaint",
    "detail",
    "error",
    "fault",
    "message",
    "reason",
    "text",
    "words",
];

/// Methods that make a text of something.
const TO_TEXTS: [&str; 4] = ["as_str", "to_ascii_lowercase", "to_lowercase", "to_string"];

/// Every place of a source that matches a text, in a short form.
fn matched(source: &str) -> Vec<String> {
    let tokens = tokens(source);
    let at = |index: usize| tokens.get(index);
    let is = |index: usize, wanted: &str| at(index).is_some_and(|token| token.is(wanted));
    let mut found = Vec::new();
    let mut in_matches = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let before = |back: usize| index.checked_sub(back).and_then(&at);
        let was = |back: usize, wanted: &str| before(back).is_some_and(|token| token.is(wanted));
        match token {
            Token::Open if was(1, "!") && was(2, "matches") => in_matches.push(true),
            Token::Open => in_matches.push(false),
            Token::Close(_) => {
                in_matches.pop();
            }
            Token::Text(text) => {
                // `== Some("…")`, `== &"…"`, and the other way round.
                let wrapped = [1, 2, 3].into_iter().find(|back| {
                    !before(*back)
                        .is_some_and(|it| matches!(it, Token::Open) || it.is("Some") || it.is("&"))
                });
                let compared = |token: Option<&Token>| {
                    token.is_some_and(|token| token.is("==") || token.is("!="))
                };
                if compared(wrapped.and_then(before)) || compared(at(index + 1)) {
                    found.push(format!("== {text:?}"));
                    continue;
                }
                let next = (index + 1..tokens.len())
                    .find(|next| !matches!(at(*next), Some(Token::Close(')'))));
                let arm = next.is_some_and(|next| is(next, "=>") || is(next, "if"));
                let choice = is(index + 1, "|");
                let in_pattern = in_matches.contains(&true) && !is(index + 1, ".");
                if arm || choice || in_pattern {
                    found.push(format!("{text:?} =>"));
                }
            }
            Token::Word(name) if was(1, ".") && matches!(at(index + 1), Some(Token::Open)) => {
                let of_texts = OF_TEXTS.contains(&name.as_str());
                if !of_texts && !OF_OTHERS.contains(&name.as_str()) {
                    continue;
                }
                let receiver = match before(2) {
                    Some(Token::Word(name)) => TEXTS.contains(&name.as_str()),
                    Some(Token::Close(_)) => {
                        let of = before(4);
                        let made = matches!(before(3), Some(Token::Open))
                            && TO_TEXTS.iter().any(|to| of.is_some_and(|of| of.is(to)));
                        made || list_of_texts(&tokens[..index - 1])
                    }
                    _ => false,
                };
                let mut first = index + 2;
                while is(first, "&") || matches!(at(first), Some(Token::Open)) {
                    first += 1;
                }
                match at(first) {
                    Some(Token::Text(text)) => found.push(format!(".{name}({text:?})")),
                    Some(Token::Word(argument)) if argument != "char" && (of_texts || receiver) => {
                        found.push(format!(".{name}({argument})"));
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
    found
}

/// `["a", "b"]` is at the end.
fn list_of_texts(tokens: &[Token]) -> bool {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate().rev() {
        match token {
            Token::Close(_) => depth += 1,
            Token::Open => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return matches!(tokens.get(index + 1), Some(Token::Text(_)));
        }
    }
    false
}

#[test]
fn no_verdict_depends_on_the_words_of_an_error() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    for folder in ["verdict", "explain"] {
        collect(&root.join(folder), &mut files);
    }
    files.push(root.join("explain.rs"));
    files.push(root.join("verdict.rs"));
    files.sort();
    let (mut wrong, mut used) = (Vec::new(), BTreeSet::new());
    for path in files.iter().filter(|path| path.exists()) {
        let inner = path.strip_prefix(&root).expect("below src");
        if is_for_tests(path) {
            continue;
        }
        let file = inner.display().to_string();
        let source = fs::read_to_string(path).expect("a source file");
        for what in matched(&production_part(&source)) {
            let of_file = ALLOWED.iter().filter(|it| it.file == file);
            let mut fits =
                of_file.filter(|it| it.what.is_empty() || it.what.contains(&what.as_str()));
            match fits.next() {
                Some(allowed) if allowed.what.is_empty() => {
                    used.insert((file.clone(), String::new()))
                }
                Some(_) => used.insert((file.clone(), what)),
                None => {
                    wrong.push(format!("src/{file}: {what}"));
                    false
                }
            };
        }
    }
    for Allowed { file, what, why } in ALLOWED {
        let every: &[&str] = if what.is_empty() { &[""] } else { what };
        for what in every {
            if !used.contains(&((*file).to_owned(), (*what).to_owned())) {
                wrong.push(format!(
                    "src/{file}: {what} is allowed ({why}), and not there"
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "these match a text; match an enum or a code, or say in tests/kinds.rs why not:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn every_form_of_a_match_is_found() {
    for (source, wanted) in [
        (
            r#"if error.detail.contains("expired") {}"#,
            r#".contains("expired")"#,
        ),
        ("failure.detail.starts_with(words)", ".starts_with(words)"),
        ("cause.as_str().contains(needle)", ".contains(needle)"),
        ("error.to_string().contains(&needle)", ".contains(needle)"),
        (
            r#"alert.as_deref() == Some("unknown_ca")"#,
            r#"== "unknown_ca""#,
        ),
        (r#""unknown_ca" != alert"#, r#"== "unknown_ca""#),
        (
            r#"match alert { "a" | "b" if x => 1, _ => 2 }"#,
            r#""a" =>"#,
        ),
        (r#"match alert { Some("c") => 1, _ => 2 }"#, r#""c" =>"#),
        (r#"matches!(alert, Some("d"))"#, r#""d" =>"#),
        (r#"["e", "f"].contains(&alert)"#, ".contains(alert)"),
        (r##"text.find(r#"g"#)"##, r#".find("g")"#),
        (r#"text.strip_prefix("TLS: ")"#, r#".strip_prefix("TLS: ")"#),
    ] {
        let found = matched(source);
        assert!(found.iter().any(|it| it == wanted), "{source}: {found:?}");
    }
}

#[test]
fn what_matches_no_text_is_left_alone() {
    for source in [
        "kinds.contains(&failure.kind)",
        "codes.contains(&1002) && (200..300).contains(&status)",
        r#"match kind { Kind::Alert => "broke off with an alert", _ => "x" }"#,
        r#"map.map_or_else(|| "none".to_owned(), |_| "some".to_owned())"#,
        "text.starts_with('/') && text.find(|c: char| c.is_whitespace()).is_some()",
        r#"// text.contains("in a comment")"#,
        r#"let text = "if text.contains(\"x\") == \"y\"";"#,
        r#"matches!(kind, Kind::A | Kind::B).then(|| "words")"#,
        "let a: &'static str = all.iter().find(|it| it.kind == kind);",
    ] {
        assert_eq!(matched(source), Vec::<String>::new(), "{source}");
    }
}
