//! Plays the role that this executable was started for.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, exit};

use rustix::process::{Signal, set_parent_process_death_signal};

use super::role::MARK;
use super::{Fallible, gateway, process};

/// Plays the role that this process was started for and exits; returns if there is no role.
///
/// The bench's `own` roles are tried first: it gets name and arguments, and returns `None` for an
/// unknown role.
pub fn play_if_asked(own: impl FnOnce(&str, &[OsString]) -> Option<Fallible<()>>) {
    let args: Vec<OsString> = env::args_os().skip(1).collect();
    let [mark, name, rest @ ..] = args.as_slice() else {
        return;
    };
    if mark != MARK {
        return;
    }
    let name = name.to_string_lossy();
    let done = own(&name, rest).unwrap_or_else(|| play(&name, rest));
    if let Err(error) = done {
        drop(writeln!(std::io::stderr(), "{name}: {error}"));
        exit(1);
    }
    exit(0);
}

fn play(name: &str, args: &[OsString]) -> Fallible<()> {
    match (name, args) {
        ("gateway", [folder, ip]) => {
            let ip = ip.to_str().ok_or("the address is no text")?.parse()?;
            gateway::play(Path::new(folder), ip)
        }
        ("launch", [core, program, args @ ..]) => {
            let core = core.to_str().ok_or("the core is no number")?.parse()?;
            launch(core, program, args)
        }
        _ => Err(format!("no role takes {} arguments", args.len()).into()),
    }
}

/// Runs a program on a core, with the limit of open files raised to the hard limit; it ends with
/// the process that started it.
fn launch(core: usize, program: &OsStr, args: &[OsString]) -> Fallible<()> {
    set_parent_process_death_signal(Some(Signal::TERM))?;
    process::pin_self(core)?;
    process::raise_files()?;
    Err(Command::new(program).args(args).exec().into())
}
