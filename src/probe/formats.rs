//! The report for merge requests, test dashboards and GitHub's job pages.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::report::{Report, Rung, Status};
use crate::verdict::words::human_ms;

/// A table of the rungs, and below it the verdict of each that failed (GitHub Flavored Markdown).
pub(super) fn markdown(report: &Report) -> String {
    let target = cell(&report.target);
    let outcome = match report.first_failing {
        Some(id) => format!("first failing rung: **{id}**"),
        None => "no rung failed".to_owned(),
    };
    let mut text = format!(
        "### wstap probe {target}\n\nFrom {} ({}): {outcome}, {}\n\n| rung | | |\n|---|---|---|\n",
        cell(&report.whereabouts.host),
        cell(&report.whereabouts.netns),
        human_ms(report.ms)
    );
    for rung in &report.rungs {
        let because = cell(&rung.because);
        let _ = writeln!(
            text,
            "| `{}` | {} | {because} |",
            rung.id,
            rung.status.word()
        );
    }
    for (rung, verdict) in report
        .rungs
        .iter()
        .filter_map(|rung| Some((rung, rung.verdict.as_ref()?)))
    {
        let (rule, summary, next) = (
            &verdict.rule,
            cell(&verdict.summary),
            commands(&verdict.next),
        );
        let _ = write!(text, "\n**{}** `{rule}`: {summary}\n\n", rung.id);
        for evidence in &verdict.evidence {
            let _ = writeln!(text, "- {}", cell(&evidence.fact));
        }
        let _ = writeln!(text, "\nNext: {next}");
    }
    text
}

/// One line without markup, because a peer's text may contain some.
pub(crate) fn cell(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\n' | '\r' => plain.push(' '),
            '&' => plain.push_str("&amp;"),
            '<' => plain.push_str("&lt;"),
            '|' | '*' | '_' | '[' | ']' | '`' | '\\' | '~' | '#' | '!' => {
                plain.push('\\');
                plain.push(char);
            }
            char => plain.push(char),
        }
    }
    plain
}

/// Escapes our own text: commands in backquotes stay as they are, ready to copy.
pub(crate) fn commands(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    if parts.len().is_multiple_of(2) {
        return cell(text);
    }
    let parts = parts.iter().enumerate();
    let parts = parts.map(|(nth, part)| match nth % 2 {
        0 => cell(part),
        _ => format!("`{}`", part.replace(['\n', '\r'], " ")),
    });
    parts.collect()
}

/// Writes a `JUnit` report: a test for each rung.
pub(super) fn write_junit(report: &Report, path: &Path) -> io::Result<()> {
    let mut suite = TestSuite::new("wstap probe");
    suite.set_time(milliseconds(report.ms));
    suite.add_property(("target", report.target.as_str()));
    for rung in &report.rungs {
        suite.add_test_case(test_case(rung));
    }
    let mut junit = quick_junit::Report::new("wstap probe");
    junit.set_time(milliseconds(report.ms));
    junit.add_test_suite(suite);
    let file = File::create(path)?;
    junit.serialize(file).map_err(io::Error::other)
}

fn test_case(rung: &Rung) -> TestCase {
    let mut status = match rung.status {
        Status::Pass | Status::Warn => TestCaseStatus::success(),
        Status::Skip => TestCaseStatus::skipped(),
        Status::Fail => TestCaseStatus::non_success(NonSuccessKind::Failure),
    };
    if matches!(rung.status, Status::Skip | Status::Fail) {
        status.set_message(rung.because.as_str());
    }
    if let Some(verdict) = &rung.verdict {
        status.set_type(verdict.rule.as_str());
        let text = format!("{}\nnext: {}", verdict.summary, verdict.next);
        status.set_description(text);
    }
    let mut case = TestCase::new(rung.id, status);
    case.set_classname("wstap.probe");
    case.set_time(milliseconds(rung.ms.unwrap_or_default()));
    if rung.status == Status::Warn {
        case.set_system_out(rung.because.as_str());
    }
    case
}

fn milliseconds(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1000.0).unwrap_or_default()
}

/// The workflow command that shows a rung on the page of a GitHub job, if any.
pub(super) fn annotation(rung: &Rung) -> Option<String> {
    let command = match rung.status {
        Status::Fail => "error",
        Status::Warn => "warning",
        Status::Pass | Status::Skip => return None,
    };
    let (rule, text) = match &rung.verdict {
        Some(verdict) => {
            let text = format!(
                "{}: {}. Next: {}",
                rung.because, verdict.summary, verdict.next
            );
            (format!(" ({})", verdict.rule), text)
        }
        None => (String::new(), rung.because.clone()),
    };
    let title = escaped(&format!("wstap probe: {}{rule}", rung.id));
    let title = title.replace(':', "%3A").replace(',', "%2C");
    Some(format!("::{command} title={title}::{}\n", escaped(&text)))
}

fn escaped(text: &str) -> String {
    let text = text.replace('%', "%25");
    text.replace('\r', "%0D").replace('\n', "%0A")
}

/// Adds the report to the job's page (the file that `GITHUB_STEP_SUMMARY` names).
pub(super) fn add_to_summary(report: &Report, path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(markdown(report).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict;

    fn failed(because: &str) -> Rung {
        let mut rung = Rung::new("L1.tcp", Status::Fail, because);
        let mut verdict = verdict::decide(&crate::session::SessionRecord::default());
        verdict.rule = "gateway.unreachable.refused".to_owned();
        verdict.summary = "nothing listens: a|b".to_owned();
        rung.verdict = Some(verdict);
        rung
    }

    #[test]
    fn what_a_peer_says_is_no_markup() {
        assert_eq!(
            cell("a|b\n<img> `x` [y](z)"),
            "a\\|b &lt;img> \\`x\\` \\[y\\](z)"
        );
    }

    #[test]
    fn commands_can_be_copied() {
        assert_eq!(commands("run `a | b*` [now]"), "run `a | b*` \\[now\\]");
        assert_eq!(commands("one ` alone"), "one \\` alone");
    }

    #[test]
    fn annotations_are_one_line() {
        let line = annotation(&failed("100% \n::error::forged")).unwrap();
        assert!(line.starts_with(
            "::error title=wstap probe%3A L1.tcp (gateway.unreachable.refused)::100%25"
        ));
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert!(annotation(&Rung::new("L1.tcp", Status::Pass, "x")).is_none());
    }
}
