//! Entries that are not origins because of how they were written: several in one, quotes,
//! templates.
//!
//! This mostly happens in variables and flags: Docker's `--env-file` keeps quotes, people use the
//! separators of other programs, and an unexpanded variable arrives as `${NAME}`.

use super::correction::{EXPECTED, correct, shown};
use crate::config::error::Complaint;
use crate::config::overrides::OverrideSource;

/// Where an entry was written.
#[derive(Clone, Copy)]
pub(super) enum EntrySource {
    /// A line of the list in the file.
    File,
    /// A variable or a flag.
    Override(OverrideSource),
}

/// The mistake in such an entry, with the corrected line; `None` for all other entries.
pub(super) fn complaint(text: &str, place: EntrySource) -> Option<Complaint> {
    let text = text.trim();
    if is_template(text) {
        let found = format!("{}, a variable that nobody filled in", shown(text));
        return Some(Complaint::new(unexpanded(place), found));
    }
    let separators: Vec<&str> = [
        (text.contains(';'), "`;`"),
        (text.contains(['\n', '\r']), "a line break"),
        (text.contains(','), "`,`"),
        (text.contains('|'), "`|`"),
        (text.contains([' ', '\t']), "a blank"),
    ]
    .into_iter()
    .filter_map(|(is_there, name)| is_there.then_some(name))
    .collect();
    let parts: Vec<&str> = text
        .split([';', '\n', '\r', ',', '|', ' ', '\t'])
        .map(bare)
        .filter(|part| !part.is_empty())
        .collect();
    if parts.len() < 2 {
        let inner = parts.first().copied().unwrap_or_default();
        let has_quotes = text.contains(['"', '\'', '`']);
        return (inner.len() < text.len()).then(|| {
            let around = match (has_quotes, separators.first()) {
                (true, _) => "quotes in the value".to_owned(),
                (false, Some(separator)) => format!("{separator} at an end"),
                (false, None) => "brackets around it".to_owned(),
            };
            Complaint::new(
                line(&[inner], place),
                format!("{} with {around}", shown(text)),
            )
        });
    }
    let found = format!(
        "several origins in one entry, separated by {}",
        separators.join(" and ")
    );
    Some(Complaint::new(line(&parts, place), found))
}

/// The entries in the syntax of the place where they were written.
fn line(parts: &[&str], place: EntrySource) -> String {
    let corrected: Option<Vec<String>> = parts
        .iter()
        .map(|part| Some(correct(part).ok()?.0.to_string()))
        .collect();
    let Some(origins) = corrected.filter(|origins| !origins.is_empty()) else {
        return EXPECTED.to_owned();
    };
    match place {
        EntrySource::File => {
            let quoted: Vec<String> = origins.iter().map(|one| format!("\"{one}\"")).collect();
            format!("`allowed: [{}]`", quoted.join(", "))
        }
        EntrySource::Override(OverrideSource::Env(name)) => {
            format!(
                "`{name}={}`, separated by commas, no quotes",
                origins.join(",")
            )
        }
        EntrySource::Override(OverrideSource::Flag(name)) => {
            let each: Vec<String> = origins.iter().map(|one| format!("{name} {one}")).collect();
            format!("`{}`", each.join(" "))
        }
    }
}

fn unexpanded(place: EntrySource) -> String {
    const EXAMPLE: &str = "`https://claw.example.com`";
    match place {
        EntrySource::File => format!(
            "the origin itself, such as {EXAMPLE} (variables are not expanded in this file; set \
             WSTAP_ALLOWED_ORIGINS instead)"
        ),
        EntrySource::Override(source) => format!(
            "the origin itself, such as {EXAMPLE} (set the variable for whatever fills in {source}: \
             Compose takes it from its own environment or `.env`, `docker run --env-file` and systemd \
             expand nothing)"
        ),
    }
}

fn is_template(text: &str) -> bool {
    let variable = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let text = bare(text);
    text.contains("${")
        || text.contains("$(")
        || text.contains("{{")
        || text.strip_prefix('$').is_some_and(variable)
        || text
            .strip_prefix('%')
            .and_then(|rest| rest.strip_suffix('%'))
            .is_some_and(variable)
        || (text.starts_with('<') && text.ends_with('>'))
}

