//! The other proxies, each with one thread, TLS 1.3, the WebSocket settings of its manual, and an access
//! log in a file.

mod caddy;
mod envoy;
mod haproxy;
mod nginx;
#[path = "../../tests/support/program.rs"]
#[allow(dead_code, clippy::expect_used, reason = "shared with the tests")]
mod program;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use self::program::Program;
use crate::bench::{self, Proxy, Stage};
use crate::support::Fallible;
use crate::support::certs::Certificate;
use crate::support::client::Door;
use crate::support::process::{Running, free_port};

/// One of them.
struct Peer {
    program: Program,
    kind: &'static Kind,
    files: usize,
}

/// What is particular of one.
struct Kind {
    name: &'static str,
    program: &'static str,
    version: &'static str,
    config: &'static str,
    /// The text of its configuration.
    write: fn(&Place<'_>) -> String,
    /// The arguments that make it take that.
    args: fn(&mut Command, &Place<'_>),
}

/// Where one stands.
struct Place<'a> {
    folder: &'a Path,
    certificate: &'a Certificate,
    gateway: SocketAddr,
    addr: SocketAddr,
    /// How many files it may open.
    files: usize,
}

/// All that are installed, and why another one is not there.
pub fn all(files: usize) -> Vec<Result<Box<dyn Proxy>, String>> {
    [&nginx::KIND, &haproxy::KIND, &envoy::KIND, &caddy::KIND]
        .into_iter()
        .map(|kind| match Program::find(kind.program) {
            Some(program) => Ok(Box::new(Peer {
                program,
                kind,
                files,
            }) as Box<dyn Proxy>),
            None => Err(format!(
                "{} is left out: it is not installed (scripts/fetch-packages.sh {})",
                kind.name, kind.program
            )),
        })
        .collect()
}

impl Proxy for Peer {
    fn name(&self) -> &'static str {
        self.kind.name
    }

    fn version(&self) -> Fallible<String> {
        bench::version(self.program.command().arg(self.kind.version))
    }

    fn start(&self, stage: &Stage, gateway: SocketAddr) -> Fallible<(Running, Door)> {
        let folder = stage.fresh_folder(self.kind.program)?;
        let place = Place {
            folder: &folder,
            certificate: &stage.certificate,
            gateway,
            addr: free_port()?,
            files: self.files,
        };
        fs::write(folder.join(self.kind.config), (self.kind.write)(&place))?;
        let mut command = self.program.command();
        (self.kind.args)(&mut command, &place);
        let mut process = Running::start(self.kind.program, &command, &folder, stage.core)?;
        process.wait_until_it_listens(place.addr)?;
        Ok((process, stage.secured(place.addr)?))
    }
}
