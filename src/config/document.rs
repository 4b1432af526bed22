//! YAML text as a tree in which every node knows its line and column.
//!
//! The tree is built here, from the events of a YAML 1.2 parser, because the positions of keys make
//! an error message useful, and because duplicate keys, further documents and alias bombs have to
//! be detected before a deserialiser hides them. It knows nothing about our keys.
//!
//! Scalars follow the core schema of YAML 1.2 (section 10.3.2): `yes` and `on` are texts.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};

use super::error::{ConfigError, LineColumn, Spot, key_name};

/// Deeper nesting than this is refused; the schema needs five levels.
const MAX_DEPTH: usize = 32;
/// More nodes than this (aliases counted each time they are used) are refused.
const MAX_NODES: usize = 20_000;
/// Long texts count as one more node for each of these many bytes, so that aliases of a long
/// text are bounded too.
const BYTES_A_NODE: usize = 64;

/// A value and where it starts.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) place: LineColumn,
    pub(super) value: Value,
}

/// The value of a node.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Unsigned(u64),
    /// A number that is negative, fractional, infinite or too large to be a count.
    OtherNumber,
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key of a mapping with its value; keys are unique in their mapping.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: LineColumn,
    pub(super) node: Node,
}

/// Builds the tree. Duplicate keys are reported to `errors` and dropped; an error that leaves no
/// usable tree is reported and returns `None`. An empty text is a `Null` node.
pub(super) fn parse(text: &str, errors: &mut Vec<ConfigError>) -> Option<Node> {
    let mut builder = Builder {
        parser: Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text)),
        anchors: HashMap::new(),
        nodes: 0,
        errors,
    };
    match builder.stream() {
        Ok(node) => Some(node),
        Err(error) => {
            errors.push(error);
            None
        }
    }
}

struct Builder<'text, 'errors> {
    parser: Parser<'text, StrInput<'text>>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    errors: &'errors mut Vec<ConfigError>,
}

impl<'text> Builder<'text, '_> {
    fn stream(&mut self) -> Result<Node, ConfigError> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::DocumentStart(_) if root.is_some() => {
                    let spot = Spot::new(place(&span), "");
                    return Err(ConfigError::at(
                        &spot,
                        "one YAML document",
                        "the start of another document",
                    ));
                }
                Event::DocumentStart(_) => {
                    let (event, span) = self.next()?;
                    root = Some(self.node(event, &span, "", 0)?);
                }
                _ => {}
            }
        }
        Ok(root.unwrap_or(Node {
            place: LineColumn::START,
            value: Value::Null,
        }))
    }

    fn next(&mut self) -> Result<(Event<'text>, Span), ConfigError> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                let marker = error.marker();
                let place = LineColumn {
                    line: number(marker.line()),
                    column: number(marker.col() + 1),
                };
                let spot = Spot::new(place, "");
                Err(ConfigError::at(
                    &spot,
                    "valid YAML",
                    format!("an error: {}", error.info()),
                ))
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(
        &mut self,
        event: Event<'text>,
        span: &Span,
        path: &str,
        depth: usize,
    ) -> Result<Node, ConfigError> {
        let place = place(span);
        let first = self.nodes;
        self.count(1, place, path)?;
        if depth > MAX_DEPTH {
            let spot = Spot::new(place, path);
            return Err(ConfigError::at(
                &spot,
                "a few levels of nesting",
                "too many",
            ));
        }
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.count(text.len() / BYTES_A_NODE, place, path)?;
                let spot = Spot::new(place, path);
                (anchor, scalar(&text, style, tag.as_deref(), &spot)?)
            }
            Event::SequenceStart(anchor, _) => (anchor, self.list(path, depth)?),
            Event::MappingStart(anchor, _) => (anchor, self.map(path, depth)?),
            Event::Alias(anchor) => {
                let Some((node, size)) = self.anchors.get(&anchor).cloned() else {
                    let spot = Spot::new(place, path);
                    return Err(ConfigError::at(
                        &spot,
                        "an anchor that is complete before its alias",
                        "an alias inside its own anchor",
                    ));
                };
                self.count(size, place, path)?;
                return Ok(node);
            }
            _ => (0, Value::Null),
        };
        let node = Node { place, value };
        if anchor > 0 {
            self.anchors
                .insert(anchor, (node.clone(), self.nodes - first));
        }
        Ok(node)
    }

    fn list(&mut self, path: &str, depth: usize) -> Result<Value, ConfigError> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd | Event::StreamEnd) {
                return Ok(Value::List(items));
            }
            let path = format!("{path}[{}]", items.len());
            items.push(self.node(event, &span, &path, depth + 1)?);
        }
    }

    fn map(&mut self, path: &str, depth: usize) -> Result<Value, ConfigError> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen: HashMap<String, LineColumn> = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            let key_place = place(&span);
            let key = match event {
                Event::MappingEnd | Event::StreamEnd => return Ok(Value::Map(entries)),
                Event::Scalar(key, ..) => key.into_owned(),
                _ => {
                    let spot = Spot::new(key_place, path);
                    return Err(ConfigError::at(
                        &spot,
                        "a text as the key",
                        "something else",
                    ));
                }
            };
            self.count(1 + key.len() / BYTES_A_NODE, key_place, path)?;
            let path = join(path, &key);
            let (event, span) = self.next()?;
            let node = self.node(event, &span, &path, depth + 1)?;
            if let Some(first) = seen.get(&key) {
                let found = format!("it again (first at {}:{})", first.line, first.column);
                let spot = Spot::new(key_place, path);
                self.errors
                    .push(ConfigError::at(&spot, "each key once", found));
            } else {
                seen.insert(key.clone(), key_place);
                entries.push(Entry {
                    key,
                    place: key_place,
                    node,
                });
            }
        }
    }

    fn count(&mut self, nodes: usize, place: LineColumn, path: &str) -> Result<(), ConfigError> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            let spot = Spot::new(place, path);
            let expected = format!("at most {MAX_NODES} values");
            return Err(ConfigError::at(&spot, expected, "more"));
        }
        Ok(())
    }
}

