//! Key exchange by X25519MLKEM768: with clients and gateways that have it, and without it where one lacks it.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, NamedGroup, ServerConfig};
use rustls_pki_types::ServerName;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::pki::{Authority, Kind};
use super::{https, tap};
use crate::live::installed;
use crate::support::certs::{Ca, Validity};
use crate::support::deadline::within;
use crate::support::skip::skip;
use crate::support::tap::{Face, Setup};

const HYBRID: &dyn SupportedKxGroup = aws_lc_rs::kx_group::X25519MLKEM768;
const X25519: &dyn SupportedKxGroup = aws_lc_rs::kx_group::X25519;
const P256: &dyn SupportedKxGroup = aws_lc_rs::kx_group::SECP256R1;

fn provider(groups: &[&'static dyn SupportedKxGroup]) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups: groups.to_vec(),
        ..aws_lc_rs::default_provider()
    })
}

#[tokio::test]
async fn a_client_that_has_the_hybrid_gets_it() {
    let root = Authority::root("root");
    let leaf = root.server(&["gw.example"], Kind::Ec, Validity::Now);
    let (_peer, tap) = tap(&[&leaf], json!({})).await;
    for (groups, version, expected) in [
        (
            &[HYBRID, X25519, P256] as &[&'static dyn SupportedKxGroup],
            &TLS13,
            NamedGroup::X25519MLKEM768,
        ),
        (&[HYBRID], &TLS13, NamedGroup::X25519MLKEM768),
        (&[X25519, P256], &TLS13, NamedGroup::X25519),
        (&[P256], &TLS13, NamedGroup::secp256r1),
        // There is none with this version.
        (&[HYBRID, X25519], &TLS12, NamedGroup::X25519),
    ] {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(root.der()).unwrap();
        let config = ClientConfig::builder_with_provider(provider(groups))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tcp = TcpStream::connect(https(&tap)).await.unwrap();
        let name = ServerName::try_from("gw.example").unwrap();
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, tcp);
        let stream = within("a handshake", connecting).await.unwrap();
        let group = stream.get_ref().1.negotiated_key_exchange_group();
        assert_eq!(group.unwrap().name(), expected, "{version:?}");
    }
}

/// Certificate and key of a gateway, as a configuration of rustls.
fn gateway(leaf: &Path, key: &Path, groups: &[&'static dyn SupportedKxGroup]) -> TlsAcceptor {
    let config = ServerConfig::builder_with_provider(provider(groups))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(leaf).unwrap()],
            PrivateKeyDer::from_pem_file(key).unwrap(),
        );
    TlsAcceptor::from(Arc::new(config.unwrap()))
}

/// rustls takes the first of the client's groups that it has, so that this is the order of the tap.
#[tokio::test]
async fn a_gateway_that_has_the_hybrid_gets_it() {
    let (ca, folder) = (Ca::new(), tempfile::tempdir().unwrap());
    let (leaf, key) = ca.write_leaf(folder.path(), &["gw.example"], Validity::Now);
    for (groups, expected) in [
        (
            &[P256, X25519, HYBRID] as &[&'static dyn SupportedKxGroup],
            NamedGroup::X25519MLKEM768,
        ),
        (&[P256, X25519], NamedGroup::X25519),
        (&[P256], NamedGroup::secp256r1),
    ] {
        let acceptor = gateway(&leaf, &key, groups);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let setup = Setup::before_url(&url).gateway_ca(&ca, "gw.example");
        let tap = setup.start().await;
        let mut conn = tap.connect(Face::Plain).await;
        let asked = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        conn.send(asked).await.unwrap();
        let served = async {
            let (tcp, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(tcp).await.unwrap();
            let group = stream.get_ref().1.negotiated_key_exchange_group();
            let group = group.unwrap().name();
            assert_ne!(stream.read(&mut [0; 4096]).await.unwrap(), 0);
            let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            (group, stream)
        };
        let (group, _stream) = within("a request", served).await;
        assert_eq!(group, expected);
        assert_eq!(conn.head().await.unwrap().status(), 204);
    }
}

/// Node's OpenSSL, on both sides of the tap, with no other group than the hybrid.
#[tokio::test]
async fn openssl_agrees_on_it_with_both_legs() {
    const SERVER: &str = "const tls = require('tls'), fs = require('fs');
        const [cert, key] = process.argv.slice(1).map((path) => fs.readFileSync(path));
        const server = require('https').createServer({ cert, key, ecdhCurve: 'X25519MLKEM768' },
            (request, response) => response.end('by OpenSSL'));
        server.listen(0, '127.0.0.1', () => console.log(server.address().port));";
    const CLIENT: &str = "const [port, ca] = process.argv.slice(1);
        require('https').get({ host: '127.0.0.1', port, servername: 'gw.example',
            ca: require('fs').readFileSync(ca), ecdhCurve: 'X25519MLKEM768',
            headers: { host: 'gw.example' } },
            (response) => response.pipe(process.stdout));";
    let name = "openssl_agrees_on_it_with_both_legs";
    let Some(node) = installed().map(|install| install.node) else {
        return skip(name, "Node is not installed: run make fetch");
    };
    let (ca, folder) = (Ca::new(), tempfile::tempdir().unwrap());
    let (leaf, key) = ca.write_leaf(folder.path(), &["gw.example"], Validity::Now);
    let mut server = Command::new(&node);
    server.args(["-e", SERVER, "--"]).args([&leaf, &key]);
    server.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut server = server.kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let port = within("a gateway", lines.next_line()).await.unwrap();
    let url = format!("https://127.0.0.1:{}", port.expect("a port"));
    let pair = json!([{ "cert": leaf, "key": key }]);
    let tap = Setup::before_url(&url)
        .gateway_ca(&ca, "gw.example")
        .set(
            "listeners",
            json!([{ "listen": "127.0.0.1:0", "tls": { "certificates": pair } }]),
        )
        .start()
        .await;
    let mut client = Command::new(&node);
    client.args(["-e", CLIENT, "--", &https(&tap).port().to_string()]);
    client.arg(ca.write(folder.path())).stdin(Stdio::null());
    let output = within("a visit", client.kill_on_drop(true).output()).await;
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "by OpenSSL", "{complaint}");
}
