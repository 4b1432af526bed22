//! Codes of IANA registries that a record shows by name: TLS alerts and HTTP/2 errors.
//!
//! The kind comes from the number on the wire, never from a library's text. A code without a name
//! in the registry is kept as its number.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An enum whose variants are the codes of a registry, with their names in records.
macro_rules! codes {
    (
        $(#[$doc:meta])*
        $name:ident($number:ty), others $prefix:literal {
            $($variant:ident = $code:literal $spelled:literal,)+
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "the registry explains each code")]
        pub enum $name {
            $($variant,)+
            /// A code without a name.
            Other($number),
        }

        impl $name {
            /// Every code with a name.
            pub const NAMED: &[Self] = &[$(Self::$variant),+];

            /// The number on the wire.
            #[must_use]
            pub fn code(self) -> $number {
                match self {
                    $(Self::$variant => $code,)+
                    Self::Other(code) => code,
                }
            }

            fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$variant => Some($spelled),)+
                    Self::Other(_) => None,
                }
            }

            fn read(text: &str) -> Option<Self> {
                match text {
                    $($spelled => Some(Self::$variant),)+
                    _ => Some(Self::from(text.strip_prefix($prefix)?.parse::<$number>().ok()?)),
                }
            }
        }

        impl From<$number> for $name {
            fn from(code: $number) -> Self {
                match code {
                    $($code => Self::$variant,)+
                    _ => Self::Other(code),
                }
            }
        }

        /// The spelling in records.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, concat!($prefix, "{}"), self.code()),
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self.name() {
                    Some(name) => serializer.serialize_str(name),
                    None => serializer.collect_str(self),
                }
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "anyOf": [
                        { "enum": [$($spelled),+] },
                        { "pattern": concat!("^", $prefix, "[0-9]+$") },
                    ],
                })
            }
        }
    };
}

codes! {
    /// The description of a TLS alert (RFC 8446 section 6, IANA "TLS Alerts"), without the
    /// registry's "reserved" suffix.
    TlsAlert(u8), others "alert_" {
        CloseNotify = 0 "close_notify",
        UnexpectedMessage = 10 "unexpected_message",
        BadRecordMac = 20 "bad_record_mac",
        DecryptionFailed = 21 "decryption_failed",
        RecordOverflow = 22 "record_overflow",
        DecompressionFailure = 30 "decompression_failure",
        HandshakeFailure = 40 "handshake_failure",
        NoCertificate = 41 "no_certificate",
        BadCertificate = 42 "bad_certificate",
        UnsupportedCertificate = 43 "unsupported_certificate",
        CertificateRevoked = 44 "certificate_revoked",
        CertificateExpired = 45 "certificate_expired",
        CertificateUnknown = 46 "certificate_unknown",
        IllegalParameter = 47 "illegal_parameter",
        UnknownCa = 48 "unknown_ca",
        AccessDenied = 49 "access_denied",
        DecodeError = 50 "decode_error",
        DecryptError = 51 "decrypt_error",
        TooManyCidsRequested = 52 "too_many_cids_requested",
        ExportRestriction = 60 "export_restriction",
        ProtocolVersion = 70 "protocol_version",
        InsufficientSecurity = 71 "insufficient_security",
        InternalError = 80 "internal_error",
        InappropriateFallback = 86 "inappropriate_fallback",
        UserCanceled = 90 "user_canceled",
        NoRenegotiation = 100 "no_renegotiation",
        MissingExtension = 109 "missing_extension",
        UnsupportedExtension = 110 "unsupported_extension",
        CertificateUnobtainable = 111 "certificate_unobtainable",
        UnrecognizedName = 112 "unrecognized_name",
        BadCertificateStatusResponse = 113 "bad_certificate_status_response",
        BadCertificateHashValue = 114 "bad_certificate_hash_value",
        UnknownPskIdentity = 115 "unknown_psk_identity",
        CertificateRequired = 116 "certificate_required",
        GeneralError = 117 "general_error",
        NoApplicationProtocol = 120 "no_application_protocol",
        EchRequired = 121 "ech_required",
    }
}

codes! {
    /// The error code of a `RST_STREAM` or GOAWAY (RFC 9113 section 7, IANA "HTTP/2 Error Code"), in
    /// lower case.
    Http2Error(u32), others "error_" {
        NoError = 0x0 "no_error",
        ProtocolError = 0x1 "protocol_error",
        InternalError = 0x2 "internal_error",
        FlowControlError = 0x3 "flow_control_error",
        SettingsTimeout = 0x4 "settings_timeout",
        StreamClosed = 0x5 "stream_closed",
        FrameSizeError = 0x6 "frame_size_error",
        RefusedStream = 0x7 "refused_stream",
        Cancel = 0x8 "cancel",
        CompressionError = 0x9 "compression_error",
        ConnectError = 0xa "connect_error",
        EnhanceYourCalm = 0xb "enhance_your_calm",
        InadequateSecurity = 0xc "inadequate_security",
        Http11Required = 0xd "http_1_1_required",
    }
}

