//! The device of an `OpenClaw` CLI that the probe can connect as: its key is read, and nothing is written.
//!
//! Since 2026.9 the key is in the database `state/openclaw.sqlite` of the CLI's state folder,
//! before that in `identity/device.json`. The signed payload has the third form, which 2026.3.7 and
//! later accept.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::Url;
use zeroize::Zeroizing;

const DATABASE: &str = "state/openclaw.sqlite";
const FILE: &str = "identity/device.json";

/// Limits for reading a database: time in all, and bytes of one value.
const READ: Duration = Duration::from_secs(1);
const LENGTH: i32 = 64 * 1024;

/// Time to wait for a database that another process is writing.
const BUSY: Duration = Duration::from_millis(200);

/// The file of a device has less than 1 KiB.
const MOST: u64 = 64 * 1024;

/// A state folder from which no device could be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeviceError {
    #[error(
        "--device-state {}: found neither {DATABASE} nor {FILE}\n  to do: give the folder that the OpenClaw CLI \
         keeps its state in, by default ~/.openclaw", .0.display()
    )]
    NoState(PathBuf),
    #[error("--device-state: no device in {}: the CLI has not connected anywhere yet", .0.display())]
    NoDevice(PathBuf),
    #[error("--device-state: failed to read {}: {why}", path.display())]
    Read { path: PathBuf, why: String },
    #[error(
        "--device-state: {} was not closed, and cannot be read without writing to its folder\n  to do: run \
         `openclaw devices list` there, which closes it, and probe again", .0.display()
    )]
    NotClosed(PathBuf),
    #[error("--device-state: {} is in use by another process: try again", .0.display())]
    Busy(PathBuf),
    #[error("--device-state: the device's key in {} is not valid: `openclaw doctor --fix` repairs it", .0.display())]
    Key(PathBuf),
}

/// A device's key, and the id that gateways know it by: the SHA-256 of the public key.
pub(super) struct Device {
    id: String,
    key: Ed25519KeyPair,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({})", self.id)
    }
}

/// The form of `identity/device.json`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    device_id: String,
    private_key_pem: Zeroizing<String>,
}

impl Device {
    /// Reads the device of the CLI whose state is in this folder.
    pub(super) fn read(folder: &Path) -> Result<Self, DeviceError> {
        let database = folder.join(DATABASE);
        let file = folder.join(FILE);
        let exists = |path: &Path| {
            path.try_exists().map_err(|error| DeviceError::Read {
                path: path.to_owned(),
                why: error.to_string(),
            })
        };
        let has_database = exists(&database)?;
        if has_database && let Some(stored) = in_database(&database)? {
            return Self::of(&stored, &database);
        }
        if exists(&file)? {
            return Self::of(&in_file(&file)?, &file);
        }
        Err(if has_database {
            DeviceError::NoDevice(database)
        } else {
            DeviceError::NoState(folder.to_owned())
        })
    }

    fn of(stored: &Stored, path: &Path) -> Result<Self, DeviceError> {
        let wrong = || DeviceError::Key(path.to_owned());
        let der = PrivatePkcs8KeyDer::from_pem_slice(stored.private_key_pem.as_bytes());
        let der = der.map_err(|_| wrong())?;
        // Node writes keys without their public half, which the stricter function asks for.
        let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der());
        let key = key.map_err(|_| wrong())?;
        let id = HEXLOWER.encode(&Sha256::digest(key.public_key().as_ref()));
        if id != stored.device_id {
            return Err(wrong());
        }
        Ok(Self { id, key })
    }

    /// The id, as `openclaw devices list` shows it.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// `params.device` for these `params` of a connect request, signed over the challenge's
    /// payload. The time is taken from the challenge, as in the CLI.
    pub(super) fn sign(&self, params: &Value, challenge: &Value) -> Value {
        let nonce = challenge.get("nonce").and_then(Value::as_str);
        let nonce = nonce.unwrap_or_default();
        let signed_at = challenge.get("ts").and_then(Value::as_i64);
        let signed_at = signed_at.unwrap_or_else(|| jiff::Timestamp::now().as_millisecond());
        let payload = Zeroizing::new(payload(&self.id, params, signed_at, nonce));
        json!({
            "id": self.id,
            "publicKey": BASE64URL_NOPAD.encode(self.key.public_key().as_ref()),
            "signature": BASE64URL_NOPAD.encode(self.key.sign(payload.as_bytes()).as_ref()),
            "signedAt": signed_at, "nonce": nonce,
        })
    }
}

/// The text to sign for `params`, in the order of gateway 2026.9.6 (`device-auth.ts`).
fn payload(device: &str, params: &Value, signed_at: i64, nonce: &str) -> String {
    let text = |pointer: &str| params.pointer(pointer).and_then(Value::as_str);
    let lower = |pointer: &str| text(pointer).unwrap_or_default().to_ascii_lowercase();
    let scopes = params.get("scopes").and_then(Value::as_array);
    let scopes = scopes.into_iter().flatten().filter_map(Value::as_str);
    let scopes: Vec<&str> = scopes.collect();
    let fields = [
        "v3",
        device,
        text("/client/id").unwrap_or_default(),
        text("/client/mode").unwrap_or_default(),
        text("/role").unwrap_or_default(),
        &scopes.join(","),
        &signed_at.to_string(),
        text("/auth/token").unwrap_or_default(),
        nonce,
        &lower("/client/platform"),
        &lower("/client/deviceFamily"),
    ];
    fields.join("|")
}

