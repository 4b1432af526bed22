//! From the schema to the configuration: defaults, overrides, and every check that needs more than
//! one key or the contents of a file. Continues after a mistake, so that all of them are found.

mod admin;
mod caps;
mod listeners;
mod locality;
mod own;
mod tcp;
mod tls;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::error::{Complaint, ConfigError, Spot};
use super::files::Named;
use super::gateway::{Gateway, GatewayTls, GatewayUrl, Scheme, Target};
use super::identity;
use super::listener::Listener;
use super::origin::{self, OriginEntry};
use super::origins::{GatewayFile, Origins};
use super::overrides::{Override, Overrides};
use super::paths::{self, FilePath, Folder};
use super::read::Lost;
use super::resolved::Config;
use super::scalar::{Count, FromScalar, Scalar, Timer};
use super::schema::{
    At, FileSchema, GatewaySchema, GatewayTlsSchema, Http2Schema, LimitsSchema, OriginsSchema,
    RecordsSchema, TimeoutsSchema,
};
use super::secret::FingerprintKey;
use super::settings::{FileMode, Http2, Limits, Records, Timeouts, Workers};
use super::written::Written;
use super::{records_file, trusted};

/// Resolves the values that could be read; every mistake goes to `errors`, every file that is read
/// to `named`. Returns `None` only together with a mistake.
pub(super) fn resolve(
    schema: Option<FileSchema>,
    overrides: &Overrides,
    folder: Folder,
    lost: &Lost,
    named: &mut Vec<Named>,
    errors: &mut Vec<ConfigError>,
) -> Option<Config> {
    let unread = schema.is_none();
    let schema = schema.unwrap_or_default();
    let mut resolver = Resolver {
        folder,
        lost,
        unread,
        files: Vec::new(),
        named,
        errors,
    };
    let listeners = resolver.listeners(schema.listeners, &overrides.listen);
    let gateway = resolver.gateway(schema.gateway, &listeners, overrides.gateway.as_ref());
    let proxies = schema.trusted_proxies.unwrap_or_default();
    let origins = schema.origins.unwrap_or_default();
    let origins = resolver.origins(origins, &overrides.allowed_origins);
    let fingerprint_key = resolver.fingerprint_key(schema.fingerprint_key_file);
    let admin = resolver.admin(schema.admin, overrides.admin.as_ref());
    if let Some(gateway) = &gateway {
        let error = own::guard(gateway, &listeners, admin.as_ref());
        resolver.errors.extend(error);
    }
    let records = resolver.records(schema.records.unwrap_or_default(), overrides);
    let state_dir = resolver.state_dir(schema.state_dir, overrides.state_dir.as_ref());
    let tcp = resolver.tcp(schema.tcp.unwrap_or_default());
    let mut section = schema.limits.unwrap_or_default();
    let session = resolver.caps(section.session.take().unwrap_or_default());
    let limits = Limits {
        session,
        ..limits(&section)
    };
    Some(Config {
        listeners,
        gateway: gateway?,
        origins,
        trusted_proxies: trusted::list(proxies.into_iter().map(|entry| entry.value.0)),
        tcp,
        timeouts: timeouts(schema.timeouts.unwrap_or_default()),
        limits,
        http2: http2(&schema.http2.unwrap_or_default()),
        records,
        admin,
        output: overrides.output.or(schema.output).unwrap_or_default(),
        session_header: schema.session_header.unwrap_or(true),
        fingerprint_key,
        state_dir,
        tls_keylog: overrides.tls_keylog.clone(),
        reload_on: schema.reload.unwrap_or_default(),
        workers: workers(schema.workers),
        files: resolver.files,
        written: Written::default(),
        warnings: Vec::new(),
    })
}

struct Resolver<'a> {
    folder: Folder,
    lost: &'a Lost,
    /// Nothing in the file could be read, so nothing can be reported as missing.
    unread: bool,
    /// Files that were read.
    files: Vec<Named>,
    /// Those files, and others that are read but not watched.
    named: &'a mut Vec<Named>,
    errors: &'a mut Vec<ConfigError>,
}

