//! Rust's tokens, as far as needed to find comparisons of texts: literals are separated from code,
//! and comments are left out.

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// An identifier, a keyword or a number.
    Word(String),
    /// The value of a string literal, escapes as they are written.
    Text(String),
    /// A character, a byte, or a lifetime.
    Char,
    /// Any bracket that opens.
    Open,
    /// Any bracket that closes: which.
    Close(char),
    /// Operators; those of two characters in one piece.
    Sign(&'static str),
}

impl Token {
    /// This word, or this operator.
    pub fn is(&self, wanted: &str) -> bool {
        match self {
            Self::Word(word) => word == wanted,
            Self::Sign(sign) => *sign == wanted,
            _ => false,
        }
    }
}

const SIGNS: [&str; 12] = [
    "==", "!=", "=>", "||", "&&", "|", "&", ".", "!", ",", ";", "=",
];

/// The source without comments and without `#[cfg(test)]` items.
pub fn production_part(source: &str) -> String {
    let lines = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let source = lines.collect::<Vec<_>>().join("\n");
    let mut kept = String::new();
    let mut rest = source.as_str();
    while let Some((before, after)) = rest.split_once("#[cfg(test)]") {
        kept.push_str(before);
        rest = after_item(after);
    }
    kept + rest
}

/// What follows the item at the front: after its `;` or its closing brace.
fn after_item(source: &str) -> &str {
    let mut depth = 0_usize;
    for (at, c) in source.char_indices() {
        match c {
            ';' if depth == 0 => return &source[at + 1..],
            '{' => depth += 1,
            '}' if depth <= 1 => return &source[at + 1..],
            '}' => depth -= 1,
            _ => {}
        }
    }
    ""
}

/// All tokens of a source; what is none of the above is left out.
pub fn tokens(source: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let taken = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some((text, taken)) = string(rest) {
            found.push(Token::Text(text.to_owned()));
            taken
        } else if let Some(taken) = character(rest) {
            found.push(Token::Char);
            taken
        } else if c.is_alphanumeric() || c == '_' {
            let other = |c: char| !(c.is_alphanumeric() || c == '_');
            let end = rest.find(other).unwrap_or(rest.len());
            found.push(Token::Word(rest[..end].to_owned()));
            end
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            found.push(Token::Sign(sign));
            sign.len()
        } else {
            match c {
                '(' | '[' | '{' => found.push(Token::Open),
                ')' | ']' | '}' => found.push(Token::Close(c)),
                _ => {}
            }
            c.len_utf8()
        };
        rest = &rest[taken..];
    }
    found
}

/// The value of a string literal at the front, and its length with quotes.
fn string(source: &str) -> Option<(&str, usize)> {
    let prefix = source.find('"').filter(|at| *at <= 10)?;
    let before = &source[..prefix];
    let after = &source[prefix + 1..];
    let hashes = before.trim_start_matches(['b', 'c']).strip_prefix('r');
    if let Some(hashes) = hashes {
        if !hashes.bytes().all(|byte| byte == b'#') {
            return None;
        }
        let end = format!("\"{hashes}");
        let length = after.find(&end)?;
        return Some((&after[..length], prefix + 1 + length + end.len()));
    }
    if !matches!(before, "" | "b" | "c") {
        return None;
    }
    let mut escaped = false;
    for (at, c) in after.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some((&after[..at], prefix + 1 + at + 1)),
            _ => {}
        }
    }
    None
}

/// The length of a character, a byte or a lifetime at the front.
fn character(source: &str) -> Option<usize> {
    let inner = source.strip_prefix("b'").or(source.strip_prefix('\''))?;
    let before = source.len() - inner.len();
    if inner.starts_with('\\') {
        let end = inner.char_indices().skip(2).find(|(_, c)| *c == '\'')?.0;
        return Some(before + end + 1);
    }
    let mut all = inner.chars();
    let first = all.next()?;
    match all.next() {
        Some('\'') => Some(before + first.len_utf8() + 1),
        // A lifetime: its name is a word.
        _ => Some(before),
    }
}
