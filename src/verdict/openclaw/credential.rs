//! Advice about credentials: which source takes precedence, what an odd form means, how to compare
//! a fingerprint with the gateway's own value.

use super::skew::Release;
use crate::session::credential::{CHECK_RECIPE, Credential, Shape};
use crate::session::record::Evidence;
use crate::verdict::view::{View, fact, short};

/// Default path of `OpenClaw`'s configuration.
const CONFIG_FILE: &str = "~/.openclaw/openclaw.json";

/// The first release of which the precedence is known (read in 2026.9.6).
const CONFIG_FIRST: Release = Release(2026, 9, 0);

impl View<'_> {
    /// Which of two sources of a token takes precedence; this differs between versions.
    #[must_use]
    pub fn precedence(&self) -> String {
        let text = match (self.gateway_version(), self.gateway_release()) {
            (Some(version), Some(release)) if release >= CONFIG_FIRST => format!(
                "in {} a flag comes before the configuration and that before OPENCLAW_GATEWAY_TOKEN \
                 (local mode; with OPENCLAW_GATEWAY_URL or --url the client's configuration does \
                 not count)",
                short(version)
            ),
            (Some(version), Some(_)) => format!(
                "gateway {} is older than 2026.9: OPENCLAW_GATEWAY_TOKEN may come before the \
                 configuration there, so look at both",
                short(version)
            ),
            _ => {
                "since 2026.9 the configuration comes before OPENCLAW_GATEWAY_TOKEN in local mode, \
                  a flag before both; older guides say the reverse"
                    .to_owned()
            }
        };
        self.names().apply(text)
    }
}

/// The oddity of a value and how to correct it; the worst first.
#[must_use]
pub(crate) fn odd_form(credential: &Credential) -> Option<(&'static str, &'static str)> {
    const FORMS: [(Shape, &str, &str); 8] = [
        (
            Shape::Empty,
            "is empty",
            "set it: the variable that it comes from is empty or not set",
        ),
        (
            Shape::Redacted,
            "is what a program prints in the place of a secret",
            "put the real value in its place: `openclaw config get` and logs hide secrets \
             (`__OPENCLAW_REDACTED__`), so copy it from openclaw.json itself or from where it was made",
        ),
        (
            Shape::Placeholder,
            "is a placeholder that nobody filled in",
            "put the real value in its place (a template such as ${VAR} was not expanded)",
        ),
        (
            Shape::Assignment,
            "is a whole line with a name in front (NAME=value)",
            "keep what follows the `=`, and take off the name, `export` and quotes in front of it",
        ),
        (
            Shape::Scheme,
            "has an authentication scheme in front (`Bearer `)",
            "take `Bearer ` off: the field takes the token alone",
        ),
        (
            Shape::Url,
            "is a URL with the token in it",
            "keep what follows `token=` in it, and nothing else",
        ),
        (
            Shape::Quoted,
            "has its quotes on",
            "take the quotes off (a Docker --env-file keeps them)",
        ),
        (
            Shape::Newline,
            "has a line break inside",
            "send one line: the file or variable that it comes from holds several",
        ),
    ];
    // Blanks and line breaks at the ends are harmless: the gateway trims them.
    FORMS
        .iter()
        .find(|(shape, ..)| credential.shape.contains(shape))
        .map(|(_, form, mend)| (*form, *mend))
}

/// Sessions that were accepted with the inner part of this value (without quotes, scheme or name):
/// they prove that the extra characters are the only fault.
#[must_use]
pub(crate) fn inner_that_works(view: &View<'_>, credential: &Credential) -> Option<Evidence> {
    let inner = credential.inner.as_deref()?;
    let context = view.record().context.as_ref()?;
    let of_client = context
        .other_credentials
        .iter()
        .find(|other| other.accepted && other.fingerprint == inner);
    let of_others = context
        .working
        .as_ref()
        .filter(|used| used.fingerprint == inner);
    let (who, last_at) = match (of_client, of_others) {
        (Some(other), _) => ("the same client address", other.last_at),
        (None, Some(used)) => ("another client", used.last_at),
        (None, None) => return None,
    };
    Some(fact(format!(
        "without that it is {inner}, with which the gateway let {who} in, the last until {last_at}"
    )))
}

/// A fingerprint that `wstap fingerprint` can reproduce, and that is safe to paste. One made with a
/// key that exists only while the tap runs cannot be compared; a record from a file may hold
/// anything.
#[must_use]
pub(crate) fn comparable(fingerprint: &str) -> Option<&str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-');
    (!fingerprint.starts_with("hmac:run-") && fingerprint.chars().all(plain)).then_some(fingerprint)
}

