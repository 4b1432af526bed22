//! What an I/O error says of how a connection ended.

use std::io;

use rustls::AlertDescription;

use crate::session::record::TransportEnd;

/// How a connection ended whose read or write failed with `error`, and the error's own words.
#[must_use]
pub fn of_error(error: &io::Error) -> (TransportEnd, String) {
    use io::ErrorKind as Kind;
    if let Some(rustls::Error::AlertReceived(_)) = tls_error(error) {
        // A fatal alert is the peer's way to break off (RFC 8446 section 6.2).
        return (TransportEnd::Rst, words(error));
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
    (end, words(error))
}

/// The error in words that people know; TLS alerts by their name.
#[must_use]
pub fn words(error: &io::Error) -> String {
    match tls_error(error) {
        Some(rustls::Error::AlertReceived(alert)) => {
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
pub fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
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
            rustls::Error::AlertReceived(AlertDescription::BadCertificate),
        );
        assert_eq!(words(&error), "the peer sent the TLS alert bad_certificate");
    }
}
