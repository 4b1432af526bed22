//! Heads and first bytes that cannot be passed on.

use super::table::{Fault, fault, first_record};
use crate::peers::{Via, echo};
use crate::support::client::connect;
use crate::support::tap::{Face, Setup};

pub fn faults() -> Vec<Fault> {
    let ambiguous = [
        (
            "head: length and encoding",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (
            "head: two lengths",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n",
        ),
        (
            "head: a strange encoding",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
        ),
        (
            "head: two Hosts",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        ),
        (
            "head: obs-fold",
            "GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\n\r\n",
        ),
        ("head: bare LF", "GET / HTTP/1.1\nHost: a\n\n"),
        (
            "head: a space before the colon",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        ),
        (
            "head: absolute form",
            "GET http://other/ HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        (
            "head: an upgrade with a body",
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nContent-Length: 4\r\n\r\nbody",
        ),
    ];
    let upgrades = [
        (
            "upgrade: POST",
            "POST / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        ),
        (
            "upgrade: version 8",
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        ),
        (
            "upgrade: a key of 3 bytes",
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: YWJj\r\n\r\n",
        ),
        (
            "upgrade: no key",
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n",
        ),
    ];
    let malformed = [
        ("head: no HTTP", "\u{1}\u{2}\u{3}\u{4} whatever\r\n\r\n"),
        (
            "head: a NUL",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        ),
        ("head: no Host", "GET / HTTP/1.1\r\n\r\n"),
        (
            "head: raw bytes in Host",
            "GET / HTTP/1.1\r\nHost: ü\r\n\r\n",
        ),
        (
            "head: CONNECT",
            "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
        ),
    ];
    let mut all: Vec<Fault> = ambiguous
        .map(|(name, bytes)| said(name, "client.fault.ambiguous", Face::Plain, bytes))
        .into();
    all.extend(
        upgrades.map(|(name, bytes)| said(name, "client.fault.upgrade", Face::Plain, bytes)),
    );
    all.extend(
        malformed.map(|(name, bytes)| said(name, "client.fault.malformed", Face::Plain, bytes)),
    );
    all.extend([
        said(
            "upgrade: HTTP/1.0",
            "client.fault.upgrade_http10",
            Face::Plain,
            "GET / HTTP/1.0\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        ),
        said(
            "head: Host nominated",
            "client.fault.nominated",
            Face::Plain,
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, host\r\n\r\n",
        ),
        said(
            "head: two Origins",
            "client.fault.origin_list",
            Face::Plain,
            "GET / HTTP/1.1\r\nHost: a\r\nOrigin: https://a\r\nOrigin: https://b\r\n\r\n",
        ),
        said(
            "plain port: TLS",
            "client.fault.tls_on_plain",
            Face::Plain,
            "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}",
        ),
        said(
            "TLS port: plain HTTP",
            "client.fault.plain_on_tls",
            Face::Tls,
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        said(
            "TLS port: SSH",
            "client.fault.not_tls",
            Face::Tls,
            "SSH-2.0-OpenSSH_9.9\r\n",
        ),
    ]);
    all
}

/// These bytes below any TLS, and what comes back.
fn said(name: &'static str, rule: &'static str, face: Face, bytes: &'static str) -> Fault {
    fault(name, rule, move || async move {
        let peer = echo::start(&Via::Plain).await;
        let tap = Setup::before(&peer).start().await;
        let mut conn = connect(tap.addr(face)).await;
        conn.send(bytes.as_bytes()).await.unwrap();
        conn.rest().await;
        let record = first_record(&tap).await;
        assert_eq!(peer.log.requests(), 0, "nothing is passed on");
        record
    })
}
