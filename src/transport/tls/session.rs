//! TLS with a client without any I/O: records in and plaintext out, and the other way round.
//!
//! The library is given bytes where they lie. So a session that waits holds no buffer at all; what is
//! begun and cannot be finished yet (the front of a record) is kept here. Once the handshake of
//! TLS 1.3 is done the records are opened and sealed without the library (`records.rs`).

use std::sync::Arc;
use std::{fmt, io};

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncryptError, UnbufferedStatus, WriteTraffic};
use rustls::{CommonState, Error, InvalidMessage, ProtocolVersion, ServerConfig};

use super::out::{End, Out, unexpected};
use super::records::Records;

/// Most bytes that wait for the rest of what they begin: a record takes 18 KiB at most, and no
/// handshake message that is good for anything takes more than this.
pub const KEPT: usize = 64 * 1024;

/// What looks after the records.
enum Conn {
    /// During the handshake, and for all of TLS 1.2.
    Library(Box<UnbufferedServerConnection>),
    Records(Box<Records>),
}

/// The state of one connection.
pub struct Session {
    conn: Conn,
    /// The front of a record, or of a handshake message.
    kept: Vec<u8>,
    /// So much of it was whole records, which the library has looked at: it must be shown them again.
    looked_at: usize,
    end: Option<End>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl Session {
    /// A connection of which `kept` has come.
    pub fn new(config: Arc<ServerConfig>, kept: Vec<u8>) -> Result<Self, Error> {
        Ok(Self {
            conn: Conn::Library(Box::new(UnbufferedServerConnection::new(config)?)),
            kept,
            looked_at: 0,
            end: None,
        })
    }

    /// What is agreed, until [`Session::settle`].
    #[must_use]
    pub fn state(&self) -> Option<&CommonState> {
        match &self.conn {
            Conn::Library(conn) => Some(conn),
            Conn::Records(_) => None,
        }
    }

    /// Whether the handshake goes on.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.state().is_some_and(CommonState::is_handshaking)
    }

    /// After the handshake: lets go of what is needed no more. What came behind it may be kept, and is
    /// to be received next.
    pub fn settle(self) -> Result<Self, Error> {
        let conn = match self.conn {
            Conn::Library(conn)
                if conn.protocol_version() == Some(ProtocolVersion::TLSv1_3)
                    && self.end.is_none() =>
            {
                Conn::Records(Box::new(Records::new(*conn)?))
            }
            other => other,
        };
        Ok(Self { conn, ..self })
    }

    /// How the client ended it, once it has and what came before is handed out.
    #[must_use]
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// What stands in front of the bytes that are read next.
    #[must_use]
    pub fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// To be read into, behind what is there; then comes [`Session::receive_kept`].
    pub(super) fn kept_mut(&mut self) -> &mut Vec<u8> {
        &mut self.kept
    }

    /// An idle session holds no buffer.
    pub(super) fn give_back(&mut self) {
        if self.kept.is_empty() {
            self.kept = Vec::new();
        }
    }

    /// Takes what was read into [`Session::kept_mut`].
    pub(super) fn receive_kept(&mut self, plain: impl FnMut(&[u8]), out: &mut Out) {
        let mut input = std::mem::take(&mut self.kept);
        self.receive(&mut input, plain, out);
    }

    /// Takes what was read, behind what was kept of it: `plain` gets the plaintext, `out` what has
    /// to be answered. The rest is kept.
    pub fn receive(&mut self, input: &mut [u8], mut plain: impl FnMut(&[u8]), out: &mut Out) {
        let count = self.receive_in_place(input, &mut plain, out);
        if count > 0 {
            plain(input.get(..count).unwrap_or_default());
        }
    }

    /// The same, but that the plaintext may also come to stand at the front of `input`: so many bytes
    /// of it, and `plain` got none.
    pub fn receive_in_place(
        &mut self,
        input: &mut [u8],
        plain: impl FnMut(&[u8]),
        out: &mut Out,
    ) -> usize {
        let (taken, count) = match &mut self.conn {
            Conn::Library(_) => (self.receive_by_library(input, plain, out), 0),
            Conn::Records(records) => records.receive(input, out, &mut self.end),
        };
        let rest = input.get(taken..).unwrap_or_default();
        if self.end.is_some() || rest.is_empty() {
            self.kept = Vec::new();
        } else if rest.len() > KEPT {
            self.fail(InvalidMessage::HandshakePayloadTooLarge.into(), out);
        } else {
            self.kept.clear();
            self.kept.extend_from_slice(rest);
        }
        count
    }