impl Resolver<'_> {
    fn file<T>(
        &mut self,
        path: &At<PathBuf>,
        load: impl FnOnce(&Path) -> Result<T, identity::IdentityError>,
    ) -> Option<T> {
        let named = Named::now(&path.value);
        self.files.push(named.clone());
        self.named.push(named);
        load(&path.value)
            .map_err(|error| self.errors.push(error.complaint().at(&path.spot)))
            .ok()
    }

    fn gateway(
        &mut self,
        section: Option<At<GatewaySchema>>,
        listeners: &[Listener],
        given: Option<&Override>,
    ) -> Option<Gateway> {
        let (spot, section) = match section {
            Some(At { spot, value }) => (Some(spot), Some(value)),
            None => (None, None),
        };
        let GatewaySchema {
            url: in_file,
            dialect,
            tls,
            forwarded,
            allow_remote_as_local,
        } = section.unwrap_or_default();
        let (url, url_place) = if let Some(given) = given.filter(|given| given.is_given()) {
            let place = ConfigError::given(given.source, Complaint::new(own::EXPECTED, ""));
            let url = self.accept(given, GatewayUrl::from_text(given.value.trim()));
            let url = url.map(|url| url.with_socket(paths::absolute));
            (url, Some(place))
        } else {
            if in_file.is_none() {
                self.no_gateway(spot.as_ref());
            }
            let place = |url: &At<_>| ConfigError::at(&url.spot, own::EXPECTED, "");
            let place = in_file.as_ref().map(place);
            let folder = &self.folder;
            let url = in_file.map(|url| url.value.0.with_socket(|path| folder.join(path)));
            (url, place)
        };
        let tls = tls
            .map(|tls| self.gateway_tls(tls, url.as_ref()))
            .unwrap_or_default();
        let allow_remote_as_local = allow_remote_as_local.unwrap_or_default();
        let only_elsewhere = forwarded
            .as_ref()
            .filter(|_| !allow_remote_as_local)
            .and_then(|mode| locality::only_elsewhere(mode, listeners));
        let gateway = Gateway {
            url: url?,
            dialect: dialect.unwrap_or_default(),
            tls,
            forwarded: forwarded.map(|mode| mode.value).unwrap_or_default(),
            allow_remote_as_local,
            only_elsewhere,
            url_place: url_place?,
        };
        self.errors.extend(locality::guard(&gateway));
        Some(gateway)
    }

    fn no_gateway(&mut self, section: Option<&Spot>) {
        let reported = self.lost.contains("gateway") || self.lost.contains("gateway.url");
        if reported || self.unread {
            return;
        }
        let error = ConfigError::missing(
            "gateway.url",
            "no gateway configured",
            "give `--gateway URL`, `WSTAP_GATEWAY` or `gateway.url` in a config file; \
             to look around first, run `wstap demo`",
        );
        self.errors.push(match section {
            Some(spot) => error.with_place(spot.place),
            None => error,
        });
    }

    fn gateway_tls(
        &mut self,
        section: At<GatewayTlsSchema>,
        url: Option<&GatewayUrl>,
    ) -> GatewayTls {
        let At { spot, value } = section;
        if let Some(url) = url.filter(|url| url.scheme != Scheme::Https) {
            let expected = "no `tls` without an https or wss gateway";
            let found = match url.target {
                Target::Unix(_) => "it beside a unix socket".to_owned(),
                Target::Tcp { .. } => format!("it beside `{}`", url.text),
            };
            self.errors.push(ConfigError::at(&spot, expected, found));
        }
        if let (Some(_), Some(pin)) = (&value.ca, &value.fingerprint) {
            let expected = "only one of `ca` and `fingerprint`";
            self.errors
                .push(ConfigError::at(&pin.spot, expected, "both"));
        }
        let fingerprint = value.fingerprint.map(|At { value, .. }| value.0.0);
        let ca = value.ca.and_then(|ca| self.path(ca));
        let ca = ca
            .and_then(|ca| self.file(&ca, identity::roots))
            .unwrap_or_default();
        GatewayTls {
            ca,
            server_name: value.server_name.map(|Scalar(name)| name.0),
            fingerprint,
        }
    }

    fn origins(&mut self, section: OriginsSchema, overrides: &[Override]) -> Origins {
        let given: Vec<_> = overrides.iter().filter(|given| given.is_given()).collect();
        let allowed = if given.is_empty() {
            let entries = section.allowed.unwrap_or_default();
            origin::list(entries.into_iter().map(|entry| entry.value.0))
        } else {
            let entries: Vec<_> = given
                .into_iter()
                .filter_map(|given| self.accept(given, OriginEntry::given(given)))
                .collect();
            origin::list(entries)
        };
        let gateway_file = section.from_gateway_config.and_then(|path| {
            let path = self.path(path)?;
            self.named.push(Named::now(&path.value));
            let read = GatewayFile::read(&path.value);
            read.map_err(|complaint| self.errors.push(complaint.at(&path.spot)))
                .ok()
        });
        Origins {
            allowed,
            mode: section.mode,
            missing: section.missing.unwrap_or_default(),
            deny_with: section.deny_with.unwrap_or_default(),
            gateway_file,
        }
    }

    fn records(&mut self, section: RecordsSchema, overrides: &Overrides) -> Records {
        let default = Records::default();
        let in_file = section.path.and_then(|path| self.records_path(path));
        let path = match (overrides.records_given(), &overrides.records) {
            (Some(path), Some(given)) => {
                let complaint = if path.as_os_str().is_empty() {
                    Some(Complaint::new("a path", "an empty text"))
                } else {
                    records_file::complaint(&path)
                };
                let refused = complaint.map(|it| ConfigError::given(given.source, it));
                self.errors.extend(refused);
                Some(path)
            }
            _ => in_file,
        };
        Records {
            path,
            rotate_bytes: section
                .rotate_bytes
                .map_or(default.rotate_bytes, |Scalar(size)| size.0),
            mode: self.records_mode(section.mode).unwrap_or(default.mode),
            keep: section.keep.map_or(default.keep, |Scalar(count)| count.0),
            http: section.http.unwrap_or(default.http),
            connections: section.connections.unwrap_or(default.connections),
            repeats: section.repeats.unwrap_or(default.repeats),
        }
    }

    /// The tap opens the file again after a rotation, and reads the end of the last line.
    fn records_mode(&mut self, mode: Option<At<Scalar<FileMode>>>) -> Option<FileMode> {
        let At {
            spot,
            value: Scalar(mode),
        } = mode?;
        if mode.0 & 0o600 != 0o600 || mode.0 & 0o111 != 0 {
            let expected =
                "permissions to read and write, for the owner at least, such as `\"0640\"`";
            self.errors
                .push(ConfigError::at(&spot, expected, format!("`\"{mode}\"`")));
        }
        Some(mode)
    }

    fn fingerprint_key(&mut self, file: Option<At<FilePath>>) -> Option<FingerprintKey> {
        let At { spot, value } = self.path(file?)?;
        self.named.push(Named::now(&value));
        FingerprintKey::read(&value)
            .map_err(|complaint| self.errors.push(complaint.at(&spot)))
            .ok()
    }

    fn state_dir(&mut self, section: Option<At<FilePath>>, given: Option<&PathBuf>) -> PathBuf {
        let in_file = section.and_then(|path| self.path(path));
        match given {
            Some(path) => paths::absolute(path),
            None => in_file.map_or_else(
                || default_state_dir(|name| std::env::var_os(name).map(PathBuf::from)),
                |path| path.value,
            ),
        }
    }

    /// A path that records can be written to, as far as can be checked at this point.
    fn records_path(&mut self, path: At<FilePath>) -> Option<PathBuf> {
        let At { spot, value: path } = self.path(path)?;
        if let Some(complaint) = records_file::complaint(&path) {
            self.errors.push(complaint.at(&spot));
        }
        Some(path)
    }

    /// The absolute path of a path in the file.
    fn path(&mut self, path: At<FilePath>) -> Option<At<PathBuf>> {
        if path.value.is_empty() {
            self.errors
                .push(ConfigError::at(&path.spot, "a path", "an empty text"));
            return None;
        }
        let value = self.folder.locate(&path.value);
        Some(At {
            spot: path.spot,
            value,
        })
    }

    /// A value that must be there, unless it was there and was refused.
    fn required<T>(
        &mut self,
        parent: &Spot,
        key: &str,
        expected: &str,
        value: Option<At<T>>,
    ) -> Option<At<T>> {
        let key_path = format!("{}.{key}", parent.key_path);
        if value.is_none() && !self.lost.contains(&key_path) {
            let spot = Spot::new(parent.place, key_path);
            self.errors
                .push(ConfigError::at(&spot, expected, "nothing"));
        }
        value
    }

    /// The value of a flag or environment variable; a complaint about it is recorded.
    fn accept<T>(&mut self, given: &Override, parsed: Result<T, Complaint>) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(complaint) => {
                self.errors
                    .push(ConfigError::given(given.source, complaint));
                None
            }
        }
    }
}

