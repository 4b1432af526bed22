//! The mistakes in a configuration, and where they are.
//!
//! One type for every kind of mistake, so that the user gets all of them in one run, in the order
//! of the file, each in the form `file:line:col: key.path: expected …, found …`. Text from the
//! configuration goes through [`quoted`] before it gets here: it is shortened and escaped, and the
//! caller has made sure that it is not a secret.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::files::Named;
use super::overrides::OverrideSource;

/// Errors beyond this number are counted, not listed.
const LISTED: usize = 100;

/// Every mistake found in one configuration; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    errors: Vec<ConfigError>,
    omitted: usize,
    files: Vec<Named>,
}

impl ConfigErrors {
    /// Sorts `errors` by position (those from flags and environment last).
    pub(super) fn collect(mut errors: Vec<ConfigError>) -> Self {
        if errors.is_empty() {
            errors.push(ConfigError::somewhere(
                "",
                "a configuration",
                "none that can be used",
            ));
        }
        errors.sort_by_key(|error| {
            (
                error.source.is_some(),
                error.line.unwrap_or(0),
                error.column.unwrap_or(0),
            )
        });
        let omitted = errors.len().saturating_sub(LISTED);
        errors.truncate(LISTED);
        Self {
            errors,
            omitted,
            files: Vec::new(),
        }
    }

    /// Adds the files that were read.
    pub(super) fn naming(mut self, files: Vec<Named>) -> Self {
        self.files = files;
        self
    }

    /// The configuration file and the files that it names, as far as it could be read: the mistake
    /// may have to be fixed in one of those.
    #[must_use]
    pub fn files(&self) -> &[Named] {
        &self.files
    }

    /// The errors, in the order of the file; at most 100.
    #[must_use]
    pub fn as_slice(&self) -> &[ConfigError] {
        &self.errors
    }

    /// Number of mistakes, including those that are not listed; after 200, reading stops.
    #[must_use]
    pub fn count(&self) -> usize {
        self.errors.len() + self.omitted
    }

    /// The errors, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.errors.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&error.with_advice_line())?;
        }
        if self.omitted > 0 {
            write!(f, "\nand at least {} more", self.omitted)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// One mistake, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    file: Option<Arc<Path>>,
    source: Option<OverrideSource>,
    line: Option<u32>,
    column: Option<u32>,
    key_path: Box<str>,
    expected: Box<str>,
    found: Box<str>,
    advice: Option<Box<Advice>>,
    form: Form,
}

/// What to do. Boxed, because few errors have it: it takes little room in the others.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Advice(String);

impl Advice {
    /// `None` for an empty advice.
    fn boxed(text: impl Into<String>) -> Option<Box<Self>> {
        let text = text.into();
        (!text.is_empty()).then(|| Box::new(Self(text)))
    }
}

/// The form in which an error is worded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `expected …, found …`
    Mismatch,
    /// `found` is a sentence, and `expected` is advice.
    Sentence,
    /// `found` failed, whatever is expected.
    Failure,
}

impl ConfigError {
    /// A mistake at a position in the file.
    pub(super) fn at(
        spot: &Spot,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> ConfigError {
        Self {
            line: Some(spot.place.line),
            column: Some(spot.place.column),
            ..Self::somewhere(spot.key_path.clone(), expected, found)
        }
    }

    /// A mistake without a position in a file, such as one in the environment of the process.
    pub(super) fn somewhere(
        key_path: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> ConfigError {
        Self {
            file: None,
            source: None,
            line: None,
            column: None,
            key_path: key_path.into().into(),
            expected: expected.into().into(),
            found: found.into().into(),
            advice: None,
            form: Form::Mismatch,
        }
    }

    /// A mistake in a flag or an environment variable.
    pub(super) fn given(source: OverrideSource, complaint: Complaint) -> ConfigError {
        Self {
            source: Some(source),
            advice: Advice::boxed(complaint.advice),
            ..Self::somewhere("", complaint.expected, complaint.found)
        }
    }

    /// Something that is completely missing; printed as `what: advice`.
    pub(super) fn missing(
        key_path: &str,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) -> ConfigError {
        Self {
            form: Form::Sentence,
            ..Self::somewhere(key_path, advice, what)
        }
    }

    /// The same error with a line and column.
    pub(super) fn with_place(self, place: LineColumn) -> ConfigError {
        Self {
            line: Some(place.line),
            column: Some(place.column),
            ..self
        }
    }

    /// The same error at the same position, but with something else found there.
    #[must_use]
    pub fn with_found(&self, found: impl Into<String>) -> ConfigError {
        Self {
            found: found.into().into(),
            ..self.clone()
        }
    }

    /// The same error with what to do; an empty advice counts as none.
    pub(super) fn advising(self, advice: impl Into<String>) -> ConfigError {
        let advice = Advice::boxed(advice);
        Self { advice, ..self }
    }

    /// A failure at the same position, and what to do; without advice, as something found there.
    #[must_use]
    pub fn with_failure(
        &self,
        failed: impl Into<String>,
        advice: impl Into<String>,
    ) -> ConfigError {
        let advice = Advice::boxed(advice);
        if advice.is_none() {
            return self.with_found(failed);
        }
        Self {
            advice,
            form: Form::Failure,
            ..self.with_found(failed)
        }
    }

    /// The same error with the name of the file; an error about an override stays without.
    pub(super) fn in_file(mut self, file: &Arc<Path>) -> ConfigError {
        if self.source.is_none() {
            self.file = Some(Arc::clone(file));
        }
        self
    }

    /// The configuration file; `None` for flags, environment, or when there is no file.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The flag or environment variable that the bad value came from.
    #[must_use]
    pub fn source(&self) -> Option<OverrideSource> {
        self.source
    }

    /// Line, counted from 1.
    #[must_use]
    pub fn line(&self) -> Option<u32> {
        self.line
    }

    /// Column in characters, counted from 1.
    #[must_use]
    pub fn column(&self) -> Option<u32> {
        self.column
    }

    /// Path of the key, such as `listeners[0].tls.certificates[0].key`; empty if the mistake is
    /// about the whole file or about a flag.
    #[must_use]
    pub fn key_path(&self) -> &str {
        &self.key_path
    }

    /// What was expected.
    #[must_use]
    pub fn expected(&self) -> &str {
        &self.expected
    }

    /// What was found instead; never a secret.
    #[must_use]
    pub fn found(&self) -> &str {
        &self.found
    }

    /// What to do, if that does not follow from what is expected.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        self.advice.as_ref().map(|advice| advice.0.as_str())
    }

    /// One line about the mistake and, if that does not say what to do, a second one that does.
    #[must_use]
    pub fn with_advice_line(&self) -> String {
        match self.advice() {
            Some(advice) => format!("{self}\n  to do: {advice}"),
            None => self.to_string(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}", file.display())?;
            if let (Some(line), Some(column)) = (self.line, self.column) {
                write!(f, ":{line}:{column}")?;
            }
            f.write_str(": ")?;
        }
        if let Some(source) = self.source {
            write!(f, "{source}: ")?;
        }
        if self.form == Form::Sentence {
            return write!(f, "{}: {}", self.found, self.expected);
        }
        if !self.key_path.is_empty() {
            write!(f, "{}: ", self.key_path)?;
        }
        if self.form == Form::Failure {
            return f.write_str(&self.found);
        }
        write!(f, "expected {}, found {}", self.expected, self.found)
    }
}

impl std::error::Error for ConfigError {}

/// The mistake in one value, before its position is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) expected: String,
    pub(super) found: String,
    /// See [`ConfigError::advice`].
    pub(super) advice: String,
}

