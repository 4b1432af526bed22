//! The deserialiser's error: the errors of serde's `derive`, in our words.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use crate::config::suggest;

/// A mistake on its way up: it is fresh until the nearest node has recorded it with its position.
#[derive(Debug)]
pub(super) enum ReadError {
    Fresh { expected: String, found: String },
    Reported,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fresh { expected, found } => write!(f, "expected {expected}, found {found}"),
            Self::Reported => f.write_str("reported before"),
        }
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Fresh {
            expected: "another value".into(),
            found: message.to_string(),
        }
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_value(unexpected, expected)
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match unexpected {
            Unexpected::Other(found) => found.to_owned(),
            Unexpected::Bool(value) => format!("`{value}`"),
            Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => {
                "a number".to_owned()
            }
            Unexpected::Str(_) => "a text".to_owned(),
            Unexpected::Unit => "nothing".to_owned(),
            _ => "something else".to_owned(),
        };
        Self::Fresh {
            expected: expected.to_string(),
            found,
        }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let is_word = variant.len() <= 24
            && variant
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let text = if is_word {
            format!("`{variant}`")
        } else {
            "another text".to_owned()
        };
        let found = match suggest::nearest(variant, expected) {
            Some(hint) => format!("{text} (did you mean `{hint}`?)"),
            None => text,
        };
        Self::Fresh {
            expected: format!("one of {}", suggest::list(expected)),
            found,
        }
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::Fresh {
            expected: format!("`{field}` once"),
            found: "it twice, once under its other name".to_owned(),
        }
    }
}
