//! The other roles of this executable when it is started again.

use std::env;
use std::ffi::OsStr;
use std::process::Command;

/// The argument before a role.
pub const MARK: &str = "--role";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// [`gateway`](super::gateway), with the certificate's folder and its address.
    Gateway,
    /// Becomes another program; takes core, program, arguments.
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

/// The command for this executable in a role.
pub fn command<S: AsRef<OsStr>>(role: Role, args: impl IntoIterator<Item = S>) -> Command {
    custom(role.name(), args)
}

/// The command for this executable in one of the bench's own roles (see
/// [`play_if_asked`](super::play::play_if_asked)).
pub fn custom<S: AsRef<OsStr>>(role: &str, args: impl IntoIterator<Item = S>) -> Command {
    let this = env::current_exe().expect("the path of this executable");
    let mut command = Command::new(this);
    command.arg(MARK).arg(role).args(args);
    command
}
