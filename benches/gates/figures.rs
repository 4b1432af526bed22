//! Compares figures with the limits in `limits.yaml`.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs;
use std::path::PathBuf;

use super::support::Fallible;
use super::support::limits::{Update, Written};

/// Instructions and bytes differ a little with the compiler, the C library and the processor.
const MARGIN: f64 = 0.04;

/// On other architectures the instructions differ: those figures are only shown.
const COMPARABLE: bool = cfg!(target_arch = "x86_64");

/// Something that was measured; less is better.
pub struct Figure {
    /// Its key in `limits.yaml`.
    pub name: &'static str,
    pub unit: &'static str,
    pub value: f64,
    /// Relative increase that does not count as a regression.
    margin: f64,
    /// The promised value. Above it the limit follows the measured value; below it the limit is
    /// never loosened beyond it.
    budget: Option<f64>,
}

impl Figure {
    pub fn new(name: &'static str, unit: &'static str, value: f64) -> Self {
        Self {
            name,
            unit,
            value,
            margin: MARGIN,
            budget: None,
        }
    }

    pub fn margin(self, margin: f64) -> Self {
        Self { margin, ..self }
    }

    pub fn budget(self, budget: f64) -> Self {
        Self {
            budget: Some(budget),
            ..self
        }
    }

    fn written(&self) -> Written {
        let limit = self.value * (1.0 + self.margin);
        let limit = match self.budget {
            Some(budget) if self.value <= budget => limit.min(budget),
            _ => limit,
        };
        Written {
            measured: rounded(self.value),
            limit: rounded(limit),
        }
    }
}

/// Rounds to about four significant digits.
fn rounded(value: f64) -> f64 {
    let scale = if value >= 1000.0 { 1.0 } else { 100.0 };
    (value * scale).round() / scale
}

/// The contents of `limits.yaml`.
pub struct Limits(BTreeMap<String, Written>);

impl Limits {
    pub fn read() -> Fallible<Self> {
        let path = path();
        let text = fs::read_to_string(&path)
            .map_err(|error| format!("no limits in {}: {error}", path.display()))?;
        Ok(Self(serde_yaml::from_str(&text)?))
    }
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/gates/limits.yaml")
}

const PREFACE: &str = "\
# What the gates measured, and the limit of each: `make gates-update` writes this file. Commit it with
# the change that made a figure better, or, with LOOSEN=1, say there why it may be worse. On x86-64 with
# AES and AVX2; instructions as callgrind counts them.
";

/// Describes the raising of a limit.
fn raised(figure: &Figure, old: Written, new: Written) -> String {
    let more = (new.limit / old.limit - 1.0) * 100.0;
    format!(
        "{}: {} {}, limit {} -> {} (+{more:.1} %)",
        figure.name, new.measured, figure.unit, old.limit, new.limit
    )
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Within,
    Better,
    Over,
    Unwritten,
}

pub struct Table {
    limits: Limits,
    figures: Vec<Figure>,
}

impl Table {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            figures: Vec::new(),
        }
    }

    pub fn extend(&mut self, figures: Vec<Figure>) {
        self.figures.extend(figures);
    }

    fn judge(&self, figure: &Figure) -> Verdict {
        if !COMPARABLE && figure.unit.starts_with("instructions") {
            return Verdict::Within;
        }
        let Some(written) = self.limits.0.get(figure.name) else {
            return Verdict::Unwritten;
        };
        if figure.value > written.limit {
            Verdict::Over
        } else if figure.value < written.measured * (1.0 - figure.margin) {
            Verdict::Better
        } else {
            Verdict::Within
        }
    }

    fn count(&self, verdict: Verdict) -> usize {
        let all = self.figures.iter();
        all.filter(|it| self.judge(it) == verdict).count()
    }

    pub fn all_within(&self) -> bool {
        self.count(Verdict::Over) + self.count(Verdict::Unwritten) == 0
    }

    /// Writes the measured values; figures that were not measured this time stay. A limit is raised
    /// only with `may_loosen`: otherwise nothing is written, and the error lists each limit that
    /// would be raised.
    pub fn write(&mut self, may_loosen: bool) -> Fallible<()> {
        let mut refused = String::new();
        let mut limits = self.limits.0.clone();
        for figure in &self.figures {
            let old = limits.get(figure.name).copied();
            match Update::of(old, figure.written(), may_loosen) {
                Update::Keep => {}
                Update::Write(written) => {
                    if let Some(old) = old.filter(|old| old.limit < written.limit) {
                        println!("gates: loosened: {}", raised(figure, old, written));
                    }
                    limits.insert(figure.name.to_owned(), written);
                }
                Update::Loosen(new) => {
                    if let Some(old) = old {
                        write!(refused, "\n  {}", raised(figure, old, new))?;
                    }
                }
            }
        }
        if !refused.is_empty() {
            return Err(format!(
                "nothing is written, since limits would be raised (LOOSEN=1 make gates-update does it):{refused}"
            )
            .into());
        }
        self.limits.0 = limits;
        let mut text = PREFACE.to_owned();
        for (name, Written { measured, limit }) in &self.limits.0 {
            writeln!(
                text,
                "{name}: {{ measured: {measured:?}, limit: {limit:?} }}"
            )?;
        }
        Ok(fs::write(path(), text)?)
    }

    /// One line for a log.
    pub fn closing(&self, held: usize, skipped: usize, broken: usize) -> String {
        let (over, better) = (self.count(Verdict::Over), self.count(Verdict::Better));
        let fine = self.count(Verdict::Within) + better;
        let mut line = format!("gates: {fine} figures within their limits, {held} held");
        for (count, what) in [
            (over, "over the limit"),
            (self.count(Verdict::Unwritten), "without a limit"),
            (broken, "failed"),
            (skipped, "skipped"),
            (
                better,
                "better than written down: lower them with make gates-update",
            ),
        ] {
            if count > 0 {
                // Writing to a `String` cannot fail.
                let _ = write!(line, ", {count} {what}");
            }
        }
        line
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| figure | unit | measured | written down | limit | |")?;
        writeln!(f, "|---|---|--:|--:|--:|---|")?;
        for figure in &self.figures {
            let written = self.limits.0.get(figure.name);
            let show = |value: Option<f64>| value.map_or("-".to_owned(), |it| it.to_string());
            let told = match (self.judge(figure), figure.budget) {
                (Verdict::Over, _) => "OVER".to_owned(),
                (Verdict::Unwritten, _) => "no limit".to_owned(),
                (_, Some(budget)) if figure.value > budget => format!("budget {budget}"),
                (Verdict::Better, _) => "better".to_owned(),
                (Verdict::Within, _) => String::new(),
            };
            writeln!(
                f,
                "| {} | {} | {} | {} | {} | {told} |",
                figure.name,
                figure.unit,
                rounded(figure.value),
                show(written.map(|it| it.measured)),
                show(written.map(|it| it.limit)),
            )?;
        }
        Ok(())
    }
}
