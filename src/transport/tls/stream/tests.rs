//! A client of another library at the far end of a socket.

use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, HandshakeKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream as Client;

use super::*;
use crate::session::record::ClientTls;
use crate::transport::tls::tests::{Server, VERSIONS};
use crate::transport::tls::{ListenerTlsState, Terminator, accept_read};

async fn pair(
    version: &'static rustls::SupportedProtocolVersion,
) -> (TlsStream, Client<UnixStream>) {
    let server = Server::new();
    let terminator = server.terminator("", &ListenerTlsState::new(None).unwrap());
    pair_of(&terminator, server.client(version)).await
}

async fn pair_of(
    terminator: &Terminator,
    client: Arc<ClientConfig>,
) -> (TlsStream, Client<UnixStream>) {
    let (near, far) = UnixStream::pair().unwrap();
    let connector = TlsConnector::from(client);
    let name = "gw.example".try_into().unwrap();
    let mut facts = ClientTls::default();
    let accepting = accept_read(ClientSocket::Unix(near), Vec::new(), terminator, &mut facts);
    let (stream, client) = tokio::join!(accepting, connector.connect(name, far));
    (stream.unwrap(), client.unwrap())
}

fn long() -> Vec<u8> {
    (0..1_000_000_u32)
        .flat_map(u32::to_le_bytes)
        .take(1_000_000)
        .collect()
}

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), work)
        .await
        .expect("it must end")
}

#[tokio::test]
async fn much_goes_both_ways_and_each_way_ends_by_itself() {
    for version in VERSIONS {
        for room in [1_000, 8_192, 200_000] {
            let (stream, client) = pair(version).await;
            let (mut from, mut to) = tokio::io::split(stream);
            let echo = async {
                let mut buffer = vec![0; room];
                loop {
                    let count = from.read(&mut buffer).await.unwrap();
                    if count == 0 {
                        break;
                    }
                    to.write_all(&buffer[..count]).await.unwrap();
                }
                to.write_all(b"the end").await.unwrap();
                to.shutdown().await.unwrap();
            };
            let (mut back, mut forth) = tokio::io::split(client);
            let sends = async {
                forth.write_all(&long()).await.unwrap();
                forth.shutdown().await.unwrap();
            };
            let hears = async {
                let mut all = Vec::new();
                back.read_to_end(&mut all).await.unwrap();
                all
            };
            let ((), (), all) = in_time(async { tokio::join!(echo, sends, hears) }).await;
            assert!(all == [&long(), b"the end".as_slice()].concat());
        }
    }
}

#[tokio::test]
async fn pieces_are_written_as_one() {
    let (mut stream, mut client) = pair(VERSIONS[1]).await;
    let pieces = [&b"a head, "[..], b"", b"and a body"].map(io::IoSlice::new);
    assert!(stream.is_write_vectored());
    assert_eq!(stream.write_vectored(&pieces).await.unwrap(), 18);
    stream.flush().await.unwrap();
    let mut read = [0; 64];
    let count = in_time(client.read(&mut read)).await.unwrap();
    assert_eq!(&read[..count], b"a head, and a body", "one record");
}

#[tokio::test]
async fn a_slow_reader_loses_nothing() {
    let (mut stream, mut client) = pair(VERSIONS[1]).await;
    let sending = tokio::spawn(async move {
        let data = long();
        let halves = [&data[..10], &data[10..]].map(io::IoSlice::new);
        let count = stream.write_vectored(&halves).await.unwrap();
        stream.write_all(&data[count..]).await.unwrap();
        stream.shutdown().await.unwrap();
    });
    let (mut all, mut buffer) = (Vec::new(), [0; 3_001]);
    loop {
        match in_time(client.read(&mut buffer)).await.unwrap() {
            0 => break,
            count => all.extend_from_slice(&buffer[..count]),
        }
        tokio::task::yield_now().await;
    }
    assert!(all == long());
    sending.await.unwrap();
}

