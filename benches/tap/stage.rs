//! Where proxies are started: the gateway, its certificate and the cores.

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

    /// Starts it on the core of proxies, in front of this gateway, and waits until it listens.
    fn start(&self, stage: &Stage, gateway: SocketAddr) -> Fallible<(Running, Door)>;
}

/// What a proxy is put in front of.
pub struct Stage {
    folder: TempDir,
    pub certificate: Certificate,
    pub gateway: Gateway,
    /// Where proxies run, always.
    pub core: usize,
    /// Where the gateway and the clients run when the proxy is to have its core alone.
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

    /// The certificate's.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A new one, for the files of one process.
    pub fn fresh_folder(&self, name: &str) -> Fallible<PathBuf> {
        let number = self.started.get() + 1;
        self.started.set(number);
        let folder = self.folder().join(format!("{number}-{name}"));
        fs::create_dir(&folder)?;
        Ok(folder)
    }

    /// A door with TLS, for a client that resumes nothing.
    pub fn secured(&self, addr: SocketAddr) -> Fallible<Door> {
        let tls = Some(self.certificate.client(Resumption::disabled())?);
        Ok(Door { addr, tls })
    }
}

/// The first line of what a program says of its version.
pub fn version(command: &mut Command) -> Fallible<String> {
    let out = command.output()?;
    // nginx says it on the other one.
    let text = [out.stdout, out.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find(|line| !line.trim().is_empty());
    let line = line.ok_or("it does not say its version")?.trim();
    // Envoy says where it stands.
    let program = command.get_program().to_string_lossy();
    Ok(line.trim_start_matches(&*program).trim().to_owned())
}
