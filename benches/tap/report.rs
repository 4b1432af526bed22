//! The table of a run: a row for each figure, a column for each target, and the ratios of the tap's
//! figure to the direct one and to the best peer's.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use crate::support::Fallible;

pub const DIRECT: &str = "direct";
pub const TAP: &str = "wstap";
/// A relay that takes whole messages: not a peer, but a model of a buffering proxy.
pub const WHOLE: &str = "whole messages";

/// Marker before the table in a page.
const BEGIN: &str = "<!-- bench: the table begins -->";
const END: &str = "<!-- bench: the table ends -->";

/// Which figure is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    Less,
    More,
    /// The figure only helps to read others: it has no best and no ratio.
    Neither,
}

/// The result for one target.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Value(f64),
    /// No figure; the number of the note with the reason.
    Failed(usize),
}

/// One figure of all targets.
#[derive(Clone, Debug)]
pub struct Row {
    pub group: &'static str,
    pub label: String,
    pub better: Better,
    cells: BTreeMap<String, Cell>,
}

impl Row {
    pub fn value(&self, target: &str) -> Option<f64> {
        match self.cells.get(target) {
            Some(Cell::Value(value)) => Some(*value),
            _ => None,
        }
    }

    /// The best peer's name and figure.
    pub fn best_peer(&self) -> Option<(&str, f64)> {
        let peers = self.cells.iter().filter_map(|(name, cell)| match cell {
            Cell::Value(value) if ![DIRECT, TAP, WHOLE].contains(&name.as_str()) => {
                Some((name.as_str(), *value))
            }
            _ => None,
        });
        match self.better {
            Better::Less => peers.min_by(|a, b| a.1.total_cmp(&b.1)),
            Better::More => peers.max_by(|a, b| a.1.total_cmp(&b.1)),
            Better::Neither => None,
        }
    }
}

/// All results of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    columns: Vec<String>,
    rows: Vec<Row>,
    notes: Vec<String>,
    /// Versions and the machine.
    facts: Vec<(String, String)>,
    /// The peers that budgets refer to.
    expected: Vec<String>,
}

impl Report {
    pub fn column(&mut self, target: &str) {
        self.columns.push(target.to_owned());
    }

    /// Requires a figure of this peer wherever the best one counts: the best of those that happen
    /// to be installed would be no measure.
    pub fn expect(&mut self, peer: &str) {
        self.expected.push(peer.to_owned());
    }

    /// Expected peers that have no figure in a row.
    pub fn missing<'a>(&'a self, row: &'a Row) -> impl Iterator<Item = &'a str> {
        let names = self.expected.iter().map(String::as_str);
        names.filter(|name| row.value(name).is_none())
    }

    pub fn fact(&mut self, name: &str, text: impl Into<String>) {
        self.facts.push((name.to_owned(), text.into()));
    }

    /// Adds a note once, and returns its number.
    pub fn note(&mut self, text: impl Into<String>) -> usize {
        let text = text.into();
        if let Some(at) = self.notes.iter().position(|note| *note == text) {
            return at + 1;
        }
        self.notes.push(text);
        self.notes.len()
    }

    pub fn put(
        &mut self,
        group: &'static str,
        label: &str,
        better: Better,
        target: &str,
        found: Result<f64, String>,
    ) {
        let cell = match found {
            Ok(value) => Cell::Value(value),
            Err(why) => Cell::Failed(self.note(format!("{target}, {group}: {why}"))),
        };
        let place = self.place(group, label, better);
        self.rows[place].cells.insert(target.to_owned(), cell);
    }

    /// Shows a row even if no target has a meaningful figure for it.
    pub fn leave_open(&mut self, group: &'static str, label: &str) {
        self.place(group, label, Better::Less);
    }

    /// The index of a row, which is added if it does not exist.
    fn place(&mut self, group: &'static str, label: &str, better: Better) -> usize {
        let mut rows = self.rows.iter();
        let place = rows.position(|row| row.group == group && row.label == label);
        place.unwrap_or_else(|| {
            self.rows.push(Row {
                group,
                label: label.to_owned(),
                better,
                cells: BTreeMap::new(),
            });
            self.rows.len() - 1
        })
    }

    pub fn row(&self, group: &str, label: &str) -> Option<&Row> {
        self.rows
            .iter()
            .find(|row| row.group == group && row.label == label)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| |")?;
        for column in &self.columns {
            write!(f, " {column} |")?;
        }
        writeln!(f, " {TAP} ÷ direct | {TAP} ÷ best peer |")?;
        writeln!(f, "|---|{}", "--:|".repeat(self.columns.len() + 2))?;
        let mut group = "";
        for row in &self.rows {
            if row.group != group {
                group = row.group;
                let empty = " |".repeat(self.columns.len() + 2);
                writeln!(f, "| **{group}** |{empty}")?;
            }
            write!(f, "| {} |", row.label)?;
            for column in &self.columns {
                match row.cells.get(column) {
                    Some(Cell::Value(value)) => write!(f, " {} |", figure(*value))?,
                    Some(Cell::Failed(note)) => write!(f, " failed ({note}) |")?,
                    None => write!(f, " – |")?,
                }
            }
            // The latency added to the direct one may be negative on a busy machine.
            let compares = row.better != Better::Neither;
            let ratio = |to: f64| {
                let tap = row.value(TAP).filter(|_| compares && to > 0.0);
                tap.map(|tap| tap / to)
            };
            match row.value(DIRECT).and_then(ratio) {
                Some(ratio) => write!(f, " {ratio:.2} |")?,
                None => write!(f, " – |")?,
            }
            match row.best_peer().map(|(name, best)| (name, ratio(best))) {
                Some((name, Some(ratio))) => writeln!(f, " {ratio:.2} ({name}) |")?,
                _ => writeln!(f, " – |")?,
            }
        }
        writeln!(f)?;
        for (number, note) in self.notes.iter().enumerate() {
            writeln!(f, "{}. {note}", number + 1)?;
        }
        if !self.notes.is_empty() {
            writeln!(f)?;
        }
        for (name, text) in &self.facts {
            writeln!(f, "- {name}: {text}")?;
        }
        Ok(())
    }
}

/// Formats with three significant digits.
pub fn figure(value: f64) -> String {
    match value.abs() {
        small if small < 10.0 => format!("{value:.2}"),
        middle if middle < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// Puts the table between the marks of a page.
pub fn paste(page: &Path, text: &str) -> Fallible<()> {
    let name = page.display();
    let old = fs::read_to_string(page).map_err(|error| format!("{name}: {error}"))?;
    let new = pasted(&old, text).ok_or_else(|| format!("{name} has no {BEGIN} and {END}"))?;
    Ok(fs::write(page, new)?)
}

/// The page with this text between its marks.
pub fn pasted(page: &str, text: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{}\n{END}{after}", text.trim()))
}
