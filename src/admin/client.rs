//! Asks the admin listener of a running tap: what `wstap health` and `wstap sessions` stand on.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::config::{self, Admin, Host, ListenAddr, Overrides};
use crate::exit;

/// For connecting, asking and the whole answer. The tap may dial its gateway meanwhile.
const LIMIT: Duration = Duration::from_secs(8);

/// No answer is longer.
const MOST: usize = 32 << 20;

/// How the tap to ask is found.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Its admin listener.
    pub admin: Option<String>,
    /// The token of that listener.
    pub token_file: Option<PathBuf>,
    /// Without `admin`: the tap's configuration.
    pub file: Option<PathBuf>,
    /// What overrides it.
    pub overrides: Overrides,
}

/// The admin listener of one tap.
#[derive(Debug)]
pub struct Client {
    admin: Admin,
}

/// What it said.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub body: Bytes,
}

/// The listener gave no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens there, or nobody that can be reached.
    #[error("failed to reach the admin listener {addr}: {source}")]
    Connect {
        /// Where.
        addr: String,
        /// Why.
        source: io::Error,
    },
    /// The answer did not come, or did not end.
    #[error("no answer of the admin listener {addr} within {} s", LIMIT.as_secs())]
    Timeout {
        /// Where.
        addr: String,
    },
    /// What came is no HTTP.
    #[error("failed to ask the admin listener {addr}: {detail}")]
    Http {
        /// Where.
        addr: String,
        /// What went wrong.
        detail: String,
    },
    /// It does not answer us.
    #[error("the admin listener {addr} refused: {status} {said}")]
    Refused {
        /// Where.
        addr: String,
        /// With this status.
        status: StatusCode,
        /// And these words.
        said: String,
    },
}

/// A client and a runtime for it to work in; else the problem is told and the exit code returned.
pub fn start(options: &Options, err: &mut dyn Write) -> Result<(Client, Runtime), u8> {
    let client = Client::find(options).map_err(|error| {
        let _ = writeln!(err, "wstap: {error}");
        exit::USAGE
    })?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        let _ = writeln!(err, "wstap: failed to start the runtime: {error}");
        exit::INTERNAL
    })?;
    Ok((client, runtime))
}

impl Client {
    /// Finds the listener by flag or by the tap's configuration.
    pub fn find(options: &Options) -> Result<Self, String> {
        if let Some(listen) = &options.admin {
            let admin = Admin::from_flags(listen, options.token_file.as_deref())?;
            return Self::new(admin);
        }
        let config = config::load(options.file.as_deref(), &options.overrides)
            .map_err(|errors| errors.to_string())?;
        let Some(admin) = config.admin() else {
            return Err(no_admin(options.file.as_deref()));
        };
        let mut admin = admin.clone();
        if let Some(path) = options.token_file.as_deref() {
            admin.token = Admin::from_flags("127.0.0.1:1", Some(path))?.token;
        }
        Self::new(admin)
    }

    fn new(mut admin: Admin) -> Result<Self, String> {
        let ListenAddr { host, port } = &mut admin.listen;
        if *port == 0 {
            return Err(
                "admin.listen has port 0, which the system chooses: give --admin ADDR".to_owned(),
            );
        }
        // What listens on every address is asked on this host.
        match host.ip() {
            Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => *host = Host::Ip(Ipv4Addr::LOCALHOST.into()),
            Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => *host = Host::Ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        Ok(Self { admin })
    }

    /// Asks for a path.
    pub async fn get(&self, path: &str) -> Result<Answer, CallError> {
        let addr = self.admin.listen.to_string();
        let answer = timeout(LIMIT, self.call(path))
            .await
            .unwrap_or(Err(CallError::Timeout { addr: addr.clone() }))?;
        if matches!(answer.status.as_u16(), 400..=499) {
            return Err(CallError::Refused {
                addr,
                status: answer.status,
                said: crate::session::text::PeerText::from_bytes(&answer.body, 200)
                    .as_str()
                    .to_owned(),
            });
        }
        Ok(answer)
    }

    async fn call(&self, path: &str) -> Result<Answer, CallError> {
        let listen = &self.admin.listen;
        let addr = listen.to_string();
        let http = |error: &dyn std::fmt::Display| CallError::Http {
            addr: addr.clone(),
            detail: error.to_string(),
        };
        let stream = TcpStream::connect((listen.host.to_unbracketed().as_str(), listen.port))
            .await
            .map_err(|source| CallError::Connect {
                addr: addr.clone(),
                source,
            })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| http(&error))?;
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = path.parse().map_err(|error| http(&error))?;
        let host = HeaderValue::from_str(&addr).map_err(|error| http(&error))?;
        request.headers_mut().insert(HOST, host);
        if let Some(token) = &self.admin.token {
            let value = [b"Bearer ".as_slice(), token.expose()].concat();
            let mut value = HeaderValue::from_bytes(&value).map_err(|error| http(&error))?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let asking = async {
            let response = sender
                .send_request(request)
                .await
                .map_err(|error| http(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MOST).collect();
            let body = body.await.map_err(|error| http(&error))?.to_bytes();
            Ok(Answer { status, body })
        };
        // The connection moves while it is polled, and is gone when the answer is here.
        tokio::pin!(asking, connection);
        tokio::select! {
            answer = &mut asking => answer,
            ended = &mut connection => match ended {
                Ok(()) => asking.await,
                Err(error) => Err(http(&error)),
            },
        }
    }
}

fn no_admin(file: Option<&Path>) -> String {
    let place = match file {
        Some(file) => format!("{} has no admin listener", file.display()),
        None => "no admin listener is configured".to_owned(),
    };
    format!(
        "{place}: add `admin: {{ listen: 127.0.0.1:8480 }}` to the tap's configuration, or give --admin ADDR"
    )
}
