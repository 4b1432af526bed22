//! The environment for proxies: the gateway, its certificate and the cores.

use std::cell::Cell;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustls::client::Resumption;
use tempfile::TempDir;

use crate::support::Fallible;
use crate::support::certs::Certificate;
use crate::support::client::Door;
use crate::support::gateway::Gateway;
use crate::support::process::{self, Running};

/// A proxy that can be started.
pub trait Proxy {
    fn name(&self) -> &'static str;

    fn version(&self) -> Fallible<String>;

    /// Starts it on the proxies' core, in front of this gateway, and waits until it listens.
    fn start(&self, stage: &Stage, gateway: SocketAddr) -> Fallible<(Running, Door)>;
}

/// The environment in which a proxy is started.
pub struct Stage {
    folder: TempDir,
    pub certificate: Certificate,
    pub gateway: Gateway,
    /// The core on which proxies always run.
    pub core: usize,
    /// The core for the gateway and the clients when the proxy has its core to itself.
    pub other_core: usize,
    started: Cell<usize>,
}

impl Stage {
    pub fn build() -> Fallible<Self> {
        let folder = TempDir::with_prefix("wstap-bench-")?;
        let certificate = Certificate::make(folder.path())?;
        let (core, other_core) = process::cores()?;
        let gateway = Gateway::start(folder.path(), core)?;
        Ok(Self {
            folder,
            certificate,
            gateway,
            core,
            other_core,
            started: Cell::new(0),
        })
    }

    /// The certificate's folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A new folder, for the files of one process.
    pub fn fresh_folder(&self, name: &str) -> Fallible<PathBuf> {
        let number = self.started.get() + 1;
        self.started.set(number);
        let folder = self.folder().join(format!("{number}-{name}"));
        fs::create_dir(&folder)?;
        Ok(folder)
    }

    /// A TLS door for a client that does not resume.
    pub fn secured(&self, addr: SocketAddr) -> Fallible<Door> {
        let tls = Some(self.certificate.client(Resumption::disabled())?);
        Ok(Door { addr, tls })
    }
}

/// The first line of a program's version output.
pub fn version(command: &mut Command) -> Fallible<String> {
    let out = command.output()?;
    // nginx prints its version on stderr.
    let text = [out.stdout, out.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find(|line| !line.trim().is_empty());
    let line = line.ok_or("it does not say its version")?.trim();
    // Envoy prints its own path.
    let program = command.get_program().to_string_lossy();
    Ok(line.trim_start_matches(&*program).trim().to_owned())
}
