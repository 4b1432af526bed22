//! What is probed: the URL, and the secret that goes with it, found as the `OpenClaw` CLI finds them
//! (2026.9.6, `connection-details.ts`).

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use url::{Host, Url};

use super::whereabouts::Environment;
use crate::session::credential::Secret;

/// The gateway's port, where nothing says otherwise.
const PORT: u16 = 18789;

/// `openclaw.json` is far smaller.
const MOST: u64 = 1 << 20;

/// A secret, and where it came from.
pub(super) struct Given {
    secret: Secret,
    from: String,
}

impl Given {
    pub(super) fn new(secret: String, from: String) -> Self {
        let secret = Secret::from(secret);
        Self { secret, from }
    }

    /// Where it came from.
    pub(super) fn from(&self) -> &str {
        &self.from
    }

    /// For the connect request, and nothing else.
    pub(super) fn expose(&self) -> &str {
        std::str::from_utf8(self.secret.expose()).unwrap_or_default()
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Given({})", self.from)
    }
}

/// There is nothing to probe.
#[derive(Debug, thiserror::Error)]
pub(super) enum TargetError {
    #[error("{from}: expected ws, wss, http or https with a host, or unix:/path; found {found:?}")]
    Url { from: String, found: String },
    #[error("--token-env: the environment variable {0} is not set, or empty")]
    NoVariable(String),
    #[error("--token-file {}: {why}", path.display())]
    TokenFile { path: PathBuf, why: String },
}

/// The gateway's address as a client dials it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// Host without brackets.
    Tcp {
        host: String,
        port: u16,
        tls: bool,
    },
    Unix(PathBuf),
}

/// What is probed.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) address: Address,
    /// Path and query of the upgrade request.
    pub(super) path: String,
    /// Where the URL came from, in words.
    pub(super) taken_from: String,
    /// The secret, if there is one.
    pub(super) secret: Option<Given>,
}

impl Target {
    /// The one that was named, else the one of the environment, of the configuration, or the default.
    pub(super) fn find(
        named: Option<&str>,
        secret: Option<Given>,
        environment: &Environment,
    ) -> Result<Self, TargetError> {
        let from_environment = || {
            let variables = ["OPENCLAW_GATEWAY_TOKEN", "OPENCLAW_GATEWAY_PASSWORD"];
            variables.iter().find_map(|name| {
                let value = environment.get(name)?;
                Some(Given::new(value.to_owned(), (*name).to_owned()))
            })
        };
        if let Some(url) = named {
            // Like the CLI: a secret that is lying around goes to no URL that was typed.
            return Self::parse(url, "the argument", secret);
        }
        if let Some(url) = environment.get("OPENCLAW_GATEWAY_URL") {
            let secret = secret.or_else(from_environment);
            return Self::parse(url, "OPENCLAW_GATEWAY_URL", secret);
        }
        let path = configuration_path(environment);
        let configuration = path.as_deref().and_then(read).unwrap_or_default();
        let at = |key: &str| configuration.pointer(key);
        let text = |key: &str| {
            at(key)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
        };
        let shown = path
            .as_deref()
            .map_or_else(String::new, |path| path.display().to_string());
        let configured = |keys: &[&str]| {
            keys.iter().find_map(|key| {
                // A reference to somewhere else is not a secret.
                let value = text(key).filter(|value| !value.starts_with('$'))?;
                let from = format!(
                    "{} in {shown}",
                    key.trim_start_matches('/').replace('/', ".")
                );
                Some(Given::new(value.to_owned(), from))
            })
        };
        let is_remote = text("/gateway/mode") == Some("remote");
        if let Some(url) = text("/gateway/remote/url").filter(|_| is_remote) {
            let keys = ["/gateway/remote/token", "/gateway/remote/password"];
            let secret = secret
                .or_else(|| configured(&keys))
                .or_else(from_environment);
            return Self::parse(url, &format!("gateway.remote.url in {shown}"), secret);
        }
        let port = at("/gateway/port").and_then(Value::as_u64);
        let port = port.and_then(|port| u16::try_from(port).ok());
        let by_variable = || environment.get("OPENCLAW_GATEWAY_PORT")?.parse().ok();
        let tls = at("/gateway/tls/enabled") == Some(&Value::Bool(true));
        let taken_from = match (&configuration, by_variable().or(port)) {
            (Value::Null, None) => "the default".to_owned(),
            (Value::Null, Some(_)) => "OPENCLAW_GATEWAY_PORT".to_owned(),
            _ => shown.clone(),
        };
        let keys = ["/gateway/auth/token", "/gateway/auth/password"];
        Ok(Self {
            address: Address::Tcp {
                host: "127.0.0.1".to_owned(),
                port: by_variable().or(port).unwrap_or(PORT),
                tls,
            },
            path: "/".to_owned(),
            taken_from,
            secret: secret
                .or_else(|| configured(&keys))
                .or_else(from_environment),
        })
    }