    /// How many bytes it took. During the handshake it is shown one record more at a time, and none
    /// behind the last of TLS 1.3: what it has looked at cannot be taken back from it, and with it
    /// would go a new key that it was about to announce.
    fn receive_by_library(
        &mut self,
        input: &mut [u8],
        mut plain: impl FnMut(&[u8]),
        out: &mut Out,
    ) -> usize {
        let (mut taken, mut whole) = (0, self.looked_at);
        let mut shown = if self.is_handshaking() {
            whole
        } else {
            input.len()
        };
        while self.end.is_none() {
            let Conn::Library(conn) = &mut self.conn else {
                break;
            };
            let rest = input.get_mut(taken..shown).unwrap_or_default();
            let UnbufferedStatus { mut discard, state } = conn.process_tls_records(rest);
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
                    out.put(|room| data.encode(room)).err()
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    None
                }
                Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => {
                    taken += discard;
                    let settles = conn.protocol_version() == Some(ProtocolVersion::TLSv1_3);
                    if shown == input.len() || (settles && !conn.is_handshaking()) {
                        break;
                    }
                    shown = match whole_record(input.get(whole..).unwrap_or_default()) {
                        Some(length) => {
                            whole += length;
                            whole
                        }
                        None => input.len(),
                    };
                    continue;
                }
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    self.end = Some(End::Closed);
                    None
                }
                // Early data is not asked for.
                Ok(_) => Some(unexpected()),
                Err(error) => Some(error),
            };
            taken += discard;
            if let Some(error) = failed {
                self.fail(error, out);
            }
        }
        self.looked_at = whole.saturating_sub(taken);
        taken
    }

    /// Encrypts, behind whatever else waits to be sent.
    pub fn seal(&mut self, plain: &[u8], out: &mut Out) -> io::Result<()> {
        match (&mut self.conn, &self.end) {
            (Conn::Records(_), Some(End::Failed(error))) => Err(error.clone()),
            (Conn::Records(records), _) => records.seal(plain, out),
            (Conn::Library(_), _) => {
                self.with_traffic(out, |traffic, room| traffic.encrypt(plain, room))
            }
        }
        .map_err(of_tls)
    }

    /// Encrypts pieces as if they were one.
    pub(super) fn seal_all<'a>(
        &mut self,
        pieces: impl IntoIterator<Item = &'a [u8]>,
        out: &mut Out,
    ) -> io::Result<()> {
        let mut gathered = std::mem::take(&mut out.gathered);
        gathered.clear();
        for piece in pieces {
            gathered.extend_from_slice(piece);
        }
        let result = self.seal(&gathered, out);
        out.gathered = gathered;
        result
    }

    /// Says `close_notify`; once an alert was sent there is nothing more to say.
    pub fn close(&mut self, out: &mut Out) {
        if matches!(self.end, Some(End::Failed(_))) {
            return;
        }
        if let Conn::Records(records) = &mut self.conn {
            records.close(out);
        } else {
            #[expect(
                clippy::redundant_closure_for_method_calls,
                reason = "the method itself is not general enough in its lifetimes"
            )]
            // It fails where it has been said.
            let _ = self.with_traffic(out, |traffic, room| traffic.queue_close_notify(room));
        }
    }

    fn with_traffic(
        &mut self,
        out: &mut Out,
        mut write: impl FnMut(
            &mut WriteTraffic<'_, ServerConnectionData>,
            &mut [u8],
        ) -> Result<usize, EncryptError>,
    ) -> Result<(), Error> {
        if let Some(End::Failed(error)) = &self.end {
            return Err(error.clone());
        }
        loop {
            let Conn::Library(conn) = &mut self.conn else {
                return Err(unexpected());
            };
            // What is kept is no whole record; but the library must see it where it was.
            let state = conn.process_tls_records(&mut self.kept).state;
            let error = match state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    match out.put(|room| write(&mut traffic, room)) {
                        Ok(()) => return Ok(()),
                        Err(error) => error,
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    match out.put(|room| data.encode(room)) {
                        Ok(()) => continue,
                        Err(error) => error,
                    }
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    continue;
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.end = Some(End::Closed);
                    continue;
                }
                Ok(ConnectionState::Closed) => return Err(unexpected()),
                Ok(_) => unexpected(),
                Err(error) => error,
            };
            self.fail(error.clone(), out);
            return Err(error);
        }
    }

    /// Ends it, and has the alert sent that says so.
    fn fail(&mut self, error: Error, out: &mut Out) {
        self.kept = Vec::new();
        self.end = Some(End::Failed(error));
        let Conn::Library(conn) = &mut self.conn else {
            return;
        };
        // Only as long as there is something to send: then it does not look at what it was given,
        // and there is nothing to be given any more.
        while conn.wants_write() {
            let UnbufferedStatus { state, .. } = conn.process_tls_records(&mut []);
            let Ok(ConnectionState::EncodeTlsData(mut data)) = state else {
                break;
            };
            if out.put(|room| data.encode(room)).is_err() {
                break;
            }
        }
    }
}

/// How long the record is that `bytes` begin with, if they hold all of it.
fn whole_record(bytes: &[u8]) -> Option<usize> {
    let (header, body) = bytes.split_first_chunk::<5>()?;
    let [_, _, _, high, low] = *header;
    let length = usize::from(u16::from_be_bytes([high, low]));
    (body.len() >= length).then_some(header.len() + length)
}

/// As the I/O of a TLS connection fails.
#[must_use]
pub fn of_tls(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests;
