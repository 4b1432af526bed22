//! A wire with the bytes that were read ahead: heads, frames, bodies, and how it ended.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::deadline::STEP;
use super::frame::Frame;
use super::head::Head;
use super::wire::{Ending, Wire};

/// A connection that is read step by step.
///
/// Each step of a client has a deadline and then ends with [`Ending::StillOpen`]; a peer waits for
/// as long as its test lives.
pub struct Conn {
    pub wire: Wire,
    /// Read and not yet asked for.
    pub buf: Vec<u8>,
    limit: Option<Duration>,
}

impl Conn {
    /// For a test: every step has a deadline.
    pub fn bounded(wire: Wire) -> Self {
        Self {
            wire,
            buf: Vec::new(),
            limit: Some(STEP),
        }
    }

    /// For a peer: it is stopped from outside.
    pub fn patient(wire: Wire) -> Self {
        Self {
            wire,
            buf: Vec::new(),
            limit: None,
        }
    }

    /// Another deadline for each step.
    #[must_use]
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The next head.
    pub async fn head(&mut self) -> Result<Head, Ending> {
        self.until(Head::take).await
    }

    /// The next frame.
    pub async fn frame(&mut self) -> Result<Frame, Ending> {
        self.until(Frame::take).await
    }

    /// The next `len` bytes.
    pub async fn exactly(&mut self, len: usize) -> Result<Vec<u8>, Ending> {
        self.until(|buf| (buf.len() >= len).then(|| buf.drain(..len).collect()))
            .await
    }

    /// The next line, without its end.
    pub async fn line(&mut self) -> Result<String, Ending> {
        self.until(|buf| {
            let end = buf.windows(2).position(|two| two == b"\r\n")?;
            let line = String::from_utf8_lossy(&buf[..end]).into_owned();
            buf.drain(..end + 2);
            Some(line)
        })
        .await
    }

    /// One chunk of a chunked body, empty for the last one.
    pub async fn chunk(&mut self) -> Result<Vec<u8>, Ending> {
        let line = self.line().await?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).expect("a chunk size");
        let data = self.exactly(size).await?;
        self.exactly(2).await?;
        Ok(data)
    }

    /// The body that belongs to a head; to the end of the connection when nothing says how long.
    pub async fn body(&mut self, head: &Head) -> Result<Vec<u8>, Ending> {
        if head
            .values("transfer-encoding")
            .iter()
            .any(|coding| coding.contains("chunked"))
        {
            let mut body = Vec::new();
            loop {
                let chunk = self.chunk().await?;
                if chunk.is_empty() {
                    return Ok(body);
                }
                body.extend(chunk);
            }
        }
        if let Some(length) = head.value("content-length") {
            return self
                .exactly(length.parse().expect("a Content-Length"))
                .await;
        }
        Ok(self.rest().await.0)
    }

    /// Everything that still comes, and how it ended.
    pub async fn rest(&mut self) -> (Vec<u8>, Ending) {
        let nothing: Result<(), Ending> = self.until(|_| None).await;
        let ending = nothing.expect_err("it never finds anything");
        (std::mem::take(&mut self.buf), ending)
    }

    /// How it ended, after every frame that still came.
    pub async fn frames_to_end(&mut self) -> (Vec<Frame>, Ending) {
        let mut frames = Vec::new();
        loop {
            match self.frame().await {
                Ok(frame) => frames.push(frame),
                Err(ending) => return (frames, ending),
            }
        }
    }

    /// Writes all of it.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(limit) = self.limit else {
            return self.wire.send(bytes).await;
        };
        timeout(limit, self.wire.send(bytes))
            .await
            .map_err(|_| io::ErrorKind::TimedOut)?
    }

    /// Writes a frame as it is.
    pub async fn send_frame(&mut self, frame: &Frame) -> io::Result<()> {
        self.send(&frame.to_bytes()).await
    }

    /// Writes a frame as a client does, masked.
    pub async fn send_masked(&mut self, frame: Frame) -> io::Result<()> {
        self.send(&frame.masked().to_bytes()).await
    }

    async fn until<T>(
        &mut self,
        mut take: impl FnMut(&mut Vec<u8>) -> Option<T>,
    ) -> Result<T, Ending> {
        let deadline = self.limit.map(|limit| Instant::now() + limit);
        loop {
            if let Some(found) = take(&mut self.buf) {
                return Ok(found);
            }
            let reading = self.wire.read_some(&mut self.buf);
            match deadline {
                None => reading.await?,
                Some(deadline) => match timeout_at(deadline, reading).await {
                    Ok(read) => read?,
                    Err(_) => return Err(Ending::StillOpen),
                },
            };
        }
    }
}
