//! Careful reading of JSON that a peer wrote: wrong types are absent, long texts are capped.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::dialect::protocol::Message;
use crate::session::record::dialect::openclaw::DialectError;
use crate::session::text::PeerText;

/// Longest text kept from a message.
const TEXT_CAP: usize = 256;

/// Maximum number of entries kept of a list.
const LIST_CAP: usize = 64;

/// The largest part of the payload of `hello-ok`, which is not needed here.
const LEFT_OUT: &str = "features";

/// The part of the payload of which only one number is read.
const SNAPSHOT: (&str, &str) = ("snapshot", "uptimeMs");

/// A whole, uncompressed text message as JSON.
pub(super) fn json(message: &Message<'_>) -> Option<Value> {
    serde_json::from_slice(whole(message)?).ok()
}

/// Like [`json`], for messages of the gateway: without [`LEFT_OUT`] and most of [`SNAPSHOT`] in the
/// payload. Nothing is left out of a client's message: any value in it could be its credential.
pub(super) fn json_of_gateway(message: &Message<'_>) -> Option<Value> {
    let mut reader = serde_json::Deserializer::from_slice(whole(message)?);
    let value = Sparse::Message.deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    Some(value)
}

fn whole<'a>(message: &Message<'a>) -> Option<&'a [u8]> {
    (message.whole && !message.compressed).then_some(message.bytes)
}

/// Reads a value, but skips [`LEFT_OUT`] and most of [`SNAPSHOT`] without building them. The
/// variant is the position in the message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sparse {
    Message,
    Payload,
    Snapshot,
    Other,
}

impl<'de> DeserializeSeed<'de> for Sparse {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Sparse {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Self::Other)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = serde_json::Map::new();
        while let Some(name) = entries.next_key::<Cow<'_, str>>()? {
            let passed_over = match self {
                Self::Payload => name == LEFT_OUT,
                Self::Snapshot => name != SNAPSHOT.1,
                Self::Message | Self::Other => false,
            };
            if passed_over {
                entries.next_value::<IgnoredAny>()?;
                continue;
            }
            let inner = match (self, &*name) {
                (Self::Message, "payload") => Self::Payload,
                (Self::Payload, name) if name == SNAPSHOT.0 => Self::Snapshot,
                _ => Self::Other,
            };
            object.insert(name.into_owned(), entries.next_value_seed(inner)?);
        }
        Ok(Value::Object(object))
    }
}

/// The value at a path of names, `/server/version`: a JSON pointer (RFC 6901) without escapes and
/// list indexes, which no pointer here has.
fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let mut names = path.split('/').skip(1);
    names.try_fold(value, |value, name| value.as_object()?.get(name))
}

/// A string at a JSON pointer.
pub(super) fn str<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    at(value, pointer)?.as_str()
}

/// A string at a JSON pointer, escaped and capped.
pub(super) fn text(value: &Value, pointer: &str) -> Option<PeerText> {
    str(value, pointer).map(|text| PeerText::new(text, TEXT_CAP))
}

/// A list of strings at a JSON pointer; entries that are not strings are left out.
pub(super) fn texts(value: &Value, pointer: &str) -> Option<Vec<PeerText>> {
    let list = at(value, pointer)?.as_array()?;
    // No more room than needed: they are kept for the whole session.
    let mut texts = Vec::with_capacity(list.len().min(LIST_CAP));
    let all = list.iter().filter_map(Value::as_str).take(LIST_CAP);
    texts.extend(all.map(|text| PeerText::new(text, TEXT_CAP)));
    Some(texts)
}

/// A whole number at a JSON pointer.
pub(super) fn number(value: &Value, pointer: &str) -> Option<u64> {
    at(value, pointer)?.as_u64()
}

/// The gateway's error object.
pub(super) fn error(error: &Value) -> DialectError {
    DialectError {
        code: text(error, "/code"),
        details_code: text(error, "/details/code"),
        details_reason: text(error, "/details/reason")
            .or_else(|| text(error, "/details/authReason")),
        message: text(error, "/message"),
        request_id: text(error, "/details/requestId"),
        next_step: text(error, "/details/recommendedNextStep"),
        retry_after_ms: number(error, "/retryAfterMs"),
        expected_protocol: number(error, "/details/expectedProtocol"),
    }
}

/// The scope that a request's error names. Gateways before 2026.8 name it only in the message.
pub(super) fn missing_scope(error: &Value) -> Option<PeerText> {
    if at(error, "/details/code").is_some() {
        return text(error, "/details/missingScope");
    }
    let scope = str(error, "/message")?.strip_prefix("missing scope: ")?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':');
    (!scope.is_empty() && scope.chars().all(is_name)).then(|| PeerText::new(scope, TEXT_CAP))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::Opcode;

    fn message(text: &str) -> Message<'_> {
        Message {
            opcode: Opcode::Text,
            bytes: text.as_bytes(),
            whole: true,
            compressed: false,
            end: 0,
        }
    }

    #[test]
    fn of_the_gateway_all_is_read_but_what_is_left_out() {
        let read = |text| json_of_gateway(&message(text));
        let text = r#"{"a": [1, -2, 2.5, null, true, "x\n", {"b": {}}], "features": {"methods": ["m", []]},
            "payload": {"snapshot": {"presence": [{}], "uptimeMs": 7, "health": {"uptimeMs": 8}}, "features": {"methods": []},
            "server": {"version": "v", "features": [1]}, "big": 18446744073709551615}} "#;
        let mut whole: Value = serde_json::from_str(text).unwrap();
        let payload = whole
            .get_mut("payload")
            .and_then(Value::as_object_mut)
            .unwrap();
        payload.remove("features");
        payload.insert("snapshot".to_owned(), serde_json::json!({"uptimeMs": 7}));
        assert_eq!(read(text), Some(whole));
        assert_eq!(
            str(&read(text).unwrap(), "/payload/server/version"),
            Some("v")
        );
        for broken in [
            "",
            "{",
            r#"{"payload": {"features": [}}"#,
            r#"{"features": 1} x"#,
            r#"{"a": "}"#,
        ] {
            assert_eq!(read(broken), None, "{broken}");
        }
    }

    #[test]
    fn of_a_client_nothing_is_left_out() {
        let text =
            r#"{"features": 1, "payload": {"snapshot": 2}, "params": {"auth": {"snapshot": "s"}}}"#;
        assert_eq!(json(&message(text)), serde_json::from_str(text).ok());
    }
}
