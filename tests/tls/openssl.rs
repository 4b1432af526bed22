//! The checks of testssl.sh, made by OpenSSL's own client: versions, ciphers, renegotiation,
//! compression, resumption, the chain, ALPN.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe::Receiver;
use tokio::time::timeout;

use super::pki::{Authority, Kind};
use super::{https, tap};
use crate::support::certs::Validity;
use crate::support::packages::Program;
use crate::support::skip::skip;

/// OpenSSL's client.
pub struct Client<'a> {
    pub openssl: &'a Program,
    pub addr: SocketAddr,
}

impl Client<'_> {
    /// Connects with these options, sends `input`, and gives everything that it printed.
    pub async fn run(&self, options: &[&str], input: &str) -> String {
        let mut command = self.openssl.command();
        command
            .args(["s_client", "-connect", &self.addr.to_string()])
            .args(["-servername", "gw.example"])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let input = input.to_owned();
        // It talks to a program that is none of ours: a thread may wait for it.
        let run = move || {
            let mut child = command.spawn().expect("start openssl");
            let mut stdin = child.stdin.take().expect("its input");
            // It may be gone already, when it could not connect.
            let _ = stdin.write_all(input.as_bytes());
            drop(stdin);
            child.wait_with_output().expect("wait for openssl")
        };
        let output = tokio::task::spawn_blocking(run).await.expect("no panic");
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The version and cipher that a handshake agreed, if it came about.
    async fn agreed(&self, options: &[&str]) -> Option<String> {
        let text = self.run(options, "").await;
        let line = text.lines().find(|line| line.starts_with("New, TLS"))?;
        Some(line.to_owned())
    }
}

/// Everything that OpenSSL has, whatever its own policy says.
pub const ALL: &str = "ALL:COMPLEMENTOFALL:@SECLEVEL=0";

#[tokio::test]
async fn nothing_weak_is_spoken() {
    let Some(openssl) = Program::find("openssl") else {
        return skip("nothing_weak_is_spoken", "there is no openssl");
    };
    let root = Authority::root("root");
    let ec = root.server(&["gw.example"], Kind::Ec, Validity::Now);
    let rsa = root.server(&["gw.example"], Kind::Rsa, Validity::Now);
    let (_peer, tap) = tap(&[&ec, &rsa], json!({})).await;
    let client = Client {
        openssl: &openssl,
        addr: https(&tap),
    };
    for old in ["-tls1", "-tls1_1"] {
        let found = client.agreed(&[old, "-cipher", ALL]).await;
        assert_eq!(found, None, "{old}");
    }
    assert!(
        client
            .agreed(&["-tls1_2"])
            .await
            .unwrap()
            .contains("TLSv1.2")
    );
    assert!(
        client
            .agreed(&["-tls1_3"])
            .await
            .unwrap()
            .contains("TLSv1.3")
    );

    // Cipher by cipher: only those with forward secrecy and authenticated encryption.
    let listed = openssl
        .command()
        .args(["ciphers", "-tls1_2", "-s", ALL])
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let (mut taken, mut tried) = (Vec::new(), 0);
    for cipher in listed
        .trim()
        .split(':')
        .filter(|name| !name.starts_with("TLS_"))
    {
        tried += 1;
        let with = format!("{cipher}:@SECLEVEL=0");
        if client
            .agreed(&["-tls1_2", "-cipher", &with])
            .await
            .is_some()
        {
            taken.push(cipher);
        }
    }
    assert!(tried > 30, "{listed}");
    taken.sort_unstable();
    assert_eq!(
        taken,
        [
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "ECDHE-ECDSA-AES256-GCM-SHA384",
            "ECDHE-ECDSA-CHACHA20-POLY1305",
            "ECDHE-RSA-AES128-GCM-SHA256",
            "ECDHE-RSA-AES256-GCM-SHA384",
            "ECDHE-RSA-CHACHA20-POLY1305",
        ]
    );
}

