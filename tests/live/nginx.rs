//! nginx as people put it in front: on the same host, with the headers they configure.
//!
//! One process serves every way of doing it, each on a port of its own, and forwards to the address
//! that the request's path names: `/to/127.0.0.1:18789/`. Its ports are fixed, so it belongs in a
//! network of the test's own (`support::netns`).

use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use tempfile::TempDir;

use crate::support::deadline::{STEP, poll};
use crate::support::nginx;
use crate::support::packages::{Program, Running};

/// What its headers say about the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// The client's address, and nothing that the client says.
    Names,
    /// The client's address after what the client says (`$proxy_add_x_forwarded_for`).
    Appends,
    /// Nothing at all.
    Mute,
    /// The client's address, in a header that `Connection` names: a proxy that obeys this removes
    /// it (RFC 9110 section 7.6.1).
    Nominates,
}

impl Front {
    const ALL: [Self; 4] = [Self::Names, Self::Appends, Self::Mute, Self::Nominates];

    pub fn port(self) -> u16 {
        match self {
            Self::Names => 8001,
            Self::Appends => 8002,
            Self::Mute => 8003,
            Self::Nominates => 8004,
        }
    }

    fn headers(self) -> &'static str {
        match self {
            Self::Names => {
                "proxy_set_header Connection upgrade;
                proxy_set_header X-Real-IP $remote_addr;
                proxy_set_header X-Forwarded-For $remote_addr;
                proxy_set_header X-Forwarded-Proto $scheme;"
            }
            Self::Appends => {
                "proxy_set_header Connection upgrade;
                proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                proxy_set_header X-Forwarded-Proto $scheme;"
            }
            Self::Mute => "proxy_set_header Connection upgrade;",
            Self::Nominates => {
                "proxy_set_header Connection \"upgrade, x-forwarded-for\";
                proxy_set_header X-Forwarded-For $remote_addr;"
            }
        }
    }
}

/// A running nginx.
pub struct Nginx {
    _running: Running,
}

impl Nginx {
    pub async fn start(program: &Program) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let servers: String = Front::ALL.into_iter().map(server).collect();
        let command = nginx::command(program, folder.path(), &servers);
        let running = Running::start(command, folder);
        for front in Front::ALL {
            let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, front.port()));
            let up = poll(STEP, || TcpStream::connect(addr).ok()).await;
            assert!(up.is_some(), "nginx does not listen: {}", running.stderr());
        }
        Self { _running: running }
    }
}

/// nginx, when it is there.
pub fn installed() -> Option<Program> {
    Program::find("nginx")
}

fn server(front: Front) -> String {
    let (port, headers) = (front.port(), front.headers());
    format!(
        "server {{
            listen 0.0.0.0:{port};
            listen [::]:{port} ipv6only=on;
            location ~ ^/to/(?<to>[^/]+)/ {{
                proxy_pass http://$to;
                proxy_http_version 1.1;
                proxy_set_header Host $http_host;
                proxy_set_header Upgrade $http_upgrade;
                {headers}
            }}
        }}"
    )
}
