//! One connection to the gateway.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, KeyLog};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout_at;
use tokio_rustls::TlsConnector;

use super::dial_health::DialHealth;
use super::errno;
use super::race::{interleaved, race};
use super::resolver;
use super::tls::{self, TlsSetupError};
use crate::config::{Gateway, Host, Scheme, Target, Tcp};
use crate::session::address;
use crate::session::dial::DialFacts;
use crate::session::moment::millis;
use crate::session::record::gateway::{DnsFacts, GatewayTlsFacts};
use crate::session::record::{GatewayError, GatewayErrorKind as Kind};
use crate::transport::cause;
use crate::transport::options;
use crate::transport::redirected::Course;
use crate::transport::stream::Stream;

/// A dial that failed.
#[derive(Debug, thiserror::Error)]
#[error("failed to reach the gateway: {}", error.detail)]
pub struct DialFailed {
    /// How far it got.
    pub facts: Box<DialFacts>,
    /// Why it failed.
    pub error: GatewayError,
    /// How long it took, if the connect timer ended it.
    pub timed_out: Option<Duration>,
}

/// A name's addresses, in the order in which to try them.
type Lookup = Arc<dyn Fn(String, u16) -> LookingUp + Send + Sync>;
type LookingUp = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

async fn by_system(name: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found = tokio::net::lookup_host((name, port)).await?;
    Ok(found.collect())
}

/// Dials the configured gateway.
#[derive(Clone)]
pub struct Dialler {
    target: Target,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// Only loopback addresses are dialled: the name implies it, and the gateway treats connections
    /// over loopback as local.
    loopback_only: bool,
    limit: Duration,
    tcp: Tcp,
    lookup: Lookup,
    /// The redirected client connection that this dialler dials for; `None` means any client.
    course: Option<Course>,
    /// Shared by every copy of this dialler.
    dial_health: Arc<DialHealth>,
}

