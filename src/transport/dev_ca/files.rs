//! Files that appear whole or not at all, and a lock that ends with its process.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use super::error::DevCaError;

/// Maximum size of a file that is read; certificate and key files are far smaller.
const MAX_FILE: u64 = 256 * 1024;
const LOCK_STEP: Duration = Duration::from_millis(20);
const LOCK_SECONDS: u64 = 10;

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DevCaError {
    let path = path.to_owned();
    move |cause| DevCaError::Io {
        action,
        path,
        cause,
    }
}

/// Creates the folder and its parents where they are missing.
pub(super) fn create_folder(path: &Path) -> Result<(), DevCaError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .map_err(failed("create", path))
}

/// The content of a file; `None` if there is no file. It may be a key, so it is wiped after use.
pub(super) fn read_if_present(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, DevCaError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", path)(error)),
    };
    let mut content = Zeroizing::new(Vec::with_capacity(8 * 1024));
    file.take(MAX_FILE)
        .read_to_end(&mut content)
        .map_err(failed("read", path))?;
    Ok(Some(content))
}

/// Replaces a file in one step. The caller must hold the lock.
pub(super) fn write_atomically(path: &Path, content: &[u8], mode: u32) -> Result<(), DevCaError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    // Left by a process that was killed half-way: under the lock no other process can be using it.
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed("write", &temporary)(error));
        }
        _ => {}
    }
    let write = || -> io::Result<()> {
        // The mode is set at creation, so that a key is never readable by others.
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary)?;
        // A strict umask would hide the certificate from the clients that need it.
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(content)?;
        file.sync_all()
    };
    let result = write()
        .map_err(failed("write", &temporary))
        .and_then(|()| std::fs::rename(&temporary, path).map_err(failed("write", path)));
    if result.is_err() {
        // The first error is the one to report.
        let _ = std::fs::remove_file(&temporary);
        return result;
    }
    sync_folder(path);
    Ok(())
}

/// Makes the rename durable. Some file systems cannot sync folders; the file is complete either
/// way.
fn sync_folder(path: &Path) {
    if let Some(folder) = path.parent()
        && let Ok(folder) = File::open(folder)
    {
        let _ = folder.sync_all();
    }
}

/// Held while files are made; the system releases it with the process, however the process ends.
pub(super) struct Lock(#[expect(dead_code, reason = "holds the lock until dropped")] File);

impl Lock {
    pub(super) fn acquire(path: &Path) -> Result<Self, DevCaError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(path)
            .map_err(failed("lock", path))?;
        let deadline = std::time::Instant::now() + Duration::from_secs(LOCK_SECONDS);
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::WouldBlock) if std::time::Instant::now() < deadline => {
                    std::thread::sleep(LOCK_STEP);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(DevCaError::Busy {
                        path: path.to_owned(),
                        seconds: LOCK_SECONDS,
                    });
                }
                Err(TryLockError::Error(error)) => return Err(failed("lock", path)(error)),
            }
        }
    }
}
