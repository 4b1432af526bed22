//! The records file: JSON lines, rotated by size.
//!
//! Other programs move, delete and replace the file while we write to it. So after each write we check
//! whether the file still has a name; records written to a file without one are written again, to a
//! file that has. And twice a second, or on request, the open file is compared with the one at the path.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::batch::Batch;
use super::{Consumer, Flushed, Unwritten, jsonl};
use crate::config::records_file;
use crate::session::SessionRecord;

/// Interval of that comparison: after the file was moved, the next records are at the path within a
/// second.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How many times a batch is written again because the file was deleted meanwhile.
const ATTEMPTS: usize = 3;

/// Writes JSON lines to a file, all waiting records at once. At a size limit it is renamed to
/// `FILE.1`, the one before to `FILE.2`, and so on.
#[derive(Debug)]
pub(crate) struct RotatingFile {
    path: PathBuf,
    rotate_bytes: u64,
    keep: u32,
    /// Permissions of new files.
    mode: u32,
    /// `None` after a failure: opened again for the next record, or at the next check.
    open: Option<Open>,
    batch: Batch,
}

#[derive(Debug)]
struct Open {
    file: File,
    id: Id,
    size: u64,
    /// Size at which the file is rotated; higher after a rotation that failed.
    rotate_at: u64,
}

/// Device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Id(u64, u64);

impl Id {
    fn of(metadata: &Metadata) -> Self {
        Self(metadata.dev(), metadata.ino())
    }
}

impl Open {
    /// Whether the path leads to this file.
    fn is_at(&self, path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|found| Id::of(&found) == self.id)
    }

    /// Whether the file was deleted, so that writes to it are lost. Some file systems keep no link
    /// count, so the path is checked as well.
    fn is_deleted(&self, path: &Path) -> bool {
        let unlinked = self.file.metadata().is_ok_and(|found| found.nlink() == 0);
        unlinked && !self.is_at(path)
    }

    /// Truncates the last bytes of a failed write.
    fn cut(&mut self, torn: usize) {
        // Use the current size: other programs may have appended to the file or truncated it.
        if torn > 0
            && let Ok(metadata) = self.file.metadata()
        {
            let whole = metadata.len().saturating_sub(torn as u64);
            if let Err(error) = self.file.set_len(whole) {
                tracing::debug!(%error, "failed to cut off a record that was written in part");
            }
        }
    }
}

impl RotatingFile {
    /// Opens (and creates) the file, so that a wrong path is found at start. `keep` is how many
    /// old files stay.
    pub(crate) fn open(path: &Path, rotate_bytes: u64, keep: u32, mode: u32) -> io::Result<Self> {
        let mut file = Self {
            path: path.to_owned(),
            rotate_bytes,
            keep,
            mode,
            open: None,
            batch: Batch::default(),
        };
        file.ensure_open()?;
        Ok(file)
    }

    fn ensure_open(&mut self) -> io::Result<&mut Open> {
        let open = if let Some(open) = self.open.take() {
            open
        } else {
            let mut file = open_regular(&self.path, self.mode)?;
            let metadata = file.metadata()?;
            let mut size = metadata.len();
            if size > 0 && is_torn(&self.path) {
                file.write_all(b"\n")?;
                size += 1;
            }
            Open {
                file,
                id: Id::of(&metadata),
                size,
                rotate_at: self.rotate_bytes,
            }
        };
        Ok(self.open.insert(open))
    }

