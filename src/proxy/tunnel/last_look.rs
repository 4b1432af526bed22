//! A last look at a connection to the gateway when the wait for the answer to an upgrade ends: if
//! the request never arrived, the gateway was not silent.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::connection::session::SessionHandle;
use crate::transport::sensed::Sensed;
use crate::transport::sensor::Sensor;
use crate::transport::stream::Stream;

/// Drives the stream, and records the kernel's facts about it if it is dropped without an answer.
#[derive(Debug)]
pub(crate) struct LastLook {
    /// `None` after it was taken out.
    sensor: Option<Sensor>,
    sensed: Arc<Sensed>,
    session: SessionHandle,
    /// Packets that had come before the request was sent.
    came: Option<u32>,
}

impl LastLook {
    pub(crate) fn new(stream: Stream, session: SessionHandle) -> (Self, Arc<Sensed>) {
        let came = stream.tcp_facts().map(|facts| facts.came);
        let (sensor, sensed) = Sensor::for_answers(stream);
        let look = Self {
            sensor: Some(sensor),
            sensed: Arc::clone(&sensed),
            session,
            came,
        };
        (look, sensed)
    }

    /// The stream again, for the tunnel.
    pub(crate) fn into_inner(mut self) -> Option<Stream> {
        self.sensor.take().map(Sensor::into_inner)
    }

    fn sensor(&mut self) -> io::Result<Pin<&mut Sensor>> {
        let sensor = self.sensor.as_mut().map(Pin::new);
        sensor.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for LastLook {
    fn drop(&mut self) {
        let Some(sensor) = &self.sensor else {
            return;
        };
        if self.sensed.bytes_read() > 0 || self.sensed.end().is_some() {
            return;
        }
        let Some(facts) = sensor.stream().tcp_facts() else {
            return;
        };
        // A host whose program accepts nothing repeats its SYN-ACK and drops what follows
        // (listen(2)): host and path are up. If later packets were acknowledged, the host is up as
        // well, and the path loses large packets.
        if Some(facts.came) == self.came || facts.acknowledged_ahead > 0 {
            let tcp = Some(facts.into());
            self.session.record().gateway_tcp(tcp);
        }
    }
}

impl AsyncRead for LastLook {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.sensor()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for LastLook {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.sensor()?.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.sensor()?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.sensor
            .as_ref()
            .is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.sensor()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.sensor()?.poll_shutdown(cx)
    }
}
