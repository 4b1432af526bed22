//! Checks of the documents: paths that exist, links that lead somewhere, an index that lists every
//! page, and sizes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Words of ARCHITECTURE.md.
const MAX_WORDS: usize = 1500;

/// Lines of an example in README.md: a screen.
const MAX_LINES: usize = 24;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(page: &Path) -> String {
    fs::read_to_string(root().join(page))
        .unwrap_or_else(|error| panic!("{}: {error}", page.display()))
}

/// All pages, by their place in the project.
fn pages() -> Vec<PathBuf> {
    const FOLDERS: [&str; 9] = [
        "",
        "docs",
        "docs/design",
        "benches",
        "certs",
        "config",
        "deploy",
        "tests/fixtures/gateway-versions",
        ".github",
    ];
    let mut found = Vec::new();
    for folder in FOLDERS {
        for entry in fs::read_dir(root().join(folder)).into_iter().flatten() {
            let name = PathBuf::from(entry.expect("an entry").file_name());
            if name.extension().is_some_and(|ending| ending == "md") {
                found.push(Path::new(folder).join(name));
            }
        }
    }
    found.sort();
    found
}

/// Without blocks of code, in which anything may be.
fn prose(text: &str) -> String {
    let mut inside = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn has_ending(name: &str, ending: &str) -> bool {
    Path::new(name).extension().is_some_and(|its| its == ending)
}

/// Paths of files and folders that a page names in backticks.
fn paths_named(text: &str) -> BTreeSet<String> {
    let folders = [
        "src", "tests", "benches", "docs", "config", "deploy", "scripts",
    ];
    let quoted = text.split('`').skip(1).step_by(2);
    let paths = quoted.filter(|word| {
        let first = word.split('/').next().unwrap_or_default();
        let is_path = word.contains('/') && (folders.contains(&first) || has_ending(word, "rs"));
        is_path && !word.contains(char::is_whitespace) && !word.contains(['*', '{', '<'])
    });
    paths.map(str::to_owned).collect()
}

/// A name in a recipe that its reader chooses.
fn is_placeholder(path: &str) -> bool {
    path.contains("NAME") || path.contains("ID.json")
}

/// From the root of the project, or from the folder of the sources, as layers are named.
fn exists(path: &str) -> bool {
    [root().join(path), root().join("src").join(path)]
        .iter()
        .any(|path| path.exists())
}

#[test]
fn paths_in_documents_exist() {
    let mut missing = Vec::new();
    for page in pages() {
        // It names paths of the past, which need not exist.
        if page == Path::new("CHANGELOG.md") {
            continue;
        }
        for path in paths_named(&prose(&read(&page))) {
            if !is_placeholder(&path) && !exists(&path) {
                missing.push(format!("{}: {path}", page.display()));
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn paths_are_found() {
    let found =
        paths_named("in `src/a.rs` and `b/c.rs`, not `a.b`, `GET /x`, `src/*.rs` or src/d.rs");
    assert_eq!(Vec::from_iter(found), ["b/c.rs", "src/a.rs"]);
    assert!(exists("src/lib.rs") && exists("proxy/tap.rs") && !exists("src/no-such-file.rs"));
    assert!(is_placeholder("src/NAME.rs") && !is_placeholder("src/lib.rs"));
}

/// `## Words in a heading` as a link names it: what GitHub does.
fn anchor(heading: &str) -> String {
    let plain = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = plain
        .chars()
        .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Targets of a page's links to the project.
fn links(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("](") {
        let rest = &text[at + 2..];
        let target = rest.split_once(')').map_or("", |(target, _)| target);
        if !target.contains("://") && !target.starts_with("mailto:") {
            found.push(target);
        }
    }
    found
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for page in pages() {
        let folder = page.parent().expect("a folder");
        for link in links(&prose(&read(&page))) {
            let (file, part) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                page.clone()
            } else {
                folder.join(file)
            };
            let target = root().join(target);
            let has_part = part.is_empty()
                || fs::read_to_string(&target).is_ok_and(|text| {
                    let text = prose(&text);
                    let headings = text.lines().filter(|line| line.starts_with('#'));
                    headings.map(anchor).any(|anchor| anchor == part)
                });
            if !target.exists() || !has_part {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert_eq!(broken, Vec::<String>::new());
}

#[test]
fn links_and_anchors_are_found() {
    let text = "[a](b.md#c), [d](https://e.example/), [f](#g)";
    assert_eq!(links(text), ["b.md#c", "#g"]);
    assert_eq!(
        anchor("## `--in`: probe from another namespace"),
        "--in-probe-from-another-namespace"
    );
}

#[test]
fn the_index_has_every_page() {
    let index = read(Path::new("docs/README.md"));
    let listed = links(&index);
    let folder = root().join("docs");
    let pages = pages().into_iter().filter_map(|page| {
        let name = page.strip_prefix("docs").ok()?.to_str()?.to_owned();
        (name != "README.md").then_some(name)
    });
    let pages: Vec<String> = pages.collect();
    assert!(pages.len() > 20, "{pages:?}");
    let schemas = fs::read_dir(&folder).expect("docs").flatten();
    let schemas = schemas.filter_map(|entry| entry.file_name().into_string().ok());
    let schemas = schemas.filter(|name| has_ending(name, "json"));
    let missing: Vec<String> = pages
        .into_iter()
        .chain(schemas)
        .filter(|name| !listed.contains(&name.as_str()))
        .collect();
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn the_architecture_is_short() {
    let words = read(Path::new("ARCHITECTURE.md"))
        .split_whitespace()
        .count();
    assert!(words <= MAX_WORDS, "{words} words");
}

#[test]
fn examples_in_the_readme_fit_on_a_screen() {
    let text = read(Path::new("README.md"));
    let blocks: Vec<usize> = text
        .split("```")
        .skip(1)
        .step_by(2)
        .map(|block| block.lines().count() - 1)
        .collect();
    assert!(!blocks.is_empty());
    assert!(blocks.iter().all(|lines| *lines <= MAX_LINES), "{blocks:?}");
}
