//! Imports point downward only (`ARCHITECTURE.md`, "Layers"): a module may use what stands below it, and
//! nothing else. Tests may import what they like.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The layers from top to bottom, as in `ARCHITECTURE.md`. A module may import every module of a
/// lower layer.
const LAYERS: &[&[&str]] = &[
    &["main", "cli"],
    // One file or folder a command.
    &[
        "attach",
        "check",
        "demo",
        "explain",
        "fingerprint",
        "health",
        "map",
        "probe",
        "serve",
        "sessions",
        "version",
    ],
    &["app"],
    &["admin", "proxy"],
    &["sink", "transport", "upstream"],
    &["config"],
    &["admission"],
    &["verdict"],
    &["dialect"],
    &["session"],
    &["ws"],
    // Exit codes: words that every command shares. Which cryptography is used, wherever TLS is. And what
    // the terminal is like, wherever something is printed for people.
    // And the way into namespaces, for commands that run beside a gateway.
    &["crypto", "exit", "place", "terminal"],
];

/// Imports within one layer: (importer, imported).
const WITHIN: &[(&str, &str)] = &[
    ("attach", "explain"),
    ("attach", "serve"),
    ("attach", "sessions"),
    ("demo", "serve"),
    ("main", "cli"),
    ("map", "probe"),
    ("upstream", "transport"),
];

/// One import of another top-level module.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Import {
    file: String,
    from: String,
    to: String,
}

#[test]
fn imports_point_downward() {
    let imports = imports();
    assert!(
        imports.len() > 20,
        "the reader of imports sees almost none: {imports:?}"
    );
    let broken: Vec<String> = imports.iter().filter_map(problem).collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn the_table_forbids_what_it_should() {
    let import = |from: &str, to: &str| {
        problem(&Import {
            file: String::new(),
            from: from.into(),
            to: to.into(),
        })
        .is_some()
    };
    assert!(import("ws", "session"));
    assert!(import("sink", "upstream"));
    assert!(import("app", "serve"));
    assert!(import("serve", "cli"));
    assert!(import("transport", "upstream"));
    assert!(import("admission", "config"));
    assert!(import("verdict", "newcomer"));
    assert!(!import("upstream", "transport"));
    assert!(!import("proxy", "ws"));
}

#[test]
fn imports_are_found_in_every_form() {
    let source = "
        //! See [`crate::admission`].
        use crate::session::{Recorder, record};
        use crate::{config::Config, ws};
        use super::relay;
        fn f() { crate::sink::jsonl::open() }
        pub(crate) struct S;
        #[cfg(test)]
        mod tests { use crate::app::App; }
        #[cfg(test)]
        mod more;
        use wstap::dialect::Dialect;
    ";
    let found = modules_named(&production_part(source));
    let found: Vec<&str> = found.iter().map(String::as_str).collect();
    assert_eq!(found, ["config", "dialect", "session", "sink", "ws"]);
}

fn problem(import: &Import) -> Option<String> {
    let Import { file, from, to } = import;
    let layer = |name: &str| LAYERS.iter().position(|layer| layer.contains(&name));
    let Some(own) = layer(from) else {
        return Some(format!(
            "{file}: `{from}` has no layer: add it to tests/layers.rs"
        ));
    };
    let Some(other) = layer(to) else {
        return Some(format!(
            "{file}: `{to}` has no layer: add it to tests/layers.rs"
        ));
    };
    let allowed = own < other || WITHIN.contains(&(from, to));
    (!allowed).then(|| format!("{file}: `{from}` must not import `{to}`"))
}

fn imports() -> BTreeSet<Import> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let mut imports = BTreeSet::new();
    for path in files {
        let inner = path.strip_prefix(&root).expect("below src");
        let file = inner.display().to_string();
        let from = module_of(inner);
        // Declares the modules, imports nothing.
        if from == "lib" || is_test_file(inner) {
            continue;
        }
        let source = fs::read_to_string(&path).expect("a source file");
        for to in modules_named(&production_part(&source)) {
            if to != from {
                imports.insert(Import {
                    file: file.clone(),
                    from: from.clone(),
                    to,
                });
            }
        }
    }
    imports
}

pub fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a source folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// `relay` of `proxy/relay.rs` is not of interest, `proxy` is.
fn module_of(inner: &Path) -> String {
    let first = inner.iter().next().expect("a file name").to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

pub fn is_test_file(inner: &Path) -> bool {
    inner.iter().any(|part| {
        let part = part.to_string_lossy();
        part == "tests" || part == "tests.rs" || part.ends_with("_tests.rs")
    })
}

/// The source without comments and without `#[cfg(test)]` items.
pub fn production_part(source: &str) -> String {
    let lines = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let source = lines.collect::<Vec<_>>().join("\n");
    let mut kept = String::new();
    let mut rest = source.as_str();
    while let Some((before, after)) = rest.split_once("#[cfg(test)]") {
        kept.push_str(before);
        rest = after_item(after);
    }
    kept + rest
}

/// What follows the item at the front: after its `;` or its closing brace.
fn after_item(source: &str) -> &str {
    let mut depth = 0_usize;
    for (at, c) in source.char_indices() {
        match c {
            ';' if depth == 0 => return &source[at + 1..],
            '{' => depth += 1,
            '}' if depth <= 1 => return &source[at + 1..],
            '}' => depth -= 1,
            _ => {}
        }
    }
    ""
}

/// The top-level modules that `crate::…` and `wstap::…` paths name.
fn modules_named(source: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for root in ["crate::", "wstap::"] {
        for (at, _) in source.match_indices(root) {
            let before = source[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let rest = &source[at + root.len()..];
            match rest.strip_prefix('{') {
                Some(list) => found.extend(first_names(list)),
                None => found.extend(word(rest)),
            }
        }
    }
    // Items that stand in lib.rs itself begin with a capital; none is a module.
    found.retain(|name| name.chars().all(|c| c.is_lowercase() || c == '_'));
    found
}

/// The names at the outermost level of a `{…}` list.
fn first_names(list: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut depth = 0_usize;
    let mut fresh = true;
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            c if fresh && !c.is_whitespace() => {
                names.extend(word(&list[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    names
}

fn word(text: &str) -> Option<String> {
    let end = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_'))
        .unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}
