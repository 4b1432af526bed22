//! What a `Sensor` observed on a stream: byte counts, first bytes, and how it ended.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::session::end_cause::EndCause;
use crate::session::record::frames::TcpFacts;
use crate::session::record::{FirstBytes, TransportEnd};

/// The observations; shared with the code that writes the record.
#[derive(Debug, Default)]
pub struct Sensed {
    bytes_read: AtomicU64,
    /// Locked on the first read and on the end only.
    rare: Mutex<Rare>,
}

#[derive(Debug, Default)]
struct Rare {
    first: Vec<u8>,
    end: Option<End>,
}

/// How a stream ended.
#[derive(Clone, Debug)]
pub struct End {
    /// How the far end, or its kernel, ended it.
    pub kind: TransportEnd,
    /// Why the stream did not end normally.
    pub cause: Option<EndCause>,
    /// When the end was seen.
    pub at: Instant,
    /// The kernel's facts about a TCP connection that it gave up.
    pub tcp: Option<TcpFacts>,
    /// After FIN: when we found that bytes sent to the far end were answered with a reset.
    pub refused: Option<Instant>,
}

impl Sensed {
    /// Bytes read so far, after TLS.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// How the stream ended, once it has.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.rare().end.clone()
    }

    /// The kind of the first bytes.
    #[must_use]
    pub fn first_bytes(&self) -> FirstBytes {
        FirstBytes::of(&self.rare().first)
    }

    /// Whether the stream began with a TLS alert (RFC 8446 section 5.1): the far end wants TLS.
    #[must_use]
    pub fn began_with_tls_alert(&self) -> bool {
        self.rare().first.starts_with(&[0x15, 0x03])
    }

    /// Whether the stream began with an HTTP/1 status line.
    #[must_use]
    pub fn began_with_http_answer(&self) -> bool {
        self.rare().first.starts_with(b"HTTP/")
    }

    fn rare(&self) -> std::sync::MutexGuard<'_, Rare> {
        self.rare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records bytes that were read.
    pub(super) fn read(&self, bytes: &[u8]) {
        if self
            .bytes_read
            .fetch_add(bytes.len() as u64, Ordering::Relaxed)
            < 8
        {
            let mut rare = self.rare();
            let room = 8usize.saturating_sub(rare.first.len());
            rare.first.extend(bytes.iter().take(room));
        }
    }

    /// Counts bytes of an HTTP/2 stream that has its own observations.
    pub fn came(&self, bytes: usize) {
        self.bytes_read.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Records the end; only the first report counts.
    pub fn ended(&self, end: TransportEnd, cause: Option<EndCause>) {
        self.ended_with(end, cause, None);
    }

    /// Like [`Self::ended`], with the kernel's facts about the connection.
    pub(super) fn ended_with(
        &self,
        kind: TransportEnd,
        cause: Option<EndCause>,
        tcp: Option<TcpFacts>,
    ) {
        let at = Instant::now();
        match &mut self.rare().end {
            // The far end's FIN ended one direction; the reset shows that it does not read either.
            Some(before) if before.kind.is_orderly() && kind == TransportEnd::Rst => {
                before.refused.get_or_insert(at);
            }
            Some(_) => {}
            none => {
                *none = Some(End {
                    kind,
                    cause,
                    at,
                    tcp,
                    refused: None,
                });
            }
        }
    }
}
