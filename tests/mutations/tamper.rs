//! A connection on which bytes are changed, dropped, duplicated or inserted, or which is cut.

use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The change; `at` counts the bytes that one end sends, from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Nothing,
    /// Flips bits of one byte.
    Flip {
        at: usize,
        mask: u8,
    },
    /// Flips bits of one byte in the other direction. The end then answers with bytes of its own: a
    /// TLS alert.
    FlipBack {
        at: usize,
        mask: u8,
    },
    /// Cuts the connection here by FIN.
    Fin {
        at: usize,
    },
    /// Cuts the connection here by RST.
    Rst {
        at: usize,
    },
    /// Sends this many bytes twice.
    Twice {
        at: usize,
        len: usize,
    },
    /// Drops this many bytes.
    Lost {
        at: usize,
        len: usize,
    },
    /// Inserts these bytes before the others.
    Before {
        at: usize,
        bytes: &'static [u8],
    },
}

/// One end's socket, with the change for what it sends.
#[derive(Debug)]
pub struct Tampered {
    /// `None` after a reset.
    tcp: Option<TcpStream>,
    change: Change,
    /// Number of bytes that the end has sent.
    pub sent: usize,
    came: usize,
    waiting: Vec<u8>,
    /// The connection was cut.
    cut: bool,
}

impl Tampered {
    pub fn new(tcp: TcpStream, change: Change) -> Self {
        Self {
            tcp: Some(tcp),
            change,
            sent: 0,
            came: 0,
            waiting: Vec::new(),
            cut: false,
        }
    }

    /// Queues `bytes` after the change.
    fn take(&mut self, bytes: &[u8]) {
        let from = self.sent;
        self.sent += bytes.len();
        if self.cut {
            return;
        }
        let to = self.sent;
        let within = |at: usize| (from..to).contains(&at).then(|| at - from);
        let mut out = bytes.to_vec();
        match self.change {
            Change::Flip { at, mask } => {
                if let Some(at) = within(at) {
                    out[at] ^= mask;
                }
            }
            Change::Fin { at } | Change::Rst { at } => {
                if let Some(at) = within(at) {
                    out.truncate(at);
                    self.cut = true;
                }
            }
            Change::Twice { at, len } => {
                if let Some(at) = within(at) {
                    let end = (at + len).min(out.len());
                    let again = out[at..end].to_vec();
                    out.splice(end..end, again);
                }
            }
            Change::Lost { at, len } => {
                out = (from..to)
                    .zip(out)
                    .filter(|(place, _)| !(at..at + len).contains(place))
                    .map(|(_, byte)| byte)
                    .collect();
            }
            Change::Before { at, bytes } => {
                if let Some(at) = within(at) {
                    out.splice(at..at, bytes.iter().copied());
                }
            }
            Change::Nothing | Change::FlipBack { .. } => {}
        }
        self.waiting.extend(out);
    }

    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(tcp) = &mut self.tcp else {
            self.waiting.clear();
            return Poll::Ready(Ok(()));
        };
        while !self.waiting.is_empty() {
            let written = ready!(Pin::new(&mut *tcp).poll_write(cx, &self.waiting))?;
            self.waiting.drain(..written);
        }
        if self.cut {
            match self.change {
                Change::Rst { .. } => {
                    SockRef::from(&*tcp).set_linger(Some(Duration::ZERO))?;
                    self.tcp = None;
                }
                // The far end may have closed it before.
                _ => drop(SockRef::from(&*tcp).shutdown(Shutdown::Write)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Tampered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let Some(tcp) = &mut self.tcp else {
            return Poll::Ready(Ok(()));
        };
        ready!(Pin::new(tcp).poll_read(cx, buf))?;
        let count = buf.filled().len() - before;
        let from = self.came;
        self.came += count;
        if let Change::FlipBack { at, mask } = self.change
            && (from..from + count).contains(&at)
        {
            buf.filled_mut()[before + at - from] ^= mask;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tampered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_waiting(cx))?;
        self.take(bytes);
        let written = self.poll_waiting(cx);
        match written {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // Bytes that the socket does not accept yet go out with the next flush.
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(bytes.len())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_waiting(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_waiting(cx))?;
        match &mut self.tcp {
            Some(tcp) => Pin::new(tcp).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}
