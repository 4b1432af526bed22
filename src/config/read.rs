//! From the tree to the schema, without stopping at the first mistake.
//!
//! A serde deserialiser over [`Node`] that knows where it is. serde itself stops at an error, so
//! the value that caused it is remembered as lost and the whole tree is read again without it,
//! until nothing new turns up. The schema therefore stays plain `derive(Deserialize)`.
//!
//! Texts are never echoed here: a text in the wrong place may be a secret. A scalar type that wants
//! to show what was found does so itself (see [`scalar`](super::scalar)).

mod error;

use std::cell::RefCell;
use std::collections::HashSet;

use serde::de::value::{StrDeserializer, U32Deserializer};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess,
    SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use self::error::ReadError;
use super::document::{Entry, Node, Value, join};
use super::error::{ConfigError, LineColumn, Spot, key_name};
use super::schema::at;
use super::suggest;

/// Reading stops after this many mistakes: each costs one pass over the tree.
const MAX_ERRORS: usize = 200;

/// Paths of the values that could not be read. Code that finds a value absent checks here before it
/// reports it as missing.
#[derive(Debug, Default)]
pub(super) struct Lost(HashSet<String>);

impl Lost {
    /// Whether the value at `key_path` is there but was refused.
    pub(super) fn contains(&self, key_path: &str) -> bool {
        self.0.contains(key_path)
    }
}

/// Reads as much as possible; every mistake goes to `errors`. `None` if nothing could be read.
pub(super) fn read<T: DeserializeOwned>(
    root: &Node,
    errors: &mut Vec<ConfigError>,
) -> (Option<T>, Lost) {
    let session = Session {
        errors: RefCell::default(),
        lost: RefCell::default(),
    };
    let mut result = None;
    loop {
        let before = session.errors.borrow().len();
        let reader = Reader {
            node: root,
            place: root.place,
            path: String::new(),
            session: &session,
        };
        if let Ok(value) = T::deserialize(reader) {
            result = Some(value);
            break;
        }
        let after = session.errors.borrow().len();
        if after == before || after > MAX_ERRORS {
            break;
        }
    }
    errors.extend(session.errors.into_inner());
    (result, Lost(session.lost.into_inner()))
}

struct Session {
    errors: RefCell<Vec<ConfigError>>,
    lost: RefCell<HashSet<String>>,
}

impl Session {
    fn is_lost(&self, path: &str) -> bool {
        self.lost.borrow().contains(path)
    }

    /// Records the mistake unless an earlier pass has recorded it.
    fn report(&self, spot: &Spot, expected: String, found: String) {
        if self.lost.borrow_mut().insert(spot.key_path.clone()) {
            self.errors
                .borrow_mut()
                .push(ConfigError::at(spot, expected, found));
        }
    }
}

/// A node, the position to report if it is wrong, and its path.
struct Reader<'a> {
    node: &'a Node,
    place: LineColumn,
    path: String,
    session: &'a Session,
}

impl Reader<'_> {
    fn found(&self) -> &'static str {
        match self.node.value {
            Value::Null => "nothing",
            Value::Bool(true) => "`true`",
            Value::Bool(false) => "`false`",
            Value::Unsigned(_) | Value::OtherNumber => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    fn wrong(&self, expected: impl Into<String>) -> ReadError {
        self.settle(ReadError::Fresh {
            expected: expected.into(),
            found: self.found().into(),
        })
    }

    /// Adds the position to an error; errors that already have one pass through.
    fn settle(&self, error: ReadError) -> ReadError {
        if let ReadError::Fresh { expected, found } = error {
            self.session
                .report(&Spot::new(self.place, self.path.clone()), expected, found);
        }
        ReadError::Reported
    }

    /// The entries that the struct knows and that have not failed before; others are reported.
    fn known_entries<'n>(
        &self,
        entries: &'n [Entry],
        fields: &'static [&'static str],
    ) -> Vec<(&'n Entry, String)> {
        let mut known = Vec::new();
        for entry in entries {
            let path = join(&self.path, &entry.key);
            if !fields.contains(&entry.key.as_str()) {
                let (expected, found) = unknown_key(&self.path, &entry.key, fields);
                self.session
                    .report(&Spot::new(entry.place, path), expected, found);
            } else if !self.session.is_lost(&path) {
                known.push((entry, path));
            }
        }
        known
    }
}

