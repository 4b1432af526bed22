//! References in place of a secret, as in OpenClaw's configuration (2026.9.6, "SecretRef"):
//! `{source, provider, id}`, `"${NAME}"` and `"$NAME"`.
//!
//! Environment variables and files are read. Programs and stores are only named: a fingerprint
//! command must not run somebody's program.

use std::fs::File;
use std::path::PathBuf;

use serde_json::Value;

use super::error::FingerprintError;
use super::input::{Found, drop_newline, read};
use super::kind::kind;
use super::limits::KEY_CAP;
use crate::session::credential::Secret;
use crate::session::text::PeerText;

/// The default provider, if the reference names none.
const DEFAULT: &str = "default";

/// Where the secret of a reference is stored.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reference {
    Env(String),
    File {
        provider: String,
        id: String,
    },
    /// A program that prints it, or the gateway's own store: only named.
    Elsewhere {
        source: &'static str,
        provider: String,
        id: String,
    },
}

/// File and key path of the reference, for errors.
type At<'a> = (&'a str, &'a str);

impl Reference {
    /// The reference in this value, if it is one.
    pub(super) fn of(value: &Value) -> Option<Self> {
        if let Value::String(text) = value {
            return env_shorthand(text.trim()).map(Self::Env);
        }
        let text = |name: &str| Some(value.get(name)?.as_str()?.to_owned());
        let id = text("id")?;
        let provider = text("provider").unwrap_or_else(|| DEFAULT.to_owned());
        Some(match value.get("source")?.as_str()? {
            "env" => Self::Env(id),
            "file" => Self::File { provider, id },
            "exec" => Self::Elsewhere {
                source: "exec",
                provider,
                id,
            },
            "store" => Self::Elsewhere {
                source: "store",
                provider,
                id,
            },
            _ => return None,
        })
    }

    /// The secret that the reference points to; `document` is the file that contains the reference.
    pub(super) fn follow(&self, document: &Value, at: At<'_>) -> Result<Found, FingerprintError> {
        let what = self.words();
        let fail = |why: String| FingerprintError::Reference {
            path: at.0.to_owned(),
            key: PeerText::new(at.1, 4 * KEY_CAP).into(),
            what: what.clone(),
            why,
        };
        let found = match self {
            Self::Env(name) => {
                let value = std::env::var_os(name).ok_or_else(|| {
                    fail(
                        "it is not set here: run this where the gateway runs, with the gateway's \
                         environment"
                            .to_owned(),
                    )
                })?;
                Found::plain(Secret::new(value.into_encoded_bytes()))
            }
            Self::File { provider, id } => from_file(document, provider, id).map_err(fail)?,
            Self::Elsewhere { source, .. } => {
                let how = if *source == "exec" {
                    "pipe what that provider's command gives into `wstap fingerprint --stdin`"
                } else {
                    "its value is in the gateway's own store, which wstap does not open"
                };
                return Err(fail(how.to_owned()));
            }
        };
        Ok(Found {
            followed: Some(what),
            ..found
        })
    }

    /// `environment variable NAME`, `file provider NAME, id ID`.
    fn words(&self) -> String {
        let shown = |text: &str| PeerText::new(text, 4 * KEY_CAP).to_string();
        match self {
            Self::Env(name) => format!("environment variable {}", shown(name)),
            Self::File { provider, id } => {
                format!("file provider {}, id {}", shown(provider), shown(id))
            }
            Self::Elsewhere {
                source,
                provider,
                id,
            } => format!("{source} provider {}, id {}", shown(provider), shown(id)),
        }
    }
}

/// The name in `${NAME}` or `$NAME`.
fn env_shorthand(text: &str) -> Option<String> {
    let rest = text.strip_prefix('$')?;
    let braced = rest
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    let name = braced.unwrap_or(rest);
    let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    let fits = name.starts_with(|c: char| c.is_ascii_uppercase()) && name.len() <= 128;
    (fits && name.bytes().all(plain)).then(|| name.to_owned())
}

/// The value of `id` in a provider's file, where the provider is defined in this document. An error
/// completes "found a reference to …; ".
fn from_file(document: &Value, provider: &str, id: &str) -> Result<Found, String> {
    let shown = |text: &str| PeerText::new(text, 4 * KEY_CAP).to_string();
    let providers = document.pointer("/secrets/providers");
    let entry = providers.and_then(|providers| providers.get(provider));
    let path = entry
        .and_then(|entry| entry.get("path"))
        .and_then(Value::as_str);
    let Some(path) = path else {
        let provider = shown(provider);
        return Err(format!(
            "no secrets.providers.{provider}.path in the same file names its file"
        ));
    };
    let path = home(path);
    let name = path.display().to_string();
    let failed = |error: String| format!("{error}; look at {name}");
    let mut file = File::open(&path).map_err(|error| failed(error.to_string()))?;
    let content = read(&mut file, &name).map_err(|error| error.to_string())?;
    let mode = entry
        .and_then(|entry| entry.get("mode"))
        .and_then(Value::as_str);
    if mode == Some("singleValue") {
        return Ok(drop_newline(&content));
    }
    // The parser's error quotes the input, so it is not shown.
    let parsed: Value = serde_json::from_slice(&content).map_err(|error| {
        failed(format!(
            "not JSON (line {}, column {})",
            error.line(),
            error.column()
        ))
    })?;
    match parsed.pointer(id) {
        Some(Value::String(text)) => Ok(Found::plain(Secret::from(text.clone()))),
        Some(other) => Err(failed(format!(
            "found {} there, expected a string",
            kind(other)
        ))),
        None => Err(failed(format!("nothing is under {} there", shown(id)))),
    }
}

