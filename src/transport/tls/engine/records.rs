//! Opens and seals the records of TLS 1.3 after the handshake (RFC 8446 section 5), in place.
//!
//! The library makes all keys, but it opens and seals each record through a buffer of its own. Here a
//! record is opened in the buffer into which it was read, with its plaintext directly after that of the
//! record before, and sealed in the buffer from which it is written. Nonces, additional data and padding
//! are handled by functions of the library; the ciphers are those of its provider.
//!
//! A client may send data, alerts and `KeyUpdate`. All bytes of a `KeyUpdate` but the last are always the same, so of a
//! `KeyUpdate` that is split over records only the number of bytes is kept. A malformed one gets the alert that the
//! library would send.

use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, Nonce, make_tls13_aad,
};
use rustls::kernel::KernelConnection;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::{
    AlertDescription, ConnectionTrafficSecrets, ContentType, Error, HandshakeType, InvalidMessage,
    PeerMisbehaved, ProtocolVersion,
};

use super::out::{End, Out};
use crate::crypto::aead::{
    self, AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, UnboundKey,
};
use crate::transport::impossible::{Impossible, slice, slice_mut};

/// Length of a record header: type, version and length.
const HEADER: usize = 5;

/// Length of the tag, the same for all three ciphers.
const TAG: usize = 16;

/// Maximum number of plaintext bytes in one record.
const PLAIN: usize = 16 * 1024;

/// Maximum number of bytes by which a protected record is longer than its plaintext.
const EXPANSION: usize = 256;

/// Maximum number of `KeyUpdate`s without data between them: each costs a key derivation.
const UPDATES: u8 = 32;

/// Maximum number of warning alerts from a client; they have no effect.
const WARNINGS: u8 = 4;

/// Maximum number of empty data records in a row: a read that skips them does not return.
const EMPTY: u8 = 32;

/// `KeyUpdate` without its last byte, which says whether the sender asks for our new key.
const KEY_UPDATE: [u8; 4] = [24, 0, 0, 1];

const WARNING: u8 = 1;
const FATAL: u8 = 2;

/// Both directions of one connection.
pub(super) struct Records {
    keys: KernelConnection<ServerConnectionData>,
    opening: Protection,
    sealing: Protection,
    /// Maximum number of records that one key may seal.
    limit: u64,
    /// The client has asked us to update our key; we do so before the next data.
    owes_update: bool,
    /// Bytes of an unfinished [`KEY_UPDATE`].
    begun: u8,
    /// How many of each kind the client may still send.
    updates: u8,
    warnings: u8,
    empty: u8,
    /// `close_notify` or a fatal alert has been sent.
    said_last: bool,
}

impl Records {
    /// For a TLS 1.3 connection with `enable_secret_extraction`, after its handshake and once all its records
    /// have been taken.
    pub(super) fn new(conn: UnbufferedServerConnection) -> Result<Self, Error> {
        let (secrets, keys) = conn.dangerous_into_kernel_connection()?;
        let suite = keys.negotiated_cipher_suite();
        let suite = suite.tls13().ok_or(Error::HandshakeNotComplete)?;
        Ok(Self {
            keys,
            opening: Protection::new(secrets.rx)?,
            sealing: Protection::new(secrets.tx)?,
            limit: suite.common.confidentiality_limit,
            owes_update: false,
            begun: 0,
            updates: UPDATES,
            warnings: WARNINGS,
            empty: EMPTY,
            said_last: false,
        })
    }

    /// Opens the whole records of `input`. Returns how many bytes were taken, and the length of the plaintext,
    /// which is at the front of `input`. `out` gets the answers.
    pub(super) fn receive(
        &mut self,
        input: &mut [u8],
        out: &mut Out,
        end: &mut Option<End>,
    ) -> (usize, usize) {
        let (mut taken, mut filled) = (0, 0);
        while end.is_none() {
            let rest = slice(input, taken.., Impossible::Consumed);
            let record = rest.map_err(Error::from).and_then(whole);
            let length = match record {
                Ok(Some(length)) => length,
                Ok(None) => break,
                Err(error) => {
                    *end = Some(self.fail(error, out));
                    break;
                }
            };
            let ciphertext = taken + HEADER - filled;
            taken += length;
            let room = slice_mut(input, filled..taken, Impossible::Consumed);
            let opened = room
                .map_err(Error::from)
                .and_then(|room| self.opening.open(room, ciphertext));
            match opened {
                Ok(message) => match (message.typ, message.payload.len()) {
                    (ContentType::ApplicationData, count @ 1..) if self.begun == 0 => {
                        (self.updates, self.empty) = (UPDATES, EMPTY);
                        filled += count;
                    }
                    _ => *end = self.control(&message, out),
                },
                Err(error) => *end = Some(self.fail(error, out)),
            }
        }
        (taken, filled)
    }

