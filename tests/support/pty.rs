//! A terminal without a person: the program believes that it has one, and a test reads what it shows.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// A terminal of this width: the program's end, and the end that the test reads.
pub fn open(columns: u16) -> (OwnedFd, File) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&ours).expect("grant it");
    unlockpt(&ours).expect("unlock it");
    let size = Winsize {
        ws_row: 50,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&ours, size).expect("set its size");
    let name = ptsname(&ours, Vec::new()).expect("its name");
    let theirs = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOCTTY)
        .open(OsStr::from_bytes(name.as_bytes()))
        .expect("open it");
    (theirs.into(), File::from(ours))
}

/// Everything that is shown until nobody has the terminal open any more.
pub fn read(mut ours: File) -> String {
    let (mut shown, mut buffer) = (Vec::new(), [0; 4096]);
    // The end is an error here, EIO.
    while let Ok(count) = ours.read(&mut buffer) {
        if count == 0 {
            break;
        }
        shown.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8(shown).expect("UTF-8").replace('\r', "")
}

/// The program: that of `WSTAP_PROGRAM`, else the one that was built with the tests. The latter has
/// more features of its libraries than what people build.
pub fn program() -> PathBuf {
    std::env::var_os("WSTAP_PROGRAM").map_or_else(
        || env!("CARGO_BIN_EXE_wstap").into(),
        |program| {
            let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
            root.join(program)
        },
    )
}

/// The program with nothing of the caller's settings.
pub fn wstap(args: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(args);
    for (name, _) in std::env::vars() {
        let ours = name.starts_with("WSTAP_") || name.starts_with("CLICOLOR");
        if ours || ["RUST_LOG", "NO_COLOR", "CI"].contains(&name.as_str()) {
            command.env_remove(name);
        }
    }
    command.env("TERM", "xterm-256color");
    command
}

/// Runs a command on a terminal, to its end: the exit code, and what was shown.
pub fn run(mut command: Command, columns: u16) -> (i32, String) {
    let (theirs, ours) = open(columns);
    let second = theirs.try_clone().expect("clone");
    command.stdin(Stdio::null()).stdout(theirs).stderr(second);
    let mut child = command.spawn().expect("start it");
    // It holds the terminal open otherwise.
    drop(command);
    let shown = thread::spawn(move || read(ours));
    let code = child.wait().expect("its end").code();
    (code.expect("an exit code"), shown.join().expect("read"))
}
