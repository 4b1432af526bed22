//! YAML in, resolved configuration out.
//!
//! Three steps, so that a person gets every mistake at once and with its position:
//! `document` (text to a tree with places), `read` and `schema` (tree to the keys), `resolve`
//! (defaults, overrides, files). What comes out is a [`Config`] in which nothing is optional
//! that merely means "default". Reading the configuration opens the files that it names, and
//! nothing else: it binds, resolves and writes nothing.

mod access;
mod address;
mod admin;
mod difference;
mod document;
mod error;
mod gateway;
pub mod identity;
mod listen;
mod listener;
mod origin;
mod origins;
mod paths;
mod read;
pub mod records_file;
mod resolve;
mod scalar;
mod schema;
mod secret;
mod settings;
pub(crate) mod suggest;
mod trusted;
mod warnings;

#[cfg(test)]
mod docs_tests;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

pub use self::address::{Host, ListenAddr};
pub use self::admin::Admin;
pub use self::difference::Difference;
pub use self::error::{ConfigError, ConfigErrors};
pub use self::gateway::{Dialect, Gateway, GatewayTls, Scheme, Target};
pub use self::listen::{Listen, SocketMode};
pub use self::listener::{
    ClientAuth, ClientAuthMode, Listener, ListenerTls, MinVersion, TlsPolicy,
};
pub use self::origins::{DenyWith, GatewayFile, MissingOrigin, Origins, Stamp};
pub use self::secret::{AdminToken, FingerprintKey};
pub use self::settings::{
    Http2, Limits, OutputFormat, RecordFilter, Records, ReloadOn, RepeatedRecords, Tcp, Timeouts,
    UnknownOutput, Workers,
};
pub use self::warnings::Warning;

pub(crate) use self::scalar::{duration_text, size_text};

use self::difference::Written;
use self::error::{Place, Spot};
use crate::admission::forwarded::Trusted;

/// A larger file is not a configuration.
const MAX_BYTES: u64 = 1024 * 1024;

/// The resolved configuration.
pub struct Config {
    listeners: Vec<Listener>,
    gateway: Gateway,
    origins: Origins,
    trusted_proxies: Trusted,
    timeouts: Timeouts,
    tcp: Tcp,
    limits: Limits,
    http2: Http2,
    records: Records,
    admin: Option<Admin>,
    output: OutputFormat,
    session_header: bool,
    fingerprint_key: Option<FingerprintKey>,
    state_dir: PathBuf,
    tls_keylog: Option<PathBuf>,
    reload_on: ReloadOn,
    workers: Workers,
    files: Vec<Named>,
    written: Written,
    warnings: Vec<Warning>,
}

impl Config {
    /// Where to accept connections; at least one.
    #[must_use]
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// The gateway behind the tap.
    #[must_use]
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Which pages may connect.
    #[must_use]
    pub fn origins(&self) -> &Origins {
        &self.origins
    }

    /// The proxies whose word about clients is taken.
    #[must_use]
    pub fn trusted_proxies(&self) -> &Trusted {
        &self.trusted_proxies
    }

    /// Whether only this host can connect to the tap, as far as the listeners' addresses tell, and
    /// nobody speaks for others by PROXY protocol.
    #[must_use]
    pub fn serves_this_host_only(&self) -> bool {
        self.listeners.iter().all(Listener::serves_this_host_only)
    }

    /// Where the secrets of TLS sessions are written (`--tls-keylog`), if anywhere.
    #[must_use]
    pub fn tls_keylog(&self) -> Option<&Path> {
        self.tls_keylog.as_deref()
    }

    /// Every timer.
    #[must_use]
    pub fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// What the kernel is told of TCP connections.
    #[must_use]
    pub fn tcp(&self) -> Tcp {
        self.tcp
    }

    /// Bounds on what clients may occupy.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// HTTP/2 with clients.
    #[must_use]
    pub fn http2(&self) -> Http2 {
        self.http2
    }

    /// Where records go besides the terminal.
    #[must_use]
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// The admin listener; `None`: there is none.
    #[must_use]
    pub fn admin(&self) -> Option<&Admin> {
        self.admin.as_ref()
    }

    /// What is printed for each session.
    #[must_use]
    pub fn output(&self) -> OutputFormat {
        self.output
    }

    /// Whether answers carry `X-Wstap-Session`.
    #[must_use]
    pub fn session_header(&self) -> bool {
        self.session_header
    }

    /// The key for fingerprints of short secrets; `None`: make a random one for this run.
    #[must_use]
    pub fn fingerprint_key(&self) -> Option<&FingerprintKey> {
        self.fingerprint_key.as_ref()
    }

    /// Folder for what wstap makes itself; it may not exist yet.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// What makes a running tap read its configuration again.
    #[must_use]
    pub fn reload_on(&self) -> ReloadOn {
        self.reload_on
    }

    /// How many threads serve connections.
    #[must_use]
    pub fn workers(&self) -> Workers {
        self.workers
    }

    /// The file itself, and the certificates and keys that were read for it.
    #[must_use]
    pub fn files(&self) -> &[Named] {
        &self.files
    }

    /// What is legal but odd, in no particular order.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("listeners", &self.listeners)
            .field("gateway", &self.gateway.url())
            .field("timeouts", &self.timeouts)
            .field("limits", &self.limits)
            .field("http2", &self.http2)
            .finish_non_exhaustive()
    }
}

