//! The other parts that this executable plays when it is started anew.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, exit};

use rustix::process::{Resource, Signal, getrlimit, set_parent_process_death_signal, setrlimit};

use super::{Fallible, gateway, process};

/// What follows this argument is a role.
const MARK: &str = "--role";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// [`gateway`], with the certificate's folder and its address.
    Gateway,
    /// Becomes another program: core, program, arguments.
    Launch,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Launch => "launch",
        }
    }
}

/// This executable in a role.
pub fn command<S: AsRef<OsStr>>(role: Role, args: impl IntoIterator<Item = S>) -> Command {
    custom(role.name(), args)
}

/// This executable in a role of the bench's own (see [`play_if_asked`]).
pub fn custom<S: AsRef<OsStr>>(role: &str, args: impl IntoIterator<Item = S>) -> Command {
    let this = env::current_exe().expect("the path of this executable");
    let mut command = Command::new(this);
    command.arg(MARK).arg(role).args(args);
    command
}

/// Plays the role that this process was started for and ends it; returns when there is none.
///
/// The bench's `own` roles are tried first: name and arguments, `None` for an unknown one.
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

/// On its core, with as many open files as are allowed, and ended when whoever started it ends.
fn launch(core: usize, program: &OsStr, args: &[OsString]) -> Fallible<()> {
    set_parent_process_death_signal(Some(Signal::TERM))?;
    process::pin_self(core)?;
    raise_files()?;
    Err(Command::new(program).args(args).exec().into())
}

/// Lets this process open as many files as the hard limit allows, and says how many.
pub fn raise_files() -> Fallible<usize> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    Ok(limit.maximum.map_or(usize::MAX, |most| {
        usize::try_from(most).unwrap_or(usize::MAX)
    }))
}
