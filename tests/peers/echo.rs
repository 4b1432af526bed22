//! Well-behaved: echoes text and binary messages, answers pings and Close, and takes the first
//! subprotocol that is offered. What passes through the tap must come back equal.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};

use super::{Peer, Seat, Via, serve};
use crate::support::conn::Conn;
use crate::support::frame::Frame;
use crate::support::head;
use crate::support::log::Seen;
use crate::support::wire::Ending;

pub async fn start(via: &Via) -> Peer {
    serve(via, echo).await
}

async fn echo(mut conn: Conn, seat: Seat) {
    let Some(head) = seat.head(&mut conn).await else {
        return;
    };
    let offered = head.values("sec-websocket-protocol").join(",");
    let chosen = offered
        .split(',')
        .next()
        .map(str::trim)
        .filter(|chosen| !chosen.is_empty());
    if seat
        .send(&mut conn, &head::switching(&head.accept_key(), chosen))
        .await
        .is_none()
    {
        return;
    }
    let limits = WebSocketConfig::default()
        .max_frame_size(None)
        .max_message_size(None);
    let Conn { wire, buf, .. } = conn;
    let mut socket =
        WebSocketStream::from_partially_read(wire, buf, Role::Server, Some(limits)).await;
    while let Some(message) = socket.next().await {
        let message = match message {
            Ok(message) => message,
            Err(error) => return seat.note(Seen::Ended(Ending::Other(error.to_string()))),
        };
        let (frame, answer) = match message {
            Message::Text(text) => (Frame::text(&text), Some(Message::Text(text))),
            Message::Binary(data) => (Frame::binary(data.to_vec()), Some(Message::Binary(data))),
            Message::Ping(data) => (Frame::ping(&data), None),
            Message::Pong(data) => (Frame::pong(&data), None),
            Message::Close(None) => (Frame::empty_close(), None),
            Message::Close(Some(close)) => (Frame::close(close.code.into(), &close.reason), None),
            Message::Frame(_) => continue,
        };
        seat.note(Seen::Frame(frame));
        if let Some(answer) = answer
            && socket.send(answer).await.is_err()
        {
            return;
        }
    }
    // After the close handshake: the server ends the connection (RFC 6455 section 7.1.1).
    socket.get_mut().finish().await;
    seat.note(Seen::Ended(Ending::Fin));
}
