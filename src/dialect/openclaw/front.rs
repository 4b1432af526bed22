//! Reads the top-level fields of a message from its beginning, in any order.
//!
//! The beginning may be cut anywhere: whatever was read up to there counts. Reading stops as soon
//! as nothing more is needed, so that a large payload after the relevant fields costs nothing.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::session::record::dialect::openclaw::DialectError;
use crate::session::text::PeerText;

use super::read;

/// The facts about a message that its beginning shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Front<'a> {
    pub(super) kind: Option<Kind>,
    /// The hash of the message's id.
    pub(super) id: Option<u64>,
    /// The method's name as it came, no longer than the part of a request that is read.
    pub(super) method: Option<Cow<'a, [u8]>>,
    pub(super) ok: Option<bool>,
    pub(super) error: Option<Box<Failure>>,
    /// Whether the event is `shutdown`.
    pub(super) shutdown: Option<bool>,
}

/// The value of `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Response,
    Event,
    Other,
}

/// The error object of a response.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Failure {
    pub(super) error: DialectError,
    pub(super) missing_scope: Option<PeerText>,
}

impl<'a> Front<'a> {
    /// Reads the front of a text message.
    pub(super) fn read(bytes: &'a [u8]) -> Self {
        Self::usual(bytes).unwrap_or_else(|| Self::any(bytes))
    }

