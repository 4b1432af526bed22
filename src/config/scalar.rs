//! Values that are written as one text or number. How they are parsed is defined once, here for
//! durations, sizes and counts, and used for the file, for flags and for the environment alike.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::fmt::friendly::SpanParser;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

use super::error::{Complaint, quoted};

/// A type that is written as one scalar.
pub(super) trait FromScalar: Sized {
    /// The expected form, in the words of an error message.
    fn expected() -> String;

    /// Parses a text. Complaints must not echo a possible secret.
    fn from_text(text: &str) -> Result<Self, Complaint>;

    /// Converts a whole number.
    fn from_number(_number: u64) -> Result<Self, Complaint> {
        Err(Complaint::new(Self::expected(), "a number"))
    }

    /// The JSON Schema of the scalar.
    fn schema() -> Schema;
}

/// Lets serde and schemars see a [`FromScalar`] type.
#[derive(Debug)]
pub(super) struct Scalar<T>(pub(super) T);

impl<'de, T: FromScalar> Deserialize<'de> for Scalar<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(ScalarVisitor(PhantomData))
            .map(Scalar)
    }
}

struct ScalarVisitor<T>(PhantomData<T>);

impl<T: FromScalar> Visitor<'_> for ScalarVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&T::expected())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text).map_err(|complaint| into_error(&complaint))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        T::from_number(number).map_err(|complaint| into_error(&complaint))
    }
}

fn into_error<E: Error>(complaint: &Complaint) -> E {
    E::invalid_value(
        Unexpected::Other(&complaint.found),
        &complaint.expected.as_str(),
    )
}

impl<T: FromScalar> JsonSchema for Scalar<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        T::schema()
    }
}

/// A timer: at least a millisecond, at most a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timer(pub(super) Duration);

impl Timer {
    const LEAST: Duration = Duration::from_millis(1);
    const MOST: Duration = Duration::from_hours(8760);
}

impl FromScalar for Timer {
    fn expected() -> String {
        "a duration with a unit, such as `500ms`, `10s` or `1h 30m`".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(without_unit(text));
        }
        let parsed = SpanParser::new()
            .parse_duration(text)
            .map_err(|_| Complaint::new(Self::expected(), quoted(text)))?;
        let duration = Duration::try_from(parsed).unwrap_or_default();
        if duration < Self::LEAST {
            return Err(Complaint::new("a duration of at least `1ms`", quoted(text)));
        }
        if duration > Self::MOST {
            return Err(Complaint::new(
                "a duration of at most `8760h` (a year)",
                quoted(text),
            ));
        }
        Ok(Self(duration))
    }

    fn from_number(number: u64) -> Result<Self, Complaint> {
        Err(without_unit(&number.to_string()))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "examples": ["500ms", "10s", "1h 30m"] })
    }
}

/// A kernel timer: whole seconds, at least one, at most 9 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seconds(pub(super) Duration);

impl Seconds {
    /// The kernel's limit is 32767 seconds.
    const MOST: Duration = Duration::from_hours(9);
}

impl FromScalar for Seconds {
    fn expected() -> String {
        "a duration of whole seconds, such as `30s` or `1m`".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let Timer(duration) = Timer::from_text(text)?;
        if duration.subsec_nanos() != 0 {
            return Err(Complaint::new(Self::expected(), quoted(text)));
        }
        if duration > Self::MOST {
            return Err(Complaint::new("a duration of at most `9h`", quoted(text)));
        }
        Ok(Self(duration))
    }

    fn from_number(number: u64) -> Result<Self, Complaint> {
        Err(without_unit(&number.to_string()))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "examples": ["30s", "1m"] })
    }
}

fn without_unit(number: &str) -> Complaint {
    let shown: String = number.chars().take(20).collect();
    let expected = format!("a duration with a unit, such as `{shown}s` or `{shown}ms`");
    Complaint::new(expected, format!("{} without a unit", quoted(number)))
}

/// How a duration is written in a configuration: `10s`, `1h 30m`.
pub(crate) fn duration_text(duration: Duration) -> String {
    SignedDuration::try_from(duration).map_or_else(
        |_| format!("{}s", duration.as_secs()),
        |duration| format!("{duration:#}"),
    )
}

/// A number of bytes, at least `LEAST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size<const LEAST: u64>(pub(super) u64);

const UNITS: [(&str, u64); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// How a number of bytes is written in a configuration: `64KiB`, `512B`.
pub(crate) fn size_text(bytes: u64) -> String {
    let fitting = UNITS
        .iter()
        .find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor));
    let (unit, factor) = fitting.copied().unwrap_or(("B", 1));
    format!("{}{unit}", bytes / factor)
}