/// The path of `key` inside `parent`.
pub(super) fn join(parent: &str, key: &str) -> String {
    let key = key_name(key);
    if parent.is_empty() {
        key
    } else {
        format!("{parent}.{key}")
    }
}

fn scalar(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    spot: &Spot,
) -> Result<Value, ConfigError> {
    match tag {
        None if style == ScalarStyle::Plain => Ok(plain(text)),
        None => Ok(Value::Text(text.to_owned())),
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => {
            Ok(Value::Text(text.to_owned()))
        }
        Some(_) => Err(ConfigError::at(spot, "a value without a YAML tag", "a tag")),
    }
}

fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number_in(text).unwrap_or_else(|| Value::Text(text.to_owned())),
    }
}

fn number_in(text: &str) -> Option<Value> {
    if let Some(digits) = text.strip_prefix("0x") {
        return based(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return based(digits, 8);
    }
    let digits = text.strip_prefix('+').unwrap_or(text);
    if is_digits(digits) {
        return Some(digits.parse().map_or(Value::OtherNumber, Value::Unsigned));
    }
    is_other_number(text).then_some(Value::OtherNumber)
}

fn based(digits: &str, radix: u32) -> Option<Value> {
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    Some(u64::from_str_radix(digits, radix).map_or(Value::OtherNumber, Value::Unsigned))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Negative integers, floats, infinities and not-a-number.
fn is_other_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    match unsigned {
        ".inf" | ".Inf" | ".INF" => return true,
        _ if matches!(text, ".nan" | ".NaN" | ".NAN") => return true,
        _ => {}
    }
    let starts_like_a_number = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let only_number_characters = unsigned
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    starts_like_a_number && only_number_characters && unsigned.parse::<f64>().is_ok()
}

fn place(span: &Span) -> LineColumn {
    LineColumn {
        line: number(span.start.line()),
        column: number(span.start.col() + 1),
    }
}

fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(text: &str) -> String {
        let mut errors = Vec::new();
        assert!(parse(text, &mut errors).is_none());
        errors.pop().unwrap().to_string()
    }

    fn place_of(error: &ConfigError) -> (u32, u32) {
        (error.line().unwrap(), error.column().unwrap())
    }

    #[test]
    fn scalars_follow_the_core_schema() {
        for (text, expected) in [
            ("~", "Null"),
            ("true", "Bool(true)"),
            ("yes", "Text(\"yes\")"),
            ("10", "Unsigned(10)"),
            ("0x10", "Unsigned(16)"),
            ("0o17", "Unsigned(15)"),
            ("1_000", "Text(\"1_000\")"),
            ("-1", "OtherNumber"),
            ("1.5e3", "OtherNumber"),
            (".inf", "OtherNumber"),
            ("99999999999999999999", "OtherNumber"),
            ("10s", "Text(\"10s\")"),
            ("infinity", "Text(\"infinity\")"),
            ("1:30", "Text(\"1:30\")"),
            ("::1", "Text(\"::1\")"),
            ("2026-01-01", "Text(\"2026-01-01\")"),
        ] {
            assert_eq!(format!("{:?}", plain(text)), expected, "{text}");
        }
    }

    #[test]
    fn keys_and_values_know_their_place() {
        let mut errors = Vec::new();
        let root = parse("a: 1\nlist:\n  - ö: x\n    k: 'v'\n", &mut errors).unwrap();
        let Value::Map(entries) = root.value else {
            panic!("not a mapping")
        };
        assert_eq!(entries[1].place, LineColumn { line: 2, column: 1 });
        let Value::List(items) = &entries[1].node.value else {
            panic!("not a list")
        };
        let Value::Map(inner) = &items[0].value else {
            panic!("not a mapping")
        };
        assert_eq!(inner[0].node.place, LineColumn { line: 3, column: 8 });
        assert_eq!(inner[1].place, LineColumn { line: 4, column: 5 });
    }

    #[test]
    fn duplicate_keys_are_reported_and_the_first_wins() {
        let mut errors = Vec::new();
        let root = parse("a:\n  b: 1\n  b: 2\n", &mut errors).unwrap();
        assert_eq!(errors.len(), 1);
        assert_eq!(place_of(&errors[0]), (3, 3));
        assert_eq!(
            errors[0].to_string(),
            "a.b: expected each key once, found it again (first at 2:3)"
        );
        let Value::Map(entries) = root.value else {
            panic!("not a mapping")
        };
        let Value::Map(inner) = &entries[0].node.value else {
            panic!("not a mapping")
        };
        assert!(matches!(inner[0].node.value, Value::Unsigned(1)));
    }

    #[test]
    fn aliases_work_and_are_bounded() {
        let mut errors = Vec::new();
        let root = parse("a: &x [1, 2]\nb: *x\n", &mut errors).unwrap();
        let Value::Map(entries) = root.value else {
            panic!("not a mapping")
        };
        assert!(matches!(&entries[1].node.value, Value::List(items) if items.len() == 2));

        let mut bomb = vec![String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")];
        for level in 1..9 {
            let alias = format!("*a{}", level - 1);
            bomb.push(format!(
                "a{level}: &a{level} [{}]\n",
                vec![alias; 10].join(", ")
            ));
        }
        assert!(failure(&bomb.concat()).contains("at most 20000 values"));
        assert!(failure("a: &a [*a]").contains("alias inside its own anchor"));
        assert!(failure(&"[".repeat(100)).contains("levels of nesting"));
    }

    #[test]
    fn only_one_document() {
        let mut errors = Vec::new();
        assert!(parse("---\na: 1\n---\nb: 2\n", &mut errors).is_none());
        assert_eq!(place_of(&errors[0]), (3, 1));
    }

    #[test]
    fn empty_text_is_null() {
        for text in ["", "\n", "# only a comment\n", "---\n", "\u{feff}"] {
            let mut errors = Vec::new();
            let root = parse(text, &mut errors).unwrap();
            assert!(matches!(root.value, Value::Null), "{text:?}");
        }
    }
}
