//! Quotes a text of the test's (the request's `X-Quote`) wherever a gateway can: an upgrade gets a 101
//! with the quote in `Server`, then Close 1008 with it in the reason; other requests get a 401 with it
//! in the challenge and in the body. Exercises: credentials that a peer quotes are masked.

use super::{Peer, Via, serve};
use crate::support::frame::Frame;
use crate::support::head::{response, switching};

pub async fn start(via: &Via) -> Peer {
    serve(via, |mut conn, seat| async move {
        let Some(head) = seat.head(&mut conn).await else {
            return;
        };
        let quote = head.value("x-quote").unwrap_or_default();
        if head.value("sec-websocket-key").is_none() {
            let body = format!("not a token: {quote}");
            let challenge = format!("Bearer realm=\"{quote}\"");
            let length = body.len().to_string();
            let mut answer = response(
                "401 Unauthorized",
                &[
                    ("WWW-Authenticate", &challenge),
                    ("Content-Length", &length),
                ],
            );
            answer.extend(body.into_bytes());
            seat.send(&mut conn, &answer).await;
            return conn.finish().await;
        }
        let agrees = String::from_utf8(switching(&head.accept_key(), None)).expect("ASCII");
        let more = format!(
            "\r\nServer: gw ({quote})\r\nSet-Cookie: gw={}\r\n\r\n",
            head.value("x-set-cookie").unwrap_or_default()
        );
        let mut bytes = agrees.replacen("\r\n\r\n", &more, 1).into_bytes();
        let mut reason = format!("no: {quote}");
        reason.truncate(123);
        bytes.extend(Frame::close(1008, &reason).to_bytes());
        if seat.send(&mut conn, &bytes).await.is_some() {
            drop(conn.frame().await);
            conn.finish().await;
        }
    })
    .await
}