fn in_file(path: &Path) -> Result<Stored, DeviceError> {
    let failed = |why: String| DeviceError::Read {
        path: path.to_owned(),
        why,
    };
    let io = |error: io::Error| failed(error.to_string());
    // Opening a FIFO would block.
    let mut options = File::options();
    let file = options
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(io)?;
    if !file.metadata().map_err(io)?.is_file() {
        return Err(failed("it is not a regular file".to_owned()));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MOST).read_to_end(&mut bytes).map_err(io)?;
    // The parser's error quotes its input, which may be secret.
    serde_json::from_slice(&bytes).map_err(|_| failed("it is not the file of a device".to_owned()))
}

fn in_database(path: &Path) -> Result<Option<Stored>, DeviceError> {
    let failed = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::CannotOpen) => DeviceError::NotClosed(path.to_owned()),
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
            DeviceError::Busy(path.to_owned())
        }
        _ => DeviceError::Read {
            path: path.to_owned(),
            why: error.to_string(),
        },
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let mut connection = Connection::open_with_flags(uri(path)?, flags).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    // Computed columns could run forever.
    let began = Instant::now();
    let is_late = move || began.elapsed() > READ;
    connection
        .progress_handler(1000, Some(is_late))
        .map_err(failed)?;
    connection
        .set_limit(Limit::SQLITE_LIMIT_LENGTH, LENGTH)
        .map_err(failed)?;
    let table = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'device_identities'";
    // No device has been created yet.
    let found = connection.query_row(table, (), |_| Ok(()));
    if found.optional().map_err(failed)?.is_none() {
        return Ok(None);
    }
    let query =
        "SELECT device_id, private_key_pem FROM device_identities WHERE identity_key = 'primary'";
    let row = connection.query_row(query, (), |row| {
        Ok(Stored {
            device_id: row.get(0)?,
            private_key_pem: Zeroizing::new(row.get(1)?),
        })
    });
    row.optional().map_err(failed)
}