impl std::fmt::Debug for Dialler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialler")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl Dialler {
    /// A dialler for this gateway. `limit` bounds resolving, connecting and TLS together. TLS
    /// secrets go to `key_log`.
    pub fn new(
        gateway: &Gateway,
        limit: Duration,
        tcp: Tcp,
        key_log: Option<Arc<dyn KeyLog>>,
    ) -> Result<Self, TlsSetupError> {
        let tls = match gateway.scheme() {
            Scheme::Https => Some(tls::client_config(gateway, key_log)?),
            Scheme::Http => None,
        };
        let loopback_only = match gateway.target() {
            Target::Tcp { host, .. } => host.is_loopback(),
            Target::Unix(_) => false,
        };
        Ok(Self {
            target: gateway.target().clone(),
            tls,
            loopback_only,
            limit,
            tcp,
            lookup: Arc::new(|name, port| Box::pin(by_system(name, port))),
            course: None,
            dial_health: Arc::default(),
        })
    }

    /// A dialler for one redirected connection: it dials the destination that the client had dialled, from the client's
    /// address.
    #[must_use]
    pub fn along(&self, course: Course) -> Self {
        let (host, port) = (Host::Ip(course.to.ip()), course.to.port());
        Self {
            target: Target::Tcp { host, port },
            loopback_only: false,
            course: Some(course),
            // The server of a self-check has no certificate.
            tls: self.tls.clone().filter(|_| !course.is_check),
            ..self.clone()
        }
    }

    /// Time limit for name resolution, connect and TLS together.
    #[must_use]
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// Socket options.
    #[must_use]
    pub fn tcp(&self) -> &Tcp {
        &self.tcp
    }

    /// Outcomes of the last dials.
    #[must_use]
    pub fn dial_health(&self) -> &DialHealth {
        &self.dial_health
    }

    /// Resolves the name, connects and does the TLS handshake.
    pub async fn dial(&self) -> Result<(Stream, DialFacts), DialFailed> {
        let mut dialled = self.dial_within_the_limit().await;
        if let Err(failed) = &mut dialled
            && let Some(dns) = failed.facts.dns.as_mut().filter(|dns| dns.addresses == 0)
        {
            dns.resolver = resolver::configured().await;
            tracing::debug!(name = dns.name, resolver = ?dns.resolver, "a name has no address");
        }
        match &dialled {
            Ok(_) => self.dial_health.answered(Instant::now()),
            Err(failed) => {
                self.dial_health
                    .failed(&failed.error.detail, Instant::now());
                if failed.error.kind == Kind::CertificatePin {
                    self.dial_health.saw_other_certificate();
                }
            }
        }
        dialled
    }

    async fn dial_within_the_limit(&self) -> Result<(Stream, DialFacts), DialFailed> {
        let started = Instant::now();
        let mut facts = DialFacts::default();
        let deadline = tokio::time::Instant::from_std(started + self.limit);
        match timeout_at(deadline, self.connect(&mut facts)).await {
            Ok(Ok(stream)) => Ok((stream, facts)),
            Ok(Err(error)) => Err(DialFailed {
                facts: Box::new(facts),
                error,
                timed_out: None,
            }),
            Err(_) => {
                let timed_out = Some(started.elapsed());
                let error = self.too_late(&mut facts, started);
                Err(DialFailed {
                    facts: Box::new(facts),
                    error,
                    timed_out,
                })
            }
        }
    }

    async fn connect(&self, facts: &mut DialFacts) -> Result<Stream, GatewayError> {
        let (host, port) = match &self.target {
            Target::Unix(path) => return connect_unix(path, facts).await,
            Target::Tcp { host, port } => (host, *port),
        };
        let addresses = self.resolve(host, port, facts).await?;
        let addresses = interleaved(self.permitted(host, addresses)?);
        let tcp = self.connect_first(&addresses, facts).await?;
        let Some((config, name)) = &self.tls else {
            return Ok(Stream::Tcp(tcp));
        };
        let connector = TlsConnector::from(Arc::clone(config));
        let server_name = name.to_str().into_owned();
        facts.tls = Some(GatewayTlsFacts {
            server_name,
            ..GatewayTlsFacts::default()
        });
        let stream = connector
            .connect(name.clone(), tcp)
            .await
            .map_err(|error| {
                if let Some(facts) = &mut facts.tls {
                    facts.alert = cause::received_alert(&error);
                }
                tls::failed(&error)
            })?;
        if let Some(facts) = &mut facts.tls {
            tls::agreed(stream.get_ref().1, facts);
        }
        Ok(Stream::TlsClient(Box::new(stream)))
    }

    /// Connects to the first address that answers, and records the outcome of each attempt.
    async fn connect_first(
        &self,
        addresses: &[SocketAddr],
        facts: &mut DialFacts,
    ) -> Result<TcpStream, GatewayError> {
        let started = Instant::now();
        facts.addr = addresses.first().copied().map(address::text);
        let connect = |addr| async move {
            match self.course {
                None => TcpStream::connect(addr).await,
                Some(course) => course.connect(addr).await,
            }
        };
        let raced = race(addresses, &mut facts.attempts, connect).await;
        let (addr, tcp) = raced.inspect_err(|error| {
            let kind = Some(error.kind);
            let decisive = facts.attempts.iter().find(|attempt| attempt.error == kind);
            facts.addr = decisive.map(|attempt| attempt.addr.clone());
        })?;
        facts.addr = Some(address::text(addr));
        facts.connect_ms = Some(millis(started.elapsed()));
        facts.local_addr = tcp.local_addr().ok().map(address::text);
        options::apply(&tcp, &self.tcp);
        Ok(tcp)
    }

    /// The error of a dial that hit its time limit.
    fn too_late(&self, facts: &mut DialFacts, started: Instant) -> GatewayError {
        let limit = self.limit;
        let waiting: Vec<&str> = facts
            .attempts
            .iter()
            .filter(|attempt| attempt.ms.is_none())
            .map(|attempt| attempt.addr.as_str())
            .collect();
        let name = match &self.target {
            Target::Tcp { host, .. } if facts.dns.is_none() && facts.addr.is_none() => host.name(),
            _ => None,
        };
        if let Some(name) = name {
            facts.dns = Some(dns(name, 0, started));
            return GatewayError {
                kind: Kind::Dns,
                detail: format!("{name} does not resolve: no answer within {limit:?}"),
            };
        }
        // Connected, but TLS did not finish.
        let connected = facts.connect_ms.and(facts.addr.as_deref());
        let tried = match (connected, waiting.as_slice()) {
            (Some(addr), _) => addr.to_owned(),
            (None, []) => facts.addr.clone().unwrap_or_default(),
            (None, waiting) => waiting.join(", "),
        };
        GatewayError {
            kind: Kind::ConnectTimeout,
            detail: format!("no answer from {tried} within {limit:?}"),
        }
    }

    fn permitted(
        &self,
        host: &Host,
        addresses: Vec<SocketAddr>,
    ) -> Result<Vec<SocketAddr>, GatewayError> {
        if !self.loopback_only {
            return Ok(addresses);
        }
        let (local, others): (Vec<_>, Vec<_>) = addresses
            .into_iter()
            .partition(|addr| addr.ip().to_canonical().is_loopback());
        if local.is_empty() {
            let found = others
                .first()
                .map_or_else(|| "nothing".to_owned(), ToString::to_string);
            let detail = format!("{host} must be a loopback address, it resolves to {found}");
            return Err(GatewayError {
                kind: Kind::Dns,
                detail,
            });
        }
        Ok(local)
    }
}

