//! Legal but odd settings: no warning stops the tap, and each names the consequence.

pub(super) mod warning;

use std::time::Duration;

use jiff::Timestamp;

use self::warning::Warning;
use super::identity::{expiry, names};
use super::listener::{Listener, ListenerTls};
use super::resolved::Config;
use super::scalar::duration_text;
use super::settings::{OutputFormat, Records};
use super::trusted;
use crate::admission::forwarded::Mode;

/// A container that is being stopped is killed after this long, unless configured otherwise.
const CONTAINER_GRACE: Duration = Duration::from_secs(10);

/// All warnings about `config` at the time `now`.
pub(super) fn warnings(config: &Config, now: Timestamp) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for (index, listener) in config.listeners.iter().enumerate() {
        warnings.extend(plain(index, listener));
        warnings.extend(certificates(index, listener, now));
        for (at, net) in listener.proxy_protocol.networks().iter().enumerate() {
            let path = format!("listeners[{index}].proxy_protocol.from[{at}]");
            warnings.extend(trusted::oddity_of_header(*net).map(|it| Warning::new(path, it)));
        }
    }
    let odd = super::origins::odd::odd(&config.origins).into_iter();
    warnings.extend(odd.map(|(key, message)| Warning::new(key, message)));
    for (index, net) in config.trusted_proxies.networks().iter().enumerate() {
        let path = format!("trusted_proxies[{index}]");
        warnings.extend(trusted::oddity(*net).map(|message| Warning::new(path, message)));
    }
    warnings.extend(remote_as_local(config));
    if let Some(admin) = config
        .admin
        .as_ref()
        .filter(|it| !it.listen.host.is_loopback())
    {
        let listen = &admin.listen;
        let message = format!("{listen} is plain HTTP: the token crosses the network unencrypted");
        warnings.push(Warning::new("admin.listen", message));
    }
    warnings.extend(pass_for_strangers(config));
    if let Some(path) = &config.tls_keylog {
        let message = format!(
            "the secrets of every TLS session are written to {}: whoever has that file can read \
             all of them; delete it when you are done",
            path.display()
        );
        warnings.push(Warning::new("--tls-keylog", message));
    }
    if config.timeouts.drain > CONTAINER_GRACE {
        let drain = duration_text(config.timeouts.drain);
        let message = format!(
            "{drain} is longer than the 10s after which a container stop kills; \
             sessions may end without a record"
        );
        warnings.push(Warning::new("timeouts.drain", message));
    }
    let records = &config.records;
    let default = Records::default();
    let about_the_file = |records: &Records| (records.rotate_bytes, records.keep, records.mode);
    if records.path.is_none() && about_the_file(records) != about_the_file(&default) {
        let message = "`rotate_bytes`, `keep` and `mode` have no effect without `path`";
        warnings.push(Warning::new("records", message));
    } else if records.mode.0 & 0o006 != 0 {
        let message = format!(
            "`\"{}\"` gives every user of this host access to the file; records contain addresses and paths",
            records.mode
        );
        warnings.push(Warning::new("records.mode", message));
    }
    if records.path.is_none() && config.output == OutputFormat::None && config.admin.is_none() {
        let message =
            "`none`, and no `records.path` and no `admin`: nobody learns how sessions end";
        warnings.push(Warning::new("output", message));
    }
    warnings
}

/// If nobody strips them, clients write the headers that the gateway believes to be ours.
fn pass_for_strangers(config: &Config) -> Option<Warning> {
    let strangers = config
        .listeners
        .iter()
        .any(|listener| !listener.serves_this_host_only());
    (strangers && config.gateway.forwarded() == Mode::Pass).then(|| {
        let message = "clients that send X-Forwarded-For choose the address that a gateway which \
                       trusts us believes them to have";
        Warning::new("gateway.forwarded", message)
    })
}

fn remote_as_local(config: &Config) -> Option<Warning> {
    if !config.gateway.allow_remote_as_local() {
        return None;
    }
    let message = match config.gateway.forwarded() {
        Mode::None | Mode::Pass => {
            "the gateway may take every client for local: paired without being asked, never \
             locked out"
        }
        Mode::Auto | Mode::Overwrite => "it has an effect only with `forwarded: none` and `pass`",
    };
    Some(Warning::new("gateway.allow_remote_as_local", message))
}

fn plain(index: usize, listener: &Listener) -> Option<Warning> {
    let elsewhere = listener
        .listen
        .host()
        .is_some_and(|host| !host.is_loopback());
    let exposed = matches!(listener.tls, ListenerTls::Plain) && elsewhere;
    exposed.then(|| {
        let message = format!(
            "{} is plain HTTP: credentials cross the network unencrypted",
            listener.listen
        );
        Warning::new(format!("listeners[{index}]"), message)
    })
}

/// Certificates of a listener that expire soon, and names that have no effect.
fn certificates(index: usize, listener: &Listener, now: Timestamp) -> Vec<Warning> {
    let ListenerTls::Files { identities, .. } = &listener.tls else {
        return Vec::new();
    };
    let path = |position| format!("listeners[{index}].tls.certificates[{position}].cert");
    let validity = identities.iter().enumerate().filter_map(|(position, one)| {
        let message = expiry::warning(one.not_before, one.not_after, now)?;
        Some(Warning::new(path(position), message))
    });
    let clashes = names::clashes(identities).into_iter().map(|clash| {
        let message = format!(
            "clients that ask for {} get certificates[{}], which comes first and has the same kind \
             of key",
            clash.names.join(", "),
            clash.earlier
        );
        Warning::new(path(clash.position), message)
    });
    validity.chain(clashes).collect()
}
