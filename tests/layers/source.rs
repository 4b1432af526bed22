//! Reads which modules a source file declares and which paths it names, without comments, strings and code that
//! is compiled for tests only. It is no parser: it knows tokens, `use` lists, `mod` and attributes.

use std::collections::BTreeSet;

/// The modules and paths that a file names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) declared: Vec<Declared>,
    pub(super) named: BTreeSet<Named>,
}

/// `mod name;`
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Declared {
    pub(super) name: String,
    /// Value of `#[path = "…"]`.
    pub(super) path: Option<String>,
    /// Value of `path` in `#[cfg_attr(…, path = "…")]`: the file on another system.
    pub(super) elsewhere: Option<String>,
}

/// A path, in a `use` or in code.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Named {
    /// The inline modules around it, from the outermost on: `self` and `super` start there.
    pub(super) within: Vec<String>,
    pub(super) segments: Vec<String>,
}

impl Source {
    pub(super) fn read(text: &str) -> Self {
        let tokens = production_part(&tokens(text));
        let mut reader = Reader {
            tokens: &tokens,
            at: 0,
            depth: 0,
            inline: Vec::new(),
            found: Self::default(),
        };
        reader.run();
        reader.found
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    /// The content of a string, as it is written.
    Text(&'a str),
    /// `::`
    Colons,
    Other(char),
}

impl<'a> Token<'a> {
    fn is(self, c: char) -> bool {
        self == Self::Other(c)
    }

    fn is_word(self, word: &str) -> bool {
        matches!(self, Self::Word(it) if it == word)
    }

    fn word(self) -> Option<&'a str> {
        match self {
            Self::Word(word) => Some(word),
            _ => None,
        }
    }

    fn opens(self) -> bool {
        matches!(self, Self::Other('(' | '[' | '{'))
    }

    fn closes(self) -> bool {
        matches!(self, Self::Other(')' | ']' | '}'))
    }
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let (token, length) = if c.is_whitespace() {
            (None, c.len_utf8())
        } else if rest.starts_with("//") {
            (None, rest.find('\n').unwrap_or(rest.len()))
        } else if rest.starts_with("/*") {
            (None, comment(rest))
        } else if let Some((content, length)) = string(rest) {
            (Some(Token::Text(content)), length)
        } else if c == '\'' {
            (None, character_or_lifetime(rest))
        } else if is_word(c) {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            (Some(Token::Word(&rest[..end])), end)
        } else if rest.starts_with("::") {
            (Some(Token::Colons), 2)
        } else {
            (Some(Token::Other(c)), c.len_utf8())
        };
        tokens.extend(token);
        rest = &rest[length..];
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Length of the block comment at the front; they nest.
fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// Content and length of the string literal at the front, in any of its forms.
fn string(text: &str) -> Option<(&str, usize)> {
    let quoted = text.trim_start_matches(['b', 'c', 'r', '#']);
    let prefix = &text[..text.len() - quoted.len()];
    let hashes = prefix.trim_start_matches(['b', 'c', 'r']);
    let is_raw = prefix.contains('r');
    // More letters are the end of a word, and hashes belong to raw strings.
    let is_prefix = prefix.len() - hashes.len() <= 2 && (is_raw || hashes.is_empty());
    let content = quoted.strip_prefix('"').filter(|_| is_prefix)?;
    if is_raw {
        let end = format!("\"{hashes}");
        let length = content.find(&end)?;
        return Some((&content[..length], prefix.len() + 1 + length + end.len()));
    }
    let mut escaped = false;
    let length = content.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    Some((&content[..length], prefix.len() + length + 2))
}

fn character_or_lifetime(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    let (first, second) = (chars.next(), chars.next());
    match (first, second) {
        (Some((_, '\\')), Some((at, escaped))) => {
            let after = at + escaped.len_utf8();
            text[after..]
                .find('\'')
                .map_or(text.len(), |end| after + end + 1)
        }
        (_, Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

/// Without the items that only tests have.
fn production_part<'a>(tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match attribute(&tokens[at..]) {
            Some(inside) if is_for_tests(inside) => at += item(&tokens[at..]),
            _ => {
                kept.push(tokens[at]);
                at += 1;
            }
        }
    }
    kept
}

/// The text between the brackets of the attribute at the front.
fn attribute<'a, 'b>(tokens: &'b [Token<'a>]) -> Option<&'b [Token<'a>]> {
    let rest = tokens.strip_prefix(&[Token::Other('#'), Token::Other('[')])?;
    let mut depth = 1_usize;
    let end = rest.iter().position(|token| {
        if token.opens() {
            depth += 1;
        } else if token.closes() {
            depth -= 1;
        }
        depth == 0
    })?;
    rest.get(..end)
}