/// The URI of the database, with parameters such that reading it creates no file. Even to read a
/// database in write-ahead mode, `SQLite` creates a log and an index, and would leave them there,
/// owned by our user.
fn uri(path: &Path) -> Result<String, DeviceError> {
    let failed = |why: String| DeviceError::Read {
        path: path.to_owned(),
        why,
    };
    // The library's error does not distinguish a missing permission from a missing index. And if
    // the path is a symlink, the log is beside the link's target.
    let io = |error: io::Error| failed(error.to_string());
    let path = fs::canonicalize(path).map_err(io)?;
    let mut options = File::options();
    let file = options
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(&path)
        .map_err(io)?;
    if !file.metadata().map_err(io)?.is_file() {
        return Err(failed("it is not a regular file".to_owned()));
    }
    let mut uri = Url::from_file_path(&path).map_err(|()| failed("no such path".to_owned()))?;
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let query = match fs::metadata(&log) {
        // The database is open in another process, so the index exists: it is read, not written.
        Ok(found) if found.len() > 0 => "mode=ro&readonly_shm=1",
        Ok(_) => "immutable=1",
        Err(error) if error.kind() == io::ErrorKind::NotFound => "immutable=1",
        Err(error) => return Err(failed(error.to_string())),
    };
    uri.set_query(Some(query));
    Ok(uri.into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ring::rand::SystemRandom;
    use tempfile::TempDir;

    use super::*;

    /// A new key as PEM, and its id.
    fn key() -> (String, String) {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let key = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        let id = HEXLOWER.encode(&Sha256::digest(key.public_key().as_ref()));
        let body = data_encoding::BASE64.encode(document.as_ref());
        let (begin, end) = ("-----BEGIN", "-----END");
        (
            format!("{begin} PRIVATE KEY-----\n{body}\n{end} PRIVATE KEY-----\n"),
            id,
        )
    }

    /// The database of a CLI, with one device.
    fn database(folder: &Path) -> (Connection, String) {
        let (pem, id) = key();
        fs::create_dir_all(folder.join("state")).unwrap();
        let database = Connection::open(folder.join(DATABASE)).unwrap();
        database.pragma_update(None, "journal_mode", "wal").unwrap();
        database
            .execute_batch(
                "CREATE TABLE device_identities (identity_key TEXT PRIMARY KEY, device_id TEXT, \
                 public_key_pem TEXT, private_key_pem TEXT)",
            )
            .unwrap();
        let insert = "INSERT INTO device_identities VALUES ('primary', ?1, '', ?2)";
        database.execute(insert, (&id, &pem)).unwrap();
        (database, id)
    }

    fn sizes(folder: &Path) -> BTreeMap<PathBuf, u64> {
        let files = fs::read_dir(folder.join("state")).unwrap().flatten();
        files
            .map(|file| (file.path(), file.metadata().unwrap().len()))
            .collect()
    }

    #[test]
    fn the_database_is_read_open_or_closed_and_nothing_is_written() {
        let folder = TempDir::new().unwrap();
        let (open, id) = database(folder.path());
        let before = sizes(folder.path());
        assert_eq!(before.len(), 3, "{before:?}");
        assert_eq!(Device::read(folder.path()).unwrap().id(), id);
        assert_eq!(sizes(folder.path()), before);

        // As copied from a machine where it was open: the log's index is missing.
        let copy = TempDir::new().unwrap();
        fs::create_dir(copy.path().join("state")).unwrap();
        for end in ["", "-wal"] {
            let name = format!("{DATABASE}{end}");
            fs::copy(folder.path().join(&name), copy.path().join(&name)).unwrap();
        }
        let before = sizes(copy.path());
        let error = Device::read(copy.path()).unwrap_err();
        assert!(matches!(error, DeviceError::NotClosed(_)), "{error}");
        assert_eq!(sizes(copy.path()), before);

        drop(open);
        let before = sizes(folder.path());
        assert_eq!(before.len(), 1, "{before:?}");
        assert_eq!(Device::read(folder.path()).unwrap().id(), id);
        assert_eq!(sizes(folder.path()), before);
    }

    #[test]
    fn the_key_is_the_devices_own() {
        let folder = TempDir::new().unwrap();
        let (database, _) = database(folder.path());
        let (_, other) = key();
        for (change, is_right) in [
            (
                format!("UPDATE device_identities SET device_id = '{other}'"),
                false,
            ),
            (
                "UPDATE device_identities SET private_key_pem = 'canary'".to_owned(),
                false,
            ),
            ("DELETE FROM device_identities".to_owned(), true),
        ] {
            database.execute_batch(&change).unwrap();
            let error = Device::read(folder.path()).unwrap_err();
            assert_eq!(
                matches!(error, DeviceError::NoDevice(_)),
                is_right,
                "{error}"
            );
            assert!(!error.to_string().contains("canary"));
        }
        database
            .execute_batch("DROP TABLE device_identities")
            .unwrap();
        assert!(matches!(
            Device::read(folder.path()),
            Err(DeviceError::NoDevice(_))
        ));
    }

    #[test]
    fn folders_without_a_device_are_said() {
        let folder = TempDir::new().unwrap();
        assert!(matches!(
            Device::read(folder.path()),
            Err(DeviceError::NoState(_))
        ));
        fs::create_dir(folder.path().join("identity")).unwrap();
        fs::write(folder.path().join(FILE), "{ \"deviceId\": \"canary").unwrap();
        let error = Device::read(folder.path()).unwrap_err();
        assert!(matches!(error, DeviceError::Read { .. }));
        assert!(!error.to_string().contains("canary"));
        let (pem, id) = key();
        let text = json!({ "deviceId": id, "privateKeyPem": pem }).to_string();
        fs::write(folder.path().join(FILE), text).unwrap();
        assert_eq!(Device::read(folder.path()).unwrap().id(), id);
        let nonsense = vec![0; 4096];
        fs::create_dir(folder.path().join("state")).unwrap();
        fs::write(folder.path().join(DATABASE), nonsense).unwrap();
        assert!(Device::read(folder.path()).is_err());
        fs::remove_file(folder.path().join(DATABASE)).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, folder.path().join(DATABASE), 0o600.into()).unwrap();
        let error = Device::read(folder.path()).unwrap_err();
        assert!(error.to_string().contains("not a regular file"), "{error}");
    }

    /// A database from elsewhere can contain anything.
    #[test]
    fn what_would_take_for_ever_is_not_read() {
        let folder = TempDir::new().unwrap();
        let (database, _) = database(folder.path());
        let endless =
            "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c";
        database
            .execute_batch(&format!(
                "DROP TABLE device_identities; CREATE VIEW device_identities AS {endless}"
            ))
            .unwrap();
        assert!(matches!(
            Device::read(folder.path()),
            Err(DeviceError::NoDevice(_))
        ));
        database
            .execute_batch(
                "DROP VIEW device_identities; CREATE TABLE device_identities (identity_key TEXT, \
                 device_id AS (hex(zeroblob(400000000))), private_key_pem TEXT); \
                 INSERT INTO device_identities (identity_key) VALUES ('primary')",
            )
            .unwrap();
        assert!(Device::read(folder.path()).is_err());
    }

    #[test]
    fn what_is_signed() {
        let params = json!({
            "client": { "id": "cli", "mode": "probe", "platform": "linux", "deviceFamily": "Linux" },
            "role": "operator", "scopes": ["operator.read"], "auth": { "token": "t" },
        });
        assert_eq!(
            payload("d", &params, 7, "n"),
            "v3|d|cli|probe|operator|operator.read|7|t|n|linux|linux"
        );
    }
}
