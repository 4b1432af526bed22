//! Makes every length on the path of relayed bytes wrong once: the tunnel ends as a fault of the tap, and what each end
//! received is a prefix of what the other sent.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, join, sink, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::dialect;
use crate::proxy::connection::session::tests::tap;
use crate::proxy::tap::Tap;
use crate::session::SessionRecord;
use crate::session::credential::Fingerprinter;
use crate::session::record::ClientTls;
use crate::transport::clock;
use crate::transport::impossible::{Impossible, test_only};
use crate::transport::socket::ClientSocket;
use crate::transport::stream::Stream;
use crate::transport::tls::{self, ListenerTlsState, Server};

const SOON: Duration = Duration::from_secs(20);

/// The transport of a leg.
#[derive(Clone, Copy, Debug)]
enum Over {
    Tcp,
    /// TLS 1.2, whose records the library handles.
    Tls12,
    Tls13,
}

trait Peer: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Peer for T {}

/// An open tunnel, and its two ends.
struct Tunnel {
    tap: Arc<Tap>,
    records: Receiver<SessionRecord>,
    relay: Option<JoinHandle<()>>,
    client: Box<dyn Peer>,
    gateway: Box<dyn Peer>,
}

async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(listener.accept(), TcpStream::connect(addr));
    (near.unwrap().0, far.unwrap())
}

async fn client(over: Over) -> (Stream, Box<dyn Peer>) {
    let (near, far) = sockets().await;
    let version = match over {
        Over::Tcp => return (Stream::Tcp(near), Box::new(far)),
        Over::Tls12 => &TLS12,
        Over::Tls13 => &TLS13,
    };
    let server = Server::new();
    let terminator = server.terminator("", &ListenerTlsState::new(None).unwrap());
    let connector = TlsConnector::from(server.client(version));
    let mut facts = ClientTls::default();
    let (stream, peer) = tokio::join!(
        tls::accept(ClientSocket::Tcp(near), &terminator, &mut facts),
        connector.connect(name(), far)
    );
    let stream = Stream::TlsServer(Box::new(stream.unwrap()));
    (stream, Box::new(peer.unwrap()))
}

async fn gateway(over: Over) -> (Stream, Box<dyn Peer>) {
    let (near, far) = sockets().await;
    let version = match over {
        Over::Tcp => return (Stream::Tcp(near), Box::new(far)),
        Over::Tls12 => &TLS12,
        Over::Tls13 => &TLS13,
    };
    let server = Server::new();
    let acceptor = TlsAcceptor::from(server.config());
    let connector = TlsConnector::from(server.client(version));
    let (stream, peer) = tokio::join!(connector.connect(name(), near), acceptor.accept(far));
    let stream = Stream::TlsClient(Box::new(stream.unwrap()));
    (stream, Box::new(peer.unwrap()))
}

fn name() -> ServerName<'static> {
    "gw.example".try_into().unwrap()
}

const TO_GATEWAY: &[u8] = &[0x82, 0x82, 0, 0, 0, 0, b'u', b'p'];
const TO_CLIENT: &[u8] = &[0x82, 4, b'd', b'o', b'w', b'n'];

impl Tunnel {
    /// Opens a tunnel; one message has passed each way.
    async fn open(client: Over, gateway: Over, caps: &Caps) -> Self {
        let (relay, mut tunnel) = Self::prepare(client, gateway, caps).await;
        // Spawned on this thread: lengths are made wrong per thread.
        let relay = tokio::spawn(relay.run(Arc::clone(&tunnel.tap.drain)));
        tunnel.relay = Some(relay);
        tunnel.client.write_all(TO_GATEWAY).await.unwrap();
        tunnel.client.flush().await.unwrap();
        tunnel.gateway.write_all(TO_CLIENT).await.unwrap();
        tunnel.gateway.flush().await.unwrap();
        let (mut up, mut down) = ([0; TO_GATEWAY.len()], [0; TO_CLIENT.len()]);
        tunnel.gateway.read_exact(&mut up).await.unwrap();
        tunnel.client.read_exact(&mut down).await.unwrap();
        assert_eq!((&up[..], &down[..]), (TO_GATEWAY, TO_CLIENT));
        tunnel
    }