fn timeouts(section: TimeoutsSchema) -> Timeouts {
    let or = |given: Option<Scalar<Timer>>, default| given.map_or(default, |Scalar(timer)| timer.0);
    let default = Timeouts::default();
    Timeouts {
        proxy_header: or(section.proxy_header, default.proxy_header),
        tls_handshake: or(section.tls_handshake, default.tls_handshake),
        request_head: or(section.request_head, default.request_head),
        request_body: or(section.request_body, default.request_body),
        connect: or(section.connect, default.connect),
        upgrade: or(section.upgrade, default.upgrade),
        idle: or(section.idle, default.idle),
        half_close: or(section.half_close, default.half_close),
        close: or(section.close, default.close),
        drain: or(section.drain, default.drain),
    }
}

fn limits(section: &LimitsSchema) -> Limits {
    let default = Limits::default();
    let count = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    let or = |given: &Option<Scalar<Count<1>>>, default| {
        given
            .as_ref()
            .map_or(default, |Scalar(n)| count(n.0.into()))
    };
    Limits {
        connections: or(&section.connections, default.connections),
        per_client: or(&section.per_client, default.per_client),
        handshakes: or(&section.handshakes, default.handshakes),
        head_bytes: section
            .head_bytes
            .as_ref()
            .map_or(default.head_bytes, |Scalar(n)| count(n.0)),
        headers: section
            .headers
            .as_ref()
            .map_or(default.headers, |Scalar(n)| count(n.0.into())),
        session: default.session,
    }
}

