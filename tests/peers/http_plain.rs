//! A well-behaved HTTP/1.1 server with keep-alive, and no WebSocket at all. `GET /` is a page,
//! `/healthz` says it lives, `/chunked` streams, `POST /echo` sends back each piece of the body as
//! it comes. Exercises: everything that is not an upgrade, and the pool of connections.

use super::{Peer, Seat, Via, serve};
use crate::support::conn::Conn;
use crate::support::head::{Head, response};
use crate::support::log::Seen;

pub const PAGE: &str = "<!doctype html><title>page</title><p>hello</p>";
pub const LIVE: &str = r#"{"ok":true,"status":"live"}"#;
pub const CHUNKS: [&str; 3] = ["one, ", "two, ", "three"];

pub async fn start(via: &Via) -> Peer {
    serve(via, |mut conn, seat| async move {
        while let Some(head) = seat.head(&mut conn).await {
            if answer(&mut conn, &seat, &head).await.is_none() {
                return;
            }
            if head.says_close() {
                conn.finish().await;
                seat.frames(&mut conn).await;
                return;
            }
        }
    })
    .await
}

async fn answer(conn: &mut Conn, seat: &Seat, head: &Head) -> Option<()> {
    let method = head.method();
    let target = head.target();
    let path = target.split('?').next().unwrap_or_default();
    let (status, kind, body) = match (method.as_str(), path) {
        ("POST", "/echo") => return echo(conn, seat, head).await,
        ("GET", "/chunked") => return chunked(conn, seat).await,
        ("GET" | "HEAD", "/") => ("200 OK", "text/html; charset=utf-8", PAGE),
        ("GET" | "HEAD", "/healthz") => ("200 OK", "application/json", LIVE),
        _ => ("404 Not Found", "text/plain", "nothing here"),
    };
    conn.body_of_request(head).await?;
    let length = body.len().to_string();
    let headers = [
        ("Content-Type", kind),
        ("Content-Length", &length),
        ("X-Peer", "http_plain"),
    ];
    let mut bytes = response(status, &headers);
    if method != "HEAD" {
        bytes.extend_from_slice(body.as_bytes());
    }
    seat.send(conn, &bytes).await
}

async fn chunked(conn: &mut Conn, seat: &Seat) -> Option<()> {
    seat.send(
        conn,
        &response("200 OK", &[("Transfer-Encoding", "chunked")]),
    )
    .await?;
    for chunk in CHUNKS {
        seat.send(conn, &as_chunk(chunk.as_bytes())).await?;
    }
    seat.send(conn, &as_chunk(b"")).await
}

/// Each piece goes back before the next one is asked for.
async fn echo(conn: &mut Conn, seat: &Seat, head: &Head) -> Option<()> {
    let headers = [
        ("Transfer-Encoding", "chunked"),
        ("Content-Type", "application/octet-stream"),
    ];
    seat.send(conn, &response("200 OK", &headers)).await?;
    if let Some(length) = head.value("content-length") {
        let body = conn.exactly(length.parse().ok()?).await.ok()?;
        if !body.is_empty() {
            seat.note(Seen::Bytes(body.clone()));
            seat.send(conn, &as_chunk(&body)).await?;
        }
        return seat.send(conn, &as_chunk(b"")).await;
    }
    loop {
        let piece = conn.chunk().await.ok()?;
        seat.note(Seen::Bytes(piece.clone()));
        seat.send(conn, &as_chunk(&piece)).await?;
        if piece.is_empty() {
            return Some(());
        }
    }
}

/// A chunk as it is on the wire; an empty one ends the body.
pub fn as_chunk(data: &[u8]) -> Vec<u8> {
    let mut out = format!("{:x}\r\n", data.len()).into_bytes();
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
    out
}

impl Conn {
    /// Reads the body that a request head announces, if it announces one.
    pub async fn body_of_request(&mut self, head: &Head) -> Option<Vec<u8>> {
        let announced = ["content-length", "transfer-encoding"];
        if announced.iter().all(|name| head.values(name).is_empty()) {
            return Some(Vec::new());
        }
        self.body(head).await.ok()
    }
}