    /// Renames the file so that the next record opens a new one.
    fn rotate(&mut self) -> io::Result<()> {
        let numbered = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        if self.keep == 0 {
            fs::remove_file(&self.path)?;
        } else {
            for number in (1..self.keep).rev() {
                match fs::rename(numbered(number), numbered(number + 1)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            fs::rename(&self.path, numbered(1))?;
        }
        self.open = None;
        Ok(())
    }

    /// Whether the next record would exceed the size limit.
    fn is_full(&self) -> bool {
        let first = self.batch.first();
        let open = self.open.as_ref();
        open.is_some_and(|open| open.size > 0 && open.size + first > open.rotate_at)
    }

    /// Writes as many records of the batch as the file takes. Records that went into a deleted file
    /// stay in the batch; the function then returns `false`.
    fn write_some(&mut self) -> io::Result<bool> {
        self.ensure_open()?;
        // Rotation renames the file at the path, so make sure that it is ours.
        if self.is_full() && self.reopen_if_moved()? {
            self.ensure_open()?;
        }
        if self.is_full()
            && let Err(error) = self.rotate()
        {
            // Records matter more than the size limit: the file grows, and rotation is retried
            // later.
            tracing::warn!(path = %self.path.display(), %error, "failed to rotate the records file");
            let later = self.rotate_bytes;
            let open = self.ensure_open()?;
            open.rotate_at = open.size.saturating_add(later);
        }
        self.ensure_open()?;
        let Some(open) = &mut self.open else {
            return Ok(false);
        };
        let limit = open.rotate_at.saturating_sub(open.size);
        let written = self.batch.write_some(&mut open.file, limit);
        open.cut(written.torn);
        if open.is_deleted(&self.path) {
            tracing::debug!(path = %self.path.display(), "the records file was deleted");
            self.open = None;
            return Ok(false);
        }
        open.size += written.bytes as u64;
        self.batch.remove(&written);
        match written.error {
            Some(error) => Err(error),
            None => Ok(true),
        }
    }

    fn write_batch(&mut self) -> io::Result<()> {
        let mut attempts = 0;
        while !self.batch.is_empty() {
            if !self.write_some()? {
                attempts += 1;
            }
            if attempts == ATTEMPTS {
                return Err(io::Error::other("the file is deleted again and again"));
            }
        }
        Ok(())
    }

    /// Reopens the path if it leads to another file or to none; returns whether it did.
    fn reopen_if_moved(&mut self) -> io::Result<bool> {
        let moved = self
            .open
            .as_ref()
            .is_some_and(|open| !open.is_at(&self.path));
        if moved {
            self.open = None;
            self.ensure_open()?;
            tracing::info!(
                path = %self.path.display(),
                "the records file was moved, deleted or replaced; opened it again"
            );
        }
        Ok(moved)
    }
}

impl Consumer for RotatingFile {
    fn consume(&mut self, record: &SessionRecord) -> io::Result<()> {
        self.batch.add(|text| jsonl::line(text, record))
    }

    fn has_much(&self) -> bool {
        self.batch.has_much()
    }

    fn flush(&mut self) -> Result<Flushed, Unwritten> {
        match self.write_batch() {
            Ok(()) => Ok(Flushed::All),
            Err(error) => {
                self.open = None;
                Err(self.batch.lost(error))
            }
        }
    }

    fn looks_every(&self) -> Option<Duration> {
        Some(LOOK_EVERY)
    }

    fn look(&mut self) -> io::Result<()> {
        self.reopen_if_moved()?;
        let open = self.ensure_open()?;
        // Another program may have truncated it.
        open.size = open.file.metadata()?.len();
        Ok(())
    }
}

/// Whether the last line is incomplete because its writer was killed. The next record then begins
/// on a new line.
fn is_torn(path: &Path) -> bool {
    let last = || {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_NONBLOCK);
        let mut file = options.open(path)?;
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        io::Result::Ok(last)
    };
    last().is_ok_and(|last| last != *b"\n")
}

/// Makes the file, or that which a link at this path leads to; `None` if there is one. Only a file that we have made gets
/// permissions: somebody may have put a link to another file here.
fn create(path: &Path, options: &OpenOptions) -> io::Result<Option<File>> {
    let target = fs::read_link(path).ok();
    let folder = path.parent().unwrap_or(Path::new(""));
    let target = target.map(|target| folder.join(target));
    for path in [Some(path), target.as_deref()].into_iter().flatten() {
        match options.clone().create_new(true).open(path) {
            Ok(file) => return Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Gives a new file the permissions that the umask took away. Some file systems have none to give.
fn widen(file: &File, mode: u32) {
    let result = file.metadata().and_then(|metadata| {
        if metadata.permissions().mode() & 0o777 == mode {
            return Ok(());
        }
        file.set_permissions(Permissions::from_mode(mode))
    });
    if let Err(error) = result {
        tracing::warn!(%error, "failed to set the permissions of the records file");
    }
}

/// Only a regular file is opened. A FIFO would block us or its reader, and a device can do
/// anything. A link to a regular file is followed, because people put logs on other disks that way.
fn open_regular(path: &Path, mode: u32) -> io::Result<File> {
    let refused = |found: String| io::Error::new(io::ErrorKind::InvalidInput, found);
    if let Some(objection) = records_file::objection(path) {
        return Err(refused(objection));
    }
    let mut options = OpenOptions::new();
    options.append(true).mode(mode);
    // It may have been replaced since the check: opening a FIFO must not wait for its reader, and a
    // terminal must not become our controlling terminal.
    options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = match create(path, &options)? {
        Some(file) => {
            widen(&file, mode);
            file
        }
        None => options.create(true).open(path)?,
    };
    match records_file::odd_kind(file.metadata()?.file_type()) {
        Some(kind) => Err(refused(format!("expected a regular file, found {kind}"))),
        None => Ok(file),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_files_get_the_mode() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |name: &str| {
            let metadata = fs::metadata(folder.path().join(name)).unwrap();
            metadata.permissions().mode() & 0o777
        };
        let path = folder.path().join("r.jsonl");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o604)).unwrap();
        // A link to a file that is not there yet.
        let link = folder.path().join("link.jsonl");
        std::os::unix::fs::symlink("elsewhere.jsonl", &link).unwrap();
        drop(RotatingFile::open(&link, 1 << 20, 1, 0o640).unwrap());
        assert_eq!(mode("elsewhere.jsonl"), 0o640);
        // Each record is larger than the limit, so the next one opens a new file.
        let mut file = RotatingFile::open(&path, 10, 1, 0o640).unwrap();
        for _ in 0..2 {
            file.consume(&SessionRecord::default()).unwrap();
            file.flush().unwrap();
        }
        assert_eq!((mode("r.jsonl"), mode("r.jsonl.1")), (0o640, 0o604));
    }

    #[test]
    fn rotation_keeps_so_many_files_and_loses_no_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.jsonl");
        let line = serde_json::to_vec(&SessionRecord::default()).unwrap().len() as u64 + 1;
        let mut file = RotatingFile::open(&path, line * 2, 2, 0o600).unwrap();
        for _ in 0..6 {
            file.consume(&SessionRecord::default()).unwrap();
        }
        assert!(!file.has_much());
        file.flush().unwrap();
        let lines = |name: &str| {
            fs::read_to_string(folder.path().join(name))
                .map(|text| text.lines().count())
                .ok()
        };
        assert_eq!(lines("r.jsonl"), Some(2));
        assert_eq!((lines("r.jsonl.1"), lines("r.jsonl.2")), (Some(2), Some(2)));
        assert_eq!(lines("r.jsonl.3"), None);
    }

    #[test]
    fn what_is_flushed_one_by_one_is_rotated_alike() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.jsonl");
        let line = serde_json::to_vec(&SessionRecord::default()).unwrap().len() as u64 + 1;
        let mut file = RotatingFile::open(&path, line * 2, 2, 0o600).unwrap();
        for waiting in [1, 2, 3] {
            for _ in 0..waiting {
                file.consume(&SessionRecord::default()).unwrap();
            }
            file.flush().unwrap();
        }
        for name in ["r.jsonl", "r.jsonl.1", "r.jsonl.2"] {
            let text = fs::read_to_string(folder.path().join(name)).unwrap();
            assert_eq!(text.lines().count(), 2, "{name}");
            assert!(text.ends_with('\n'));
        }
    }

