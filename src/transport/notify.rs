//! Notifies the service manager of our state (`NOTIFY_SOCKET`, `sd_notify(3)`). Without a service
//! manager it does nothing. No traffic depends on it: a message that cannot be sent is only logged.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState;

const SOCKET: &str = "NOTIFY_SOCKET";

/// Notifies that all listeners are bound and served, or that a reload is over. The status is a
/// short line for people.
pub(crate) fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Notifies that a reload begins; [`ready`] must follow.
pub(crate) fn reloading() {
    // Without the timestamp systemd 253 would treat the reload as failed.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "failed to read the clock for the service manager"),
    }
}

/// Notifies that the drain begins.
pub(crate) fn stopping(status: &str) {
    send(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// Interval at which to call [`alive`], if the service manager watches us: half of its time limit.
#[must_use]
pub(crate) fn watchdog() -> Option<Duration> {
    env::var_os(SOCKET)?;
    let limit = sd_notify::watchdog_enabled()?;
    (limit > Duration::from_millis(1)).then(|| limit / 2)
}

/// Notifies the watchdog.
pub(crate) fn alive() {
    send(&[NotifyState::Watchdog]);
}

fn send(states: &[NotifyState<'_>]) {
    let Some(name) = env::var_os(SOCKET) else {
        return;
    };
    let lines: Vec<String> = states.iter().map(ToString::to_string).collect();
    if let Err(error) = send_to(&name, lines.join("\n").as_bytes()) {
        tracing::warn!(%error, "failed to notify the service manager");
    }
}

/// The crate's own `notify` does not know abstract sockets, which containers use.
fn send_to(name: &OsStr, message: &[u8]) -> io::Result<()> {
    let addr = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read must not block us.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(message, &addr)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_with_a_path_and_abstract_ones_are_reached() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        send_to(path.as_os_str(), b"READY=1").unwrap();
        let mut room = [0; 64];
        let count = by_path.recv(&mut room).unwrap();
        assert_eq!(&room[..count], b"READY=1");

        let name = format!("wstap-test-{}", std::process::id());
        let addr = SocketAddr::from_abstract_name(&name).unwrap();
        let abstract_one = UnixDatagram::bind_addr(&addr).unwrap();
        send_to(OsStr::new(&format!("@{name}")), b"STOPPING=1").unwrap();
        let count = abstract_one.recv(&mut room).unwrap();
        assert_eq!(&room[..count], b"STOPPING=1");
    }

    #[test]
    fn a_manager_that_is_gone_is_an_error_and_nothing_more() {
        assert!(send_to(OsStr::new("/nonexistent/notify"), b"READY=1").is_err());
    }
}
