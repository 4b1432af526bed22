//! Programs of the system's packages, and one of them at work: they are on the `PATH`, where Debian puts them, or where
//! `scripts/fetch-packages.sh` does.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

pub use super::program::{folder, free_port};
use super::records::tail;
pub use super::versions::Program;

/// A program at work in a folder of its own. Killed when dropped.
pub struct Running {
    child: Child,
    folder: TempDir,
}

impl Running {
    pub fn start(mut command: Command, folder: TempDir) -> Self {
        let stderr = File::create(folder.path().join("stderr")).expect("create a file");
        let child = command
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn();
        let child = child.unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        Self { child, folder }
    }

    pub fn has_ended(&mut self) -> bool {
        let status = self.child.try_wait();
        status.expect("wait for the program").is_some()
    }

    /// The end of what it has complained of.
    pub fn stderr(&self) -> String {
        let text = fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default();
        tail(&text, 1500).to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