    /// Fast path for a request or a successful answer in the form that every known client and
    /// gateway writes.
    fn usual(bytes: &'a [u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(br#"{"type":"re"#)?;
        let (kind, rest) = match rest.split_first_chunk::<8>()? {
            (br#"q","id":"#, rest) => (Kind::Request, rest),
            (br#"s","id":"#, rest) => (Kind::Response, rest),
            _ => return None,
        };
        let (id, rest) = plain_text(rest)?;
        let mut front = Self {
            kind: Some(kind),
            id: Some(hash(id)),
            ..Self::default()
        };
        if kind == Kind::Response {
            rest.strip_prefix(br#","ok":true"#)?;
            front.ok = Some(true);
        } else {
            let (name, _) = plain_text(rest.strip_prefix(br#","method":"#)?)?;
            front.method = Some(Cow::Borrowed(name));
        }
        Some(front)
    }

    fn any(bytes: &[u8]) -> Self {
        let mut front = Self::default();
        // Building an error costs more than all of the checks before it.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return front;
        }
        let mut json = serde_json::Deserializer::from_slice(bytes);
        // A cut or broken message ends with an error; what was read so far stays.
        let _ = json.deserialize_map(Fields(&mut front));
        front
    }

    fn is_enough(&self) -> bool {
        match self.kind {
            Some(Kind::Request) => self.id.is_some() && self.method.is_some(),
            Some(Kind::Response) => {
                self.id.is_some() && (self.ok == Some(true) || self.error.is_some())
            }
            Some(Kind::Event) => self.shutdown.is_some(),
            Some(Kind::Other) => true,
            None => false,
        }
    }
}

/// A hash that is the same for every text of a session. A peer that makes two texts collide only
/// fools itself, so a fast hash is enough.
fn hash(text: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |hash: u64, word: [u8; 8]| {
        let mixed = (hash ^ u64::from_le_bytes(word)).wrapping_mul(FACTOR);
        mixed ^ (mixed >> 32)
    };
    let (words, rest) = text.as_chunks::<8>();
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    let front = words
        .iter()
        .fold(text.len() as u64, |hash, word| mix(hash, *word));
    mix(front, last)
}

/// A JSON string of plain ASCII at the beginning, and the rest after it. Such strings are short:
/// checking each byte costs less than three fast searches.
fn plain_text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let bytes = bytes.strip_prefix(b"\"")?;
    let end = bytes
        .iter()
        .position(|byte| !matches!(byte, b' '..=b'~') || matches!(byte, b'"' | b'\\'))?;
    let (text, rest) = bytes.split_at_checked(end)?;
    Some((text, rest.strip_prefix(b"\"")?))
}

struct Fields<'a, 'b>(&'a mut Front<'b>);

impl<'de> Visitor<'de> for Fields<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self(front) = self;
        while let Some(key) = map.next_key_seed(Key)? {
            match key {
                Field::Type => map.next_value_seed(Scalar(|text: &str| {
                    front.kind = Some(match text {
                        "req" => Kind::Request,
                        "res" => Kind::Response,
                        "event" => Kind::Event,
                        _ => Kind::Other,
                    });
                }))?,
                Field::Id => {
                    map.next_value_seed(Scalar(|text: &str| {
                        front.id = Some(hash(text.as_bytes()));
                    }))?;
                }
                Field::Method => map.next_value_seed(Scalar(|text: &str| {
                    front.method = Some(Cow::Owned(text.as_bytes().to_owned()));
                }))?,
                Field::Event => map.next_value_seed(Scalar(|text: &str| {
                    front.shutdown = Some(text == "shutdown");
                }))?,
                Field::Ok => {
                    front.ok = map.next_value::<Value>()?.as_bool();
                }
                Field::Error => {
                    let value = map.next_value::<Value>()?;
                    front.error = Some(Box::new(Failure {
                        error: read::error(&value),
                        missing_scope: read::missing_scope(&value),
                    }));
                }
                Field::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            if front.is_enough() {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// A top-level field that matters here.
enum Field {
    Type,
    Id,
    Method,
    Event,
    Ok,
    Error,
    Other,
}

struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Field;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Field, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Field, E> {
        Ok(match name {
            "type" => Field::Type,
            "id" => Field::Id,
            "method" => Field::Method,
            "event" => Field::Event,
            "ok" => Field::Ok,
            "error" => Field::Error,
            _ => Field::Other,
        })
    }
}

/// Passes a string to the callback; a value of any other type is skipped.
struct Scalar<F>(F);

impl<'de, F: FnOnce(&str)> DeserializeSeed<'de> for Scalar<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, F: FnOnce(&str)> Visitor<'de> for Scalar<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        (self.0)(text);
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request<'a>(id: &str, method: &'a str) -> Front<'a> {
        Front {
            kind: Some(Kind::Request),
            id: Some(hash(id.as_bytes())),
            method: Some(Cow::Borrowed(method.as_bytes())),
            ..Front::default()
        }
    }

    #[test]
    fn the_order_of_fields_does_not_matter() {
        let fields = [
            r#""type":"req""#,
            r#""id":"7""#,
            r#""method":"health""#,
            r#""x":{"id":"8"}"#,
        ];
        for a in 0..4 {
            for b in (0..4).filter(|b| *b != a) {
                for c in (0..4).filter(|c| *c != a && *c != b) {
                    let d = 6 - a - b - c;
                    let order = [a, b, c, d].map(|at| fields[at]).join(" , ");
                    let text = format!(" {{ {order} , \"tail\": [");
                    assert_eq!(
                        Front::read(text.as_bytes()),
                        request("7", "health"),
                        "{text}"
                    );
                }
            }
        }
    }

    #[test]
    fn escapes_are_read_and_wrong_types_are_absent() {
        let escaped = br#"{"\u0074ype":"r\u0065q","id":"\u0037","method":"health"}"#;
        assert_eq!(Front::read(escaped), request("7", "health"));
        let wrong = br#"{"type":["req"],"id":7,"method":{"a":[1.5,null]},"ok":"yes","event":true}"#;
        assert_eq!(Front::read(wrong), Front::default());
        let other = Front::read(br#"{"type":"blob","id":"1"}"#);
        assert_eq!(other.kind, Some(Kind::Other));
        for broken in [
            "",
            "x",
            "[1]",
            "{\"type\"",
            "\"req\"",
            "{}",
            "{\"type\":\"req",
        ] {
            assert_eq!(Front::read(broken.as_bytes()), Front::default(), "{broken}");
        }
        let deep = format!("{{\"a\":{}", "[".repeat(2000));
        assert_eq!(Front::read(deep.as_bytes()), Front::default());
    }

    #[test]
    fn an_error_is_read_whole_or_not_at_all() {
        let text = r#"{"type":"res","id":"1","ok":false,"error":{"code":"FORBIDDEN","message":"missing scope: operator.write","details":{"code":"MISSING_SCOPE","missingScope":"operator.write"}}}"#;
        let failure = Front::read(text.as_bytes()).error.unwrap();
        assert_eq!(failure.missing_scope.unwrap().as_str(), "operator.write");
        assert_eq!(
            failure.error.details_code.unwrap().as_str(),
            "MISSING_SCOPE"
        );
        let cut = Front::read(&text.as_bytes()[..text.len() - 4]);
        assert_eq!((cut.ok, cut.error), (Some(false), None));
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,200}", cut in 0usize..200) {
            let bytes = text.as_bytes();
            let _ = Front::read(&bytes[..cut.min(bytes.len())]);
        }

        /// The fast path sees what the full parser sees, or nothing.
        #[test]
        fn the_usual_form_is_read_alike(
            kind in "(req|res)",
            id in "[a-z\"\\\\\u{1}é]{0,3}",
            tail in r#"(,"method":"[a-z\\]{0,3}"?|,"ok":(true|false|tru)|,"x":1)"#,
            cut in 0usize..60,
        ) {
            let text = format!(r#"{{"type":"{kind}","id":"{id}"{tail},"payload":{{}}}}"#);
            let bytes = &text.as_bytes()[..cut.min(text.len())];
            for bytes in [bytes, text.as_bytes()] {
                if let Some(front) = Front::usual(bytes) {
                    prop_assert_eq!(front, Front::any(bytes), "{}", text);
                }
            }
        }

        #[test]
        fn the_usual_form_is_known(id in "[a-z0-9:-]{1,40}", method in "[a-z.]{1,30}") {
            let request = format!(r#"{{"type":"req","id":"{id}","method":"{method}","params":{{}}}}"#);
            let answer = format!(r#"{{"type":"res","id":"{id}","ok":true,"payload":{{}}}}"#);
            for text in [request, answer] {
                prop_assert_eq!(Front::usual(text.as_bytes()), Some(Front::any(text.as_bytes())));
            }
        }

        /// A cut message shows what the whole message shows, or nothing.
        #[test]
        fn a_cut_shows_nothing_false(cut in 0usize..120) {
            let whole = br#"{"id":"7","type":"res","payload":{"type":"req","id":"1"},"ok":true}"#;
            let (cut, all) = (Front::read(&whole[..cut.min(whole.len())]), Front::read(whole));
            prop_assert!(cut.kind.is_none() || cut.kind == all.kind);
            prop_assert!(cut.id.is_none() || cut.id == all.id);
            prop_assert!(cut.ok.is_none() || cut.ok == all.ok);
        }
    }
}
