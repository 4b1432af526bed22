//! A real proxy of the system's packages: started on a free port, ended with the test.

use std::fmt;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};

use tempfile::TempDir;

use super::{haproxy, nginx};
use crate::support::deadline::{STEP, poll};
use crate::support::packages::Program;
use crate::support::records::tail;
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

    /// As verdicts have it.
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
    /// `Host` is the proxy's own word for what is behind it.
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
    child: Child,
    folder: TempDir,
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
        let config = folder.path().join("config");
        let mut command = program.command();
        let text = match software {
            Software::Nginx => {
                command.arg("-p").arg(folder.path()).arg("-c").arg(&config);
                command.args(["-e", "stderr"]);
                nginx::configuration(folder.path(), way, addr, upstream)
            }
            Software::Haproxy => {
                // In the foreground, one process.
                command.arg("-db").arg("-f").arg(&config);
                haproxy::configuration(way, addr, upstream)
            }
        };
        fs::write(&config, text).expect("write the configuration");
        let stderr = File::create(folder.path().join("stderr")).expect("create a file");
        let child = command
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .expect("start the proxy");
        Self {
            child,
            folder,
            addr,
        }
    }

    /// `false` when somebody else has its port.
    async fn listens(&mut self) -> bool {
        let looking = poll(STEP, || {
            let taken = self.stderr().contains("bind");
            let ended = self.child.try_wait().expect("wait for the proxy");
            if taken {
                return Some(false);
            }
            assert!(ended.is_none(), "it ended: {}", self.stderr());
            TcpStream::connect(self.addr).ok().map(|_| true)
        });
        let listens = looking.await;
        listens.unwrap_or_else(|| panic!("it does not listen: {}", self.stderr()))
    }

    fn stderr(&self) -> String {
        let text = fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default();
        tail(&text, 1500).to_owned()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A port of loopback where nobody listens.
pub fn free_port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    listener.local_addr().expect("its address")
}