/// `~/…` under the home folder, as the gateway resolves it.
fn home(path: &str) -> PathBuf {
    let rest = path.strip_prefix("~/");
    match (rest, std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => PathBuf::from(path),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TOKEN: &str = "CANARY-0123456789abcdef0123456789";

    fn follow(value: &Value, document: &Value) -> Result<(String, Option<String>), String> {
        let reference = Reference::of(value).expect("a reference");
        let found = reference.follow(document, ("openclaw.json", "gateway.auth.token"));
        let found = found.map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(found.secret.expose()).into_owned();
        Ok((text, found.followed))
    }

    #[test]
    fn only_the_gateways_own_forms_are_references() {
        for value in [
            json!("plain"),
            json!("$lower"),
            json!("${NAME"),
            json!("${NAME} and more"),
            json!("$"),
            json!({ "source": "env" }),
            json!({ "source": "http", "id": "X" }),
            json!(7),
        ] {
            assert_eq!(Reference::of(&value), None, "{value}");
        }
        for value in [
            json!("${A_NAME}"),
            json!(" $A_NAME "),
            json!({ "source": "env", "id": "A_NAME" }),
        ] {
            let expected = Reference::Env("A_NAME".to_owned());
            assert_eq!(Reference::of(&value), Some(expected), "{value}");
        }
    }

    #[test]
    fn the_environment_is_followed() {
        // Cargo sets this variable for every test.
        let (value, followed) = follow(&json!("${CARGO_PKG_NAME}"), &json!({})).unwrap();
        assert_eq!(value, "wstap");
        assert_eq!(followed.unwrap(), "environment variable CARGO_PKG_NAME");
        let error = follow(
            &json!({ "source": "env", "id": "WSTAP_NO_SUCH" }),
            &json!({}),
        )
        .unwrap_err();
        assert!(
            error.contains("environment variable WSTAP_NO_SUCH; it is not set here"),
            "{error}"
        );
    }

    #[test]
    fn files_are_followed_by_their_provider() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.json");
        let document = |mode: &str| {
            json!({ "secrets": { "providers": { "main": {
                "source": "file", "path": path, "mode": mode } } } })
        };
        let reference = |id: &str| json!({ "source": "file", "provider": "main", "id": id });
        std::fs::write(&path, format!(r#"{{"gw": {{"a/b": "{TOKEN}", "n": 1}}}}"#)).unwrap();
        let (value, followed) = follow(&reference("/gw/a~1b"), &document("json")).unwrap();
        assert_eq!(value, TOKEN);
        assert_eq!(followed.unwrap(), "file provider main, id /gw/a~1b");
        for (id, words) in [
            ("/gw/none", "nothing is under /gw/none"),
            ("/gw/n", "a number"),
        ] {
            let error = follow(&reference(id), &document("json")).unwrap_err();
            assert!(
                error.contains(words) && error.contains("secrets.json"),
                "{error}"
            );
            assert!(!error.contains(TOKEN), "{error}");
        }
        std::fs::write(&path, format!("{TOKEN}\n")).unwrap();
        let (value, _) = follow(&reference("value"), &document("singleValue")).unwrap();
        assert_eq!(value, TOKEN);
        let error = follow(&reference("/x"), &document("json")).unwrap_err();
        assert!(
            error.contains("not JSON (line 1") && !error.contains("CANARY"),
            "{error}"
        );
        let error = follow(&reference("/x"), &json!({})).unwrap_err();
        assert!(error.contains("no secrets.providers.main.path"), "{error}");
    }

    #[test]
    fn programs_are_named_and_not_run() {
        let exec = json!({ "source": "exec", "provider": "vault", "id": "gw/token" });
        let error = follow(&exec, &json!({})).unwrap_err();
        assert!(
            error.contains("exec provider vault, id gw/token; pipe what"),
            "{error}"
        );
        let store = json!({ "source": "store", "id": "TOKEN" });
        let error = follow(&store, &json!({})).unwrap_err();
        assert!(
            error.contains("store provider default, id TOKEN; its value"),
            "{error}"
        );
    }
}
