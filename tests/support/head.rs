//! HTTP/1 heads as they are on the wire.

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The key that every upgrade of ours carries (RFC 6455 section 1.3's example).
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A request or response head, blank line included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub raw: Vec<u8>,
}

impl Head {
    /// Takes a head off the front of `buf`; `None` when more bytes are needed.
    pub fn take(buf: &mut Vec<u8>) -> Option<Self> {
        let end = buf.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        Some(Self {
            raw: buf.drain(..end).collect(),
        })
    }

    /// Obs-text is shown as the replacement character.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
    }

    pub fn first_line(&self) -> String {
        self.text().lines().next().unwrap_or_default().to_owned()
    }

    pub fn method(&self) -> String {
        self.first_line()
            .split(' ')
            .next()
            .unwrap_or_default()
            .to_owned()
    }

    /// The request target.
    pub fn target(&self) -> String {
        self.first_line()
            .split(' ')
            .nth(1)
            .unwrap_or_default()
            .to_owned()
    }

    /// The status of a response; panics when it is none.
    pub fn status(&self) -> u16 {
        let line = self.first_line();
        let status = line
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.split(' ').nth(1));
        let status = status.and_then(|status| status.parse().ok());
        status.unwrap_or_else(|| panic!("not a status line: {line:?}"))
    }

    /// Every value of a header, in order.
    pub fn values(&self, name: &str) -> Vec<String> {
        let text = self.text();
        let lines = text
            .split("\r\n")
            .skip(1)
            .filter_map(|line| line.split_once(':'));
        lines
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
            .collect()
    }

    /// The only value of a header.
    pub fn value(&self, name: &str) -> Option<String> {
        let mut values = self.values(name);
        assert!(
            values.len() < 2,
            "{name} stands there {} times",
            values.len()
        );
        values.pop()
    }

    pub fn says_close(&self) -> bool {
        let lists = self.values("connection").join(",");
        lists
            .split(',')
            .any(|item| item.trim().eq_ignore_ascii_case("close"))
    }

    /// The `Sec-WebSocket-Accept` that answers this request.
    pub fn accept_key(&self) -> String {
        derive_accept_key(
            self.value("sec-websocket-key")
                .unwrap_or_default()
                .as_bytes(),
        )
    }
}

/// An upgrade request as a native client sends it, with more header lines.
pub fn upgrade(target: &str, host: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let fixed = [
        ("Host", host),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
    ];
    let mut out = format!("GET {target} HTTP/1.1\r\n");
    for (name, value) in fixed.iter().chain(more) {
        out.push_str(name);
        out.push_str(": ");
        out.push_str(value);
        out.push_str("\r\n");
    }
    out.push_str("\r\n");
    out.into_bytes()
}

/// A response head of this form; no header is added.
pub fn response(status: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status}\r\n");
    for (name, value) in headers {
        out.push_str(name);
        out.push_str(": ");
        out.push_str(value);
        out.push_str("\r\n");
    }
    out.push_str("\r\n");
    out.into_bytes()
}

/// The 101 that the gateway sends: four header lines and nothing else.
pub fn switching(accept: &str, subprotocol: Option<&str>) -> Vec<u8> {
    switching_with(accept, subprotocol, None)
}

/// The same with extensions, which the gateway never agrees.
pub fn switching_with(
    accept: &str,
    subprotocol: Option<&str>,
    extensions: Option<&str>,
) -> Vec<u8> {
    let mut headers = vec![
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", accept),
    ];
    headers.extend(subprotocol.map(|chosen| ("Sec-WebSocket-Protocol", chosen)));
    headers.extend(extensions.map(|agreed| ("Sec-WebSocket-Extensions", agreed)));
    response("101 Switching Protocols", &headers)
}