impl<const LEAST: u64> FromScalar for Size<LEAST> {
    fn expected() -> String {
        "a size such as `512B`, `64KiB` or `1MiB`, or a number of bytes".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let digits = text.trim_end_matches(|character: char| !character.is_ascii_digit());
        let unit = text.get(digits.len()..).unwrap_or("").trim();
        let wrong = || Complaint::new(Self::expected(), quoted(text));
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        if unit.is_empty() {
            return Self::from_number(number);
        }
        let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            let nearest = match unit.to_ascii_lowercase().as_str() {
                "k" | "kb" | "kib" => "KiB",
                "m" | "mb" | "mib" => "MiB",
                "g" | "gb" | "gib" => "GiB",
                "b" | "byte" | "bytes" => "B",
                _ => return Err(wrong()),
            };
            let expected = format!("a size with the unit {nearest}: `{digits}{nearest}`");
            return Err(Complaint::new(expected, quoted(text)));
        };
        number
            .checked_mul(*factor)
            .ok_or_else(wrong)
            .and_then(Self::from_number)
    }

    fn from_number(number: u64) -> Result<Self, Complaint> {
        if number < LEAST {
            let expected = format!("a size of at least `{}`", size_text(LEAST));
            return Err(Complaint::new(expected, format!("`{}`", size_text(number))));
        }
        Ok(Self(number))
    }

    fn schema() -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "string", "pattern": "^[0-9]+ *(B|KiB|MiB|GiB)?$" },
                { "type": "integer", "minimum": LEAST },
            ],
            "examples": ["512B", "64KiB", "1MiB"],
        })
    }
}

/// A whole number from `LEAST` to `MOST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count<const LEAST: u32, const MOST: u32 = { u32::MAX }>(pub(super) u32);

impl<const LEAST: u32, const MOST: u32> FromScalar for Count<LEAST, MOST> {
    fn expected() -> String {
        format!("a whole number from {LEAST} to {MOST}")
    }

    fn from_text(_text: &str) -> Result<Self, Complaint> {
        Err(Complaint::new(Self::expected(), "a text"))
    }

    fn from_number(number: u64) -> Result<Self, Complaint> {
        match u32::try_from(number) {
            Ok(count) if (LEAST..=MOST).contains(&count) => Ok(Self(count)),
            _ => Err(Complaint::new(Self::expected(), format!("{number}"))),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "integer", "minimum": LEAST, "maximum": MOST })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        for (text, milliseconds) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("1h 30m", 5_400_000),
            ("1m30s", 90_000),
        ] {
            assert_eq!(
                Timer::from_text(text).unwrap().0,
                Duration::from_millis(milliseconds)
            );
        }
        for (text, found, expected) in [
            ("10", "`10` without a unit", "`10s`"),
            ("0s", "`0s`", "at least `1ms`"),
            ("-5s", "`-5s`", "at least `1ms`"),
            ("10 parsecs", "`10 parsecs`", "with a unit"),
            ("9999h", "`9999h`", "at most"),
            ("", "``", "with a unit"),
        ] {
            let complaint = Timer::from_text(text).unwrap_err();
            assert_eq!(complaint.found, found);
            assert!(complaint.expected.contains(expected), "{complaint:?}");
        }
    }

    #[test]
    fn sizes_have_binary_units() {
        for (text, bytes) in [
            ("512B", 512),
            ("64KiB", 65_536),
            ("1 MiB", 1 << 20),
            ("2GiB", 2 << 30),
            ("77", 77),
        ] {
            assert_eq!(Size::<1>::from_text(text).unwrap().0, bytes);
        }
        for (text, expected) in [
            ("64k", "`64KiB`"),
            ("64KB", "`64KiB`"),
            ("much", "a size such as"),
            ("", "a size such as"),
            ("99999999999999GiB", "a size such as"),
            ("0B", "at least `1B`"),
        ] {
            let complaint = Size::<1>::from_text(text).unwrap_err();
            assert!(complaint.expected.contains(expected), "{complaint:?}");
        }
    }

    #[test]
    fn what_is_written_can_be_read_back() {
        for bytes in [0, 1, 512, 1024, 1025, 65_536, 1 << 20, 3 << 30] {
            assert_eq!(Size::<0>::from_text(&size_text(bytes)).unwrap().0, bytes);
        }
        for seconds in [1, 10, 90, 3600, 5400] {
            let duration = Duration::from_secs(seconds);
            assert_eq!(
                Timer::from_text(&duration_text(duration)).unwrap().0,
                duration
            );
        }
        assert_eq!(duration_text(Duration::from_mins(90)), "1h 30m");
    }
}