    /// Makes a relay that is not running yet.
    async fn prepare(client_over: Over, gateway_over: Over, caps: &Caps) -> (Relay, Self) {
        let (tap, records) = tap();
        let connection = tap.connection_of("127.0.0.1:1".parse().unwrap());
        let session = tap.open_record(&connection, clock::anchor());
        session.record().tunnel_opened();
        session.settle_as_tunnel();
        let (near, client) = client(client_over).await;
        let (far, gateway) = gateway(gateway_over).await;
        let reader = dialect::reader(
            dialect::Choice::Plain,
            &Fingerprinter::with_key(b"a key for the tests"),
            "/",
        );
        let relay = Relay::new(
            Wire::new(near, bytes::Bytes::new()),
            Wire::new(far, bytes::Bytes::new()),
            Extensions::default(),
            reader,
            (tap.config.timeouts(), caps),
            session,
        );
        let tunnel = Self {
            tap,
            records,
            relay: None,
            client,
            gateway,
        };
        (relay, tunnel)
    }

    /// Waits for the end and checks that `wrong` caused it. Returns what each end received since
    /// the tunnel was opened.
    async fn ends_as_a_fault(mut self, wrong: Impossible, what: &str) -> (Vec<u8>, Vec<u8>) {
        let (mut up, mut down) = (Vec::new(), Vec::new());
        // The tunnel ends with a reset, which may overtake bytes.
        let (ended, _, _) = tokio::join!(
            timeout(SOON, self.relay.unwrap()),
            timeout(SOON, self.gateway.read_to_end(&mut up)),
            timeout(SOON, self.client.read_to_end(&mut down)),
        );
        ended
            .unwrap_or_else(|_| panic!("{what}: it goes on"))
            .unwrap();
        assert!(!test_only::take_left(), "{what}: not checked");
        let record = self.records.recv_timeout(SOON).expect(what);
        assert_eq!(record.close.fault.as_deref(), Some(&*wrong.to_string()));
        assert_eq!(record.verdict.unwrap().rule, "tap.fault.bug", "{what}");
        (up, down)
    }
}

/// Which end sends the bytes in a case.
#[derive(Clone, Copy, Debug)]
enum From {
    Client,
    Gateway,
}

#[tokio::test]
async fn a_wrong_length_ends_the_tunnel_as_a_fault_of_the_tap() {
    use Impossible as I;
    let cases = [
        (
            Over::Tcp,
            Over::Tcp,
            From::Client,
            vec![(I::Buffer, 1), (I::Read, 1), (I::Written, 3)],
        ),
        (
            Over::Tcp,
            Over::Tcp,
            From::Gateway,
            vec![(I::Buffer, 1), (I::Read, 1), (I::Written, 3)],
        ),
        (
            Over::Tls13,
            Over::Tcp,
            From::Client,
            vec![
                (I::Buffer, 1),
                (I::Read, 2),
                (I::KeptRecord, 2),
                (I::Consumed, 4),
                (I::Records, 1),
                (I::Written, 3),
            ],
        ),
        (
            Over::Tls13,
            Over::Tcp,
            From::Gateway,
            vec![(I::Records, 2), (I::Written, 3)],
        ),
        (
            Over::Tls12,
            Over::Tcp,
            From::Client,
            vec![(I::Plaintext, 1), (I::Consumed, 1), (I::Records, 1)],
        ),
        (
            Over::Tls12,
            Over::Tcp,
            From::Gateway,
            vec![(I::Records, 3), (I::Written, 3)],
        ),
        (
            Over::Tcp,
            Over::Tls13,
            From::Gateway,
            vec![(I::Buffer, 1), (I::Read, 2), (I::Plaintext, 2)],
        ),
        (Over::Tcp, Over::Tls12, From::Client, vec![(I::Written, 1)]),
    ];
    for (client, gateway, from, lengths) in cases {
        for (wrong, count) in lengths {
            for right in 0..count {
                let what = format!("{client:?} {gateway:?} {from:?} {wrong:?} {right}");
                let mut tunnel = Tunnel::open(client, gateway, &Caps::default()).await;
                test_only::make_wrong(wrong, right);
                let (sender, bytes) = match from {
                    From::Client => (&mut tunnel.client, TO_GATEWAY),
                    From::Gateway => (&mut tunnel.gateway, TO_CLIENT),
                };
                sender.write_all(bytes).await.unwrap();
                sender.flush().await.unwrap();
                let (up, down) = tunnel.ends_as_a_fault(wrong, &what).await;
                match from {
                    From::Client => assert!(bytes.starts_with(&up) && down.is_empty(), "{what}"),
                    From::Gateway => assert!(bytes.starts_with(&down) && up.is_empty(), "{what}"),
                }
            }
        }
    }
}

