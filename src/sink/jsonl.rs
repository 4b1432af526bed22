//! Records as JSON lines, in a file with rotation by size or on any writer.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::Consumer;
use crate::session::SessionRecord;

/// Writes JSON lines to a writer.
#[derive(Debug)]
pub struct JsonLines<W>(pub W);

impl<W: Write + Send + 'static> Consumer for JsonLines<W> {
    fn consume(&mut self, record: &SessionRecord) -> io::Result<()> {
        let line = line(record)?;
        self.0.write_all(&line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Room for most records.
const USUAL: usize = 8 * 1024;

/// Lines are not kept for longer than to this size.
const MUCH: usize = 64 * 1024;

/// A record as one line.
fn line(record: &SessionRecord) -> io::Result<Vec<u8>> {
    let mut line = Vec::with_capacity(USUAL);
    add_line(&mut line, record)?;
    Ok(line)
}

/// Adds a record as one line, or nothing.
fn add_line(lines: &mut Vec<u8>, record: &SessionRecord) -> io::Result<()> {
    let before = lines.len();
    if let Err(error) = serde_json::to_writer(&mut *lines, record) {
        lines.truncate(before);
        return Err(error.into());
    }
    lines.push(b'\n');
    Ok(())
}

/// Writes JSON lines to a file, all that wait at once; at a size it becomes `FILE.1`, the last one
/// `FILE.2`, and so on.
#[derive(Debug)]
pub struct RotatingFile {
    path: PathBuf,
    rotate_bytes: u64,
    keep: u32,
    /// `None` after a failure: opened anew for the next record.
    open: Option<Open>,
    /// What is to be written.
    lines: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
}

#[derive(Debug)]
struct Open {
    file: File,
    size: u64,
    /// The size at which it is rotated; further away after a rotation that failed.
    rotate_at: u64,
}

impl RotatingFile {
    /// Opens (and creates) the file, so that a wrong path is found at start. `keep` is how many
    /// old files stay.
    pub fn open(path: &Path, rotate_bytes: u64, keep: u32) -> io::Result<Self> {
        let mut file = Self {
            path: path.to_owned(),
            rotate_bytes,
            keep,
            open: None,
            lines: Vec::new(),
            ends: Vec::new(),
        };
        file.ensure_open()?;
        Ok(file)
    }

    fn ensure_open(&mut self) -> io::Result<&mut Open> {
        let open = if let Some(open) = self.open.take() {
            open
        } else {
            let mut file = open_private(&self.path)?;
            let mut size = file.metadata()?.len();
            if size > 0 && is_torn(&self.path) {
                file.write_all(b"\n")?;
                size += 1;
            }
            Open {
                file,
                size,
                rotate_at: self.rotate_bytes,
            }
        };
        Ok(self.open.insert(open))
    }

    /// Moves the file away so that the next record opens a new one.
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

    /// Writes these lines, of which the file takes so many as fit; how many bytes they were.
    fn write_some(&mut self, lines: &[u8], ends: &[usize]) -> io::Result<usize> {
        let first = ends.first().map_or(lines.len(), |end| *end) as u64;
        let open = self.ensure_open()?;
        if open.size > 0
            && open.size + first > open.rotate_at
            && let Err(error) = self.rotate()
        {
            // Records matter more than the size of the file: it grows, and is tried again later.
            tracing::warn!(path = %self.path.display(), %error, "failed to rotate the records file");
            let later = self.rotate_bytes;
            let open = self.ensure_open()?;
            open.rotate_at = open.size.saturating_add(later);
        }
        let open = self.ensure_open()?;
        let fits = |end: &usize| open.size + *end as u64 <= open.rotate_at;
        // One line fits in any case.
        let count = ends.iter().skip(1).take_while(|end| fits(end)).count() + 1;
        let end = ends.get(count - 1).map_or(lines.len(), |end| *end);
        let some = lines.get(..end).unwrap_or(lines);
        if let Err(error) = open.file.write_all(some) {
            // No torn line before the next record, where the file can be cut.
            let _ = open.file.set_len(open.size);
            self.open = None;
            return Err(error);
        }
        open.size += some.len() as u64;
        Ok(some.len())
    }
}

impl Consumer for RotatingFile {
    fn consume(&mut self, record: &SessionRecord) -> io::Result<()> {
        add_line(&mut self.lines, record)?;
        self.ends.push(self.lines.len());
        Ok(())
    }

    fn has_much(&self) -> bool {
        self.lines.len() >= MUCH
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut lines = std::mem::take(&mut self.lines);
        let mut ends = std::mem::take(&mut self.ends);
        let mut written = Ok(());
        let mut rest = lines.as_slice();
        while !rest.is_empty() && written.is_ok() {
            written = self.write_some(rest, &ends).map(|count| {
                rest = rest.get(count..).unwrap_or_default();
                ends.retain(|end| *end > count);
                for end in &mut ends {
                    *end -= count;
                }
            });
        }
        lines.clear();
        ends.clear();
        (self.lines, self.ends) = (lines, ends);
        written
    }
}

/// Whether the last line is not whole: whoever wrote it was killed meanwhile. The next record is not
/// to be spoiled by it.
fn is_torn(path: &Path) -> bool {
    let last = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        io::Result::Ok(last)
    };
    last().is_ok_and(|last| last != *b"\n")
}

/// Records hold no secrets, but addresses and paths are not everybody's business: 0600.
fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotation_keeps_so_many_files_and_loses_no_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.jsonl");
        let line = serde_json::to_vec(&SessionRecord::default()).unwrap().len() as u64 + 1;
        let mut file = RotatingFile::open(&path, line * 2, 2).unwrap();
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
        let mut file = RotatingFile::open(&path, line * 2, 2).unwrap();
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
        let mut file = RotatingFile::open(&path, 1 << 20, 2).unwrap();
        file.consume(&SessionRecord::default()).unwrap();
        file.flush().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
    }

    #[test]
    fn a_line_that_was_torn_does_not_spoil_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.jsonl");
        fs::write(&path, "{}\n{\"schema\":\"wst").unwrap();
        let mut file = RotatingFile::open(&path, 1 << 20, 2).unwrap();
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
        let mut file = RotatingFile::open(Path::new("/dev/full"), u64::MAX, 1).unwrap();
        for _ in 0..2 {
            file.consume(&SessionRecord::default()).unwrap();
            assert!(file.flush().is_err());
        }
        file.flush().unwrap();
    }

    #[test]
    fn a_rotation_that_fails_loses_no_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.jsonl");
        fs::create_dir(folder.path().join("r.jsonl.1")).unwrap();
        fs::write(folder.path().join("r.jsonl.1/in-the-way"), "").unwrap();
        let mut file = RotatingFile::open(&path, 10, 1).unwrap();
        for _ in 0..5 {
            file.consume(&SessionRecord::default()).unwrap();
        }
        file.flush().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 5);
    }
}
