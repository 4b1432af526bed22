//! The gateway's channels, from its answer to `channels.status`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::report::Status;
use crate::session::text::PeerText;

/// Maximum number of accounts of each kind that are shown.
const MOST: usize = 40;

/// One account of a channel, in the answer to `channels.status`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Account {
    #[serde(rename = "accountId")]
    id: Option<String>,
    enabled: Option<bool>,
    configured: Option<bool>,
    running: Option<bool>,
    connected: Option<bool>,
}

/// Returns whether all accounts that are set up are up, the same in words, and the accounts.
pub(super) fn accounts(payload: &Value) -> (Status, String, Map<String, Value>) {
    let mut facts = Map::new();
    let (mut up, mut down) = (Vec::new(), Vec::new());
    let all = payload.get("channelAccounts").map(Deserialize::deserialize);
    let Some(Ok(all)) = all else {
        let because = "the answer to channels.status is not in the form of 2026.9".to_owned();
        return (Status::Warn, because, facts);
    };
    let all: BTreeMap<String, Vec<Account>> = all;
    for (channel, accounts) in &all {
        for account in accounts {
            // An account that nobody has set up is not down.
            if account.enabled == Some(false) || account.configured != Some(true) {
                continue;
            }
            let name = PeerText::new(
                &format!("{channel}/{}", account.id.as_deref().unwrap_or_default()),
                80,
            );
            let is_up = account.running == Some(true) && account.connected != Some(false);
            if is_up { &mut up } else { &mut down }.push(String::from(name));
        }
    }
    for names in [&mut up, &mut down] {
        names.truncate(MOST);
    }
    let because = match (up.as_slice(), down.as_slice()) {
        ([], []) => "no channel is set up".to_owned(),
        (up, []) => format!("up: {}", up.join(", ")),
        (_, down) => format!("down: {}", down.join(", ")),
    };
    let status = if down.is_empty() {
        Status::Pass
    } else {
        Status::Warn
    };
    facts.insert("up".to_owned(), json!(up));
    facts.insert("down".to_owned(), json!(down));
    (status, because, facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_that_nobody_has_set_up_are_not_down() {
        let payload = json!({ "channelAccounts": {
            "telegram": [{ "accountId": "default", "configured": true, "running": true, "connected": true }],
            "slack": [{ "accountId": "default", "configured": false, "running": false }],
            "signal": [{ "accountId": "old", "configured": true, "enabled": false }],
        }});
        let (status, words, facts) = accounts(&payload);
        assert_eq!(
            (status, words.as_str()),
            (Status::Pass, "up: telegram/default")
        );
        assert_eq!(facts["down"], json!([]));
        let down = json!({ "channelAccounts": {
            "telegram": [{ "accountId": "a", "configured": true, "running": true, "connected": false }],
            "slack": [{ "accountId": "b", "configured": true, "running": false }],
        }});
        let (status, words, _) = accounts(&down);
        assert_eq!(
            (status, words.as_str()),
            (Status::Warn, "down: slack/b, telegram/a")
        );
        assert_eq!(
            accounts(&json!({ "channelAccounts": {} })).1,
            "no channel is set up"
        );
        for other in [json!({}), json!({ "channelAccounts": 7 }), Value::Null] {
            assert_eq!(accounts(&other).0, Status::Warn, "{other}");
        }
    }
}