/// One entry without the quotes and the brackets of a JSON list.
fn bare(text: &str) -> &str {
    let quotes = ['"', '\'', '`'];
    let text = text.trim();
    let opened = text.strip_prefix('[').unwrap_or(text);
    let inner = opened.trim_matches(quotes);
    // `https://[::1]` ends with a bracket that belongs to it.
    match inner.strip_suffix(']') {
        Some(rest) if rest.ends_with(quotes) || !rest.contains("//[") => rest.trim_matches(quotes),
        _ => inner,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENV: EntrySource = EntrySource::Override(OverrideSource::Env("WSTAP_ALLOWED_ORIGINS"));
    const FLAG: EntrySource = EntrySource::Override(OverrideSource::Flag("--allowed-origin"));

    #[test]
    fn separators_of_other_programs() {
        for (text, separator) in [
            ("https://a.example;https://b.example:8443", "`;`"),
            (
                "https://a.example; https://b.example:8443/",
                "`;` and a blank",
            ),
            (
                "https://a.example\nhttps://b.example:8443\n",
                "a line break",
            ),
            (
                "https://a.example\r\nhttps://b.example:8443",
                "a line break",
            ),
            ("https://a.example https://b.example:8443", "a blank"),
            ("'https://a.example'|'https://b.example:8443'", "`|`"),
            (r#"["https://a.example", "https://b.example:8443"]"#, "`,`"),
        ] {
            for (place, line) in [
                (
                    ENV,
                    "`WSTAP_ALLOWED_ORIGINS=https://a.example,https://b.example:8443`, separated by commas, no quotes",
                ),
                (
                    FLAG,
                    "`--allowed-origin https://a.example --allowed-origin https://b.example:8443`",
                ),
                (
                    EntrySource::File,
                    "`allowed: [\"https://a.example\", \"https://b.example:8443\"]`",
                ),
            ] {
                let complaint = complaint(text, place).expect(text);
                assert_eq!(complaint.expected, line, "{text}");
                assert!(complaint.found.contains(separator), "{}", complaint.found);
            }
        }
    }

    #[test]
    fn quotes_and_brackets() {
        for text in [
            "\"https://a.example\"",
            "'https://a.example",
            "https://a.example\"",
            "[\"https://a.example\"",
            "\"https://a.example\"]",
        ] {
            let complaint = complaint(text, ENV).expect(text);
            assert_eq!(
                complaint.expected,
                "`WSTAP_ALLOWED_ORIGINS=https://a.example`, separated by commas, no quotes"
            );
            assert!(
                complaint.found.ends_with("with quotes in the value"),
                "{}",
                complaint.found
            );
        }
        let complaint = complaint("https://a.example;", FLAG).unwrap();
        assert_eq!(complaint.expected, "`--allowed-origin https://a.example`");
        assert!(
            complaint.found.contains("`;` at an end"),
            "{}",
            complaint.found
        );
    }

    #[test]
    fn what_nobody_filled_in() {
        for text in [
            "${ORIGINS}",
            "\"${ORIGINS:-x}\"",
            "$ORIGINS",
            "$(cat o)",
            "{{ o }}",
            "%O%",
            "<origin>",
        ] {
            for (place, hint) in [
                (ENV, "whatever fills in WSTAP_ALLOWED_ORIGINS"),
                (FLAG, "whatever fills in --allowed-origin"),
                (EntrySource::File, "not expanded in this file"),
            ] {
                let complaint = complaint(text, place).expect(text);
                assert!(complaint.expected.contains(hint), "{}", complaint.expected);
                assert!(
                    complaint.found.contains("nobody filled in"),
                    "{}",
                    complaint.found
                );
            }
        }
    }

    #[test]
    fn other_entries_are_not_meant() {
        for text in [
            "https://a.example",
            "https://[::1]",
            "https://[::1]:8443",
            "https://a.example/",
            "a.example",
            "*",
            "null",
            "",
            "chrome-extension://abcdefghijklmnop",
        ] {
            for place in [ENV, FLAG, EntrySource::File] {
                assert_eq!(complaint(text, place), None, "{text}");
            }
        }
    }

    #[test]
    fn what_may_be_a_secret_is_not_shown() {
        let complaint = complaint("https://me:hunter2@a.example;https://b.example", ENV).unwrap();
        assert!(!format!("{complaint:?}").contains("hunter2"));
    }
}
