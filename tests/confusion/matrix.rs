//! The report: a row for each class that was injected, a column for each that came out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use wstap::session::record::Class;

/// The outcome of one fault.
pub struct Case {
    name: &'static str,
    injected: Class,
    outcome: Outcome,
}

pub enum Outcome {
    Record {
        class: Class,
        objections: Vec<String>,
    },
    /// A step of the injection failed.
    Failed(String),
}

impl Case {
    pub fn new(name: &'static str, injected: Class, outcome: Outcome) -> Self {
        Self {
            name,
            injected,
            outcome,
        }
    }

    fn found(&self) -> Option<Class> {
        match self.outcome {
            Outcome::Record { class, .. } => Some(class),
            Outcome::Failed(_) => None,
        }
    }
}

pub struct Matrix {
    cases: Vec<Case>,
}

impl Matrix {
    pub fn new(cases: Vec<Case>) -> Self {
        Self { cases }
    }

    /// The table, and the line that counts.
    pub fn report(&self, took: Duration) -> String {
        let mut cells: BTreeMap<(Class, Option<Class>), usize> = BTreeMap::new();
        for case in &self.cases {
            *cells.entry((case.injected, case.found())).or_default() += 1;
        }
        let rows: BTreeSet<Class> = cells.keys().map(|(row, _)| *row).collect();
        let columns: BTreeSet<Option<Class>> = cells.keys().map(|(_, column)| *column).collect();
        let name = |class: &Option<Class>| class.map_or("(failed)", Class::as_str);
        let mut out = String::new();
        // The columns' names are long: they are numbered, and every row that is a column bears its
        // number.
        let number = |class: Class| columns.iter().position(|column| *column == Some(class));
        write!(out, "{:>3} {:<20}", "", "injected \\ verdict").unwrap();
        for at in 0..columns.len() {
            write!(out, "{:>4}", at + 1).unwrap();
        }
        out.push('\n');
        for row in &rows {
            let at = number(*row).map_or_else(String::new, |at| (at + 1).to_string());
            write!(out, "{at:>3} {:<20}", row.as_str()).unwrap();
            for column in &columns {
                match cells.get(&(*row, *column)) {
                    Some(count) => write!(out, "{count:>4}").unwrap(),
                    None => write!(out, "{:>4}", ".").unwrap(),
                }
            }
            out.push('\n');
        }
        for (at, column) in columns.iter().enumerate() {
            if column.is_none_or(|class| !rows.contains(&class)) {
                writeln!(out, "{:>3} {} (verdict only)", at + 1, name(column)).unwrap();
            }
        }
        let diagonal = self.cases.iter().filter(|case| case.is_diagonal()).count();
        writeln!(
            out,
            "{} faults, {diagonal} on the diagonal ({} classes, {:.1} s)",
            self.cases.len(),
            rows.len(),
            took.as_secs_f64(),
        )
        .unwrap();
        out
    }

    /// Everything that is wrong; with `whole`, missing classes too.
    pub fn complaints(&self, whole: bool) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.cases.is_empty() {
            wrong.push("no fault was injected".to_owned());
        }
        for case in &self.cases {
            let what = match &case.outcome {
                Outcome::Failed(why) => why.clone(),
                Outcome::Record { class, objections } => {
                    let class = (!case.is_diagonal()).then(|| format!("verdict {class}"));
                    let all: Vec<String> = class.into_iter().chain(objections.clone()).collect();
                    all.join("; ")
                }
            };
            if !what.is_empty() {
                wrong.push(format!("{} ({}): {what}", case.name, case.injected));
            }
        }
        let injected: BTreeSet<Class> = self.cases.iter().map(|case| case.injected).collect();
        let missing = Class::ALL
            .iter()
            .filter(|class| whole && **class != Class::Unknown && !injected.contains(class));
        wrong.extend(missing.map(|class| format!("no fault of the class {class}")));
        wrong
    }
}

impl Case {
    fn is_diagonal(&self) -> bool {
        self.found() == Some(self.injected)
    }
}

/// Prints it and writes it to `target/confusion.txt`.
#[expect(clippy::print_stdout, reason = "the report is what the test is for")]
pub fn publish(report: &str) {
    println!("{report}");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let file = folder.join("confusion.txt");
    let done = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&file, report));
    if let Err(error) = done {
        eprintln!("{}: {error}", file.display());
    }
}
