//! Where programs of the system's packages are: on the `PATH`, where Debian puts them, or where
//! `scripts/fetch-packages.sh` does. Tests and benches share this file.
#![allow(
    dead_code,
    clippy::expect_used,
    reason = "tests and benches share this file, and not all of them need all of it"
)]

use std::env;
use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program that is there.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    /// `LD_LIBRARY_PATH`, for one that was unpacked and not installed.
    libraries: Option<OsString>,
}

impl Program {
    /// `None` when it is nowhere.
    pub fn find(name: &str) -> Option<Self> {
        let fetched = folder();
        let path = env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
        let unpacked = ["usr/sbin", "usr/bin"].map(|folder| fetched.join(folder));
        folders.push("/usr/sbin".into());
        folders.extend(unpacked);
        let programs = folders.into_iter().map(|folder| folder.join(name));
        let path = programs.into_iter().find(|program| program.is_file())?;
        let libraries = path.starts_with(&fetched).then(|| libraries(&fetched));
        Some(Self { path, libraries })
    }

    /// Lets this command's children find it, wherever it is.
    pub fn on_path_of(&self, command: &mut Command) {
        let before = env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<PathBuf> = env::split_paths(&before).collect();
        folders.extend(self.path.parent().map(Path::to_owned));
        command.env(
            "PATH",
            env::join_paths(folders).expect("no colon in a folder's name"),
        );
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
    }

    /// A command that starts it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
    }
}

/// Where `scripts/fetch-packages.sh` unpacks them.
pub fn folder() -> PathBuf {
    match env::var_os("WSTAP_PACKAGES_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("target/packages"),
    }
}

/// Path of libfaketime, which shifts a program's wall clock: this machine's, or the fetched one.
pub fn faketime() -> Option<PathBuf> {
    let roots = [PathBuf::from("/"), folder()];
    let triples = roots
        .iter()
        .flat_map(|root| fs::read_dir(root.join("usr/lib")));
    let libraries = triples.flatten().flatten().map(|triple| {
        let library = triple.path().join("faketime/libfaketime.so.1");
        // An unpacked folder may be named relatively.
        std::path::absolute(library).expect("a path")
    });
    libraries.into_iter().find(|library| library.is_file())
}

/// `usr/lib/x86_64-linux-gnu` and the like, then what was set before.
fn libraries(fetched: &Path) -> OsString {
    let folders = fs::read_dir(fetched.join("usr/lib")).into_iter().flatten();
    let mut all: Vec<PathBuf> = folders.flatten().map(|folder| folder.path()).collect();
    let before = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    all.extend(env::split_paths(&before).filter(|folder| !folder.as_os_str().is_empty()));
    env::join_paths(all).expect("no colon in a folder's name")
}

/// A port of loopback where nobody listens, for a program that has to be told its port. Somebody may
/// take it before the program does.
pub fn free_port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    listener.local_addr().expect("its address")
}
