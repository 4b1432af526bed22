//! Reads each request with its body, and answers with a given number of bytes once the test says
//! so: a 101 to an upgrade, with one text frame. After its answer to `?last` it ends the
//! connection. Exercises: what happens while a request waits for its answer.

use super::http_plain::as_chunk;
use super::{Peer, Via, serve};
use crate::support::deadline::{STEP, poll};
use crate::support::frame::Frame;
use crate::support::head::{response, switching};
use crate::support::log::Seen;

/// Its message in a tunnel, which is the gateway's.
pub const SAYS: &str =
    r#"{"type":"event","event":"connect.challenge","payload":{"nonce":"n","ts":1}}"#;

/// In chunks of 8 KiB.
const CHUNK: usize = 8 * 1024;

pub async fn start(via: &Via, bytes: usize) -> Peer {
    serve(via, move |mut conn, seat| async move {
        while let Some(head) = seat.head(&mut conn).await {
            let Some(body) = conn.body_of_request(&head).await else {
                return;
            };
            if head.target() == "/healthz" {
                // `wstap attach` asks for it when it starts; that does not count as a client's request.
                let ok = response("200 OK", &[("Content-Length", "0")]);
                if seat.send(&mut conn, &ok).await.is_none() {
                    return;
                }
                continue;
            }
            seat.note(Seen::Bytes(body));
            tokio::select! {
                () = seat.told() => {}
                ending = conn.rest() => return seat.note(Seen::Ended(ending.1)),
            }
            if head.value("sec-websocket-key").is_some() {
                let said = Frame::text(SAYS).to_bytes();
                let answer = [switching(&head.accept_key(), None), said].concat();
                if seat.send(&mut conn, &answer).await.is_some() {
                    seat.frames(&mut conn).await;
                }
                return;
            }
            let mut answer = response("200 OK", &[("Transfer-Encoding", "chunked")]);
            for _ in 0..bytes.div_ceil(CHUNK) {
                answer.extend(as_chunk(&[b'x'; CHUNK]));
            }
            answer.extend(as_chunk(b""));
            if seat.send(&mut conn, &answer).await.is_none() {
                return;
            }
            if head.target().ends_with("?last") {
                conn.finish().await;
                seat.frames(&mut conn).await;
                return;
            }
        }
    })
    .await
}

/// Waits until it has read this many requests.
pub async fn asked(peer: &Peer, count: usize) {
    let read = || peer.log.count(|seen| matches!(seen, Seen::Bytes(_)));
    let done = poll(STEP, || (read() >= count).then_some(())).await;
    assert!(done.is_some(), "no request {count}");
}
