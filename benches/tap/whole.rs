//! A relay that receives each message completely before it passes it on, like every proxy built
//! from the two ends of a WebSocket library. It is not a peer: it shows the figures of a buffering
//! proxy.

use std::ffi::OsString;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::{accept_hdr_async, client_async};

use crate::report::WHOLE;
use crate::stage::{Proxy, Stage};
use crate::support::certs::Certificate;
use crate::support::client::Door;
use crate::support::process::Running;
use crate::support::{Fallible, role};

pub struct WholeMessages;

const ROLE: &str = "whole-messages";

impl Proxy for WholeMessages {
    fn name(&self) -> &'static str {
        WHOLE
    }

    fn version(&self) -> Fallible<String> {
        Ok("a relay of tokio-tungstenite's two ends, for contrast".to_owned())
    }

    fn start(&self, stage: &Stage, gateway: SocketAddr) -> Fallible<(Running, Door)> {
        let certificates = stage.folder().as_os_str().to_owned();
        let command = role::custom(ROLE, [certificates, gateway.to_string().into()]);
        let process = Running::start(ROLE, &command, &stage.fresh_folder(ROLE)?, stage.core)?;
        let addr = process.first_line()?.parse()?;
        Ok((process, stage.secured(addr)?))
    }
}

/// The role; its arguments are the folder of the certificate and the address of the gateway.
pub fn play_if_asked(role: &str, args: &[OsString]) -> Option<Fallible<()>> {
    match (role, args) {
        (ROLE, [folder, gateway]) => Some(play(Path::new(folder), &gateway.to_string_lossy())),
        _ => None,
    }
}

fn play(folder: &Path, gateway: &str) -> Fallible<()> {
    let acceptor = TlsAcceptor::from(Certificate::in_folder(folder).server()?);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut out = std::io::stdout();
        writeln!(out, "{}", listener.local_addr()?)?;
        out.flush()?;
        loop {
            let (client, _) = listener.accept().await?;
            let (acceptor, gateway) = (acceptor.clone(), gateway.to_owned());
            tokio::spawn(async move {
                // If a session ends in an error, the client reports it.
                drop(relay(client, acceptor, &gateway).await);
            });
        }
    })
}

async fn relay(client: TcpStream, acceptor: TlsAcceptor, gateway: &str) -> Fallible<()> {
    client.set_nodelay(true)?;
    let mut path = String::new();
    #[expect(clippy::result_large_err, reason = "the library's own type")]
    let ask = |request: &Request, response: Response| {
        request.uri().path().clone_into(&mut path);
        Ok(response)
    };
    let client = accept_hdr_async(acceptor.accept(client).await?, ask).await?;
    let upstream = TcpStream::connect(gateway).await?;
    upstream.set_nodelay(true)?;
    let (upstream, _) = client_async(format!("ws://{gateway}{path}"), upstream).await?;
    let (to_client, from_client) = client.split();
    let (to_gateway, from_gateway) = upstream.split();
    let up = from_client.forward(to_gateway.sink_map_err(Error::from));
    let down = from_gateway.forward(to_client);
    tokio::try_join!(up, down)?;
    Ok(())
}
