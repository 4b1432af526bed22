//! The target of a probe: the URL and its secret, found as the `OpenClaw` CLI finds them (2026.9.6,
//! `connection-details.ts`).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;
use url::{Host, Url};

use super::address::Address;
use super::device::{Device, DeviceError};
use super::inert::inert;
use super::proxy::Choice;
use super::whereabouts::Environment;
use crate::session::credential::Secret;

/// The gateway's default port.
const PORT: u16 = 18789;

/// `openclaw.json` is far smaller.
const MOST: u64 = 1 << 20;

/// Deeper nesting could exhaust the parser's stack.
const DEEPEST: usize = 128;

/// A secret, and where it came from.
pub(crate) struct Given {
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

    /// The secret itself, only for the connect request.
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
pub(crate) enum TargetError {
    // The URL is not shown: it may contain a secret.
    #[error("the URL {from}: expected ws, wss, http or https with a host, or unix:/path")]
    Url { from: String },
    #[error(
        "the URL {from}: a user name and password in the URL are not sent\n  to do: leave them out"
    )]
    UserInfo { from: String },
    #[error("with --in, --token-env and --token-file require a URL")]
    NoUrl,
    #[error("failed to read OpenClaw's configuration {}: {why}", path.display())]
    Configuration { path: PathBuf, why: String },
    #[error("--token-env: the environment variable {0} is not set, or empty")]
    NoVariable(String),
    #[error("--token-file {}: {why}", path.display())]
    TokenFile { path: PathBuf, why: String },
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// The target of a probe.
pub(crate) struct Target {
    pub(crate) address: Address,
    /// Path and query of the upgrade request.
    pub(crate) path: String,
    /// Where the URL came from, in words.
    pub(crate) taken_from: String,
    /// The secret, if there is one.
    pub(crate) secret: Option<Given>,
    /// The device that signs the connect request, if there is one.
    pub(super) device: Option<Device>,
    /// The only certificate to accept, in hexadecimal digits.
    pub(super) pin: Option<String>,
    /// Whether clients of this environment use a proxy.
    pub(super) proxy: Choice,
}

/// Hides the path, which may contain a secret.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.shown())
    }
}

impl Target {
    /// The named target, else that of the environment, of the configuration, or the default.
    pub(crate) fn find(
        named: Option<&str>,
        secret: Option<Given>,
        environment: &Environment,
        entered: bool,
    ) -> Result<Self, TargetError> {
        // The owner of the entered process must not choose where the operator's secret goes.
        if entered && named.is_none() && secret.is_some() {
            return Err(TargetError::NoUrl);
        }
        let from_environment = || {
            let variables = ["OPENCLAW_GATEWAY_TOKEN", "OPENCLAW_GATEWAY_PASSWORD"];
            variables.iter().find_map(|name| {
                let value = environment.get(name)?;
                Some(Given::new(value.to_owned(), (*name).to_owned()))
            })
        };
        if let Some(url) = named {
            // Like the CLI: a secret from the environment or the configuration is not sent to a URL
            // that was typed.
            return Self::parse(url, "from the command line", secret);
        }
        if let Some(url) = environment.get("OPENCLAW_GATEWAY_URL") {
            let secret = secret.or_else(from_environment);
            return Self::parse(url, "from OPENCLAW_GATEWAY_URL", secret);
        }
        // In an entered place, do not read a file that we may read and its process may not.
        let path = configuration_path(environment).filter(|_| !entered);
        let configuration = path.as_deref().map_or(Ok(None), read)?;
        let is_there = configuration.is_some();
        let configuration = configuration.unwrap_or_default();
        let at = |key: &str| configuration.pointer(key);
        let text = |key: &str| {
            let text = at(key).and_then(Value::as_str);
            text.filter(|text| !text.is_empty())
        };
        let shown = (path.as_deref()).map_or_else(String::new, |path| path.display().to_string());
        let configured = |keys: &[&str]| {
            keys.iter().find_map(|key| {
                let value = text(key)?;
                let variable = value
                    .strip_prefix("${")
                    .and_then(|rest| rest.strip_suffix('}'));
                let value = variable.map_or(Some(value), |name| environment.get(name))?;
                let key = key.trim_start_matches('/').replace('/', ".");
                Some(Given::new(value.to_owned(), format!("{key} in {shown}")))
            })
        };
        let is_remote = text("/gateway/mode") == Some("remote");
        if let Some(url) = text("/gateway/remote/url").filter(|_| is_remote) {
            let keys = ["/gateway/remote/token", "/gateway/remote/password"];
            let secret = secret.or_else(|| configured(&keys));
            let secret = secret.or_else(from_environment);
            let mut target =
                Self::parse(url, &format!("from gateway.remote.url in {shown}"), secret)?;
            target.pin = text("/gateway/remote/tlsFingerprint").and_then(digits);
            return Ok(target);
        }
        let variable = environment.get("OPENCLAW_GATEWAY_PORT");
        let by_variable = variable.and_then(|port| port.parse().ok());
        let port = at("/gateway/port").and_then(Value::as_u64);
        let port = port.and_then(|port| u16::try_from(port).ok());
        let taken_from = match (by_variable, is_there) {
            (Some(_), _) => "from OPENCLAW_GATEWAY_PORT".to_owned(),
            (None, true) => format!("from {shown}"),
            (None, false) => "the default".to_owned(),
        };
        let keys = ["/gateway/auth/token", "/gateway/auth/password"];
        let secret = secret.or_else(|| configured(&keys));
        Ok(Self {
            address: Address::Tcp {
                host: "127.0.0.1".to_owned(),
                port: by_variable.or(port).unwrap_or(PORT),
                tls: at("/gateway/tls/enabled") == Some(&Value::Bool(true)),
            },
            path: "/".to_owned(),
            taken_from,
            secret: secret.or_else(from_environment),
            device: None,
            pin: None,
            proxy: Choice::default(),
        })
    }

