//! Answers every request, once its body is there, with bytes that the test wrote. Logs the bodies
//! as they were on the wire. Exercises: interim answers, trailers, `Expect`.

use super::{Peer, Via, serve};
use crate::support::conn::Conn;
use crate::support::head::Head;
use crate::support::log::Seen;

pub async fn start(via: &Via, answer: &str) -> Peer {
    let answer = answer.as_bytes().to_vec();
    serve(via, move |mut conn, seat| {
        let answer = answer.clone();
        async move {
            while let Some(head) = seat.head(&mut conn).await {
                let Some(body) = raw_body(&mut conn, &head).await else {
                    return;
                };
                seat.note(Seen::Bytes(body));
                if seat.send(&mut conn, &answer).await.is_none() {
                    return;
                }
            }
        }
    })
    .await
}

async fn raw_body(conn: &mut Conn, head: &Head) -> Option<Vec<u8>> {
    if let Some(length) = head.value("content-length") {
        return conn.exactly(length.parse().ok()?).await.ok();
    }
    let mut body = Vec::new();
    if head.value("transfer-encoding").is_some() {
        // The last chunk, and the empty line after the trailers.
        let ends = |body: &[u8]| {
            let last = body.windows(5).any(|five| five == b"\r\n0\r\n");
            last && body.ends_with(b"\r\n\r\n")
        };
        while !ends(&body) {
            body.extend(conn.exactly(1).await.ok()?);
        }
    }
    Some(body)
}
