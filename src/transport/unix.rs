//! Listening unix sockets: their file, its permissions, and its removal.
//!
//! A file of the same name is removed only if it is a socket without a listener, left by an earlier
//! run. A regular file, or a socket that answers, is never touched.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream as Probe;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

use super::listener;

/// The file of a socket that we have made. Removed when dropped, if it is still the same one.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another program, or our successor, may have put its own file there.
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode));
        if ours && let Err(error) = fs::remove_file(&self.path) {
            let path = self.path.display();
            tracing::warn!(%path, %error, "failed to remove the socket's file");
        }
    }
}

/// Listens at `path`, with these permissions from the first moment on. The error is text for
/// people.
pub(crate) fn bind(path: &Path, mode: u32) -> Result<(UnixListener, SocketFile), String> {
    let failed = |what: &str, error: &io::Error| {
        format!("`unix:{}`: failed to {what}: {error}", path.display())
    };
    make_way(path)?;
    let listener = listen(path).map_err(|error| failed("listen", &error))?;
    let found = fs::symlink_metadata(path).map_err(|error| failed("stat it", &error))?;
    let file = SocketFile {
        path: path.to_owned(),
        device: found.dev(),
        inode: found.ino(),
    };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(|error| failed("set its permissions", &error))?;
    Ok((listener, file))
}

/// A listener whose file only our own user may open yet.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Linux creates the file with the mode of the socket, less the umask.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(listener::BACKLOG)?;
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket.into())
}

/// Removes a socket that an earlier run has left there, and nothing else.
fn make_way(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("`unix:{shown}`: failed to stat it: {error}")),
        Ok(found) => found,
    };
    if !found.file_type().is_socket() {
        return Err(format!(
            "`unix:{shown}`: the path exists and is not a socket; it is left alone"
        ));
    }
    match Probe::connect(path) {
        Ok(_) => Err(format!("`unix:{shown}`: another process listens there")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)
            .map_err(|error| format!("`unix:{shown}`: failed to remove the old socket: {error}")),
        Err(error) => Err(format!(
            "`unix:{shown}`: a socket is there, and it is unknown whether anything listens on it: {error}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn the_file_has_its_mode_and_goes_with_the_listener() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tap.sock");
        let bound = bind(&path, 0o660).unwrap();
        assert_eq!(mode(&path), 0o660);
        drop(bound);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_an_earlier_run_left_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tap.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "std leaves the file");
        let bound = bind(&path, 0o600).unwrap();
        assert_eq!(mode(&path), 0o600);
        drop(bound);
    }

    #[tokio::test]
    async fn nothing_else_is_touched() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("notes.txt");
        fs::write(&file, "keep me").unwrap();
        assert!(bind(&file, 0o660).unwrap_err().contains("not a socket"));
        assert_eq!(fs::read_to_string(&file).unwrap(), "keep me");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path().join("nowhere"), &link).unwrap();
        assert!(bind(&link, 0o660).unwrap_err().contains("not a socket"));
        let taken = folder.path().join("taken.sock");
        let other = std::os::unix::net::UnixListener::bind(&taken).unwrap();
        assert!(bind(&taken, 0o660).unwrap_err().contains("another process"));
        assert!(taken.exists());
        drop(other);
        let missing = folder.path().join("none/tap.sock");
        assert!(
            bind(&missing, 0o660)
                .unwrap_err()
                .contains("failed to listen")
        );
    }

    #[tokio::test]
    async fn a_successors_socket_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tap.sock");
        let ours = bind(&path, 0o660).unwrap();
        fs::remove_file(&path).unwrap();
        let theirs = std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop(ours);
        assert!(path.exists());
        drop(theirs);
    }
}