/// How to compare a credential with the value of `key` in the gateway's configuration. Every rule
/// that gives this advice uses this text.
#[must_use]
pub(crate) fn compare(credential: Option<&Credential>, key: &str) -> String {
    let Some(sent) = credential else {
        return format!("give the client the value that the gateway has under {key}");
    };
    let short = format!(
        "a value of {} characters is too short for a fingerprint that others can make",
        sent.length
    );
    match comparable(&sent.fingerprint) {
        Some(print) if is_plain(print) => format!(
            "on the gateway host run {}; if it does not print the digits of {print}, give the client \
             the gateway's value",
            gateway_recipe(print, key)
        ),
        Some(print) => format!(
            "{short}: run {}; if it is not {print}, give the client the gateway's value",
            gateway_recipe(print, key)
        ),
        None => format!(
            "{short}: give the client the gateway's value under {key}, better a longer one (`openssl \
             rand -hex 24`); with fingerprint_key_file set short ones can be compared too"
        ),
    }
}

/// Command that prints the fingerprint of the gateway's own value. A gateway's host has Node and
/// coreutils, but may not have wstap; only a keyed fingerprint needs wstap.
#[must_use]
pub(crate) fn gateway_recipe(fingerprint: &str, key: &str) -> String {
    let variable = if key.ends_with("password") {
        "OPENCLAW_GATEWAY_PASSWORD"
    } else {
        "OPENCLAW_GATEWAY_TOKEN"
    };
    if is_plain(fingerprint) {
        format!(
            "`{}` (or, where {variable} is set there, `{}`)",
            node_recipe(key),
            shell_recipe(variable)
        )
    } else {
        format!(
            "`wstap fingerprint --file {CONFIG_FILE} --key {key} --fingerprint-key-file FILE` with the \
             tap's fingerprint_key_file"
        )
    }
}

/// Command that prints the fingerprint of a client's variable, without wstap where possible.
#[must_use]
pub(crate) fn client_recipe(fingerprint: &str) -> String {
    const VARIABLE: &str = "OPENCLAW_GATEWAY_TOKEN";
    if is_plain(fingerprint) {
        format!("`{}` prints that of a variable", shell_recipe(VARIABLE))
    } else {
        format!(
            "`wstap fingerprint --env {VARIABLE} --fingerprint-key-file FILE` prints that of a variable, \
             with the tap's fingerprint_key_file"
        )
    }
}

const PLAIN: &str = "sha256:";

/// Whether anyone can compute this fingerprint. A record from a file may hold any text.
fn is_plain(fingerprint: &str) -> bool {
    fingerprint.starts_with(PLAIN) && comparable(fingerprint).is_some()
}

/// The recipe of [`crate::session::credential::CHECK_RECIPE`] for one variable.
fn shell_recipe(variable: &str) -> String {
    CHECK_RECIPE.replace("TOKEN", variable)
}

/// Node evaluates the gateway's configuration (JSON5 is a subset of JavaScript; `node -e` has its modules as
/// globals) and prints the hash of a secret. It follows `$NAME` and `${NAME}` as the gateway does (2026.9.6) and prints
/// the name of a variable that is not set. Of a `SecretRef` it prints source and id. Errors are not shown, because V8
/// quotes the line that it cannot parse. It contains no blanks, where a terminal could wrap it.
const NODE_RECIPE: &str = r#"node -e 'try{e=process.env;v=vm.runInNewContext("("+fs.readFileSync(e.OPENCLAW_CONFIG_PATH||os.homedir()+"/.openclaw/openclaw.json")+")").KEY;console.log(v.source?v.source+":"+v.id:(n=/^\$([A-Z][A-Z\d_]{0,127}|\{[A-Z_][A-Z\d_]*})$/.exec(v=v.trim()))&&!(v=e[n=n[1].match(/\w+/)])?n+":unset":crypto.createHash("sha256").update(v.trim()).digest("hex").slice(0,8))}catch{console.log("unreadable")}'"#;

fn node_recipe(key: &str) -> String {
    NODE_RECIPE.replace("KEY", key)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The command is pasted into a shell: one pair of single quotes, one line.
    #[test]
    fn the_recipe_for_node_can_be_pasted() {
        let recipe = node_recipe("gateway.auth.token");
        assert_eq!(recipe.matches('\'').count(), 2);
        assert!(
            !recipe.contains(['\n', '`']) && !recipe.contains("  "),
            "{recipe}"
        );
        assert_eq!(recipe.matches(' ').count(), 2, "{recipe}");
        assert!(recipe.contains(").gateway.auth.token;"), "{recipe}");
    }
}
