//! The program accepts every `wstap …` command line in the documentation.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::super::parser;

/// A command line, and where it is written.
#[derive(Debug, PartialEq, Eq)]
struct Written {
    place: String,
    line: String,
}

#[test]
fn every_documented_command_line_parses() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![root.join("README.md"), root.join("certs/README.md")];
    for (folder, endings) in [
        ("docs", ["md"].as_slice()),
        ("deploy", &["md", "yaml", "service", "socket"]),
        ("config", &["yaml"]),
    ] {
        collect(&root.join(folder), endings, &mut files);
    }
    assert!(files.len() > 15, "{files:?}");
    let (mut wrong, mut count) = (Vec::new(), 0);
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.strip_prefix(root).unwrap().display().to_string();
        for Written { place, line } in commands(&name, &text) {
            count += 1;
            if let Err(error) = parses(&line) {
                wrong.push(format!("{place}: {line}\n    {error}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(count > 30, "the reader of command lines sees only {count}");
}

#[test]
fn a_wrong_command_line_is_found_wherever_it_is_written() {
    let text = "Run `wstap serve --listn 1` or `wstap\nhealth --fast`, not `wstap.yaml`.\n\
                ```sh\n$ wstap fly | less\nRUST_LOG=debug wstap serve \\\n  --gateway http://gw # comment --x\n\
                wstap 0.1.0\n```\n# wstap is a word here: wstap checks.\n\
                ExecStart=/usr/local/bin/wstap serve --nope\n";
    let found: Vec<(String, bool)> = commands("f", text)
        .into_iter()
        .map(|Written { place, line }| (format!("{place} {line}"), parses(&line).is_ok()))
        .collect();
    let expected = [
        ("f:1 wstap serve --listn 1", false),
        ("f:1 wstap health --fast", false),
        ("f:4 wstap fly", false),
        ("f:5 wstap serve --gateway http://gw", true),
        ("f:10 wstap serve --nope", false),
    ];
    let expected = expected.map(|(line, ok)| (line.to_owned(), ok));
    assert_eq!(found, expected);
    // Placeholders, alternatives and optional parts.
    for line in [
        "wstap explain RULE|SESSION-ID|FILE",
        "wstap serve --output line|json|none",
        "wstap check [--config FILE]",
        "wstap fingerprint (--env NAME | --stdin)",
        "wstap explain \"pairing required\"",
    ] {
        assert_eq!(parses(line), Ok(()), "{line}");
    }
}

fn collect(folder: &Path, endings: &[&str], files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        if path.is_dir() {
            collect(&path, endings, files);
        } else if ending.is_some_and(|ending| endings.contains(&ending)) {
            files.push(path);
        }
    }
}

/// The command lines of a text: in code spans, in fenced blocks, in comments and units.
fn commands(file: &str, text: &str) -> Vec<Written> {
    let mut found = Vec::new();
    let (mut fenced, mut prose, mut prose_at) = (false, String::new(), 1);
    let markdown = Path::new(file)
        .extension()
        .is_none_or(|ending| ending != "yaml");
    let mut lines = text.lines().enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        let at = index + 1;
        let bare = line.trim_start();
        if markdown && bare.starts_with("```") {
            spans(file, prose_at, &prose, &mut found);
            prose.clear();
            fenced = !fenced;
            prose_at = at + 1;
            continue;
        }
        let unit = bare
            .strip_prefix("ExecStart=")
            .or(bare.strip_prefix("ExecReload="));
        if !fenced && unit.is_none() {
            // A code span may continue on the next line; in a comment, after its mark.
            prose.push_str(bare.trim_start_matches("# "));
            prose.push('\n');
            continue;
        }
        let mut whole = unit.unwrap_or(bare).to_owned();
        while whole.ends_with('\\') {
            whole.pop();
            let Some((_, next)) = lines.next() else { break };
            whole.push_str(next.trim());
        }
        if let Some(line) = in_a_shell(&whole) {
            found.push(Written {
                place: format!("{file}:{at}"),
                line,
            });
        }
        if !fenced {
            prose.push('\n');
        }
    }
    spans(file, prose_at, &prose, &mut found);
    found
}

/// The command lines in backquotes: `wstap` and at least one word.
fn spans(file: &str, first: usize, prose: &str, found: &mut Vec<Written>) {
    let mut at = first;
    for (index, part) in prose.split('`').enumerate() {
        let line: Vec<&str> = part.split_whitespace().collect();
        if index % 2 == 1 && line.len() > 1 && line[0] == "wstap" {
            found.push(Written {
                place: format!("{file}:{at}"),
                line: line.join(" ").replace("\\|", "|"),
            });
        }
        at += part.matches('\n').count();
    }
}

/// The part of a shell line that starts the program.
fn in_a_shell(line: &str) -> Option<String> {
    let ends = ["|", "#", ">", "2>", "<", "&&", ";", "&"];
    let mut words = line.split_whitespace().peekable();
    // Variables, a prompt, `sudo`.
    let before = |word: &&str| {
        ["$", "#", "sudo", "exec"].contains(word)
            || word
                .split_once('=')
                .is_some_and(|(name, _)| !name.contains(['-', '/']))
    };
    while words.peek().is_some_and(before) {
        words.next();
    }
    let program = words.next()?;
    if program.rsplit('/').next() != Some("wstap") {
        return None;
    }
    let words: Vec<&str> = words.take_while(|word| !ends.contains(word)).collect();
    let first = words.first()?;
    // `wstap 0.1.0` is output, and a word in a sentence is not a command.
    let is_output = first.starts_with(|c: char| c.is_ascii_digit());
    (!is_output).then(|| format!("wstap {}", words.join(" ")))
}

/// Replaces placeholders by values that most flags accept; of several alternatives the first
/// counts.
fn parses(line: &str) -> Result<(), String> {
    let mut args: Vec<String> = Vec::new();
    let mut depth = 0_i32;
    let mut skips = false;
    let mut quoted = None::<String>;
    for word in line.split_whitespace() {
        // A quoted text is one argument.
        if let Some(text) = &mut quoted {
            text.push(' ');
            text.push_str(word.trim_end_matches('"'));
            if word.ends_with('"') {
                args.extend(quoted.take());
            }
            continue;
        }
        if word.len() > 1 && word.starts_with('"') && !word.ends_with('"') {
            quoted = Some(word.trim_start_matches('"').to_owned());
            continue;
        }
        // `(--a | --b)`: the first one.
        if word == "|" {
            skips = depth > 0;
            continue;
        }
        depth += i32::from(word.starts_with('(')) - i32::from(word.ends_with(')'));
        let bare = word.trim_matches(['[', ']', '(', ')', '"', '\'', '…']);
        if !skips && !bare.is_empty() {
            let first = bare.split('|').next().unwrap_or(bare);
            args.push(first.to_owned());
        }
        skips &= depth > 0;
    }
    // A command's name alone only refers to the command.
    let names = parser(80)
        .get_subcommands()
        .any(|command| Some(command.get_name()) == args.get(1).map(String::as_str));
    if args.len() == 2 && names {
        return Ok(());
    }
    let parsed = parser(80).try_get_matches_from(args.into_iter().map(OsString::from));
    match parsed {
        Ok(_) => Ok(()),
        Err(error) if !error.use_stderr() => Ok(()),
        Err(error) => Err(error.to_string().lines().next().unwrap_or("").to_owned()),
    }
}
