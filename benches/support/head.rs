//! The opening handshake by hand (RFC 6455 section 4), as a browser begins it.

use wstap::ws::handshake::accept_key;

use super::Fallible;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// The client's request.
pub fn request() -> String {
    format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nUser-Agent: bench\r\n\
         Accept-Encoding: gzip, deflate, br\r\nAccept-Language: en\r\n\r\n"
    )
}

/// The gateway's answer to this request.
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
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        accept_key(key.as_bytes())
    ))
}

/// How long the head at the front of `bytes` is; `None` while its end is not there.
pub fn length(bytes: &[u8]) -> Option<usize> {
    let at = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(at + 4)
}

/// Whether this is the answer that opens a WebSocket, else what it says.
pub fn check(head: &[u8]) -> Fallible<()> {
    if head.starts_with(b"HTTP/1.1 101 ") {
        return Ok(());
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or(head);
    Err(format!("answered {}", String::from_utf8_lossy(line)).into())
}