    #[test]
    fn an_existing_file_is_added_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.jsonl");
        fs::write(&path, "{}\n").unwrap();
        let mut file = RotatingFile::open(&path, 1 << 20, 2, 0o600).unwrap();
        file.consume(&SessionRecord::default()).unwrap();
        file.flush().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
    }

    #[test]
    fn a_line_that_was_torn_does_not_spoil_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.jsonl");
        fs::write(&path, "{}\n{\"schema\":\"wst").unwrap();
        let mut file = RotatingFile::open(&path, 1 << 20, 2, 0o600).unwrap();
        file.consume(&SessionRecord::default()).unwrap();
        file.flush().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        serde_json::from_str::<SessionRecord>(lines[2]).unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error_and_the_next_record_tries_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.jsonl");
        let mut file = RotatingFile::open(&path, u64::MAX, 1, 0o600).unwrap();
        file.open.as_mut().unwrap().file =
            OpenOptions::new().write(true).open("/dev/full").unwrap();
        for _ in 0..3 {
            file.consume(&SessionRecord::default()).unwrap();
        }
        assert_eq!(file.flush().unwrap_err().records, 3);
        file.consume(&SessionRecord::default()).unwrap();
        file.flush().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
    }

    #[test]
    fn a_rotation_that_fails_loses_no_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.jsonl");
        fs::create_dir(folder.path().join("r.jsonl.1")).unwrap();
        fs::write(folder.path().join("r.jsonl.1/in-the-way"), "").unwrap();
        let mut file = RotatingFile::open(&path, 10, 1, 0o600).unwrap();
        for _ in 0..5 {
            file.consume(&SessionRecord::default()).unwrap();
        }
        file.flush().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 5);
    }

    fn file() -> (tempfile::TempDir, PathBuf, RotatingFile) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.jsonl");
        let file = RotatingFile::open(&path, 1 << 20, 2, 0o600).unwrap();
        (folder, path, file)
    }

    fn write(file: &mut RotatingFile) {
        file.consume(&SessionRecord::default()).unwrap();
        file.flush().unwrap();
    }

    fn lines(path: &Path) -> usize {
        fs::read_to_string(path).unwrap().lines().count()
    }

    #[test]
    fn no_record_goes_into_a_file_that_was_deleted() {
        let (_folder, path, mut file) = file();
        for _ in 0..3 {
            fs::remove_file(&path).unwrap();
            write(&mut file);
            assert_eq!(lines(&path), 1);
        }
    }

    #[test]
    fn a_file_that_was_renamed_is_left_at_the_next_look() {
        let (folder, path, mut file) = file();
        write(&mut file);
        let away = folder.path().join("away");
        fs::rename(&path, &away).unwrap();
        write(&mut file);
        file.look().unwrap();
        assert!(path.exists(), "without waiting for a record");
        write(&mut file);
        assert_eq!((lines(&away), lines(&path)), (2, 1));
    }

    #[test]
    fn a_folder_that_is_gone_for_a_while_costs_the_records_of_that_time() {
        let outer = tempfile::tempdir().unwrap();
        let (folder, away) = (outer.path().join("logs"), outer.path().join("away"));
        fs::create_dir(&folder).unwrap();
        let path = folder.join("r.jsonl");
        let mut file = RotatingFile::open(&path, 1 << 20, 2, 0o600).unwrap();
        write(&mut file);
        fs::remove_dir_all(&folder).unwrap();
        file.consume(&SessionRecord::default()).unwrap();
        assert_eq!(file.flush().unwrap_err().records, 1);
        file.look().unwrap_err();
        fs::create_dir(&folder).unwrap();
        file.look().unwrap();
        write(&mut file);
        assert_eq!(lines(&path), 1);
        // Replaced by another file while this one stays open elsewhere.
        fs::rename(&folder, &away).unwrap();
        fs::create_dir(&folder).unwrap();
        file.look().unwrap();
        write(&mut file);
        assert_eq!((lines(&path), lines(&away.join("r.jsonl"))), (1, 1));
    }

    #[test]
    fn a_rotation_moves_what_the_path_leads_to() {
        let (folder, path, mut file) = file();
        file.rotate_bytes = 10;
        write(&mut file);
        file.open.as_mut().unwrap().rotate_at = 10;
        fs::rename(&path, folder.path().join("away")).unwrap();
        write(&mut file);
        assert!(!folder.path().join("r.jsonl.1").exists());
        assert_eq!((lines(&folder.path().join("away")), lines(&path)), (1, 1));
    }

    #[test]
    fn a_file_that_somebody_cut_is_not_rotated_by_its_old_size() {
        let (_folder, path, mut file) = file();
        write(&mut file);
        fs::write(&path, "").unwrap();
        file.look().unwrap();
        assert_eq!(file.open.as_ref().unwrap().size, 0);
        write(&mut file);
        assert_eq!(lines(&path), 1);
    }

    #[test]
    fn what_is_no_regular_file_is_refused_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
        let error = RotatingFile::open(&path, 1 << 20, 2, 0o600).unwrap_err();
        assert!(error.to_string().contains("a FIFO"), "{error}");
        let reader = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&path);
        let error = RotatingFile::open(&path, 1 << 20, 2, 0o600).unwrap_err();
        assert!(error.to_string().contains("a FIFO"), "{error}");
        drop(reader);
        // A file that is replaced by a FIFO while the tap runs.
        let (_folder, path, mut file) = file();
        fs::remove_file(&path).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
        file.look().unwrap_err();
        file.consume(&SessionRecord::default()).unwrap();
        assert_eq!(file.flush().unwrap_err().records, 1);
    }
}
