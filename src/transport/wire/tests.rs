//! TLS records that a client puts into one segment, and how the leg handles them.

use std::future::poll_fn;
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::*;
use crate::config::TlsPolicy;
use crate::config::identity::Identity;
use crate::session::record::ClientTls;
use crate::transport::socket::ClientSocket;
use crate::transport::tls::Terminator;
use crate::transport::{dev_ca, tls};

/// A leg, and a client at its other end whose TLS records the test sends itself.
struct Pair {
    wire: Wire,
    client: ClientConnection,
    socket: TcpStream,
}

async fn pair() -> Pair {
    let folder = tempfile::tempdir().unwrap();
    let names = ["localhost".to_owned()];
    let files = dev_ca::ensure(folder.path(), &names, jiff::Timestamp::now()).unwrap();
    let identity = Identity::load(&files.cert, &files.key).unwrap();
    let listener_state = tls::ListenerTlsState::new(None).unwrap();
    let server = Terminator::new(vec![identity], TlsPolicy::default(), &listener_state).unwrap();
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(&files.ca).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut socket = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let accepting = tokio::spawn(async move {
        let socket = ClientSocket::Tcp(accepted);
        let mut facts = ClientTls::default();
        tls::accept(socket, &server, &mut facts).await.unwrap()
    });
    let mut buffer = vec![0; 16 * 1024];
    while client.is_handshaking() || client.wants_write() {
        socket.write_all(&records(&mut client)).await.unwrap();
        if client.is_handshaking() {
            let count = socket.read(&mut buffer).await.unwrap();
            let mut got = &buffer[..count];
            while !got.is_empty() {
                client.read_tls(&mut got).unwrap();
                client.process_new_packets().unwrap();
            }
        }
    }
    let stream = accepting.await.unwrap();
    let wire = Wire::new(Stream::TlsServer(Box::new(stream)), Bytes::new());
    Pair {
        wire,
        client,
        socket,
    }
}

/// Every tunnel has two of them.
#[test]
#[cfg(target_pointer_width = "64")]
fn a_leg_grows_by_nobodys_oversight() {
    let wire = size_of::<Wire>();
    assert!(wire <= 240, "a leg takes {wire} bytes");
}

/// hyper reads into a buffer of 8 KiB, and the smallest slice of it keeps all of it alive.
#[tokio::test]
async fn what_hyper_had_read_is_given_back_once_it_is_passed_on() {
    struct Tells {
        _alive: Arc<()>,
    }
    impl AsRef<[u8]> for Tells {
        fn as_ref(&self) -> &[u8] {
            b"a frame"
        }
    }
    let alive = Arc::new(());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap());
    let ahead = Bytes::from_owner(Tells {
        _alive: Arc::clone(&alive),
    });
    let mut wire = Wire::new(Stream::Tcp(socket.await.unwrap()), ahead);
    let mut scratch = Scratch::default();
    let read = poll_fn(|cx| wire.poll_read(cx, &mut scratch)).await;
    assert!(matches!(read, Readout::Bytes(7)));
    assert_eq!(scratch.plain(7).unwrap(), b"a frame");
    assert_eq!(Arc::strong_count(&alive), 1);
}

