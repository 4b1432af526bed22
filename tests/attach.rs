//! `wstap attach`, in networks of the tests' own: which addresses the gateway sees, that established connections
//! are left alone, that it ends, and that whatever happens to it traffic goes straight to the gateway again.

mod addresses;
mod crowds;
mod ends;
mod fail_open;
mod faults;
mod half_close;
mod refusals;
mod running;
mod tls;
mod unread;

use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpStream;

use crate::support::conn::Conn;
use crate::support::frame::Frame;
use crate::support::netns::Net;
use crate::support::wire::Wire;

/// Where a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// In the gateway's namespace.
    Here,
    /// On another host.
    There,
}

/// A client's connection.
async fn connect(net: &Net, from: From, to: SocketAddr) -> std::io::Result<TcpStream> {
    match from {
        From::Here => TcpStream::connect(to).await,
        From::There => {
            let tcp = net.connect_from_there(to)?;
            tcp.set_nonblocking(true)?;
            TcpStream::from_std(tcp)
        }
    }
}

/// An open session, the client's own address, and the address that the gateway sees.
async fn session(net: &Net, from: From, to: SocketAddr) -> (Conn, SocketAddr, SocketAddr) {
    let tcp = connect(net, from, to).await.expect("connect");
    let own = tcp.local_addr().expect("its address");
    let mut conn = Conn::bounded(Wire::Plain(tcp));
    conn.open("/").await;
    let named = conn.frame().await.expect("the gateway names its client");
    let seen = named.as_text().parse().expect("an address");
    (conn, own, seen)
}

/// The session still carries messages.
async fn echoes(conn: &mut Conn, text: &str) {
    conn.send_masked(Frame::text(text)).await.expect("send");
    let frame = conn.frame().await.expect("an echo");
    assert_eq!(frame.as_text(), text);
}

/// Closes a session with a Close handshake.
async fn close(mut conn: Conn) {
    conn.send_masked(Frame::close(1000, ""))
        .await
        .expect("send");
    conn.rest().await;
}

fn at(ip: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(ip.into(), port)
}