/// `cfg(test)`, `cfg(all(test, …))`.
fn is_for_tests(attribute: &[Token<'_>]) -> bool {
    let has = |word: &str| attribute.iter().any(|token| token.is_word(word));
    attribute.first().is_some_and(|token| token.is_word("cfg"))
        && has("test")
        && !has("not")
        && !has("any")
}

/// Number of tokens of the item at the front, with its attributes: up to its `;` or its closing brace.
fn item(tokens: &[Token<'_>]) -> usize {
    let mut at = 0;
    while let Some(inside) = attribute(&tokens[at..]) {
        at += inside.len() + 3;
    }
    let mut depth = 0_usize;
    for token in &tokens[at..] {
        at += 1;
        if token.opens() {
            depth += 1;
        } else if token.closes() {
            depth = depth.saturating_sub(1);
        }
        if depth == 0 && (token.is(';') || token.is('}')) {
            break;
        }
    }
    at
}

struct Reader<'a> {
    tokens: &'a [Token<'a>],
    at: usize,
    depth: usize,
    /// Inline modules that are open, with the depth outside of each.
    inline: Vec<(String, usize)>,
    found: Source,
}

impl Reader<'_> {
    fn run(&mut self) {
        let (mut path, mut elsewhere) = (None, None);
        while let Some(&token) = self.tokens.get(self.at) {
            let rest = &self.tokens[self.at..];
            if let Some(inside) = attribute(rest) {
                match inside {
                    [Token::Word(name), _, Token::Text(text)] if *name == "path" => {
                        path = Some((*text).to_owned());
                    }
                    [
                        Token::Word(name),
                        ..,
                        Token::Word(key),
                        _,
                        Token::Text(text),
                        _,
                    ] if *name == "cfg_attr" && *key == "path" => {
                        elsewhere = Some((*text).to_owned());
                    }
                    _ => {}
                }
                self.at += inside.len() + 3;
                continue;
            }
            match (token, rest.get(1).copied(), rest.get(2).copied()) {
                (Token::Word("mod"), Some(Token::Word(name)), Some(end)) => {
                    if end.is(';') {
                        self.found.declared.push(Declared {
                            name: name.to_owned(),
                            path: path.take(),
                            elsewhere: elsewhere.take(),
                        });
                    } else {
                        self.inline.push((name.to_owned(), self.depth));
                    }
                    self.at += 2;
                }
                (Token::Word("pub"), Some(Token::Other('(')), Some(Token::Word("in"))) => {
                    // The path of a visibility imports nothing.
                    let end = rest.iter().position(|token| token.is(')'));
                    self.at += end.unwrap_or(rest.len() - 1) + 1;
                }
                (Token::Word("use"), Some(_), _) => {
                    self.at += 1;
                    self.use_tree(&mut Vec::new());
                }
                (Token::Word(_), Some(Token::Colons), _) => self.path(),
                (Token::Colons, _, _) => self.foreign(),
                _ => self.step(),
            }
        }
    }

    /// Any other token.
    fn step(&mut self) {
        let token = self.tokens[self.at];
        if token.is('{') {
            self.depth += 1;
        } else if token.is('}') {
            self.depth = self.depth.saturating_sub(1);
            self.inline.retain(|(_, outside)| *outside < self.depth);
        }
        self.at += 1;
    }

    /// `a::b::c` in code.
    fn path(&mut self) {
        let mut segments = Vec::new();
        while let Some(word) = self.tokens.get(self.at).copied().and_then(Token::word) {
            segments.push(word.to_owned());
            self.at += 1;
            if self.tokens.get(self.at) != Some(&Token::Colons) {
                break;
            }
            self.at += 1;
        }
        self.name(segments);
    }

    /// The rest of a path that begins with `::` or follows a type in angle brackets: it names no module of ours.
    fn foreign(&mut self) {
        while matches!(
            self.tokens.get(self.at),
            Some(Token::Colons | Token::Word(_))
        ) {
            self.at += 1;
        }
    }

    /// One tree of a `use`, after `prefix`; stops after its `;` or before the `,` or `}` of the list around it.
    fn use_tree(&mut self, prefix: &mut Vec<String>) {
        let before = prefix.len();
        while let Some(&token) = self.tokens.get(self.at) {
            match token {
                Token::Word("as") => self.at += 2,
                Token::Word(word) => {
                    prefix.push(word.to_owned());
                    self.at += 1;
                }
                Token::Colons if prefix.is_empty() => {
                    self.foreign();
                    return;
                }
                Token::Colons | Token::Other('*') => self.at += 1,
                Token::Other('{') => {
                    self.at += 1;
                    self.use_list(prefix);
                    prefix.truncate(before);
                    return;
                }
                _ => break,
            }
        }
        self.name(prefix.clone());
        prefix.truncate(before);
    }

    /// The trees of a list, after its opening brace.
    fn use_list(&mut self, prefix: &mut Vec<String>) {
        while let Some(&token) = self.tokens.get(self.at) {
            if token.is('}') {
                self.at += 1;
                return;
            }
            let before = self.at;
            if !token.is(',') {
                self.use_tree(prefix);
            }
            // A comma, or what is in no list of this kind.
            if self.at == before {
                self.at += 1;
            }
        }
    }

    fn name(&mut self, mut segments: Vec<String>) {
        // `use a::{self}` names `a`.
        if segments.len() > 1 && segments.last().is_some_and(|it| it == "self") {
            segments.pop();
        }
        if !segments.is_empty() {
            let within = self.inline.iter().map(|(name, _)| name.clone()).collect();
            self.found.named.insert(Named { within, segments });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a::b`, or `inline: a::b` of a path inside an inline module.
    fn named(text: &str) -> Vec<String> {
        let source = Source::read(text);
        let all = source.named.iter();
        all.map(|it| {
            let path = it.segments.join("::");
            [it.within.as_slice(), &[path]].concat().join(": ")
        })
        .collect()
    }

    #[test]
    fn paths_are_found_in_every_form() {
        let source = r##"
            //! See [`crate::admission`].
            use crate::session::{Recorder, record::{self, Kind as It}};
            use {crate::config::Config, super::super::ws::*};
            pub(in crate::serve) use self::relay::{
                One,
                Two,
            };
            pub(super) fn f() -> crate::sink::jsonl::Sink { <u8 as child::Trait>::g::<u8>(child::h) }
            /* crate::app /* */ crate::app */
            const QUOTED: [&str; 3] = ["use crate::cli;", r#"" crate::cli "#, "\" crate::cli"];
            const LETTERS: [char; 3] = ['"', '\'', '{'];
            fn g<'a>(text: &'a str) -> ::std::io::Result<()> { let s = text; }
            mod kernel { fn f() { super::h::i(); } }
            fn h() { super::last() }
        "##;
        let expected = [
            "child::Trait",
            "child::h",
            "crate::config::Config",
            "crate::session::Recorder",
            "crate::session::record",
            "crate::session::record::Kind",
            "crate::sink::jsonl::Sink",
            "self::relay::One",
            "self::relay::Two",
            "super::last",
            "super::super::ws",
            "kernel: super::h::i",
        ];
        assert_eq!(named(source), expected);
    }

    #[test]
    fn what_only_tests_have_is_left_out() {
        let source = r#"
            #[cfg(test)]
            mod tests { const BRACE: &str = "}"; use crate::app::App; }
            #[cfg(all(test, target_os = "linux"))]
            #[expect(dead_code, reason = "}")]
            fn f() -> [u8; 2] { crate::check::run() }
            #[cfg(test)]
            mod more;
            #[cfg(test)]
            use crate::{cli, demo};
            #[cfg(not(test))]
            use crate::ws::Opcode;
        "#;
        assert_eq!(named(source), ["crate::ws::Opcode"]);
        assert!(Source::read(source).declared.is_empty());
    }

    #[test]
    fn a_declared_module_has_its_file() {
        let source = r#"
            mod plain;
            #[path = "../support/mod.rs"]
            pub mod support;
            #[cfg_attr(not(target_os = "linux"), path = "attach/elsewhere.rs")]
            pub mod attach;
            mod inline { use super::plain::One; }
        "#;
        let declared = Source::read(source).declared;
        let shown: Vec<_> = (declared.iter())
            .map(|it| {
                (
                    it.name.as_str(),
                    it.path.as_deref(),
                    it.elsewhere.as_deref(),
                )
            })
            .collect();
        let expected = [
            ("plain", None, None),
            ("support", Some("../support/mod.rs"), None),
            ("attach", None, Some("attach/elsewhere.rs")),
        ];
        assert_eq!(shown, expected);
    }
}
