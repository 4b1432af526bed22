//! A handwritten opening handshake (RFC 6455 section 4), with the header lines that a browser sends
//! for the gateway's own page.

use wstap::ws::handshake::accept_key;

use super::Fallible;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// The kind of session that a client requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// A WebSocket with the dialect's handshake, which the gateway begins.
    Session,
    /// Only a WebSocket: the gateway sends nothing by itself.
    Bare,
}

impl Path {
    pub fn text(self) -> &'static str {
        match self {
            Self::Session => "/",
            Self::Bare => "/bare",
        }
    }
}

/// The client's request: 500 bytes, like Chromium's.
pub fn request(path: Path) -> String {
    let path = path.text();
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost:18789\r\nConnection: Upgrade\r\nPragma: no-cache\r\n\
         Cache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 \
         (KHTML, like Gecko) Chrome/148.0.0.0 Safari/537.36\r\nUpgrade: websocket\r\n\
         Origin: https://localhost:18789\r\nSec-WebSocket-Version: 13\r\n\
         Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\n\
         Sec-WebSocket-Key: {KEY}\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
    )
}

/// Whether a request is from one of our clients, and not a proxy's own.
pub fn is_ours(request: &[u8]) -> bool {
    String::from_utf8_lossy(request).contains(KEY)
}

/// Whether a request is for this path.
pub fn asks_for(request: &[u8], path: Path) -> bool {
    let mut words = request.split(|byte| *byte == b' ');
    words.nth(1) == Some(path.text().as_bytes())
}

/// The gateway's answer to this request: the 129 bytes that the real one sends.
pub fn response(request: &[u8]) -> Fallible<String> {
    let text = std::str::from_utf8(request)?;
    let key = text
        .lines()
        .find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("sec-websocket-key")
                .then(|| value.trim())
        })
        .ok_or("the gateway got a request without Sec-WebSocket-Key")?;
    Ok(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        accept_key(key.as_bytes())
    ))
}

/// Length of the head at the front of `bytes`; `None` while it is incomplete.
pub fn length(bytes: &[u8]) -> Option<usize> {
    let at = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(at + 4)
}

/// Fails unless this is the answer that opens a WebSocket; the error quotes its status line.
pub fn check(head: &[u8]) -> Fallible<()> {
    if head.starts_with(b"HTTP/1.1 101 ") {
        return Ok(());
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or(head);
    Err(format!("answered {}", String::from_utf8_lossy(line)).into())
}
