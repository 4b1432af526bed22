//! A real proxy of the system's packages: started on a free port, ended with the test.

use std::fmt;
use std::fs;
use std::net::{SocketAddr, TcpStream};

use tempfile::TempDir;

use super::{haproxy, nginx};
use crate::support;
use crate::support::deadline::{STEP, poll};
use crate::support::packages::{Program, Running, free_port};
use crate::support::skip::skip;

/// Somebody may take the free port before the proxy does.
const ATTEMPTS: usize = 3;

/// Which proxy it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Software {
    Nginx,
    Haproxy,
}

impl Software {
    pub const ALL: [Self; 2] = [Self::Nginx, Self::Haproxy];

    pub fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }

    /// The name as verdicts have it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
        }
    }
}

/// How it is configured. Everything that is not named is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Right,
    /// Everything that the proxy has for buffering is on.
    Buffering,
    /// As it is installed: nothing is said about upgrades. `HAProxy` passes them by itself.
    Untouched,
    /// `Upgrade` is not passed on.
    NoUpgrade,
    /// `Connection` is not passed on.
    NoConnection,
    /// Neither of them is.
    Neither,
    /// Both are, in a request of HTTP/1.0 (nginx without `proxy_http_version`).
    Http10,
    /// A session that is silent for 2 s is cut; so is a request without an answer.
    Impatient,
    /// `Sec-WebSocket-Key` is another one.
    OtherKey,
    /// `Sec-WebSocket-Key` is none.
    BadKey,
    /// `Sec-WebSocket-Version` is another one.
    OtherVersion,
    /// `Sec-WebSocket-Accept` of the answer is taken out.
    NoAccept,
    /// `Origin` is another one.
    OtherOrigin,
    /// `Host` is the proxy's own name for its upstream.
    OtherHost,
    /// `X-Forwarded-For` is added.
    Attributes,
    /// Every request is sent elsewhere.
    Redirects,
    /// Every request needs Basic auth.
    Login,
    /// Maintenance: a 503 of its own.
    Closed,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// A running proxy. Killed when dropped.
pub struct Proxy {
    running: Running,
    pub addr: SocketAddr,
}

impl Proxy {
    /// `None` when the program is not installed: skip.
    pub async fn start(software: Software, way: Way, upstream: SocketAddr) -> Option<Self> {
        let Some(program) = Program::find(software.name()) else {
            let test = format!("hops: {}", software.name());
            skip(&test, "the program is missing: run make fetch");
            return None;
        };
        for _ in 0..ATTEMPTS {
            let mut proxy = Self::spawn(software, &program, way, upstream);
            if proxy.listens().await {
                return Some(proxy);
            }
        }
        panic!("{} found no free port", software.name());
    }

    fn spawn(software: Software, program: &Program, way: Way, upstream: SocketAddr) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let addr = free_port();
        let command = match software {
            Software::Nginx => {
                let server = nginx::server(folder.path(), way, addr, upstream);
                support::nginx::command(program, folder.path(), &server)
            }
            Software::Haproxy => {
                let config = folder.path().join("haproxy.cfg");
                let text = haproxy::configuration(way, addr, upstream);
                fs::write(&config, text).expect("write the configuration");
                let mut command = program.command();
                // In the foreground, one process.
                command.arg("-db").arg("-f").arg(&config);
                command
            }
        };
        let running = Running::start(command, folder);
        Self { running, addr }
    }

    /// `false` when somebody else has its port.
    async fn listens(&mut self) -> bool {
        let looking = poll(STEP, || {
            if self.running.stderr().contains("bind") {
                return Some(false);
            }
            let ended = self.running.has_ended();
            assert!(!ended, "it ended: {}", self.running.stderr());
            TcpStream::connect(self.addr).ok().map(|_| true)
        });
        let listens = looking.await;
        listens.unwrap_or_else(|| panic!("it does not listen: {}", self.running.stderr()))
    }
}
