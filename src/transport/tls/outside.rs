//! The parts of TLS that are visible without its keys: the headers of its records, the
//! `ClientHello`, and alerts that are sent before there are keys (RFC 8446 sections 4.1.2, 5.1 and
//! 6).

use rustls::ContentType;

use super::greeting::hello;
use super::offered::SNI_CAP;
use super::terminator::Asked;
use crate::session::record::{LastRecord, PassedAlert, TlsAlert};
use crate::session::text::PeerText;

/// Length of a record header: type, version and length.
const HEADER: usize = 5;

/// Length of an alert: level and description.
const ALERT: usize = 2;

const FATAL: u8 = 2;

/// Length of an alert that TLS 1.3 protects: with its content type and the tag of the cipher.
const PROTECTED_ALERT: usize = ALERT + 1 + 16;

/// The longest record that TLS 1.2 allows (RFC 5246 section 6.2.3).
const LONGEST: usize = (1 << 14) + 2048;

/// Maximum length of a `ClientHello` that is parsed.
const LONGEST_GREETING: usize = 1 << 16;

/// Allowance for record headers if a `ClientHello` spans several records.
const HEADERS: usize = 64 * HEADER;

/// Type of a handshake record, and length of the header of a handshake message: its type and
/// length.
const HANDSHAKE: u8 = 22;
const MESSAGE: usize = 4;

/// One direction of a connection, seen without its keys.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    /// The header of the current record; for a plain alert, its content as well.
    head: Vec<u8>,
    /// Bytes of its content that are still to come.
    left: usize,
    last: Option<(ContentType, usize)>,
    protected: u64,
    alert: Option<PassedAlert>,
    /// The bytes are not TLS records.
    is_lost: bool,
}

/// A client's first message, the `ClientHello`, seen without its keys.
#[derive(Debug, Default)]
pub(crate) struct Greeting {
    /// The bytes of it that have come, until it is complete.
    read: Vec<u8>,
    is_done: bool,
    /// It came completely, and could be parsed.
    pub is_whole: bool,
    /// The server name that it asks for.
    pub sni: Option<PeerText>,
    /// The application protocols that it offers.
    pub alpn: Vec<PeerText>,
}

impl Greeting {
    /// Takes in the next bytes of the client.
    pub(crate) fn saw(&mut self, bytes: &[u8]) {
        if self.is_done {
            return;
        }
        self.read.extend_from_slice(bytes);
        match announced(&self.read) {
            Some(length) if length > LONGEST_GREETING => {}
            // It may span several records, whose headers come on top of the length that it announces.
            Some(length) if self.read.len() < length => return,
            Some(length) => match hello(&self.read) {
                Some(accepted) => {
                    let asked = Asked::of(&accepted.client_hello());
                    let name = asked.name.as_deref();
                    self.sni = name.map(|name| PeerText::from_bytes(name.as_bytes(), SNI_CAP));
                    self.alpn = asked.alpn;
                    self.is_whole = true;
                }
                None if self.read.len() < length + HEADERS => return,
                None => {}
            },
            None if self.read.len() < HEADER + MESSAGE && self.read.starts_with(&[HANDSHAKE]) => {
                return;
            }
            None => {}
        }
        self.is_done = true;
        self.read = Vec::new();
    }
}

/// Number of bytes up to the end of the first message; `None` if that is not known yet, or this is
/// no handshake.
fn announced(read: &[u8]) -> Option<usize> {
    match read {
        [HANDSHAKE, _, _, _, _, _, high, middle, low, ..] => {
            let length = u32::from_be_bytes([0, *high, *middle, *low]);
            Some(HEADER + MESSAGE + usize::try_from(length).ok()?)
        }
        _ => None,
    }
}

impl Outside {
    /// Takes in the next bytes.
    pub(crate) fn saw(&mut self, mut bytes: &[u8]) {
        while !self.is_lost && !bytes.is_empty() {
            let wanted = self.wanted();
            if wanted == 0 {
                let skipped = self.left.min(bytes.len());
                self.left -= skipped;
                bytes = bytes.get(skipped..).unwrap_or_default();
                if self.left == 0 {
                    self.head.clear();
                }
                continue;
            }
            let (front, rest) = bytes.split_at(wanted.min(bytes.len()));
            self.head.extend_from_slice(front);
            bytes = rest;
            if front.len() == wanted {
                self.looked_at();
            }
        }
    }

    /// Number of bytes of the head that are still to come.
    fn wanted(&self) -> usize {
        let whole = match self.last {
            _ if self.head.len() < HEADER => HEADER,
            Some((ContentType::Alert, ALERT)) => HEADER + ALERT,
            _ => HEADER,
        };
        whole - self.head.len()
    }

    /// Interprets the head, which is complete.
    fn looked_at(&mut self) {
        match *self.head.as_slice() {
            [of_type, 3, _, high, low] => {
                let content = ContentType::from(of_type);
                let length = usize::from(u16::from_be_bytes([high, low]));
                let is_known = matches!(
                    content,
                    ContentType::ChangeCipherSpec
                        | ContentType::Alert
                        | ContentType::Handshake
                        | ContentType::ApplicationData
                        | ContentType::Heartbeat
                );
                self.is_lost = !is_known || length > LONGEST;
                self.last = Some((content, length));
                if content == ContentType::ApplicationData {
                    self.protected += 1;
                    if self.protected == 1 && length == PROTECTED_ALERT {
                        self.alert.get_or_insert(PassedAlert::Encrypted);
                    }
                }
                if content != ContentType::Alert || length != ALERT {
                    self.left = length;
                    if length == 0 {
                        self.head.clear();
                    }
                }
            }
            [_, _, _, _, _, level, description] => {
                let alert = TlsAlert::from(description);
                // After a warning the handshake goes on.
                if level == FATAL && self.protected == 0 && alert != TlsAlert::CloseNotify {
                    self.alert.get_or_insert(PassedAlert::Clear(alert));
                }
                self.head.clear();
            }
            _ => self.is_lost = true,
        }
    }