async fn connect_unix(path: &Path, facts: &mut DialFacts) -> Result<Stream, GatewayError> {
    facts.addr = Some(format!("unix:{}", path.display()));
    let started = Instant::now();
    match UnixStream::connect(path).await {
        Ok(stream) => {
            facts.connect_ms = Some(millis(started.elapsed()));
            Ok(Stream::Unix(stream))
        }
        Err(error) => {
            let kind = errno::of_unix(&error);
            let limit = errno::limit(kind, None).map_or_else(String::new, |it| format!(" ({it})"));
            Err(GatewayError {
                kind,
                detail: format!("{}: {error}{limit}", path.display()),
            })
        }
    }
}

impl Dialler {
    /// Resolves the name for each dial: a gateway that was restarted may have another address.
    async fn resolve(
        &self,
        host: &Host,
        port: u16,
        facts: &mut DialFacts,
    ) -> Result<Vec<SocketAddr>, GatewayError> {
        let name = match host {
            Host::Ip(ip) => return Ok(vec![SocketAddr::new(*ip, port)]),
            Host::Name(name) => name,
        };
        let started = Instant::now();
        let addresses = match (self.lookup)(name.clone(), port).await {
            Ok(found) => found,
            Err(error) => {
                facts.dns = Some(dns(name, 0, started));
                let kind = errno::of_lookup(&error);
                let limit =
                    errno::limit(kind, None).map_or_else(String::new, |it| format!(" ({it})"));
                return Err(GatewayError {
                    kind,
                    detail: format!("{name} does not resolve: {error}{limit}"),
                });
            }
        };
        facts.dns = Some(dns(name, addresses.len(), started));
        if addresses.is_empty() {
            return Err(GatewayError {
                kind: Kind::Dns,
                detail: format!("{name} has no address"),
            });
        }
        Ok(addresses)
    }
}

fn dns(name: &str, addresses: usize, started: Instant) -> DnsFacts {
    DnsFacts {
        name: name.to_owned(),
        addresses: u32::try_from(addresses).unwrap_or(u32::MAX),
        ms: millis(started.elapsed()),
        resolver: None,
    }
}

#[cfg(test)]
mod tests;
