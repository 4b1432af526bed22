//! Which key of our configuration refused a session.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// Our policy refused a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeniedFact {
    /// The configuration key.
    pub key: DeniedKey,
    /// For people: the configured value and the value that was found.
    pub detail: String,
    /// For a key below `limits`: how many connections, handshakes, header lines or bytes it allows.
    #[serde(default)]
    pub limit: Option<u64>,
}

/// The keys of the configuration by which a session can be refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "docs/configuration.md explains each key")]
pub enum DeniedKey {
    #[serde(rename = "limits.connections")]
    Connections,
    #[serde(rename = "limits.handshakes")]
    Handshakes,
    #[serde(rename = "limits.per_client")]
    PerClient,
    #[serde(rename = "limits.head_bytes")]
    HeadBytes,
    #[serde(rename = "limits.headers")]
    Headers,
    #[serde(rename = "origins.allowed")]
    OriginsAllowed,
    #[serde(rename = "origins.missing")]
    OriginsMissing,
    #[serde(rename = "gateway.allow_remote_as_local")]
    RemoteAsLocal,
    /// `gateway.url` leads back to this tap.
    #[serde(rename = "gateway.url")]
    GatewayUrl,
    #[serde(rename = "listeners[].tls")]
    ListenerTls,
    /// A key of another version.
    #[serde(untagged)]
    Other(String),
}

impl DeniedKey {
    /// The spelling in the configuration.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Connections => "limits.connections",
            Self::Handshakes => "limits.handshakes",
            Self::PerClient => "limits.per_client",
            Self::HeadBytes => "limits.head_bytes",
            Self::Headers => "limits.headers",
            Self::OriginsAllowed => "origins.allowed",
            Self::OriginsMissing => "origins.missing",
            Self::RemoteAsLocal => "gateway.allow_remote_as_local",
            Self::GatewayUrl => "gateway.url",
            Self::ListenerTls => "listeners[].tls",
            Self::Other(key) => key,
        }
    }
}

impl fmt::Display for DeniedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads a record's `denied`. Records of older versions have no `limit`. If their text says how
/// much is allowed, the limit is read from it; the number of connections that were open is not a
/// limit.
pub(super) fn read<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<DeniedFact>, D::Error> {
    let mut denied = Option::<DeniedFact>::deserialize(deserializer)?;
    if let Some(denied) = &mut denied
        && denied.limit.is_none()
        && matches!(denied.key, DeniedKey::HeadBytes | DeniedKey::Headers)
    {
        denied.limit = allowed(&denied.detail);
    }
    Ok(denied)
}

/// The number in "… N are allowed".
fn allowed(text: &str) -> Option<u64> {
    let (before, _) = text.split_once(" are allowed")?;
    before.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::super::CloseFacts;
    use super::*;

    fn denied(key: &str, detail: &str) -> DeniedFact {
        let close = json!({ "denied": { "key": key, "detail": detail } });
        from_value::<CloseFacts>(close).unwrap().denied.unwrap()
    }

    #[test]
    fn the_limit_of_an_older_record_is_in_its_words() {
        let detail = "a head of 70112 bytes came, 65536 are allowed";
        assert_eq!(denied("limits.head_bytes", detail).limit, Some(65_536));
        let other = "the head on stream 41 was more than twice of what limits.head_bytes allows";
        assert_eq!(denied("limits.head_bytes", other).limit, None);
        // For a moment, more may be open than the limit allows.
        let connections = denied("limits.connections", "20001 connections are open");
        assert_eq!(connections.limit, None);
        // The numbers of an address are not a limit.
        let client = denied(
            "limits.per_client",
            "512 connections of 203.0.113.9 are open",
        );
        assert_eq!(client.limit, None);
        let close =
            json!({ "denied": { "key": "limits.headers", "detail": "200 came", "limit": 7 } });
        let close = from_value::<CloseFacts>(close).unwrap();
        assert_eq!(close.denied.unwrap().limit, Some(7));
        let none = from_value::<CloseFacts>(json!({ "denied": null })).unwrap();
        assert_eq!(none.denied, None);
    }

    #[test]
    fn every_key_is_spelled_as_the_configuration_has_it() {
        let keys = [
            DeniedKey::Connections,
            DeniedKey::Handshakes,
            DeniedKey::PerClient,
            DeniedKey::HeadBytes,
            DeniedKey::Headers,
            DeniedKey::OriginsAllowed,
            DeniedKey::OriginsMissing,
            DeniedKey::RemoteAsLocal,
            DeniedKey::GatewayUrl,
            DeniedKey::ListenerTls,
            DeniedKey::Other("hosts.allowed".to_owned()),
        ];
        for key in keys {
            assert_eq!(to_value(&key).unwrap(), key.as_str());
            assert_eq!(from_value::<DeniedKey>(key.as_str().into()).unwrap(), key);
        }
    }
}
