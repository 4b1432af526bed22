//! Counts instructions with valgrind's callgrind, which is asked for its count while the program
//! runs.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::program::{self, Program};
use super::support::Fallible;

pub const MISSING: &str = "no valgrind (make fetch, or install valgrind)";

/// The command words that start an existing program.
fn words(program: &Program) -> Vec<OsString> {
    let command = program.command();
    let mut words = vec!["env".into()];
    for (name, value) in command.get_envs() {
        let mut word = name.to_owned();
        word.push("=");
        word.push(value.unwrap_or_default());
        words.push(word);
    }
    // If it was unpacked and not installed, it needs the path to its parts.
    let parts = program::folder().join("usr/libexec/valgrind");
    if Path::new(command.get_program()).starts_with(program::folder()) && parts.is_dir() {
        let mut word = OsString::from("VALGRIND_LIB=");
        word.push(parts);
        words.push(word);
    }
    words.push(command.get_program().to_owned());
    words
}

/// A program's command words, for [`super::support::tap::Setup::under`]; `None` if it is not found.
pub fn find(name: &str) -> Option<Vec<OsString>> {
    Program::find(name).map(|program| words(&program))
}

/// One program under callgrind.
pub struct Callgrind {
    valgrind: Vec<OsString>,
    vgdb: Vec<OsString>,
    out: PathBuf,
    pipes: PathBuf,
    dumps: usize,
}

impl Callgrind {
    /// Writes its files to the folder under this name. `None` without valgrind.
    pub fn new(folder: &Path, name: &str) -> Option<Self> {
        Some(Self {
            // An unpacked `valgrind` is a script that looks for `valgrind.bin` where Debian
            // installs it.
            valgrind: find("valgrind.bin").or_else(|| find("valgrind"))?,
            vgdb: find("vgdb")?,
            out: folder.join(format!("{name}.callgrind")),
            pipes: folder.join(format!("{name}.vgdb")),
            dumps: 0,
        })
    }

    /// The command words to put before those of the program.
    pub fn words(&self, more: &[&str]) -> Vec<OsString> {
        let mut words = self.valgrind.clone();
        let with = |option: &str, path: &Path| {
            let mut word = OsString::from(option);
            word.push(path);
            word
        };
        words.push("--tool=callgrind".into());
        // Write names out where they are used.
        words.push("--compress-strings=no".into());
        words.push(with("--callgrind-out-file=", &self.out));
        words.push(with("--vgdb-prefix=", &self.pipes));
        words.extend(more.iter().map(Into::into));
        words
    }

    /// The counts of this process since the last call, or since its start.
    pub fn count(&mut self, process: u32) -> Fallible<Dump> {
        let mut words = self.vgdb.iter();
        let program = words.next().ok_or("vgdb has no words")?;
        let mut prefix = OsString::from("--vgdb-prefix=");
        prefix.push(&self.pipes);
        let output = std::process::Command::new(program)
            .args(words)
            .arg(format!("--pid={process}"))
            .arg(prefix)
            .args(["--wait=20", "dump", "gate"])
            .output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("vgdb could not ask for a count: {said}").into());
        }
        self.dumps += 1;
        self.dumped(self.dumps)
    }

    /// The dump with this number, counted from 1.
    pub fn dumped(&self, number: usize) -> Fallible<Dump> {
        let mut path = self.out.clone().into_os_string();
        path.push(format!(".{number}"));
        let text = fs::read_to_string(&path)
            .map_err(|error| format!("no dump {}: {error}", Path::new(&path).display()))?;
        Ok(Dump(text))
    }
}

/// The counts of a program between two marks.
pub struct Dump(String);

impl Dump {
    pub fn instructions(&self) -> Fallible<u64> {
        let mut lines = self.0.lines();
        let line = lines.find_map(|line| line.strip_prefix("totals: "));
        let total = line.ok_or("a dump without a total")?;
        Ok(total.trim().parse()?)
    }

    /// How often functions matched by `by` called functions matched by `of`.
    pub fn calls(&self, by: impl Fn(&str) -> bool, of: impl Fn(&str) -> bool) -> Fallible<u64> {
        let mut calls = 0;
        let (mut from, mut wanted) = (false, false);
        for line in self.0.lines() {
            if let Some(name) = line.strip_prefix("fn=") {
                from = by(name);
            } else if let Some(name) = line.strip_prefix("cfn=") {
                wanted = of(name);
            } else if let Some(count) = line.strip_prefix("calls=")
                && from
                && wanted
            {
                let count = count.split(' ').next().unwrap_or_default();
                calls += count.parse::<u64>()?;
            }
        }
        Ok(calls)
    }
}
