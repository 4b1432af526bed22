//! The tap as users run it: the built program with `serve` and a configuration.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::Fallible;
use super::certs::Certificate;
use super::process::{Running, free_port};

/// The program of `WSTAP_PROGRAM`, or else the one that was built with this bench. The latter has
/// library features that the tests' dependencies enable, such as a clock that can be stopped; `make
/// shipped` builds the program that users run.
pub fn program() -> OsString {
    std::env::var_os("WSTAP_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_wstap").into())
}

/// The setup of the tap. The figures use the default: TLS with clients, the dialect, records.
#[derive(Clone, Debug)]
pub struct Setup {
    pub name: &'static str,
    pub tls: bool,
    pub dialect: &'static str,
    pub records: bool,
    /// The gateway is reached with TLS.
    pub tls_to_gateway: bool,
    /// A program to run the tap under, with its arguments: valgrind, strace.
    pub under: Vec<OsString>,
    /// More configuration: top-level keys, one per line.
    pub more: &'static str,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            name: "wstap",
            tls: true,
            dialect: "openclaw",
            records: true,
            tls_to_gateway: false,
            under: Vec::new(),
            more: "",
        }
    }
}

impl Setup {
    /// Starts the tap in front of this gateway, with files in the folder, and returns where it
    /// listens.
    pub fn start(
        &self,
        folder: &Path,
        certificate: &Certificate,
        gateway: SocketAddr,
        core: usize,
    ) -> Fallible<(Running, SocketAddr)> {
        let addr = free_port()?;
        let config = folder.join(format!("{}.yaml", self.name));
        fs::write(&config, self.config(folder, certificate, gateway, addr))?;
        let mut command = match self.under.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program());
                command
            }
            None => Command::new(program()),
        };
        command.arg("serve").arg("--config").arg(config);
        let mut process = Running::start(self.name, &command, folder, core)?;
        process.wait_until_it_listens(addr)?;
        Ok((process, addr))
    }

    fn config(
        &self,
        folder: &Path,
        certificate: &Certificate,
        gateway: SocketAddr,
        addr: SocketAddr,
    ) -> String {
        let (cert, key) = (certificate.cert.display(), certificate.key.display());
        let folder = folder.display();
        let tls = if self.tls {
            format!(
                ", tls: {{ certificates: [{{ cert: \"{cert}\", key: \"{key}\" }}], min_version: \"1.3\" }}"
            )
        } else {
            String::new()
        };
        let (scheme, gateway_tls) = if self.tls_to_gateway {
            let tls = format!(", tls: {{ ca: \"{cert}\", server_name: localhost }}");
            ("https", tls)
        } else {
            ("http", String::new())
        };
        let (dialect, name, more) = (self.dialect, self.name, self.more);
        let records = if self.records {
            format!(
                "records: {{ path: \"{folder}/{name}.jsonl\", rotate_bytes: 1GiB, repeats: each }}\n"
            )
        } else {
            String::new()
        };
        // One thread and one log file, as for every other proxy of the bench; without `records` nothing
        // is written for a session. `repeats: each`, because all sessions of a bench are alike; high
        // limits, because all its clients share one address.
        format!(
            "listeners: [{{ listen: \"{addr}\"{tls} }}]\n\
             gateway: {{ url: \"{scheme}://{gateway}\", dialect: {dialect}{gateway_tls} }}\n\
             limits: {{ connections: 40000, per_client: 40000, handshakes: 20000 }}\n\
             timeouts: {{ drain: 500ms }}\n\
             state_dir: \"{folder}\"\n\
             reload: signal\n\
             output: none\n\
             workers: 1\n\
             {records}{more}"
        )
    }
}