fn unknown_key(parent: &str, key: &str, fields: &[&str]) -> (String, String) {
    let name = key_name(key);
    let found = match suggest::moved(parent, key).or_else(|| suggest::nearest(key, fields)) {
        Some(hint) => format!("the unknown key `{name}` (did you mean `{hint}`?)"),
        None => format!("the unknown key `{name}`"),
    };
    (format!("one of {}", suggest::list(fields)), found)
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let result = match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Unsigned(value) => visitor.visit_u64(*value),
            Value::Text(text) => visitor.visit_str(text),
            Value::OtherNumber | Value::List(_) | Value::Map(_) => {
                return Err(self.wrong(format!("{}", &visitor as &dyn Expected)));
            }
        };
        result.map_err(|error: ReadError| self.settle(error))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.node.value {
            Value::Bool(value) => visitor.visit_bool(value),
            _ => Err(self.wrong("`true` or `false`")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Text(text) => visitor
                .visit_str(text)
                .map_err(|error: ReadError| self.settle(error)),
            Value::Unsigned(_) | Value::OtherNumber | Value::Bool(_) => {
                Err(self.wrong("a text (put it in quotes)"))
            }
            _ => Err(self.wrong("a text")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    /// A key without a value counts as not given.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if name == at::NAME {
            visitor.visit_seq(SpotThenValue {
                reader: Some(self),
                step: 0,
            })
        } else {
            visitor.visit_newtype_struct(self)
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let Value::List(items) = &self.node.value else {
            return Err(self.wrong("a list"));
        };
        let readers = items.iter().enumerate().filter_map(|(index, node)| {
            let path = format!("{}[{index}]", self.path);
            let lost = self.session.is_lost(&path);
            (!lost).then_some(Reader {
                node,
                place: node.place,
                path,
                session: self.session,
            })
        });
        visitor
            .visit_seq(Items(readers))
            .map_err(|error| self.settle(error))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let empty_file = self.path.is_empty() && matches!(self.node.value, Value::Null);
        let entries = match &self.node.value {
            Value::Map(entries) => entries.as_slice(),
            _ if empty_file => &[],
            _ => return Err(self.wrong(format!("a mapping with {}", suggest::list(fields)))),
        };
        let entries = self.known_entries(entries, fields);
        visitor
            .visit_map(Fields {
                entries: entries.into_iter(),
                value: None,
                session: self.session,
            })
            .map_err(|error| self.settle(error))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let Value::Text(text) = &self.node.value else {
            return Err(self.wrong(format!("one of {}", suggest::list(variants))));
        };
        let variant: StrDeserializer<'_, ReadError> = text.as_str().into_deserializer();
        visitor
            .visit_enum(variant)
            .map_err(|error| self.settle(error))
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char
        bytes byte_buf unit unit_struct tuple tuple_struct map identifier ignored_any
    }
}

struct Items<I>(I);

impl<'de, 'a, I: Iterator<Item = Reader<'a>>> SeqAccess<'de> for Items<I> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        self.0
            .next()
            .map(|reader| seed.deserialize(reader))
            .transpose()
    }
}

struct Fields<'a> {
    entries: std::vec::IntoIter<(&'a Entry, String)>,
    value: Option<(&'a Entry, String)>,
    session: &'a Session,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        self.value = self.entries.next();
        let Some((entry, _)) = &self.value else {
            return Ok(None);
        };
        let key: StrDeserializer<'_, ReadError> = entry.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let Some((entry, path)) = self.value.take() else {
            return Err(de::Error::custom("a value without a key"));
        };
        // A block mapping or list begins at its first item; its key is a better position.
        let place = match entry.node.value {
            Value::List(_) | Value::Map(_) | Value::Null => entry.place,
            _ => entry.node.place,
        };
        seed.deserialize(Reader {
            node: &entry.node,
            place,
            path,
            session: self.session,
        })
    }
}

/// The sequence that [`at::At`] reads: line, column, key path, then the value itself.
struct SpotThenValue<'a> {
    reader: Option<Reader<'a>>,
    step: u8,
}

impl<'de> SeqAccess<'de> for SpotThenValue<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        let Some(reader) = &self.reader else {
            return Ok(None);
        };
        let number = |value: u32| -> U32Deserializer<ReadError> { value.into_deserializer() };
        self.step += 1;
        match self.step {
            1 => seed.deserialize(number(reader.place.line)).map(Some),
            2 => seed.deserialize(number(reader.place.column)).map(Some),
            3 => seed
                .deserialize(reader.path.as_str().into_deserializer())
                .map(Some),
            _ => self
                .reader
                .take()
                .map(|reader| seed.deserialize(reader))
                .transpose(),
        }
    }
}
