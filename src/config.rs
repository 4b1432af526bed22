//! YAML in, resolved configuration out.
//!
//! Three steps, so that the user gets every mistake at once and with its position: `document` (text
//! to a tree with positions), `read` and `schema` (tree to keys), `resolve` (defaults, overrides,
//! files). The result is a [`Config`] in which nothing is optional that merely means "default".
//! Reading the configuration opens the files that it names, and does nothing else: it does not
//! bind, resolve or write anything.

mod access;
mod address;
mod admin;
mod difference;
mod document;
mod error;
mod file_mode;
mod files;
mod gateway;
pub mod identity;
mod listen;
mod listener;
mod origin;
mod origins;
mod overrides;
mod paths;
mod read;
pub(crate) mod records_file;
mod resolve;
mod resolved;
mod scalar;
mod schema;
mod secret;
mod settings;
pub(crate) mod suggest;
mod trusted;
mod warnings;
mod written;

#[cfg(test)]
mod docs_tests;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

pub use self::address::{Host, ListenAddr};
pub use self::admin::Admin;
pub use self::difference::Difference;
pub use self::error::{ConfigError, ConfigErrors};
pub use self::files::{Named, Stamp};
pub use self::gateway::{Dialect, Gateway, GatewayTls, Scheme, Target};
pub use self::listen::Listen;
pub use self::listener::{
    ClientAuth, ClientAuthMode, Listener, ListenerTls, MinVersion, TlsPolicy,
};
pub use self::origins::{DenyWith, GatewayFile, MissingOrigin, Origins};
pub use self::overrides::{Override, OverrideSource, Overrides};
pub use self::resolved::Config;
pub use self::secret::{AdminToken, FingerprintKey};
pub use self::settings::{
    FileMode, Http2, Limits, OutputFormat, RecordFilter, Records, ReloadOn, RepeatedRecords, Tcp,
    Timeouts, UnknownOutput, Workers,
};
pub use self::warnings::warning::Warning;

pub(crate) use self::scalar::{duration_text, size_text};

use self::error::{LineColumn, Spot};
use self::written::Written;

/// A larger file is not a configuration.
const MAX_BYTES: u64 = 1024 * 1024;

/// Loads `file`, or only the defaults if there is none, with the overrides applied.
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
        let place = LineColumn {
            line: number(line),
            column: number(column),
        };
        ConfigError::at(&Spot::new(place, ""), "text in UTF-8", "other bytes")
    })
}
