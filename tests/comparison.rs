//! `docs/comparison.md`: each of our cells names the test that shows it, and each such test is there.

use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = "docs/comparison.md";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The rows of its tables: the topic, and our cell.
fn rows(page: &str) -> Vec<(&str, &str)> {
    // A table's head has nothing in its first cell.
    let lines = page.lines().filter(|line| !line.starts_with("| |"));
    let rows = lines.filter_map(|line| line.strip_prefix("| "));
    let rows = rows.filter_map(|row| row.split_once(" | "));
    rows.map(|(what, rest)| (what, rest.split(" | ").next().unwrap_or(rest)))
        .collect()
}

/// Words such as `reload::a_test` in backticks.
fn tests(cell: &str) -> Vec<&str> {
    let quoted = cell.split('`').skip(1).step_by(2);
    quoted.filter(|words| words.contains("::")).collect()
}

/// Where a test is, as the runner names it.
fn is_there(test: &str) -> bool {
    let (module, name) = test.rsplit_once("::").expect("a module");
    let file: PathBuf = root()
        .join("tests")
        .join(module.replace("::", "/"))
        .with_extension("rs");
    let code = fs::read_to_string(file).unwrap_or_default();
    let of_a_test = |attribute: &str| code.contains(&format!("{attribute}\nfn {name}("));
    let awaited = format!("]\nasync fn {name}(");
    of_a_test("#[test]") || code.contains(&awaited)
}

#[test]
fn every_cell_of_ours_is_shown_by_a_test() {
    let page = fs::read_to_string(root().join(PAGE)).expect("read the page");
    let rows = rows(&page);
    assert!(rows.len() > 25, "{rows:?}");
    for (what, cell) in rows {
        let named = tests(cell);
        assert!(!named.is_empty(), "{PAGE}: no test for {what:?}");
        for test in named {
            assert!(
                is_there(test),
                "{PAGE}: there is no test {test}, named for {what:?}"
            );
        }
    }
}

#[test]
fn a_test_that_is_not_there_is_noticed() {
    assert!(is_there("comparison::a_test_that_is_not_there_is_noticed"));
    assert!(!is_there("comparison::a_test_that_is_there"));
    // No test, but a function.
    assert!(!is_there("comparison::rows"));
    assert!(!is_there("nowhere::a_test_that_is_not_there_is_noticed"));
}
