//! A hop that passes a request on with other headers, and the answer as it is. Exercises: what the
//! gateway itself says to a mangled upgrade, and what the tap makes of that.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;

use super::{Peer, Via, serve};
use crate::support::wire::Wire;

/// `mangle` gets each header line, and gives what takes its place.
pub async fn start(gateway: SocketAddr, mangle: fn(&str) -> Option<String>) -> Peer {
    serve(&Via::Plain, move |mut conn, seat| async move {
        let Some(head) = seat.head(&mut conn).await else {
            return;
        };
        let text = head.text();
        let mut lines = text.trim_end().split("\r\n");
        let request_line = lines.next().unwrap_or_default().to_owned();
        let kept = lines.filter_map(mangle);
        let mangled: Vec<String> = [request_line].into_iter().chain(kept).collect();
        let tcp = TcpStream::connect(gateway).await.expect("the gateway");
        let mut onwards = Wire::Plain(tcp);
        let head = format!("{}\r\n\r\n", mangled.join("\r\n"));
        onwards.send(head.as_bytes()).await.expect("pass it on");
        drop(copy_bidirectional(&mut conn.wire, &mut onwards).await);
    })
    .await
}
