//! What an I/O error says of how a connection ended.

use std::io;

use rustls::{AlertDescription, Error, InvalidMessage};

use crate::session::end_cause::EndCause;
use crate::session::record::{StreamFault, StreamFaultKind, TransportEnd};

/// How a connection ended whose read or write failed with `error`: the kind, the error's text, and
/// what the peer had sent if that was the cause.
#[must_use]
pub fn of_error(error: &io::Error) -> (TransportEnd, EndCause) {
    use io::ErrorKind as Kind;
    let cause = match carried(error) {
        Some(cause) => cause.clone(),
        None => EndCause::new(words(error), tls_error(error).and_then(stream_fault)),
    };
    if (cause.fault()).is_some_and(|fault| fault.kind == StreamFaultKind::Alert) {
        // A fatal alert is the peer's way to break off (RFC 8446 section 6.2).
        return (TransportEnd::Rst, cause);
    }
    let end = match error.kind() {
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe => TransportEnd::Rst,
        Kind::TimedOut | Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown => {
            TransportEnd::Timeout
        }
        // tokio-rustls: FIN without close_notify.
        Kind::UnexpectedEof => TransportEnd::TlsTruncated,
        // A record that cannot be decrypted or parsed: we send the alert and end it.
        _ => TransportEnd::Local,
    };
    (end, cause)
}

/// The part of the peer's TLS stream that was not valid. `None`: the error is ours.
pub(super) fn stream_fault(error: &Error) -> Option<StreamFault> {
    use StreamFaultKind as Kind;
    let kind = match error {
        Error::AlertReceived(alert) => {
            return Some(StreamFault {
                kind: Kind::Alert,
                alert: Some(alert_name(*alert)),
            });
        }
        Error::DecryptError => Kind::Undecryptable,
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => Kind::NotTls,
        Error::InvalidMessage(_) | Error::PeerSentOversizedRecord => Kind::Malformed,
        Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerMisbehaved(_) => Kind::Unexpected,
        _ => return None,
    };
    Some(StreamFault::of(kind))
}

/// The cause that the underlying connection put into the error, if a stream on it failed.
fn carried(error: &io::Error) -> Option<&EndCause> {
    error.get_ref()?.downcast_ref()
}

/// The error in words that people know; TLS alerts by their name.
#[must_use]
pub fn words(error: &io::Error) -> String {
    match tls_error(error) {
        Some(Error::AlertReceived(alert)) => {
            format!("the peer sent the TLS alert {}", alert_name(*alert))
        }
        Some(error) => format!("TLS: {error}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the connection ended without TLS close_notify".to_owned()
        }
        None => error.to_string(),
    }
}

/// The TLS error inside, if it is one.
#[must_use]
pub fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// An alert's name as RFC 8446 section 6 spells it.
#[must_use]
pub fn alert_name(alert: AlertDescription) -> String {
    let (mut name, mut after_lower) = (String::new(), false);
    for c in format!("{alert:?}").chars() {
        if c.is_ascii_uppercase() && after_lower {
            name.push('_');
        }
        after_lower = c.is_ascii_lowercase();
        name.push(c.to_ascii_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resets_truncations_and_timeouts_stay_apart() {
        let end = |kind| of_error(&io::Error::from(kind)).0;
        assert_eq!(end(io::ErrorKind::ConnectionReset), TransportEnd::Rst);
        assert_eq!(
            end(io::ErrorKind::UnexpectedEof),
            TransportEnd::TlsTruncated
        );
        assert_eq!(end(io::ErrorKind::TimedOut), TransportEnd::Timeout);
        assert_eq!(end(io::ErrorKind::InvalidData), TransportEnd::Local);
    }

    #[test]
    fn alerts_have_their_rfc_names() {
        assert_eq!(alert_name(AlertDescription::UnknownCA), "unknown_ca");
        assert_eq!(
            alert_name(AlertDescription::CertificateExpired),
            "certificate_expired"
        );
        let error = io::Error::new(
            io::ErrorKind::InvalidData,
            Error::AlertReceived(AlertDescription::BadCertificate),
        );
        assert_eq!(words(&error), "the peer sent the TLS alert bad_certificate");
    }

    #[test]
    fn what_a_peer_sent_is_told_from_what_is_our_own_fault() {
        let fault = |error: Error| {
            let error = io::Error::new(io::ErrorKind::InvalidData, error);
            let (end, cause) = of_error(&error);
            // The same through a stream on that connection.
            let carried = io::Error::other(cause.clone());
            assert_eq!(of_error(&carried).1, cause);
            (end, cause.fault().cloned())
        };
        let of = |kind| (TransportEnd::Local, Some(StreamFault::of(kind)));
        assert_eq!(
            fault(Error::DecryptError),
            of(StreamFaultKind::Undecryptable)
        );
        let plaintext = InvalidMessage::InvalidContentType;
        assert_eq!(fault(plaintext.into()), of(StreamFaultKind::NotTls));
        let long = Error::PeerSentOversizedRecord;
        assert_eq!(fault(long), of(StreamFaultKind::Malformed));
        let twice = rustls::PeerMisbehaved::TooManyKeyUpdateRequests;
        assert_eq!(fault(twice.into()), of(StreamFaultKind::Unexpected));
        let (end, alert) = fault(Error::AlertReceived(AlertDescription::BadRecordMac));
        assert_eq!(end, TransportEnd::Rst);
        assert_eq!(alert.unwrap().alert.as_deref(), Some("bad_record_mac"));
        assert_eq!(fault(Error::EncryptError), (TransportEnd::Local, None));
    }
}
