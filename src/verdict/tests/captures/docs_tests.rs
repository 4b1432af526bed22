//! Documents generated from the captures: the gateways that each rule was seen with, and the table
//! of `docs/compatibility.md`.

use super::*;
use crate::verdict::registry::rule;
use crate::verdict::rule::{NEWEST, Versions};

const BEGIN: &str = "<!-- scenarios: made from the captures; do not edit (make docs) -->\n";
const END: &str = "<!-- end of scenarios -->\n";

/// The gateways that triggered each rule.
fn seen() -> BTreeMap<String, BTreeSet<skew::Release>> {
    let mut all: BTreeMap<String, BTreeSet<_>> = BTreeMap::new();
    let release = |version: &str| skew::Release::of(version).unwrap();
    for (_, row) in judged() {
        for (version, _, verdict) in row {
            all.entry(verdict.rule)
                .or_default()
                .insert(release(version));
        }
    }
    for command in commands() {
        for record in command.sessions.iter().filter_map(replay::session) {
            let gateways = all.entry(decide(&record).rule).or_default();
            gateways.insert(release(&command.gateway));
        }
    }
    all
}

/// The name of its package.
fn name(release: skew::Release) -> String {
    let skew::Release(year, month, patch) = release;
    let plain = format!("{year}.{month}.{patch}");
    let known = VERSIONS
        .iter()
        .find(|version| version.starts_with(&format!("{plain}-")));
    known.map_or(plain, |version| (*version).to_owned())
}

#[test]
fn rules_list_the_gateways_that_they_were_seen_with() {
    let mut file = String::from(
        "//! Made from the captures of `tests/fixtures/gateway-versions`; do not edit. Which gateways were seen to\n\
         //! bring about which rule. (`make docs`)\n\n\
         /// Sorted by id; versions oldest first.\n\
         #[rustfmt::skip]\n\
         pub(super) static SEEN: &[(&str, &[&str])] = &[\n",
    );
    for (id, releases) in seen() {
        let known = rule(&id).unwrap();
        let newest = releases.iter().any(|one| name(*one) == NEWEST);
        match known.versions {
            // These rules are about transports, which are the same everywhere.
            Versions::Any => continue,
            Versions::Read => panic!("{id} was seen with {releases:?}"),
            Versions::Past => assert!(!newest, "{id} was seen with {NEWEST}"),
            Versions::Seen => {}
        }
        let names: Vec<String> = releases.into_iter().map(name).collect();
        let _ = writeln!(file, "    ({id:?}, &{names:?}),");
    }
    file.push_str("];\n");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/verdict/rule/seen.rs");
    let made = made(&path, &file);
    assert!(made, "src/verdict/rule/seen.rs is stale: run `make docs`");
    for rule in rules() {
        let past = rule.versions == Versions::Past;
        assert!(!past || !rule.seen_with().is_empty(), "{}", rule.id);
    }
}

#[test]
fn the_page_on_compatibility_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/compatibility.md");
    let written = std::fs::read_to_string(&path).unwrap();
    let (by_hand, rest) = written.split_once(BEGIN).unwrap();
    let (_, behind) = rest.split_once(END).unwrap();
    let page = format!("{by_hand}{BEGIN}{}{END}{behind}", chapter());
    assert!(
        made(&path, &page),
        "docs/compatibility.md is stale: run `make docs`"
    );
}

/// Whether a file has this text; with `UPDATE_DOCS` the file is written.
fn made(path: &Path, text: &str) -> bool {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, text).unwrap();
    }
    std::fs::read_to_string(path).unwrap_or_default() == text
}

fn chapter() -> String {
    let mut text = format!(
        "\n## Verdicts by gateway\n\n\
         Each scenario was captured with {}. The client calls itself 2026.9.6 in all of them. Where gateways do\n\
         different things the verdicts differ; what each did is in `tests/fixtures/gateway-versions`.\n\n\
         | scenario | verdict |\n|---|---|\n",
        VERSIONS.join(", ")
    );
    let mut rows: Vec<(String, String)> = Vec::new();
    let paths: BTreeMap<String, Option<String>> = VERSIONS
        .iter()
        .flat_map(|version| scenarios(version))
        .map(|one| (one.name, one.path))
        .collect();
    for (scenario, row) in judged() {
        rows.push((words(&scenario, paths[&scenario].as_deref()), cell(&row)));
    }
    for (scenario, verdict) in rows {
        let _ = writeln!(text, "| {scenario} | {verdict} |");
    }
    text.push('\n');
    text
}

/// `02-wrong-token` as `wrong token`.
fn words(scenario: &str, path: Option<&str>) -> String {
    let (number, name) = scenario.split_once('-').unwrap();
    match (number, path) {
        ("43", Some(path)) => format!("upgrade at `{path}`"),
        ("44", Some(path)) => format!("request for `{path}`"),
        _ => name.replace('-', " "),
    }
}

/// The rules, each with the gateways in runs.
fn cell(row: &[(&'static str, SessionRecord, Verdict)]) -> String {
    let mut runs: Vec<(&str, &str, &str)> = Vec::new();
    for (version, _, verdict) in row {
        match runs.last_mut() {
            Some((rule, _, last)) if *rule == verdict.rule => *last = version,
            _ => runs.push((&verdict.rule, version, version)),
        }
    }
    if let [(rule, ..)] = runs.as_slice() {
        return if row.len() == VERSIONS.len() {
            format!("`{rule}`")
        } else {
            format!("`{rule}` (captured with {} only)", row[0].0)
        };
    }
    let runs: Vec<String> = runs
        .into_iter()
        .map(|(rule, first, last)| {
            if first == last {
                format!("{first}: `{rule}`")
            } else {
                format!("{first} to {last}: `{rule}`")
            }
        })
        .collect();
    runs.join("; ")
}
