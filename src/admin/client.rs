//! Client of a running tap's admin listener, used by `wstap health` and `wstap sessions`.

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
use crate::terminal::Look;

/// Time limit for connecting, sending the request and reading the whole answer. The tap may dial
/// its gateway meanwhile.
const LIMIT: Duration = Duration::from_secs(8);

/// Maximum length of an answer.
const MOST: usize = 32 << 20;

/// Options for finding the tap.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Its admin listener.
    pub admin: Option<String>,
    /// The token of that listener.
    pub token_file: Option<PathBuf>,
    /// If `admin` is not set: the tap's configuration.
    pub file: Option<PathBuf>,
    /// Settings that override the configuration.
    pub overrides: Overrides,
    /// Only warn about an invalid configuration: the running tap still uses its last valid one.
    pub without_valid_config: bool,
}

/// The admin listener of one tap.
#[derive(Debug)]
pub(crate) struct Client {
    admin: Admin,
    /// No address was given, so the default is used.
    assumed: bool,
    /// Errors in the configuration that contains its address.
    mistakes: Option<String>,
}

/// The answer of the admin listener.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub body: Bytes,
}

/// The admin listener gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// Nobody listens there, or the address cannot be reached.
    #[error("failed to reach the admin listener {addr}: {source}{hint}")]
    Connect {
        /// The address of the listener.
        addr: String,
        /// The error of the connection.
        source: io::Error,
        /// A hint, if the user did not give the address.
        hint: &'static str,
    },
    /// The answer did not come, or did not end.
    #[error("no answer from the admin listener {addr} within {} s", LIMIT.as_secs())]
    Timeout {
        /// The address of the listener.
        addr: String,
    },
    /// The answer is not HTTP.
    #[error("failed to ask the admin listener {addr}: {detail}")]
    Http {
        /// The address of the listener.
        addr: String,
        /// What went wrong.
        detail: String,
    },
    /// The admin listener refused the request.
    #[error("the admin listener {addr} refused: {status} {said}")]
    Refused {
        /// The address of the listener.
        addr: String,
        /// The status of the answer.
        status: StatusCode,
        /// The body of the answer.
        said: String,
    },
}

/// A client and its runtime. On failure prints the problem and returns the exit code.
pub(crate) fn start(options: &Options, err: &mut dyn Write) -> Result<(Client, Runtime), u8> {
    let client = Client::find(options).map_err(|error| {
        let text = Look::stderr().fit(&format!("wstap: {error}"));
        let _ = writeln!(err, "{text}");
        exit::USAGE
    })?;
    if let Some(mistakes) = &client.mistakes {
        let text = Look::stderr().fit(&format!("wstap: {mistakes}"));
        let _ = writeln!(err, "{text}");
    }
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        let _ = writeln!(err, "wstap: failed to start the runtime: {error}");
        exit::INTERNAL
    })?;
    Ok((client, runtime))
}

impl Client {
    /// Finds the listener by flag, environment or the tap's configuration; otherwise uses the
    /// default address.
    pub(crate) fn find(options: &Options) -> Result<Self, String> {
        let token = options.token_file.as_deref();
        if let Some(listen) = &options.admin {
            return Self::new(Admin::from_flags(listen, token)?);
        }
        if options.file.is_none() {
            return Self::without_file(options);
        }
        let config = match config::load(options.file.as_deref(), &options.overrides) {
            Ok(config) => config,
            Err(errors) if options.without_valid_config => {
                let mistakes = Some(errors.to_string());
                return Ok(Self {
                    mistakes,
                    ..Self::without_file(options)?
                });
            }
            Err(errors) => return Err(errors.to_string()),
        };
        let Some(admin) = config.admin() else {
            let file = options.file.as_deref().unwrap_or(Path::new(""));
            return Err(no_admin(file));
        };
        let mut admin = admin.clone();
        if let Some(path) = options.token_file.as_deref() {
            admin.token = Admin::by_default(Some(path))?.token;
        }
        Self::new(admin)
    }

    /// Without a file, only the environment can name the address; the other settings concern only
    /// the tap.
    fn without_file(options: &Options) -> Result<Self, String> {
        let token = options.token_file.as_deref();
        let given = options.overrides.admin.as_ref();
        let given = given
            .map(|given| given.value.trim())
            .filter(|it| !it.is_empty());
        let mut client = match given {
            Some(listen) => Self::new(Admin::from_flags(listen, token)?)?,
            None => Self::new(Admin::by_default(token)?)?,
        };
        client.assumed = given.is_none();
        Ok(client)
    }

    fn new(mut admin: Admin) -> Result<Self, String> {
        let ListenAddr { host, port } = &mut admin.listen;
        if *port == 0 {
            return Err(
                "admin.listen has port 0, which the system chooses: give --admin ADDR".to_owned(),
            );
        }
        // If the tap listens on every address, ask it over loopback.
        match host.ip() {
            Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => *host = Host::Ip(Ipv4Addr::LOCALHOST.into()),
            Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => *host = Host::Ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        Ok(Self {
            admin,
            assumed: false,
            mistakes: None,
        })
    }

    /// Requests a path.
    pub(crate) async fn get(&self, path: &str) -> Result<Answer, CallError> {
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
                hint: if self.assumed { NOT_NAMED } else { "" },
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
        // The connection makes progress only while it is polled, and is dropped once the answer is
        // complete.
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

/// No address was given, and nothing answers at the default one.
const NOT_NAMED: &str = "; start the tap with `--admin 127.0.0.1:8480` (or `admin: {}` in its \
                         configuration), or say where it is by --admin, WSTAP_ADMIN or --config";

fn no_admin(file: &Path) -> String {
    format!(
        "{} has no admin listener: add `admin: {{ listen: 127.0.0.1:8480 }}` to the tap's configuration, or \
         give --admin ADDR",
        file.display()
    )
}