    /// Seals data, in as many records as needed.
    pub(super) fn seal(&mut self, plain: &[u8], out: &mut Out) -> Result<(), Error> {
        if self.said_last {
            return Err(Error::EncryptError);
        }
        for piece in plain.chunks(PLAIN) {
            if std::mem::take(&mut self.owes_update) {
                self.update(false, out)?;
            } else if self.sealing.next >= self.limit {
                self.update(true, out)?;
            }
            self.sealing
                .seal(ContentType::ApplicationData, piece, out)?;
        }
        Ok(())
    }

    /// Sends `close_notify`, unless the last alert has been sent.
    pub(super) fn close(&mut self, out: &mut Out) {
        self.alert(WARNING, AlertDescription::CloseNotify, out);
    }

    /// Switches to a new sending key, and asks for a new key of the client's if `asks` (RFC 8446
    /// section 4.6.3).
    fn update(&mut self, asks: bool, out: &mut Out) -> Result<(), Error> {
        let next = Protection::new(self.keys.update_tx_secret()?)?;
        let message = [24, 0, 0, 1, u8::from(asks)];
        self.sealing.seal(ContentType::Handshake, &message, out)?;
        self.sealing = next;
        Ok(())
    }

    /// A record without data.
    fn control(&mut self, message: &InboundPlainMessage<'_>, out: &mut Out) -> Option<End> {
        let looked_at = match message.typ {
            // RFC 8446 section 5.1. The library ends such a connection too, without an alert.
            typ if self.begun > 0 && typ != ContentType::Handshake => {
                Err(PeerMisbehaved::MessageInterleavedWithHandshakeMessage.into())
            }
            ContentType::ApplicationData | ContentType::Handshake if message.payload.is_empty() => {
                self.nothing()
            }
            ContentType::Alert => match *message.payload {
                [level, description] => return self.heard(level, description.into(), out),
                _ => Err(InvalidMessage::TrailingData("AlertMessagePayload").into()),
            },
            ContentType::Handshake => self.handshake(message.payload),
            got_type => Err(Error::InappropriateMessage {
                expect_types: vec![ContentType::ApplicationData],
                got_type,
            }),
        };
        looked_at.err().map(|error| self.fail(error, out))
    }

    /// Handles an alert (RFC 8446 section 6).
    fn heard(&mut self, level: u8, alert: AlertDescription, out: &mut Out) -> Option<End> {
        let received = Error::AlertReceived(alert);
        match level {
            WARNING | FATAL if alert == AlertDescription::CloseNotify => Some(End::Closed),
            FATAL => Some(End::Failed(received)),
            WARNING if alert == AlertDescription::UserCanceled => {
                match self.warnings.checked_sub(1) {
                    Some(left) => {
                        self.warnings = left;
                        None
                    }
                    None => {
                        Some(self.fail(PeerMisbehaved::TooManyWarningAlertsReceived.into(), out))
                    }
                }
            }
            // A fatal alert, or one with an unknown level.
            _ => {
                let answer = match level {
                    WARNING => AlertDescription::DecodeError,
                    _ => AlertDescription::IllegalParameter,
                };
                self.alert(FATAL, answer, out);
                Some(End::Failed(received))
            }
        }
    }

    /// Handles a record without content.
    fn nothing(&mut self) -> Result<(), Error> {
        self.empty = self
            .empty
            .checked_sub(1)
            .ok_or(PeerMisbehaved::TooManyEmptyFragments)?;
        Ok(())
    }

    /// Handles the content of a handshake record: a `KeyUpdate`, or a piece of one.
    fn handshake(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let begun = std::mem::take(&mut self.begun);
        let missing = KEY_UPDATE.get(usize::from(begun)..).unwrap_or_default();
        if missing.starts_with(bytes) {
            // Four bytes at most.
            self.begun = begun + u8::try_from(bytes.len()).unwrap_or_default();
            return Ok(());
        }
        let asked = match (bytes.strip_prefix(missing), bytes) {
            (Some([asked @ (0 | 1)]), _) => *asked == 1,
            (Some([_]), _) => return Err(InvalidMessage::InvalidKeyUpdate.into()),
            // The new key applies from the next record on, so nothing may follow in this one.
            (Some(_), _) => return Err(PeerMisbehaved::KeyEpochWithPendingFragment.into()),
            (None, [typ, ..]) if begun == 0 && *typ != KEY_UPDATE[0] => {
                return Err(Error::InappropriateHandshakeMessage {
                    expect_types: vec![HandshakeType::KeyUpdate],
                    got_type: (*typ).into(),
                });
            }
            // A handshake message of another length.
            (None, _) => return Err(InvalidMessage::TrailingData("KeyUpdate").into()),
        };
        let Some(left) = self.updates.checked_sub(1) else {
            return Err(PeerMisbehaved::TooManyKeyUpdateRequests.into());
        };
        self.updates = left;
        self.owes_update |= asked;
        self.opening = Protection::new(self.keys.update_rx_secret()?)?;
        Ok(())
    }

    fn fail(&mut self, error: Error, out: &mut Out) -> End {
        self.alert(FATAL, alert_of(&error), out);
        End::Failed(error)
    }