    fn parse(text: &str, from: &str, secret: Option<Given>) -> Result<Self, TargetError> {
        let wrong = || TargetError::Url {
            from: from.to_owned(),
        };
        let of = |address, path: String| Self {
            address,
            path,
            taken_from: from.to_owned(),
            secret,
            device: None,
            pin: None,
            proxy: Choice::default(),
        };
        if let Some(path) = text.strip_prefix("unix:") {
            let path = Path::new(path);
            if !path.is_absolute() {
                return Err(wrong());
            }
            return Ok(of(Address::Unix(path.to_owned()), "/".to_owned()));
        }
        let url = Url::parse(text).map_err(|_| wrong())?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TargetError::UserInfo {
                from: from.to_owned(),
            });
        }
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
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.address, Address::Tcp { tls: true, .. })
    }

    /// The URL without its path and query, which may contain a secret.
    pub(crate) fn shown(&self) -> String {
        let scheme = if self.is_tls() { "wss" } else { "ws" };
        match &self.address {
            Address::Tcp { .. } => format!("{scheme}://{}", self.authority()),
            Address::Unix(path) => inert(&format!("unix:{}", path.display())),
        }
    }

    /// Moves a unix socket's path below this folder.
    pub(crate) fn below(&mut self, root: &str) {
        if let Address::Unix(path) = &mut self.address {
            let inside = path.strip_prefix("/").unwrap_or(path);
            *path = Path::new(root).join(inside);
        }
    }

    /// Host and port, as in a Host header.
    pub(super) fn authority(&self) -> String {
        self.address.authority()
    }

    /// The Host header, without the scheme's default port.
    pub(crate) fn host(&self) -> String {
        let usual = if self.is_tls() { ":443" } else { ":80" };
        let authority = self.authority();
        authority
            .strip_suffix(usual)
            .map(str::to_owned)
            .unwrap_or(authority)
    }

    /// The target as a tap's `gateway.url`.
    pub(super) fn as_gateway_url(&self) -> String {
        let scheme = if self.is_tls() { "https" } else { "http" };
        match &self.address {
            Address::Tcp { .. } => format!("{scheme}://{}", self.authority()),
            Address::Unix(path) => format!("unix:{}", path.display()),
        }
    }
}

/// Path of the CLI's configuration, if there may be one.
fn configuration_path(environment: &Environment) -> Option<PathBuf> {
    if let Some(path) = environment.get("OPENCLAW_CONFIG_PATH") {
        return Some(path.into());
    }
    let state = environment.get("OPENCLAW_STATE_DIR").map(PathBuf::from);
    let home = || Some(Path::new(environment.get("HOME")?).join(".openclaw"));
    Some(state.or_else(home)?.join("openclaw.json"))
}