/// A file that is read for a configuration, and what it was when that began: what is written
/// meanwhile is a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Where it stands.
    pub path: PathBuf,
    /// `None`: there was none.
    pub stamp: Option<Stamp>,
}

impl Named {
    /// As it is now.
    #[must_use]
    pub fn now(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            stamp: Stamp::of(path),
        }
    }
}

/// What flags and environment say; they win over the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Replaces all listeners when not empty.
    pub listen: Vec<Override>,
    /// Replaces `gateway.url`.
    pub gateway: Option<Override>,
    /// Replaces `origins.allowed` when not empty.
    pub allowed_origins: Vec<Override>,
    /// Replaces `admin.listen`.
    pub admin: Option<Override>,
    /// Replaces `records.path`.
    pub records: Option<Override>,
    /// Replaces `output`.
    pub output: Option<OutputFormat>,
    /// Replaces `state_dir`.
    pub state_dir: Option<PathBuf>,
    /// Where the secrets of TLS sessions are written. No key of the file: who can change that must
    /// not be able to open every session with it.
    pub tls_keylog: Option<PathBuf>,
}

impl Overrides {
    /// The records file that a flag or the environment names.
    #[must_use]
    pub fn records_given(&self) -> Option<PathBuf> {
        let given = self.records.as_ref().filter(|given| given.is_given())?;
        Some(PathBuf::from(given.value.trim()))
    }
}

/// One value from a flag or an environment variable. White space around it is ignored; an empty
/// environment variable counts as not set.
#[derive(Clone)]
pub struct Override {
    /// The text as given.
    pub value: String,
    /// Where it was given.
    pub source: OverrideSource,
}

/// Without the value, which may be a URL with a password in it.
impl fmt::Debug for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Override")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// Where an override was given; displays as its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverrideSource {
    /// A flag, with its dashes: `--listen`.
    Flag(&'static str),
    /// An environment variable: `WSTAP_LISTEN`.
    Env(&'static str),
}

impl fmt::Display for OverrideSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Env(name) => f.write_str(name),
        }
    }
}

/// Loads `file`, or only the defaults when there is none, under the overrides.
///
/// # Errors
/// Every mistake in the file, the overrides, and the files that it names.
pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Config, ConfigErrors> {
    let Some(file) = file else {
        return build("", None, overrides, Vec::new());
    };
    let named = vec![Named::now(file)];
    match read_file(file) {
        Ok(text) => build(&text, Some(file), overrides, named),
        Err(error) => Err(finish(vec![error], Some(file), named)),
    }
}

/// Like [`load`] with the text of the file; `file` is its name in errors, and relative paths in the text
/// are relative to its folder.
///
/// # Errors
/// Every mistake in the text, the overrides, and the files that it names.
pub fn parse(text: &str, file: &Path, overrides: &Overrides) -> Result<Config, ConfigErrors> {
    build(text, Some(file), overrides, Vec::new())
}

/// `named`: the file itself, if it is one.
fn build(
    text: &str,
    file: Option<&Path>,
    overrides: &Overrides,
    mut named: Vec<Named>,
) -> Result<Config, ConfigErrors> {
    let (mut errors, own) = (Vec::new(), named.clone());
    let root = document::parse(text, &mut errors);
    let (schema, lost) = match &root {
        Some(root) => read::read(root, &mut errors),
        None => (None, read::Lost::default()),
    };
    let folder = paths::Folder::of(file);
    let config = resolve::resolve(schema, overrides, folder, &lost, &mut named, &mut errors);
    match config {
        Some(mut config) if errors.is_empty() => {
            if let Some(file) = file.map(Arc::<Path>::from) {
                let place = config.gateway.only_elsewhere.take();
                config.gateway.only_elsewhere = place.map(|place| place.in_file(&file));
                config.gateway.url_place = config.gateway.url_place.clone().in_file(&file);
                for listener in &mut config.listeners {
                    listener.place = listener.place.clone().in_file(&file);
                }
                if let Some(admin) = &mut config.admin {
                    admin.place = admin.place.clone().in_file(&file);
                }
            }
            config.files.extend(own);
            config.written = root.as_ref().map(Written::of).unwrap_or_default();
            config.warnings = warnings::warnings(&config, Timestamp::now());
            Ok(config)
        }
        _ => Err(finish(errors, file, named)),
    }
}

fn finish(errors: Vec<ConfigError>, file: Option<&Path>, named: Vec<Named>) -> ConfigErrors {
    let file: Option<Arc<Path>> = file.map(Into::into);
    let placed = errors.into_iter().map(|error| match &file {
        Some(file) => error.in_file(file),
        None => error,
    });
    ConfigErrors::collect(placed.collect()).naming(named)
}

fn read_file(file: &Path) -> Result<String, ConfigError> {
    let unreadable = |error: std::io::Error| {
        let access::Unreadable { what, to_do } = access::Unreadable::new(file, &error);
        let found = format!("an error: {what}");
        ConfigError::somewhere("", "a readable file", found).advising(to_do)
    };
    let mut bytes = Vec::new();
    let opened = File::open(file).map_err(unreadable)?;
    opened
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_BYTES {
        return Err(ConfigError::somewhere(
            "",
            "a file of at most 1MiB",
            "a larger one",
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(error.as_bytes().get(..valid).unwrap_or_default());
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        let number = |value| u32::try_from(value).unwrap_or(u32::MAX);
        let place = Place {
            line: number(line),
            column: number(column),
        };
        ConfigError::at(&Spot::new(place, ""), "text in UTF-8", "other bytes")
    })
}