    fn alert(&mut self, level: u8, alert: AlertDescription, out: &mut Out) {
        if !std::mem::replace(&mut self.said_last, true) {
            let message = [level, alert.into()];
            // Sealing fails only without a usable key, and then no alert can be sent.
            let _ = self.sealing.seal(ContentType::Alert, &message, out);
        }
    }
}

#[cfg(test)]
impl Records {
    /// The number of the next record under the present key.
    pub(super) fn sealed(&self) -> u64 {
        self.sealing.next
    }

    pub(super) fn limit_to(&mut self, records: u64) {
        self.limit = records;
    }
}

/// The alert for an error (RFC 8446 section 6.2).
fn alert_of(error: &Error) -> AlertDescription {
    match error {
        Error::DecryptError => AlertDescription::BadRecordMac,
        Error::PeerSentOversizedRecord | Error::InvalidMessage(InvalidMessage::MessageTooLarge) => {
            AlertDescription::RecordOverflow
        }
        Error::InvalidMessage(InvalidMessage::InvalidKeyUpdate) => {
            AlertDescription::IllegalParameter
        }
        Error::InvalidMessage(invalid) => AlertDescription::from(*invalid),
        Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerMisbehaved(_) => AlertDescription::UnexpectedMessage,
        _ => AlertDescription::InternalError,
    }
}

/// Length of the record at the front of `bytes`, once all of it is there. An invalid header is an error at once.
fn whole(bytes: &[u8]) -> Result<Option<usize>, Error> {
    let Some((header, body)) = bytes.split_first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let [typ, major, _, high, low] = *header;
    match ContentType::from(typ) {
        ContentType::ApplicationData => {}
        ContentType::Unknown(_) => return Err(InvalidMessage::InvalidContentType.into()),
        // After the handshake every record is protected.
        got_type => {
            return Err(Error::InappropriateMessage {
                expect_types: vec![ContentType::ApplicationData],
                got_type,
            });
        }
    }
    if major != 3 {
        return Err(InvalidMessage::UnknownProtocolVersion.into());
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > PLAIN + EXPANSION {
        return Err(InvalidMessage::MessageTooLarge.into());
    }
    Ok((body.len() >= length).then_some(HEADER + length))
}

/// A key, and the number of the next record under it.
struct Protection {
    key: LessSafeKey,
    iv: Iv,
    next: u64,
}

impl Protection {
    fn new((next, secrets): (u64, ConnectionTrafficSecrets)) -> Result<Self, Error> {
        type Secrets = ConnectionTrafficSecrets;
        let (algorithm, key, iv): (_, AeadKey, Iv) = match secrets {
            Secrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            Secrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            Secrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return Err(unknown()),
        };
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| unknown())?;
        Ok(Self {
            key: LessSafeKey::new(key),
            iv,
            next,
        })
    }

    /// Returns each nonce only once per key: nothing else changes `next`.
    fn nonce(&mut self) -> aead::Nonce {
        const { assert!(NONCE_LEN == 12) };
        let nonce = Nonce::new(&self.iv, self.next);
        self.next += 1;
        aead::Nonce::assume_unique_for_key(nonce.0)
    }

    /// Opens the ciphertext from `from` to the end of `room`; its plaintext is then at the front of `room`.
    fn open<'a>(
        &mut self,
        room: &'a mut [u8],
        from: usize,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let length = room.len().checked_sub(from);
        let length = length.ok_or(Impossible::Consumed)?;
        if length < TAG {
            return Err(Error::DecryptError);
        }
        let (nonce, aad) = (self.nonce(), Aad::from(make_tls13_aad(length)));
        let opened = self.key.open_within(nonce, aad, room, from..);
        let plain = opened.map_err(|_| Error::DecryptError)?;
        let message = InboundOpaqueMessage::new(
            ContentType::ApplicationData,
            ProtocolVersion::TLSv1_2,
            plain,
        );
        message.into_tls13_unpadded_message()
    }

    /// Appends one record to `out`.
    fn seal(&mut self, typ: ContentType, plain: &[u8], out: &mut Out) -> Result<(), Error> {
        let length = plain.len() + 1 + TAG;
        let [high, low] = u16::try_from(length)
            .map_err(|_| Error::EncryptError)?
            .to_be_bytes();
        let (nonce, aad) = (self.nonce(), Aad::from(make_tls13_aad(length)));
        out.append(HEADER + length, |room| {
            let (header, room) = room.split_first_chunk_mut::<HEADER>()?;
            let (text, tag) = room.split_last_chunk_mut::<TAG>()?;
            *header = [ContentType::ApplicationData.into(), 3, 3, high, low];
            let (last, front) = text.split_last_mut()?;
            front.copy_from_slice(plain);
            *last = typ.into();
            let computed = self.key.seal_in_place_separate_tag(nonce, aad, text).ok()?;
            tag.copy_from_slice(computed.as_ref());
            Some(())
        })
    }
}

/// Cannot happen: the handshake agrees only on suites that we offer.
fn unknown() -> Error {
    Error::General("a cipher suite without a cipher".to_owned())
}
