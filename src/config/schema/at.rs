//! A value that remembers its position, for the checks after reading.

use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

use crate::config::error::{LineColumn, Spot};

/// The name by which the reader recognises that it has to pass the position as well.
pub(in crate::config) const NAME: &str = "wstap::config::At";

/// A value with its position and key path.
#[derive(Debug)]
pub(in crate::config) struct At<T> {
    pub(in crate::config) spot: Spot,
    pub(in crate::config) value: T,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(NAME, AtVisitor(PhantomData))
    }
}

/// For a key that must not be left empty: `tls:` alone is a mistake, not "no TLS".
pub(in crate::config) fn not_empty<'de, T, D>(deserializer: D) -> Result<Option<At<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    At::deserialize(deserializer).map(Some)
}

struct AtVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for AtVisitor<T> {
    type Value = At<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value with its place")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<At<T>, A::Error> {
        let incomplete = || Error::custom("no place");
        let line = parts.next_element()?.ok_or_else(incomplete)?;
        let column = parts.next_element()?.ok_or_else(incomplete)?;
        let key_path: String = parts.next_element()?.ok_or_else(incomplete)?;
        let value = parts.next_element()?.ok_or_else(incomplete)?;
        Ok(At {
            spot: Spot::new(LineColumn { line, column }, key_path),
            value,
        })
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> std::borrow::Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}
