//! Arguments: usage errors, help, and every command line that the documentation shows.

mod documented;

use super::*;
use crate::terminal::text::columns;

#[test]
fn the_arguments_are_consistent() {
    parser(80).debug_assert();
}

#[test]
fn usage_errors_are_2_and_help_is_0() {
    let code = |args: &[&str]| run(args.iter().map(OsString::from));
    assert_eq!(code(&["wstap", "--help"]), exit::OK);
    assert_eq!(code(&["wstap", "fly"]), exit::USAGE);
    assert_eq!(code(&["wstap", "fingerprint"]), exit::USAGE);
    assert_eq!(
        code(&["wstap", "fingerprint", "--stdin", "--key", "a"]),
        exit::USAGE
    );
}

#[test]
fn an_allowed_origin_is_taken_under_both_names() {
    for flag in ["--allowed-origin", "--allowed-origins"] {
        let args = [
            "wstap",
            "serve",
            flag,
            "https://a.example",
            flag,
            "https://b.example",
        ];
        let cli = parse(args.map(OsString::from)).unwrap();
        let Command::Serve(args) = cli.command else {
            panic!("{flag}");
        };
        let expected = ["https://a.example", "https://b.example"];
        assert_eq!(args.config.allowed_origins, expected);
    }
}

/// The output of `wstap COMMAND --help`.
fn help(command: &str, width: usize) -> String {
    let words = ["wstap", command, "--help"];
    let args = words.iter().filter(|word| !word.is_empty());
    let error = parser(width).try_get_matches_from(args).unwrap_err();
    error.render().to_string()
}

#[test]
fn help_fits_eighty_columns_and_shows_no_markup() {
    let commands = parser(80);
    let names = commands.get_subcommands().map(clap::Command::get_name);
    let mut all = String::new();
    for name in std::iter::once("").chain(names) {
        let text = help(name, 80);
        for line in text.lines() {
            assert!(columns(line) <= 80, "{name}: {line}");
            let markup = ["`", "<http", "<unix", "]("];
            assert!(!markup.iter().any(|it| line.contains(it)), "{name}: {line}");
        }
        all.push_str(&format!("$ wstap {name} --help\n").replace("  ", " "));
        all.push_str(&text);
        all.push('\n');
    }
    insta::assert_snapshot!(all);
}
