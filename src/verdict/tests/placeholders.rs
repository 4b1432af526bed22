//! A next action can be pasted: it contains no placeholder.

use std::fmt::Write as _;

use super::*;

/// Words that stand for a value that the reader would have to fill in.
const BLANKS: [&str; 15] = [
    "ADDR",
    "ADDRESS",
    "CONTAINER",
    "FILE",
    "GATEWAY",
    "HOST",
    "ID",
    "KEY",
    "NAME",
    "PATH",
    "PORT",
    "REQUEST-ID",
    "SERVICE",
    "TOKEN",
    "VALUE",
];

/// The first placeholder in a text: a word in capitals, `<name>`, or an ellipsis in a command.
fn placeholder(text: &str) -> Option<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let mut words = text.split(|c| !is_part(c));
    let blank = words.find(|word| BLANKS.contains(word));
    let between = text.split('<').skip(1).find(|rest| {
        let name = rest.split('>').next().unwrap_or_default();
        rest.contains('>') && !name.is_empty() && name.chars().all(is_part)
    });
    let mut quoted = text.split('`').skip(1).step_by(2);
    blank
        .or(between)
        .or_else(|| quoted.find(|it| it.contains('…')))
}

#[test]
fn placeholders_are_found() {
    for text in [
        "run `openssl s_client -connect HOST:PORT`",
        "set `ca: FILE`",
        "`curl http://<gateway>/healthz`",
        "send `Authorization: Bearer …`",
        "`openclaw devices approve REQUEST-ID`",
    ] {
        assert!(placeholder(text).is_some(), "{text}");
    }
    for text in [
        "set OPENCLAW_GATEWAY_TOKEN, or `NODE_EXTRA_CA_CERTS=/a/b.pem`",
        "the URL says what … is; 1 < 2 > 0",
    ] {
        assert_eq!(placeholder(text), None);
    }
}

#[test]
fn no_action_waits_to_be_filled_in() {
    let mut wrong = String::new();
    for rule in rules() {
        let verdict = decide(&fixture(rule.id));
        for text in [rule.action, &*verdict.next, &*verdict.summary] {
            if let Some(found) = placeholder(text) {
                let _ = writeln!(wrong, "{}: {found:?} in {text}", rule.id);
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// The client chooses the name that it asks for.
#[test]
fn a_command_holds_no_name_that_a_shell_would_read() {
    let next = |sni: &str| {
        let record = edited("client.left.tls", |record| {
            record["client"]["tls"]["sni"] = sni.into();
        });
        decide(&record).next
    };
    let command = "`openssl s_client -connect 127.0.0.1:8443 -servername claw.lan`";
    assert!(next("claw.lan").contains(command), "{}", next("claw.lan"));
    for bad in ["a;reboot", "$(reboot)", "-tls1", "a b", "`x`", ""] {
        let command = "`openssl s_client -connect 127.0.0.1:8443`";
        assert!(next(bad).contains(command), "{}", next(bad));
    }
}