impl<'de> Deserialize<'de> for TlsAlert {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        alert_of(&Cow::<str>::deserialize(deserializer)?)
    }
}

fn alert_of<E: de::Error>(text: &str) -> Result<TlsAlert, E> {
    let alert = TlsAlert::read(text).or_else(|| of_older_versions(text));
    alert.ok_or_else(|| unknown(text, &"the name of a TLS alert"))
}

/// Older versions wrote the TLS library's name of an alert.
fn of_older_versions(text: &str) -> Option<TlsAlert> {
    match text {
        "encrypted_client_hello_required" => Some(TlsAlert::EchRequired),
        "unknown_pskidentity" => Some(TlsAlert::UnknownPskIdentity),
        "unrecognised_name" => Some(TlsAlert::UnrecognizedName),
        _ => {
            let (_, code) = text.strip_suffix(')')?.split_once("(0x")?;
            Some(u8::from_str_radix(code, 16).ok()?.into())
        }
    }
}

impl<'de> Deserialize<'de> for Http2Error {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Self::read(&text).ok_or_else(|| unknown(&text, &"the name of an HTTP/2 error"))
    }
}

fn unknown<E: de::Error>(text: &str, expected: &dyn de::Expected) -> E {
    E::invalid_value(de::Unexpected::Str(text), expected)
}

/// The alert on a connection whose bytes are passed on unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PassedAlert {
    /// Encrypted: the first protected record has the size of an alert.
    Encrypted,
    /// Sent in the clear, before there were keys.
    Clear(TlsAlert),
}

const ENCRYPTED: &str = "encrypted";

impl fmt::Display for PassedAlert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encrypted => f.write_str(ENCRYPTED),
            Self::Clear(alert) => alert.fmt(f),
        }
    }
}

impl Serialize for PassedAlert {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Encrypted => serializer.serialize_str(ENCRYPTED),
            Self::Clear(alert) => alert.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for PassedAlert {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        if text == ENCRYPTED {
            return Ok(Self::Encrypted);
        }
        alert_of(&text).map(Self::Clear)
    }
}

impl JsonSchema for PassedAlert {
    fn schema_name() -> Cow<'static, str> {
        "PassedAlert".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let clear = generator.subschema_for::<TlsAlert>();
        json_schema!({ "anyOf": [{ "const": ENCRYPTED }, clear] })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{from_value, json, to_value};

    use super::*;

    #[test]
    fn every_alert_keeps_its_number_and_has_a_name_of_its_own() {
        let mut names = BTreeSet::new();
        for code in 0..=u8::MAX {
            let alert = TlsAlert::from(code);
            assert_eq!(alert.code(), code);
            let text = to_value(alert).unwrap();
            assert_eq!(text, alert.to_string());
            assert_eq!(from_value::<TlsAlert>(text).unwrap(), alert);
            names.insert(alert.to_string());
        }
        assert_eq!(names.len(), 256);
        assert_eq!(TlsAlert::NAMED.len(), 37);
        assert_eq!(TlsAlert::from(77).to_string(), "alert_77");
    }

    #[test]
    fn every_http2_error_keeps_its_number_and_its_name() {
        for code in (0..=0xe).chain([u32::MAX]) {
            let error = Http2Error::from(code);
            assert_eq!(error.code(), code);
            let text = to_value(error).unwrap();
            assert_eq!(from_value::<Http2Error>(text).unwrap(), error);
        }
        assert_eq!(Http2Error::NAMED.len(), 14);
        assert_eq!(Http2Error::from(14).to_string(), "error_14");
    }

    #[test]
    fn names_of_older_records_are_read() {
        let read = |text: &str| from_value::<TlsAlert>(json!(text)).ok();
        assert_eq!(read("unrecognised_name"), Some(TlsAlert::UnrecognizedName));
        let psk = Some(TlsAlert::UnknownPskIdentity);
        assert_eq!(read("unknown_pskidentity"), psk);
        let ech = Some(TlsAlert::EchRequired);
        assert_eq!(read("encrypted_client_hello_required"), ech);
        let other = Some(TlsAlert::Other(77));
        assert_eq!(read("alert_description(0x4d)"), other);
        for wrong in [
            "",
            "alert_",
            "alert_256",
            "alert_x",
            "UnknownCa",
            "x(0x100)",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_alert_that_cannot_be_read_is_none_of_the_registry() {
        for alert in [
            PassedAlert::Encrypted,
            PassedAlert::Clear(TlsAlert::InternalError),
            PassedAlert::Clear(TlsAlert::Other(200)),
        ] {
            let text = to_value(alert).unwrap();
            assert_eq!(text, alert.to_string());
            assert_eq!(from_value::<PassedAlert>(text).unwrap(), alert);
        }
        assert!(from_value::<PassedAlert>(json!("secret")).is_err());
    }
}
