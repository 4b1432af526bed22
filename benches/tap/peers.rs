//! The other proxies, each with one thread, TLS 1.3, the WebSocket settings of its manual, and an access
//! log in a file. Their configurations are beside this file, in their usual form, with `@NAME@` for
//! values of a run.

use std::fs;
use std::net::SocketAddr;

use crate::program::Program;
use crate::stage::{self, Proxy, Stage};
use crate::support::Fallible;
use crate::support::client::Door;
use crate::support::process::{Running, free_port};

/// The facts specific to one proxy.
struct Kind {
    name: &'static str,
    program: &'static str,
    version: &'static str,
    /// The name of its configuration file, and the content.
    file: &'static str,
    template: &'static str,
    /// The arguments that make it use this file, in the file's folder.
    args: &'static [&'static str],
}

const KINDS: [Kind; 4] = [
    Kind {
        name: "nginx",
        program: "nginx",
        version: "-v",
        file: "nginx.conf",
        template: include_str!("peers/nginx.conf"),
        args: &["-e", "stderr", "-p", "./", "-c", "nginx.conf"],
    },
    Kind {
        name: "HAProxy",
        program: "haproxy",
        version: "-v",
        file: "haproxy.cfg",
        template: include_str!("peers/haproxy.cfg"),
        args: &["-db", "-f", "haproxy.cfg"],
    },
    Kind {
        name: "Envoy",
        program: "envoy",
        version: "--version",
        file: "envoy.yaml",
        template: include_str!("peers/envoy.yaml"),
        args: &[
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "-l",
            "warn",
            "-c",
            "envoy.yaml",
        ],
    },
    Kind {
        name: "Caddy",
        program: "caddy",
        version: "version",
        file: "Caddyfile",
        template: include_str!("peers/Caddyfile"),
        args: &["run", "--adapter", "caddyfile", "--config", "Caddyfile"],
    },
];

/// The names of all known proxies.
pub fn names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.name)
}

/// An installed proxy.
struct Peer {
    program: Program,
    kind: &'static Kind,
    /// How many files it may open.
    files: usize,
}

/// All installed proxies, and the reason for each one that is missing.
pub fn all(files: usize) -> Vec<Result<Box<dyn Proxy>, String>> {
    let find = |kind: &'static Kind| match Program::find(kind.program) {
        Some(program) => Ok(Box::new(Peer {
            program,
            kind,
            files,
        }) as Box<dyn Proxy>),
        None => Err(format!(
            "{} is left out: it is not here (scripts/fetch-packages.sh {})",
            kind.name, kind.program
        )),
    };
    KINDS.iter().map(find).collect()
}

impl Proxy for Peer {
    fn name(&self) -> &'static str {
        self.kind.name
    }

    fn version(&self) -> Fallible<String> {
        stage::version(self.program.command().arg(self.kind.version))
    }

    fn start(&self, stage: &Stage, gateway: SocketAddr) -> Fallible<(Running, Door)> {
        let folder = stage.fresh_folder(self.kind.program)?;
        let addr = free_port()?;
        let certificate = &stage.certificate;
        let names = [
            ("@FOLDER@", folder.display().to_string()),
            ("@CERT@", certificate.cert.display().to_string()),
            ("@KEY@", certificate.key.display().to_string()),
            ("@BOTH@", certificate.both.display().to_string()),
            ("@ADDR@", addr.to_string()),
            ("@PORT@", addr.port().to_string()),
            ("@GATEWAY@", gateway.to_string()),
            ("@GATEWAY_PORT@", gateway.port().to_string()),
            ("@FILES@", self.files.to_string()),
            // A session takes two files, and a proxy needs some for itself.
            (
                "@SESSIONS@",
                (self.files.saturating_sub(100) / 2).to_string(),
            ),
        ];
        let mut config = self.kind.template.to_owned();
        for (name, value) in names {
            config = config.replace(name, &value);
        }
        fs::write(folder.join(self.kind.file), config)?;
        let mut command = self.program.command();
        // For Caddy: one thread, and its files in this folder.
        command.args(self.kind.args).env("GOMAXPROCS", "1");
        for variable in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
            command.env(variable, &folder);
        }
        let mut process = Running::start(self.kind.program, &command, &folder, stage.core)?;
        process.wait_until_it_listens(addr)?;
        Ok((process, stage.secured(addr)?))
    }
}
