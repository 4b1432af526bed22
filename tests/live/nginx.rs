//! nginx as people put it in front: on the same host, with the headers they configure.
//!
//! One process serves every way of doing it, each on a port of its own, and forwards to the address
//! that the request's path names: `/to/127.0.0.1:18789/`. Its ports are fixed, so it belongs into a
//! network of the test's own (`support::netns`).

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};

use tempfile::TempDir;

use crate::support::deadline::{STEP, poll};
use crate::support::packages::Program;

/// What it tells of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// The client's address, and nothing that the client says.
    Names,
    /// The client's address behind what the client says (`$proxy_add_x_forwarded_for`).
    Appends,
    /// Nothing at all.
    Mute,
    /// The client's address, in a header that `Connection` names: whoever takes that at its word
    /// removes it (RFC 9110 section 7.6.1).
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

/// A running nginx. Killed when dropped.
pub struct Nginx {
    child: Child,
    folder: TempDir,
}

impl Nginx {
    pub async fn start(program: &Program) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let config = folder.path().join("nginx.conf");
        fs::write(&config, configuration(folder.path())).expect("write its configuration");
        let child = program
            .command()
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(&config)
            .args(["-e", "stderr"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("stderr")).expect("create a file"))
            .spawn()
            .expect("start nginx");
        let nginx = Self { child, folder };
        for front in Front::ALL {
            let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, front.port()));
            let up = poll(STEP, || TcpStream::connect(addr).ok()).await;
            assert!(up.is_some(), "nginx does not listen: {}", nginx.stderr());
        }
        nginx
    }

    fn stderr(&self) -> String {
        fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// nginx, when it is there.
pub fn installed() -> Option<Program> {
    Program::find("nginx")
}

/// One process without workers, so that ending it ends all of it.
fn configuration(folder: &Path) -> String {
    let folder = folder.display();
    let servers: Vec<String> = Front::ALL.into_iter().map(server).collect();
    format!(
        "daemon off;
        master_process off;
        pid {folder}/pid;
        events {{}}
        http {{
            access_log off;
            client_body_temp_path {folder}/body;
            proxy_temp_path {folder}/proxy;
            fastcgi_temp_path {folder}/fastcgi;
            uwsgi_temp_path {folder}/uwsgi;
            scgi_temp_path {folder}/scgi;
            proxy_http_version 1.1;
            {}
        }}",
        servers.concat()
    )
}

fn server(front: Front) -> String {
    let (port, headers) = (front.port(), front.headers());
    format!(
        "server {{
            listen 0.0.0.0:{port};
            listen [::]:{port} ipv6only=on;
            location ~ ^/to/(?<to>[^/]+)/ {{
                proxy_pass http://$to;
                proxy_set_header Host $http_host;
                proxy_set_header Upgrade $http_upgrade;
                {headers}
            }}
        }}"
    )
}
