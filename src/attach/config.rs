//! The configuration of an attached tap: no origin check, no added headers, limits and timers too high to
//! matter.

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use rustls::ClientConfig;

use crate::config::{self, Config, ConfigErrors, Dialect, Override, OverrideSource, Overrides};
use crate::upstream::pinned::{Fingerprint, Pinned};

/// None of our timers ends a session that the gateway would keep, or expires before the client's
/// own.
const TIMERS: &str = "\
timeouts: { drain: 2s, tls_handshake: 48h, request_head: 48h, connect: 2m, upgrade: 48h, idle: 48h, half_close: 48h, request_body: 48h }
tcp: { keepalive: 2h, keepalive_interval: 75s, user_timeout: 3h }
";

/// The limits are the gateway's, not ours; above `--max-sessions`, new clients bypass the tap and are not
/// refused.
const LIMITS: &str = "per_client: 1000000, handshakes: 1000000, head_bytes: 1MiB, headers: 1000";

/// How a gateway's TLS is read.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    /// The gateway's certificate and key.
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
    /// The certificate that it shows, and the length of its chain.
    pub(super) shown: (Fingerprint, usize),
}

impl Tls {
    /// TLS to a gateway that shows this certificate, and to no other.
    pub(super) fn client(&self) -> Result<ClientConfig, rustls::Error> {
        Pinned::to(self.shown.0).client()
    }
}

/// The configuration for a gateway on this port, with this many simultaneous connections.
pub(super) fn config(
    port: u16,
    dialect: Dialect,
    connections: usize,
    records: Option<&Path>,
    tls: Option<&Tls>,
) -> Result<Config, ConfigErrors> {
    // A JSON string is a YAML string, too.
    let quoted = |path: &Path| serde_json::Value::from(path.display().to_string());
    let (listener, scheme, pin) = match tls {
        None => (String::new(), "http", String::new()),
        Some(Tls {
            cert,
            key,
            shown: (shown, _),
        }) => (
            format!(
                ", tls: {{ certificates: [{{ cert: {}, key: {} }}] }}",
                quoted(cert),
                quoted(key)
            ),
            "https",
            format!(", tls: {{ fingerprint: '{}' }}", HEXLOWER.encode(shown)),
        ),
    };
    let text = format!(
        "listeners: [{{ listen: '[::]:0'{listener} }}]\n\
         gateway: {{ url: '{scheme}://127.0.0.1:{port}', dialect: {dialect}, forwarded: pass, \
         allow_remote_as_local: true{pin} }}\n\
         http2: {{ enabled: false }}\n\
         origins: {{ mode: off }}\n\
         session_header: false\n\
         records: {{ http: all, connections: all }}\n\
         limits: {{ connections: {connections}, {LIMITS} }}\n\
         {TIMERS}"
    );
    let records = records.map(|path| Override {
        value: path.display().to_string(),
        source: OverrideSource::Flag("--records"),
    });
    let overrides = Overrides {
        records,
        ..Overrides::default()
    };
    config::parse(&text, Path::new("wstap attach"), &overrides)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ListenerTls;

    #[test]
    fn it_is_valid_and_denies_nobody() {
        for dialect in [Dialect::OpenClaw, Dialect::Plain] {
            let config = config(18789, dialect, 1_000_000, None, None).unwrap();
            assert_eq!(config.gateway().dialect(), dialect);
            assert!(!config.session_header());
            assert!(
                config.origins().to_string().contains("off"),
                "{}",
                config.origins()
            );
            assert!(matches!(config.listeners()[0].tls, ListenerTls::Plain));
        }
    }
}