    fn parse(text: &str, from: &str, secret: Option<Given>) -> Result<Self, TargetError> {
        let wrong = || TargetError::Url {
            from: from.to_owned(),
            // Without what may be a secret: a name and password, and a query.
            found: text
                .rsplit('@')
                .next()
                .and_then(|rest| rest.split('?').next())
                .unwrap_or_default()
                .to_owned(),
        };
        let of = |address, path: String| Self {
            address,
            path,
            taken_from: from.to_owned(),
            secret,
        };
        if let Some(path) = text.strip_prefix("unix:") {
            let path = Path::new(path);
            if !path.is_absolute() {
                return Err(wrong());
            }
            return Ok(of(Address::Unix(path.to_owned()), "/".to_owned()));
        }
        let url = Url::parse(text).map_err(|_| wrong())?;
        let tls = match url.scheme() {
            "ws" | "http" => false,
            "wss" | "https" => true,
            _ => return Err(wrong()),
        };
        let host = match url.host().ok_or_else(wrong)? {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(ip) => ip.to_string(),
            Host::Ipv6(ip) => ip.to_string(),
        };
        let port = url.port_or_known_default().ok_or_else(wrong)?;
        let query = url
            .query()
            .map_or_else(String::new, |query| format!("?{query}"));
        let path = format!("{}{query}", url.path());
        Ok(of(Address::Tcp { host, port, tls }, path))
    }

    /// Whether TLS is spoken.
    pub(super) fn is_tls(&self) -> bool {
        matches!(self.address, Address::Tcp { tls: true, .. })
    }

    /// The URL without what may be a secret in it.
    pub(super) fn shown(&self) -> String {
        let scheme = if self.is_tls() { "wss" } else { "ws" };
        let path = self.path.split('?').next().unwrap_or_default();
        match &self.address {
            Address::Tcp { .. } => {
                let path = if path == "/" { "" } else { path };
                format!("{scheme}://{}{path}", self.authority())
            }
            Address::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// Host and port, as in a Host header.
    pub(super) fn authority(&self) -> String {
        match &self.address {
            Address::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Address::Tcp { host, port, .. } => format!("{host}:{port}"),
            Address::Unix(_) => "localhost".to_owned(),
        }
    }

    /// The Host header: the port of the scheme is left out.
    pub(super) fn host(&self) -> String {
        let usual = if self.is_tls() { ":443" } else { ":80" };
        let authority = self.authority();
        authority
            .strip_suffix(usual)
            .map(str::to_owned)
            .unwrap_or(authority)
    }

    /// As `gateway.url` of a tap.
    pub(super) fn as_gateway_url(&self) -> String {
        let scheme = if self.is_tls() { "https" } else { "http" };
        match &self.address {
            Address::Tcp { .. } => format!("{scheme}://{}", self.authority()),
            Address::Unix(path) => format!("unix:{}", path.display()),
        }
    }
}

/// Where the CLI's configuration is, if anywhere.
fn configuration_path(environment: &Environment) -> Option<PathBuf> {
    if let Some(path) = environment.get("OPENCLAW_CONFIG_PATH") {
        return Some(path.into());
    }
    let state = environment.get("OPENCLAW_STATE_DIR").map(PathBuf::from);
    let home = || Some(Path::new(environment.get("HOME")?).join(".openclaw"));
    Some(state.or_else(home)?.join("openclaw.json"))
}

fn read(path: &Path) -> Option<Value> {
    let size = std::fs::metadata(path).ok()?.len();
    if size > MOST {
        return None;
    }
    let text = std::fs::read_to_string(path).ok()?;
    json5::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(url: Option<&str>, environment: &str) -> Target {
        let environment = Environment::parse(environment.as_bytes());
        Target::find(url, None, &environment).unwrap()
    }

    #[test]
    fn a_url_that_was_named_gets_no_secret_of_the_environment() {
        let environment = "OPENCLAW_GATEWAY_URL=ws://a:1\0OPENCLAW_GATEWAY_TOKEN=t\0";
        let named = found(Some("wss://gw.example/x?token=s"), environment);
        assert!(named.secret.is_none());
        assert_eq!(named.shown(), "wss://gw.example:443/x");
        assert_eq!(named.path, "/x?token=s");
        let of_environment = found(None, environment);
        assert_eq!(of_environment.shown(), "ws://a:1");
        assert_eq!(of_environment.taken_from, "OPENCLAW_GATEWAY_URL");
        assert_eq!(of_environment.secret.unwrap().expose(), "t");
    }

    #[test]
    fn the_configuration_comes_before_the_default() {
        assert_eq!(
            found(None, "HOME=/nonexistent\0").shown(),
            "ws://127.0.0.1:18789"
        );
        assert_eq!(found(None, "").taken_from, "the default");
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("openclaw.json");
        let environment = format!("OPENCLAW_CONFIG_PATH={}\0", path.display());
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write("{ gateway: { port: 1234, auth: { token: 'x' }, tls: { enabled: true } } }");
        let local = found(None, &environment);
        assert_eq!(local.shown(), "wss://127.0.0.1:1234");
        assert!(
            local
                .secret
                .unwrap()
                .from()
                .starts_with("gateway.auth.token in ")
        );
        write("{ gateway: { mode: 'remote', remote: { url: 'ws://gw:5', token: 'y' } } }");
        let remote = found(None, &environment);
        assert_eq!(
            (remote.shown().as_str(), remote.secret.unwrap().expose()),
            ("ws://gw:5", "y")
        );
    }

    #[test]
    fn what_is_no_url_is_refused_without_its_secrets() {
        let environment = Environment::parse(b"");
        for wrong in ["gw:18789", "ftp://gw", "unix:relative", "", "ws://"] {
            let error = Target::find(Some(wrong), None, &environment);
            assert!(matches!(error, Err(TargetError::Url { .. })), "{wrong}");
        }
        let error = Target::find(Some("x://user:canary@gw?token=canary"), None, &environment);
        assert!(!error.unwrap_err().to_string().contains("canary"));
    }
}