impl Complaint {
    pub(super) fn new(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            expected: expected.into(),
            found: found.into(),
            advice: String::new(),
        }
    }

    /// The same complaint with what to do.
    pub(super) fn advising(self, advice: impl Into<String>) -> Self {
        Self {
            advice: advice.into(),
            ..self
        }
    }

    pub(super) fn at(self, spot: &Spot) -> ConfigError {
        ConfigError {
            advice: Advice::boxed(self.advice),
            ..ConfigError::at(spot, self.expected, self.found)
        }
    }
}

/// Line and column (in characters), both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LineColumn {
    pub(super) line: u32,
    pub(super) column: u32,
}

impl LineColumn {
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

/// A position together with the path of the key there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) place: LineColumn,
    pub(super) key_path: String,
}

impl Spot {
    pub(super) fn new(place: LineColumn, key_path: impl Into<String>) -> Self {
        Self {
            place,
            key_path: key_path.into(),
        }
    }
}

/// Text for an error message: on one line, escaped, at most 80 characters, in backticks.
pub(super) fn quoted(text: &str) -> String {
    format!("`{}`", clipped(text, 80))
}

/// The name of a key as it appears in a key path: escaped and at most 40 characters.
pub(super) fn key_name(key: &str) -> String {
    clipped(key, 40)
}

fn clipped(text: &str, limit: usize) -> String {
    let mut escaped = String::new();
    let mut rest = text.chars();
    for character in rest.by_ref().take(limit) {
        if character.is_control() || is_bidi_control(character) {
            escaped.extend(character.escape_unicode());
        } else {
            escaped.push(character);
        }
    }
    if rest.next().is_some() {
        escaped.push('…');
    }
    escaped
}

/// Characters that reorder or break what a terminal shows.
fn is_bidi_control(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_kept_on_one_line_and_short() {
        assert_eq!(quoted("a\nb\u{202e}"), "`a\\u{a}b\\u{202e}`");
        assert_eq!(quoted(&"x".repeat(100)), format!("`{}…`", "x".repeat(80)));
    }

    #[test]
    fn the_file_comes_first_in_order_then_flags() {
        let error =
            |line| ConfigError::at(&Spot::new(LineColumn { line, column: 1 }, "k"), "a", "b");
        let flag = ConfigError::given(OverrideSource::Flag("--listen"), Complaint::new("x", "y"));
        let errors = ConfigErrors::collect(vec![flag, error(9), error(2)]);
        let file: Arc<Path> = Path::new("f.yaml").into();
        let lines: Vec<_> = errors
            .iter()
            .map(|error| error.clone().in_file(&file).to_string())
            .collect();
        assert_eq!(
            lines,
            [
                "f.yaml:2:1: k: expected a, found b",
                "f.yaml:9:1: k: expected a, found b",
                "--listen: expected x, found y",
            ]
        );
    }

    #[test]
    fn many_errors_are_counted() {
        let error = ConfigError::somewhere("k", "a", "b");
        let errors = ConfigErrors::collect(vec![error; 103]);
        assert!(errors.to_string().ends_with("\nand at least 3 more"));
        assert_eq!(errors.count(), 103);
    }
}