#[tokio::test]
async fn a_fin_is_no_end() {
    let (mut stream, mut client) = pair(VERSIONS[1]).await;
    client.write_all(b"last words").await.unwrap();
    client.flush().await.unwrap();
    let (mut socket, _) = client.into_inner();
    socket.shutdown().await.unwrap();
    let mut all = Vec::new();
    let error = in_time(stream.read_to_end(&mut all)).await.unwrap_err();
    assert_eq!(all, b"last words");
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

/// The relay gets this plaintext with the socket.
#[tokio::test]
async fn plaintext_for_which_there_is_no_room_waits() {
    let (mut stream, mut client) = pair(VERSIONS[1]).await;
    client.write_all(b"0123456789").await.unwrap();
    let mut few = [0; 4];
    in_time(stream.read_exact(&mut few)).await.unwrap();
    assert_eq!(&few, b"0123");
    let parts = stream.into_parts();
    assert_eq!(parts.ahead, b"456789"[..]);
    assert!(parts.engine.kept().is_empty());
}

#[tokio::test]
async fn tickets_come_with_whatever_is_said_first() {
    for closes in [false, true] {
        let server = Server::new();
        let terminator = server.terminator("", &ListenerTlsState::new(None).unwrap());
        let config = server.client(VERSIONS[1]);
        for wanted in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let (mut stream, mut client) = pair_of(&terminator, Arc::clone(&config)).await;
            let (socket, state) = client.get_ref();
            assert_eq!(state.handshake_kind(), Some(wanted));
            let early = socket.try_read(&mut [0; 64]).unwrap_err();
            assert_eq!(early.kind(), io::ErrorKind::WouldBlock, "not by themselves");
            if !closes {
                stream.write_all(b"hello").await.unwrap();
            }
            stream.shutdown().await.unwrap();
            let mut all = Vec::new();
            in_time(client.read_to_end(&mut all)).await.unwrap();
            assert_eq!(all, if closes { &b""[..] } else { b"hello" });
        }
    }
}

/// The relay gets the tickets, too.
#[tokio::test]
async fn tickets_that_nothing_was_written_behind_are_handed_on() {
    let (stream, _client) = pair(VERSIONS[1]).await;
    assert!(!stream.into_parts().spill.is_empty());
}

/// The first record after the handshake is broken: the client gets the alert, although it gets no
/// answer.
#[tokio::test]
async fn an_alert_right_behind_the_handshake_goes_out_with_the_end() {
    let server = Server::new();
    let terminator = server.terminator("", &ListenerTlsState::new(None).unwrap());
    let name = "gw.example".try_into().unwrap();
    let mut client = rustls::ClientConnection::new(server.client(VERSIONS[1]), name).unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    let mut facts = ClientTls::default();
    let accepting = accept_read(
        ClientSocket::Unix(near),
        Vec::new(),
        &terminator,
        &mut facts,
    );
    let talking = async {
        let mut buffer = vec![0; 8192];
        while client.is_handshaking() {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).unwrap();
            }
            far.write_all(&bytes).await.unwrap();
            let count = far.read(&mut buffer).await.unwrap();
            let mut got = &buffer[..count];
            while !got.is_empty() {
                client.read_tls(&mut got).unwrap();
                client.process_new_packets().unwrap();
            }
        }
        let mut bytes = Vec::new();
        io::Write::write_all(&mut client.writer(), b"spoiled").unwrap();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        *bytes.last_mut().unwrap() ^= 1;
        far.write_all(&bytes).await.unwrap();
        (client, far)
    };
    let (stream, (mut client, mut far)) = in_time(async { tokio::join!(accepting, talking) }).await;
    let mut stream = stream.unwrap();
    stream.read(&mut [0; 8]).await.unwrap_err();
    stream.shutdown().await.unwrap();
    drop(stream);
    let mut all = Vec::new();
    far.read_to_end(&mut all).await.unwrap();
    let mut all = all.as_slice();
    let mut heard = Ok(());
    while !all.is_empty() && heard.is_ok() {
        client.read_tls(&mut all).unwrap();
        heard = client.process_new_packets().map(drop);
    }
    let alert = rustls::AlertDescription::BadRecordMac;
    assert_eq!(heard, Err(rustls::Error::AlertReceived(alert)));
}

/// A socket that reports more bytes than were written: the rest would count as written.
#[tokio::test]
async fn a_wrong_count_of_written_bytes_is_an_error() {
    use crate::transport::impossible::test_only;

    let (mut stream, _client) = pair(VERSIONS[1]).await;
    test_only::make_wrong(Impossible::Written, 0);
    let error = stream.write_all(b"lost").await.unwrap_err();
    assert_eq!(Impossible::of(&error), Some(Impossible::Written));

    // The same with records that had to wait.
    let (mut stream, mut client) = pair(VERSIONS[1]).await;
    let data = long();
    let written = async {
        loop {
            stream.write_all(&data).await?;
            if !stream.spill.is_empty() {
                test_only::make_wrong(Impossible::Written, 0);
                return stream.flush().await;
            }
        }
    };
    let reading = async { client.read_to_end(&mut Vec::new()).await };
    let error = tokio::select! {
        written = in_time(written) => written.unwrap_err(),
        _ = reading => unreachable!("the stream is open"),
    };
    assert_eq!(Impossible::of(&error), Some(Impossible::Written));
    assert!(!test_only::take_left());
}