fn workers(given: Option<Scalar<Count<1, 1024>>>) -> Workers {
    let number = given.and_then(|Scalar(count)| usize::try_from(count.0).ok());
    number
        .and_then(NonZeroUsize::new)
        .map_or_else(Workers::default, Workers::Exactly)
}

fn http2(section: &Http2Schema) -> Http2 {
    let default = Http2::default();
    let streams = section.max_concurrent_streams.as_ref();
    Http2 {
        enabled: section.enabled.unwrap_or(default.enabled),
        websocket: section.websocket.unwrap_or(default.websocket),
        max_concurrent_streams: streams.map_or(default.max_concurrent_streams, |Scalar(n)| n.0),
    }
}

/// As in the XDG base directory specification; without a home folder, the usual place for a
/// service.
fn default_state_dir(variable: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    let absolute = |path: &PathBuf| path.is_absolute();
    variable("XDG_STATE_HOME")
        .filter(absolute)
        .or_else(|| {
            variable("HOME")
                .filter(absolute)
                .map(|home| home.join(".local/state"))
        })
        .unwrap_or_else(|| PathBuf::from("/var/lib"))
        .join("wstap")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_folder_follows_xdg() {
        let folder = |state: Option<&str>, home: Option<&str>| {
            default_state_dir(|name| {
                match name {
                    "XDG_STATE_HOME" => state,
                    "HOME" => home,
                    _ => None,
                }
                .map(PathBuf::from)
            })
        };
        assert_eq!(folder(Some("/s"), Some("/h")), Path::new("/s/wstap"));
        assert_eq!(folder(None, Some("/h")), Path::new("/h/.local/state/wstap"));
        assert_eq!(
            folder(Some("relative"), Some("/h")),
            Path::new("/h/.local/state/wstap")
        );
        assert_eq!(folder(Some(""), None), Path::new("/var/lib/wstap"));
    }
}