/// `None`: there is no such file.
fn read(path: &Path) -> Result<Option<Value>, TargetError> {
    let failed = |why: String| TargetError::Configuration {
        path: path.to_owned(),
        why,
    };
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error.to_string())),
    };
    if !metadata.is_file() || metadata.len() > MOST {
        return Err(failed(
            "it is not a regular file, or larger than 1 MiB".to_owned(),
        ));
    }
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    if depth(&text) > DEEPEST {
        return Err(failed("it is nested too deeply".to_owned()));
    }
    // The parser's error quotes its input, which may be a secret.
    let parsed = json5::from_str(&text);
    parsed
        .map(Some)
        .map_err(|_| failed("it is not JSON5".to_owned()))
}

/// Upper bound of the nesting depth: brackets in strings are counted as well.
fn depth(text: &str) -> usize {
    let mut depth: usize = 0;
    let mut deepest = 0;
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// The digits of a SHA-256 in one of the forms that `OpenClaw` accepts: with or without `sha256:`,
/// with or without colons.
fn digits(pin: &str) -> Option<String> {
    let pin = pin.trim().to_ascii_lowercase();
    let digits = pin.trim_start_matches("sha256:").replace(':', "");
    let is_one = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_one.then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(url: Option<&str>, environment: &str) -> Target {
        let environment = Environment::parse(environment.as_bytes());
        Target::find(url, None, &environment, false).unwrap()
    }

    #[test]
    fn a_url_that_was_named_gets_no_secret_of_the_environment() {
        let environment = "OPENCLAW_GATEWAY_URL=ws://a:1\0OPENCLAW_GATEWAY_TOKEN=t\0";
        let named = found(Some("wss://gw.example/x?token=s"), environment);
        assert!(named.secret.is_none());
        assert_eq!(named.shown(), "wss://gw.example:443");
        assert_eq!(named.path, "/x?token=s");
        let of_environment = found(None, environment);
        assert_eq!(of_environment.shown(), "ws://a:1");
        assert_eq!(of_environment.taken_from, "from OPENCLAW_GATEWAY_URL");
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
            let error = Target::find(Some(wrong), None, &environment, false);
            assert!(matches!(error, Err(TargetError::Url { .. })), "{wrong}");
        }
        for wrong in [
            "x://user:canary@gw?token=canary",
            "127.0.0.1:18789/#token=canary",
            "ws://user:canary@gw",
            "gw?token=a@canary",
        ] {
            let error = Target::find(Some(wrong), None, &environment, false).unwrap_err();
            assert!(!error.to_string().contains("canary"), "{wrong}");
        }
    }

    /// Neither its owner's configuration is read nor, without a URL, the operator's secret used.
    #[test]
    fn a_place_that_was_entered_gets_no_secret_but_its_own() {
        let environment = Environment::parse(b"OPENCLAW_GATEWAY_URL=ws://a:1\0");
        let given = Given::new("s".to_owned(), "--token-env S".to_owned());
        let error = Target::find(None, Some(given), &environment, true).unwrap_err();
        assert!(matches!(error, TargetError::NoUrl));
    }

    #[test]
    fn a_configuration_that_cannot_be_read_is_said() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("openclaw.json");
        let environment = format!("OPENCLAW_CONFIG_PATH={}\0", path.display());
        let environment = Environment::parse(environment.as_bytes());
        for text in ["{ canary", &"[".repeat(100_000)] {
            std::fs::write(&path, text).unwrap();
            let error = Target::find(None, None, &environment, false).unwrap_err();
            assert!(matches!(error, TargetError::Configuration { .. }));
            assert!(!error.to_string().contains("canary"));
        }
    }

    #[test]
    fn pins_are_read_in_every_form() {
        let hex = "ab".repeat(32);
        let colons = vec!["AB"; 32].join(":");
        for form in [
            hex.clone(),
            format!("sha256:{hex}"),
            colons.clone(),
            format!("SHA256:{colons}"),
        ] {
            assert_eq!(digits(&form), Some(hex.clone()), "{form}");
        }
        assert_eq!(digits("sha256:ab"), None);
    }
}