/// The TLS records that wait to be sent.
fn records(client: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

impl Pair {
    fn data(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.client.writer().write_all(bytes).unwrap();
        records(&mut self.client)
    }
}

/// Everything the leg hands out until its end, and the end.
async fn read_all(mut wire: Wire) -> (Vec<u8>, TransportEnd) {
    let mut scratch = Scratch::default();
    let mut all = Vec::new();
    let reading = async {
        loop {
            match poll_fn(|cx| wire.poll_read(cx, &mut scratch)).await {
                Readout::Bytes(count) => all.extend_from_slice(scratch.plain(count).unwrap()),
                Readout::End(end, _) => return end,
            }
        }
    };
    let end = timeout(Duration::from_secs(10), reading)
        .await
        .expect("the leg must end");
    (all, end)
}

#[tokio::test]
async fn bytes_behind_close_notify_do_not_spin() {
    let mut pair = pair().await;
    let mut burst = pair.data(b"last words");
    pair.client.send_close_notify();
    burst.extend(records(&mut pair.client));
    burst.extend(vec![0x17; 20_000]);
    pair.socket.write_all(&burst).await.unwrap();
    assert_eq!(
        read_all(pair.wire).await,
        (b"last words".to_vec(), TransportEnd::TlsClose)
    );
}

#[tokio::test]
async fn a_broken_record_does_not_take_the_good_one_before_it() {
    let mut pair = pair().await;
    let mut burst = pair.data(b"good");
    let mut broken = pair.data(b"bad");
    *broken.last_mut().unwrap() ^= 0xff;
    burst.extend(broken);
    pair.socket.write_all(&burst).await.unwrap();
    assert_eq!(
        read_all(pair.wire).await,
        (b"good".to_vec(), TransportEnd::Local)
    );
}

/// Also where the keys change.
#[tokio::test]
async fn records_in_small_pieces_are_put_together() {
    let mut pair = pair().await;
    let mut burst = pair.data(b"one ");
    pair.client.refresh_traffic_keys().unwrap();
    burst.extend(pair.data(b"two "));
    burst.extend(pair.data(&vec![b'x'; 40_000]));
    pair.client.send_close_notify();
    burst.extend(records(&mut pair.client));
    let Pair {
        wire, mut socket, ..
    } = pair;
    tokio::spawn(async move {
        let (small, large) = burst.split_at(200);
        for piece in small.chunks(3).chain(large.chunks(5_000)) {
            socket.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        // A reset of this client would overtake the bytes that it has sent.
        std::future::pending::<()>().await;
    });
    let wanted = [b"one two ", vec![b'x'; 40_000].as_slice()].concat();
    assert_eq!(read_all(wire).await, (wanted, TransportEnd::TlsClose));
}

/// Also where the client changes its keys meanwhile.
#[tokio::test]
async fn what_a_slow_client_does_not_take_waits_in_order() {
    let mut pair = pair().await;
    let data = vec![b'x'; 8_000_000];
    let written = poll_fn(|cx| Poll::Ready(pair.wire.write(cx, &data))).await;
    assert!(written.is_ok());
    assert!(!pair.wire.is_flushed());
    assert_eq!(pair.wire.waiting(), data.len());
    assert!(pair.wire.written() < data.len() as u64);
    pair.client.refresh_traffic_keys().unwrap();
    let burst = pair.data(b"new keys");
    pair.socket.write_all(&burst).await.unwrap();
    let mut scratch = Scratch::default();
    let read = poll_fn(|cx| pair.wire.poll_read(cx, &mut scratch)).await;
    assert!(matches!(read, Readout::Bytes(8)));

    let Pair {
        mut wire,
        mut client,
        mut socket,
    } = pair;
    let writing = tokio::spawn(async move {
        let flushed = poll_fn(|cx| wire.poll_flush(cx)).await;
        assert!(flushed.is_ok() && wire.is_flushed() && wire.waiting() == 0);
        let last = poll_fn(|cx| Poll::Ready(wire.write(cx, b"last"))).await;
        assert!(last.is_ok() && wire.is_flushed());
        let mut notified = false;
        let ended = poll_fn(|cx| wire.poll_shutdown(cx, &mut notified)).await;
        assert!(ended.is_ok());
        wire
    });
    let (mut got, mut buffer, mut closed) = (0, vec![0; 100_000], false);
    while !closed {
        let read = timeout(Duration::from_secs(10), socket.read(&mut buffer));
        let count = read.await.expect("more must come").unwrap();
        assert_ne!(count, 0, "close_notify comes before FIN");
        let mut fed = &buffer[..count];
        while !fed.is_empty() {
            client.read_tls(&mut fed).unwrap();
            closed |= client.process_new_packets().unwrap().peer_has_closed();
            let mut plain = Vec::new();
            let _ = client.reader().read_to_end(&mut plain);
            got += plain.len();
        }
    }
    assert_eq!(got, data.len() + 4);
    writing.await.unwrap();
}

/// The alert would make the waiting records unreadable.
#[tokio::test]
async fn an_alert_does_not_overtake_what_waits() {
    let mut pair = pair().await;
    let data = vec![b'x'; 8_000_000];
    let written = poll_fn(|cx| Poll::Ready(pair.wire.write(cx, &data))).await;
    assert!(written.is_ok() && !pair.wire.is_flushed());
    let mut broken = pair.data(b"bad");
    *broken.last_mut().unwrap() ^= 0xff;
    pair.socket.write_all(&broken).await.unwrap();
    // Now there is room again.
    let mut front = vec![0; 2_000_000];
    pair.socket.read_exact(&mut front).await.unwrap();
    let mut scratch = Scratch::default();
    let read = poll_fn(|cx| pair.wire.poll_read(cx, &mut scratch)).await;
    assert!(matches!(read, Readout::End(TransportEnd::Local, Some(_))));
    let Pair {
        mut wire,
        mut client,
        mut socket,
    } = pair;
    tokio::spawn(async move {
        let flushed = poll_fn(|cx| wire.poll_flush(cx)).await;
        assert!(flushed.is_ok());
        drop(wire);
    });
    let mut all = front;
    let reading = socket.read_to_end(&mut all);
    let read = timeout(Duration::from_secs(10), reading).await;
    read.expect("it must end").unwrap();
    let (mut fed, mut got, mut alert) = (all.as_slice(), 0, None);
    while !fed.is_empty() && alert.is_none() {
        client.read_tls(&mut fed).unwrap();
        alert = client.process_new_packets().err();
        let mut plain = Vec::new();
        let _ = client.reader().read_to_end(&mut plain);
        got += plain.len();
    }
    assert_eq!(got, data.len());
    assert_eq!(
        alert,
        Some(rustls::Error::AlertReceived(
            rustls::AlertDescription::BadRecordMac
        ))
    );
}

#[tokio::test]
async fn a_fin_without_close_notify_is_a_truncation() {
    let mut pair = pair().await;
    let burst = pair.data(&vec![b'x'; 50_000]);
    let Pair {
        wire,
        client,
        mut socket,
    } = pair;
    tokio::spawn(async move {
        socket.write_all(&burst).await.unwrap();
        socket.shutdown().await.unwrap();
    });
    drop(client);
    let (all, end) = read_all(wire).await;
    assert_eq!((all.len(), end), (50_000, TransportEnd::TlsTruncated));
}