    /// Number of protected records, complete or begun.
    #[must_use]
    pub(crate) fn protected(&self) -> u64 {
        self.protected
    }

    /// The alert that ended the handshake, see [`crate::session::record::PassedFacts::alert`].
    #[must_use]
    pub(crate) fn alert(&self) -> Option<PassedAlert> {
        self.alert
    }

    /// The last record; `None` if the bytes are not TLS records.
    #[must_use]
    pub(crate) fn last_record(&self) -> Option<LastRecord> {
        if self.is_lost {
            return None;
        }
        let (content, length) = self.last?;
        Some(if !self.head.is_empty() || self.left > 0 {
            LastRecord::Cut
        } else if content == ContentType::Alert {
            LastRecord::Alert
        } else if content == ContentType::ApplicationData && length == PROTECTED_ALERT {
            LastRecord::PerhapsAlert
        } else {
            LastRecord::Whole
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(content: u8, length: usize) -> Vec<u8> {
        let [high, low] = u16::try_from(length).unwrap().to_be_bytes();
        let mut bytes = vec![content, 3, 3, high, low];
        bytes.resize(HEADER + length, 0xab);
        bytes
    }

    /// The facts for these bytes, which are the same for pieces of any size.
    fn seen(bytes: &[u8]) -> (Option<PassedAlert>, Option<LastRecord>) {
        let by = |piece: usize| {
            let mut outside = Outside::default();
            for piece in bytes.chunks(piece) {
                outside.saw(piece);
            }
            (outside.alert(), outside.last_record())
        };
        let whole = by(bytes.len().max(1));
        for piece in [1, 2, 3, 7, 1000] {
            assert_eq!(by(piece), whole, "in pieces of {piece}");
        }
        whole
    }

    #[test]
    fn an_alert_before_the_keys_is_read_and_close_notify_is_no_fault() {
        let alert = |description| [record(22, 100), vec![21, 3, 3, 0, 2, 2, description]].concat();
        let clear = |alert| Some(PassedAlert::Clear(alert));
        let refused = (clear(TlsAlert::UnknownCa), Some(LastRecord::Alert));
        assert_eq!(seen(&alert(48)), refused);
        assert_eq!(seen(&alert(0)), (None, Some(LastRecord::Alert)));
        let warning = [21, 3, 3, 0, 2, 1, 112];
        assert_eq!(seen(&warning), (None, Some(LastRecord::Alert)));
        let version = clear(TlsAlert::ProtocolVersion);
        assert_eq!(seen(&[21, 3, 3, 0, 2, 2, 70]).0, version);
        assert_eq!(seen(&[21, 3, 3, 0, 2, 2, 77]).0, clear(TlsAlert::Other(77)));
    }

    #[test]
    fn the_first_protected_record_may_be_an_alert_and_a_later_one_ends_in_order() {
        let hello = record(22, 200);
        let ccs = record(20, 1);
        let early = [hello.clone(), ccs.clone(), record(23, 19)].concat();
        assert_eq!(
            seen(&early),
            (Some(PassedAlert::Encrypted), Some(LastRecord::PerhapsAlert))
        );
        let finished = [hello, ccs, record(23, 69), record(23, 500)].concat();
        assert_eq!(seen(&finished), (None, Some(LastRecord::Whole)));
        let closed = [finished, record(23, 19)].concat();
        assert_eq!(seen(&closed), (None, Some(LastRecord::PerhapsAlert)));
    }

    #[test]
    fn a_record_that_is_cut_is_seen_at_every_byte_of_it() {
        let whole = record(23, 40);
        for cut in 1..whole.len() {
            let (_, last) = seen(&[record(22, 9).as_slice(), &whole[..cut]].concat());
            assert_eq!(last, Some(LastRecord::Cut), "after {cut} bytes");
        }
    }

    #[test]
    fn what_is_no_tls_has_no_records() {
        assert_eq!(seen(b""), (None, None));
        assert_eq!(seen(b"GET /healthz HTTP/1.1\r\n\r\n"), (None, None));
        let then = [record(22, 9).as_slice(), b"HTTP/1.1 400 Bad"].concat();
        assert_eq!(seen(&then), (None, None));
    }

    #[test]
    fn a_greeting_is_read_in_pieces() {
        use std::sync::Arc;

        use rustls::{ClientConfig, ClientConnection, RootCertStore};

        let mut config = ClientConfig::builder_with_provider(crate::crypto::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = "gw.example".try_into().unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        let mut asked = Greeting::default();
        for piece in hello.chunks(50) {
            assert_eq!(asked.sni, None);
            asked.saw(piece);
        }
        assert_eq!(asked.sni, Some(PeerText::new("gw.example", 255)));
        assert_eq!(asked.alpn, [PeerText::new("http/1.1", 255)]);
        assert!(asked.is_whole);
        for cut in [5, 9, 100, hello.len() - 1] {
            let mut asked = Greeting::default();
            asked.saw(&hello[..cut]);
            assert!(!asked.is_whole && !asked.is_done, "{cut}");
        }
        // Bytes that are no `ClientHello` are not kept.
        for other in [
            b"GET / HTTP/1.1".as_slice(),
            b"\x16\x03\x01\x00\x10\x02\xff\xff\xff",
        ] {
            let mut asked = Greeting::default();
            asked.saw(other);
            assert!(!asked.is_whole && asked.is_done && asked.read.is_empty());
        }
    }
}