#[tokio::test]
async fn what_waits_for_a_slow_gateway_is_not_written_from_a_wrong_place() {
    for (wrong, right) in [(Impossible::Spill, 0), (Impossible::Written, 0)] {
        let mut tunnel = Tunnel::open(Over::Tcp, Over::Tcp, &Caps::default()).await;
        let mut frame = vec![0x82, 0xff, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0];
        let length = frame.len() + 0x80_0000;
        frame.extend((0..u32::MAX).flat_map(u32::to_be_bytes).take(0x80_0000));
        assert_eq!(frame.len(), length);
        let sent = frame.clone();
        let (reader, mut writer) = split(tunnel.client);
        tunnel.client = Box::new(join(reader, sink()));
        let writing = tokio::spawn(async move { writer.write_all(&sent).await });
        let waits = async {
            while tunnel.tap.pipeline().live().traffic().to_gateway.waiting == 0 {
                yield_now().await;
            }
        };
        timeout(SOON, waits).await.expect("nothing waits");
        test_only::make_wrong(wrong, right);
        let (up, down) = tunnel.ends_as_a_fault(wrong, "a spill").await;
        assert!(frame.starts_with(&up) && down.is_empty());
        // The write may have succeeded: the kernel buffers a lot.
        let _ = writing.await.unwrap();
    }
}

/// The leg's waker would not wake the task that reads.
#[tokio::test]
async fn a_leg_that_another_task_reads_ends_as_a_fault() {
    let (relay, mut tunnel) = Tunnel::prepare(Over::Tcp, Over::Tcp, &Caps::default()).await;
    let mut run = Box::pin(relay.run(Arc::clone(&tunnel.tap.drain)));
    poll_fn(|cx| Poll::Ready(run.as_mut().poll(cx).is_pending())).await;
    tunnel.relay = Some(tokio::spawn(run));
    let wrong = Impossible::OtherTask;
    let (up, down) = tunnel.ends_as_a_fault(wrong, "another task").await;
    assert!(up.is_empty() && down.is_empty());
}

#[tokio::test]
async fn a_cap_that_lets_too_much_pass_ends_as_a_fault() {
    let caps = Caps {
        message_bytes: Some(4),
        ..Caps::default()
    };
    let mut tunnel = Tunnel::open(Over::Tcp, Over::Tcp, &caps).await;
    test_only::make_wrong(Impossible::Passes, 0);
    let long = [0x82, 5, b'l', b'o', b'n', b'g', b'!'];
    tunnel.gateway.write_all(&long).await.unwrap();
    let (up, down) = tunnel.ends_as_a_fault(Impossible::Passes, "a cap").await;
    assert!(up.is_empty() && down.is_empty());
}