#[tokio::test]
async fn neither_renegotiation_nor_compression_but_resumption_chain_and_alpn() {
    let name = "neither_renegotiation_nor_compression_but_resumption_chain_and_alpn";
    let Some(openssl) = Program::find("openssl") else {
        return skip(name, "there is no openssl");
    };
    let root = Authority::root("root");
    let middle = root.intermediate("middle");
    let leaf = middle.server(&["gw.example"], Kind::Ec, Validity::Now);
    let (_peer, tap) = tap(&[&leaf], json!({})).await;
    let folder = tempfile::tempdir().unwrap();
    let ca = root.write(&folder.path().join("root.pem"));
    let client = Client {
        openssl: &openssl,
        addr: https(&tap),
    };
    let request = "GET / HTTP/1.1\r\nHost: gw.example\r\nConnection: close\r\n\r\n";

    // `R` alone asks for a new handshake.
    let text = client.run(&["-tls1_2"], "R\n").await;
    assert!(text.contains("RENEGOTIATING"), "{text}");
    assert!(text.contains("no renegotiation"), "{text}");
    assert!(text.contains("Secure Renegotiation IS supported"), "{text}");
    let text = client.run(&["-tls1_2", "-comp"], "").await;
    assert!(text.contains("Compression: NONE"), "{text}");

    let path = |path: &Path| path.to_string_lossy().into_owned();
    let trust = ["-CAfile", &path(&ca), "-verify_return_error", "-showcerts"];
    let hostname = ["-verify_hostname", "gw.example", "-quiet", "-ign_eof"];
    let text = client.run(&[&trust[..], &["-tls1_3"]].concat(), "").await;
    assert!(text.contains("Verify return code: 0 (ok)"), "{text}");
    assert_eq!(
        text.matches("BEGIN CERTIFICATE").count(),
        2,
        "leaf and middle"
    );
    let text = client.run(&[&trust[..], &hostname].concat(), request).await;
    assert!(text.contains("HTTP/1.1 200 OK"), "{text}");

    for version in ["-tls1_2", "-tls1_3"] {
        let session = path(&folder.path().join(version));
        // Tickets of TLS 1.3 come after the handshake: with the answer they are there.
        let keep = [version, "-ign_eof", "-sess_out", &session];
        let text = client.run(&keep, request).await;
        assert!(text.contains("New, TLS"), "{text}");
        let again = client.run(&[version, "-sess_in", &session], "").await;
        assert!(again.contains("Reused, TLS"), "{version}: {again}");
    }

    let text = client.run(&["-alpn", "spdy/3,http/1.1"], "").await;
    assert!(text.contains("ALPN protocol: http/1.1"), "{text}");
    let text = client.run(&["-alpn", "spdy/3"], "").await;
    assert!(text.contains("no application protocol"), "{text}");
}

/// `K` asks us for new keys, `k` does not. Both come without data, and the answer goes before ours.
#[tokio::test]
async fn keys_are_changed_in_an_open_connection() {
    let Some(openssl) = Program::find("openssl") else {
        return skip(
            "keys_are_changed_in_an_open_connection",
            "there is no openssl",
        );
    };
    let root = Authority::root("root");
    let leaf = root.server(&["gw.example"], Kind::Ec, Validity::Now);
    let (_peer, tap) = tap(&[&leaf], json!({})).await;
    let (output, both) = std::io::pipe().unwrap();
    let mut command = tokio::process::Command::from(openssl.command());
    command
        .args(["s_client", "-tls1_3", "-servername", "gw.example"])
        .args(["-connect", &https(&tap).to_string()])
        .stdin(Stdio::piped())
        .stdout(both.try_clone().unwrap())
        .stderr(both)
        .kill_on_drop(true);
    let mut child = command.spawn().expect("start openssl");
    drop(command);
    let mut stdin = child.stdin.take().expect("its input");
    let mut output = Receiver::from_owned_fd(output.into()).unwrap();
    let mut said = Vec::new();
    // A letter is a command only if nothing else is read with it: each waits for the one before.
    let request = "GET / HTTP/1.1\r\nHost: gw.example\r\n\r\n";
    let mut steps = vec![(request, "HTTP/1.1 200 OK")];
    for letter in ["K\n", "k\n", "K\n", "K\n"] {
        steps.extend([(letter, "KEYUPDATE"), (request, "HTTP/1.1 200 OK")]);
    }
    for (input, wanted) in steps {
        stdin.write_all(input.as_bytes()).await.unwrap();
        let read = async {
            while !said.windows(wanted.len()).any(|at| at == wanted.as_bytes()) {
                assert_ne!(output.read_buf(&mut said).await.unwrap(), 0, "it has ended");
            }
        };
        let read = timeout(Duration::from_secs(30), read).await;
        assert!(read.is_ok(), "{wanted}: {}", String::from_utf8_lossy(&said));
        said.clear();
    }
}
