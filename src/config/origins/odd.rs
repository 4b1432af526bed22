//! Legal but odd settings of `origins`: key path and message of each warning.

use super::gateway_file::GatewayFile;
use super::{DenyWith, MissingOrigin, Origins};
use crate::admission::origin::gateway::DeadEntry;
use crate::admission::origin::policy::Mode;
use crate::session::record::Miss;

/// Maximum number of entries with a warning of their own.
const MOST: usize = 20;

/// Everything odd, each as key path and message.
pub(in crate::config) fn odd(origins: &Origins) -> Vec<(&'static str, String)> {
    let mut odd = Vec::new();
    let mut say = |key, message: &str| odd.push((key, message.to_owned()));
    let list = &origins.allowed;
    if list.allows_any() {
        say(
            "origins.allowed",
            if list.origins().is_empty() {
                "\"*\" allows every web page to connect"
            } else {
                "\"*\" allows every web page to connect; the other entries have no effect"
            },
        );
    }
    let file = origins.gateway_file.as_ref();
    let listed = !list.is_empty() || file.is_some_and(|file| !file.list().is_empty());
    let mode = origins.policy_at_start().mode();
    match origins.mode {
        Some(Mode::Enforce) if !listed => say(
            "origins.mode",
            "nothing is listed: every page is refused; add origins to origins.allowed",
        ),
        Some(Mode::Report) if listed => say(
            "origins.mode",
            "origins that are not listed are recorded and let through",
        ),
        Some(Mode::Off) if listed => say("origins.mode", "`off`: the list has no effect"),
        _ => {}
    }
    if origins.missing == MissingOrigin::Deny {
        say(
            "origins.missing",
            match mode {
                Mode::Enforce => {
                    "clients without an Origin are refused: that is every native client (command \
                     line, nodes, apps)"
                }
                Mode::Report => {
                    "`deny` is only recorded: nothing is refused in mode report, which is the \
                     default while nothing is listed"
                }
                Mode::Off => "`deny` has no effect in mode off",
            },
        );
    }
    if origins.deny_with == DenyWith::Close && mode != Mode::Enforce {
        let message = format!("`close` has no effect: nothing is refused in mode {mode}");
        say("origins.deny_with", &message);
    }
    odd.extend(
        file.into_iter()
            .flat_map(GatewayFile::odd)
            .map(|message| ("origins.from_gateway_config", message)),
    );
    odd
}

impl GatewayFile {
    /// The odd things about it: entries that never match, with the corrected line, and the like.
    /// Reported at the start, and when the file has changed.
    #[must_use]
    pub fn odd(&self) -> Vec<String> {
        let list = self.list().dead();
        let mut odd: Vec<String> = list.iter().take(MOST).map(dead).collect();
        if list.len() > MOST {
            odd.push(format!(
                "and {} more of the gateway's entries never match",
                list.len() - MOST
            ));
        }
        if self.list().allows_any() {
            odd.push("\"*\" in the gateway's list allows every web page to connect".to_owned());
        }
        if self.host_fallback() {
            odd.push(
                "dangerouslyAllowHostHeaderOriginFallback is set: a page of any host name that leads \
                 here is let in"
                    .to_owned(),
            );
        }
        if self.includes() {
            odd.push(
                "the file has $include; what it includes is not read: list such origins in \
                 origins.allowed too"
                    .to_owned(),
            );
        }
        odd
    }
}

/// An entry that never matches, with the corrected line.
fn dead(dead: &DeadEntry) -> String {
    let text = dead.text.as_str();
    let never = match dead.why {
        Miss::TrailingSlash => "ends with a slash",
        Miss::DefaultPort => "names the default port",
        Miss::Wildcard => "has a wildcard, and the only wildcard is \"*\" alone",
        Miss::Scheme => "has no scheme",
        Miss::Path => "is more than an origin",
        Miss::Userinfo => "has a user name",
        Miss::List => "is a list; each origin needs an entry of its own",
        Miss::Null => "is `null`, which proves nothing and is never let in",
        Miss::Placeholder => {
            return format!(
                "the gateway fills in its entry {text}, which is unknown here: list that origin in \
                 origins.allowed too"
            );
        }
        Miss::Spelling => "is not written as browsers write it",
        _ => "is not an origin",
    };
    let instead = match (&dead.meant, dead.why) {
        (Some(meant), _) => format!(": write \"{meant}\""),
        (None, Miss::Wildcard) => {
            ": write each host on a line of its own, such as \"https://app.example.com\"".to_owned()
        }
        (None, _) => ": take it out".to_owned(),
    };
    format!("the gateway never matches its entry {text}, which {never}{instead}")
}
