//! Maps an I/O error to how a connection ended.

use std::io;

use rustls::{AlertDescription, Error, InvalidMessage};

use super::impossible::Impossible;
use crate::session::end_cause::EndCause;
use crate::session::record::{StreamFault, StreamFaultKind, TlsAlert, TransportEnd};

/// How a connection ended, given the `error` of its read or write: the kind, the error's text, and
/// the peer's alert or invalid data if that was the cause.
#[must_use]
pub(crate) fn of_error(error: &io::Error) -> (TransportEnd, EndCause) {
    use io::ErrorKind as Kind;
    if let Some(impossible) = Impossible::of(error) {
        return (TransportEnd::Local, impossible.into());
    }
    let cause = match carried(error) {
        Some(cause) => cause.clone(),
        None => EndCause::new(words(error), tls_error(error).and_then(stream_fault)),
    };
    if (cause.fault()).is_some_and(|fault| fault.kind == StreamFaultKind::Alert) {
        // With a fatal alert the peer breaks off the connection (RFC 8446 section 6.2).
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
                alert: Some(tls_alert(*alert)),
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

/// The cause that the underlying connection stored in the error, if a stream on it failed.
fn carried(error: &io::Error) -> Option<&EndCause> {
    error.get_ref()?.downcast_ref()
}

/// The error as text for people; TLS alerts by their name.
#[must_use]
pub(crate) fn words(error: &io::Error) -> String {
    match tls_error(error) {
        Some(Error::AlertReceived(alert)) => {
            format!("the peer sent the TLS alert {}", tls_alert(*alert))
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
pub(crate) fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// The alert that the peer sent, if that is what the error says.
#[must_use]
pub(crate) fn received_alert(error: &io::Error) -> Option<TlsAlert> {
    match tls_error(error)? {
        Error::AlertReceived(alert) => Some(tls_alert(*alert)),
        _ => None,
    }
}

/// Converts the alert by its number: the library uses different names for some alerts.
#[must_use]
pub(crate) fn tls_alert(alert: AlertDescription) -> TlsAlert {
    TlsAlert::from(u8::from(alert))
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
    fn alerts_have_the_names_of_the_registry() {
        for (alert, name) in [
            (AlertDescription::UnknownCA, "unknown_ca"),
            (AlertDescription::UnrecognisedName, "unrecognized_name"),
            (AlertDescription::UnknownPSKIdentity, "unknown_psk_identity"),
            (AlertDescription::Unknown(77), "alert_77"),
        ] {
            assert_eq!(tls_alert(alert).to_string(), name);
        }
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
        assert_eq!(alert.unwrap().alert, Some(TlsAlert::BadRecordMac));
        assert_eq!(fault(Error::EncryptError), (TransportEnd::Local, None));
    }
}
