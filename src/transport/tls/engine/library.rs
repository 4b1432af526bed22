//! Drives the TLS library's unbuffered connection: the handshake, and all of TLS 1.2.
//!
//! * On each call, also on calls to write, the library must see the bytes that are kept. It remembers the
//!   position of a handshake message in them, and panics if the message is not there.
//! * After an error the library is called only while it has an alert to send.

use std::sync::Arc;

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
    WriteTraffic,
};
use rustls::{CommonState, Error, ProtocolVersion, ServerConfig};

use super::out::{End, Out};
use crate::transport::impossible::{Impossible, slice, slice_mut};

/// The library's connection, and how many of the kept bytes it has already processed.
pub(super) struct Library {
    conn: UnbufferedServerConnection,
    /// Bytes of whole records that the library has processed, but must see again.
    looked_at: usize,
}

impl Library {
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Self, Error> {
        Ok(Self {
            conn: UnbufferedServerConnection::new(config)?,
            looked_at: 0,
        })
    }

    pub(super) fn facts(&self) -> &CommonState {
        &self.conn
    }

    pub(super) fn is_tls13(&self) -> bool {
        self.conn.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    pub(super) fn into_connection(self) -> UnbufferedServerConnection {
        self.conn
    }

    /// Returns how many bytes of `input` were taken. During the handshake the library gets one more
    /// record at a time, and none after the last one of a TLS 1.3 handshake: it cannot give back a
    /// record that it has processed, and a new key that it was about to announce would be lost.
    pub(super) fn receive(
        &mut self,
        input: &mut [u8],
        mut plain: impl FnMut(&[u8]),
        out: &mut Out,
        end: &mut Option<End>,
    ) -> usize {
        let (mut taken, mut whole) = (0, self.looked_at);
        let mut shown = if self.conn.is_handshaking() {
            whole
        } else {
            input.len()
        };
        while end.is_none() {
            let rest = match slice_mut(input, taken..shown, Impossible::Consumed) {
                Ok(rest) => rest,
                Err(bug) => {
                    *end = Some(self.fail(bug.into(), out));
                    break;
                }
            };
            let UnbufferedStatus { mut discard, state } = self.conn.process_tls_records(rest);
            let failed = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    let mut failed = None;
                    while let Some(record) = traffic.next_record() {
                        match record {
                            Ok(record) => {
                                discard += record.discard;
                                plain(record.payload);
                            }
                            Err(error) => failed = Some(error),
                        }
                    }
                    failed
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    put(out, |room| data.encode(room)).err()
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    None
                }
                Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => {
                    taken += discard;
                    if shown == input.len() || (self.is_tls13() && !self.conn.is_handshaking()) {
                        break;
                    }
                    let unseen = slice(input, whole.., Impossible::Consumed);
                    shown = match unseen.map(whole_record) {
                        Ok(Some(length)) => {
                            whole += length;
                            whole
                        }
                        Ok(None) => input.len(),
                        Err(bug) => {
                            *end = Some(self.fail(bug.into(), out));
                            break;
                        }
                    };
                    continue;
                }
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    *end = Some(End::Closed);
                    None
                }
                // Early data is not enabled.
                Ok(_) => Some(Impossible::TlsState.into()),
                Err(error) => Some(error),
            };
            taken += discard;
            if let Some(error) = failed {
                *end = Some(self.fail(error, out));
            }
        }
        // After the handshake whole records are taken without being counted in `whole`.
        self.looked_at = whole.saturating_sub(taken);
        taken
    }

    pub(super) fn seal(
        &mut self,
        kept: &mut [u8],
        plain: &[u8],
        out: &mut Out,
        end: &mut Option<End>,
    ) -> Result<(), Error> {
        self.write(kept, out, end, |traffic, room| traffic.encrypt(plain, room))
    }

    pub(super) fn close(&mut self, kept: &mut [u8], out: &mut Out, end: &mut Option<End>) {
        // Fails if close_notify has already been sent.
        let _ = self.write(kept, out, end, |traffic, room| {
            traffic.queue_close_notify(room)
        });
    }

    fn write(
        &mut self,
        kept: &mut [u8],
        out: &mut Out,
        end: &mut Option<End>,
        mut write: impl FnMut(
            &mut WriteTraffic<'_, ServerConnectionData>,
            &mut [u8],
        ) -> Result<usize, EncryptError>,
    ) -> Result<(), Error> {
        loop {
            let error = match self.conn.process_tls_records(kept).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    match put(out, |room| write(&mut traffic, room)) {
                        Ok(()) => return Ok(()),
                        Err(error) => error,
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    match put(out, |room| data.encode(room)) {
                        Ok(()) => continue,
                        Err(error) => error,
                    }
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    continue;
                }
                Ok(ConnectionState::PeerClosed) => {
                    *end = Some(End::Closed);
                    continue;
                }
                Ok(ConnectionState::Closed) => return Err(Impossible::TlsState.into()),
                Ok(_) => Impossible::TlsState.into(),
                Err(error) => error,
            };
            *end = Some(self.fail(error.clone(), out));
            return Err(error);
        }
    }

    /// Ends the connection with `error`, after writing the alert for it.
    pub(super) fn fail(&mut self, error: Error, out: &mut Out) -> End {
        // While the library has something to send, it does not look at its input, and no input is
        // left for it.
        while self.conn.wants_write() {
            let UnbufferedStatus { state, .. } = self.conn.process_tls_records(&mut []);
            let Ok(ConnectionState::EncodeTlsData(mut data)) = state else {
                break;
            };
            if put(out, |room| data.encode(room)).is_err() {
                break;
            }
        }
        End::Failed(error)
    }
}

/// Length of the record at the front of `bytes`, if all of it is there.
fn whole_record(bytes: &[u8]) -> Option<usize> {
    let (header, body) = bytes.split_first_chunk::<5>()?;
    let [_, _, _, high, low] = *header;
    let length = usize::from(u16::from_be_bytes([high, low]));
    (body.len() >= length).then_some(header.len() + length)
}

/// Lets the library write into `out`.
fn put<E: Into<Refused>>(
    out: &mut Out,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, E>,
) -> Result<(), Error> {
    // The first refusal says how much room is needed.
    for _ in 0..2 {
        match write(out.room()?).map_err(Into::into) {
            Ok(count) => return Ok(out.fill(count)?),
            Err(Refused::Room(needed)) => out.make_room(needed),
            Err(Refused::Error(error)) => return Err(error),
        }
    }
    Err(Impossible::TlsState.into())
}

/// Why the library wrote nothing into a buffer.
enum Refused {
    /// It needs this much room.
    Room(usize),
    Error(Error),
}

impl From<EncodeError> for Refused {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::InsufficientSize(InsufficientSizeError { required_size }) => {
                Self::Room(required_size)
            }
            EncodeError::AlreadyEncoded => Self::Error(Impossible::TlsState.into()),
        }
    }
}

impl From<EncryptError> for Refused {
    fn from(error: EncryptError) -> Self {
        match error {
            EncryptError::InsufficientSize(InsufficientSizeError { required_size }) => {
                Self::Room(required_size)
            }
            EncryptError::EncryptExhausted => Self::Error(Error::EncryptError),
        }
    }
}
