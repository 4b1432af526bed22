//! One end's permessage-deflate (RFC 7692): compresses what it sends, inflates what it gets.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use super::frame::Frame;

/// See the module.
pub struct Deflate {
    alone: bool,
    out: Compress,
    back: Decompress,
}

impl Deflate {
    /// Without context takeover (`alone`: each message for itself) or with it.
    pub fn new(alone: bool) -> Self {
        Self {
            alone,
            out: Compress::new(Compression::default(), false),
            back: Decompress::new(false),
        }
    }

    /// What the 101 says.
    pub fn agreed(&self) -> &'static str {
        if self.alone {
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        } else {
            "permessage-deflate; client_max_window_bits=15"
        }
    }

    pub fn deflated(&mut self, mut frame: Frame) -> Frame {
        if self.alone {
            self.out.reset();
        }
        let mut body = Vec::with_capacity(frame.payload.len() * 2 + 64);
        self.out
            .compress_vec(&frame.payload, &mut body, FlushCompress::Sync)
            .expect("room for all");
        assert!(body.ends_with(&[0, 0, 0xff, 0xff]));
        body.truncate(body.len() - 4);
        frame.payload = body;
        frame.rsv = 4;
        frame
    }

    pub fn inflated(&mut self, frame: &Frame) -> Frame {
        if self.alone {
            self.back.reset(false);
        }
        let mut body = frame.payload.clone();
        body.extend([0, 0, 0xff, 0xff]);
        let mut text = Vec::with_capacity(1 << 20);
        self.back
            .decompress_vec(&body, &mut text, FlushDecompress::Sync)
            .expect("what was compressed");
        Frame::new(frame.opcode, text)
    }
}
