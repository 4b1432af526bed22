//! Finds other rules of the packet filter that would conflict with ours.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::nft::{self, NftError};
use super::obstacle::Obstacle;
use super::rules::{Plan, TABLE};

/// The existing rules of the packet filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    tables: Vec<Value>,
}

impl Filter {
    /// Reads the ruleset.
    pub(super) fn read() -> Result<Self, NftError> {
        let text = nft::read(&["-j", "list", "ruleset"])?;
        let value: Value = serde_json::from_str(&text)
            .map_err(|error| NftError::Refused(format!("its JSON cannot be read: {error}")))?;
        let tables = value.get("nftables").and_then(Value::as_array).cloned();
        Ok(Self {
            tables: tables.unwrap_or_default(),
        })
    }

    /// The names of all tables but ours.
    pub(super) fn others(&self) -> BTreeSet<String> {
        let tables = self.tables.iter().filter_map(|entry| entry.get("table"));
        let names =
            tables.map(|table| format!("{} {}", text(table, "family"), text(table, "name")));
        names.filter(|name| name != TABLE).collect()
    }

    /// Chains that may drop connections which are redirected to the tap's own port: in the input
    /// hook they have that port.
    pub(super) fn may_drop(&self) -> Vec<String> {
        let chains: Vec<Chain> = self.chains();
        let by_name: BTreeMap<&str, &Chain> = chains
            .iter()
            .map(|chain| (chain.name.as_str(), chain))
            .collect();
        let base = chains.iter().filter(|chain| chain.is_input);
        let dropping = base.filter(|chain| {
            chain.drops_by_policy || reaches_a_drop(chain, &by_name, &mut BTreeSet::new())
        });
        dropping.map(|chain| chain.name.clone()).collect()
    }

    /// Chains that already redirect the port.
    pub(super) fn redirecting(&self, port: u16) -> Vec<String> {
        let rules = self.tables.iter().filter_map(|entry| entry.get("rule"));
        let redirecting = rules.filter(|rule| {
            let expr = rule.get("expr").map(Value::to_string).unwrap_or_default();
            let has = |word: &str| expr.contains(word);
            let nat =
                has("\"dnat\"") || has("\"redirect\"") || has("\"DNAT\"") || has("\"REDIRECT\"");
            nat && has("\"dport\"") && has(&format!("\"right\":{port}"))
        });
        let named = redirecting.map(|rule| chain_name(rule, "chain"));
        named.filter(|name| !name.starts_with(TABLE)).collect()
    }

    /// Whether somebody else's rule matches or sets marks of packets or connections. nft does not show the rules of
    /// iptables-legacy, so its tables count as doing so.
    pub(super) fn uses_marks(&self) -> bool {
        let rules = self.tables.iter().filter_map(|entry| entry.get("rule"));
        let mut others = rules.filter(|rule| !chain_name(rule, "chain").starts_with(TABLE));
        let marks = |rule: &Value| {
            let statements = rule.get("expr").and_then(Value::as_array);
            statements.into_iter().flatten().any(|statement| {
                let Some(extension) = statement.get("xt") else {
                    // `meta mark` and `ct mark`, at any depth.
                    return statement.to_string().contains("\"key\":\"mark\"");
                };
                // Extensions of iptables. Older versions of nft do not name them.
                let name = text(extension, "name").to_ascii_lowercase();
                name.is_empty()
                    || name.contains("mark")
                    || ["set", "socket", "rpfilter", "tproxy"].contains(&name.as_str())
            })
        };
        others.any(marks) || has_legacy(|_| true)
    }

    fn chains(&self) -> Vec<Chain> {
        let mut chains: BTreeMap<String, Chain> = BTreeMap::new();
        for chain in self.tables.iter().filter_map(|entry| entry.get("chain")) {
            let name = chain_name(chain, "name");
            if name.starts_with(TABLE) {
                continue;
            }
            let known = Chain {
                name: name.clone(),
                is_input: text(chain, "hook") == "input" && text(chain, "type") == "filter",
                drops_by_policy: text(chain, "policy") == "drop",
                drops: false,
                jumps: Vec::new(),
            };
            chains.insert(name, known);
        }
        for rule in self.tables.iter().filter_map(|entry| entry.get("rule")) {
            let Some(chain) = chains.get_mut(&chain_name(rule, "chain")) else {
                continue;
            };
            let (family, table) = (text(rule, "family"), text(rule, "table"));
            let statements = rule.get("expr").and_then(Value::as_array);
            for statement in statements.into_iter().flatten() {
                let has = |word: &str| statement.get(word).is_some();
                // Targets of iptables that nft only names.
                let target = statement.get("xt").map(|xt| text(xt, "name"));
                let ends = target.is_some_and(|name| ["REJECT", "DROP", "NFQUEUE"].contains(&name));
                chain.drops |= has("drop") || has("reject") || has("queue") || ends;
                for word in ["jump", "goto"] {
                    if let Some(to) = statement.get(word) {
                        let to = text(to, "target");
                        chain.jumps.push(format!("{family} {table} {to}"));
                    }
                }
            }
        }
        chains.into_values().collect()
    }
}

/// The parts of a chain that the search for drops needs.
#[derive(Clone, Debug)]
struct Chain {
    name: String,
    is_input: bool,
    drops_by_policy: bool,
    drops: bool,
    jumps: Vec<String>,
}

fn reaches_a_drop<'a>(
    chain: &'a Chain,
    chains: &BTreeMap<&str, &'a Chain>,
    seen: &mut BTreeSet<&'a str>,
) -> bool {
    if !seen.insert(&chain.name) {
        return false;
    }
    let jumps = chain
        .jumps
        .iter()
        .filter_map(|name| chains.get(name.as_str()));
    chain.drops
        || jumps
            .into_iter()
            .any(|next| reaches_a_drop(next, chains, seen))
}

fn chain_name(of: &Value, key: &str) -> String {
    let (family, table, chain) = (text(of, "family"), text(of, "table"), text(of, key));
    format!("{family} {table} {chain}")
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Firewalls and other redirects that would conflict with ours.
pub(super) fn obstacles(filter: &Filter, plan: &Plan, port_is_chosen: bool) -> Vec<Obstacle> {
    let mut obstacles = Vec::new();
    let port = plan.port;
    let redirecting = filter.redirecting(port);
    if !redirecting.is_empty() {
        obstacles.push(Obstacle::new(
            format!("port {port} is already redirected, by {}", redirecting.join(", ")),
            "attach at the target of that redirect: use its port, and --in for its network namespace",
        ));
    }
    let mut dropping = filter.may_drop();
    if has_legacy(|table| table == "filter") {
        dropping.push("the table `filter` of iptables-legacy".to_owned());
    }
    if !dropping.is_empty() && !plan.local_only && !port_is_chosen {
        obstacles.push(Obstacle::new(
            format!(
                "a firewall may drop remote connections once they are redirected to the tap's own port: {}",
                dropping.join(", ")
            ),
            "choose a port, allow it there (for an nftables chain: `nft insert rule FAMILY TABLE CHAIN tcp \
             dport 18790 ct status dnat accept`) and add --tap-port 18790; or use --local-only",
        ));
    }
    obstacles
}

/// Whether iptables-legacy has such a table; nft does not show them.
fn has_legacy(is_such: impl Fn(&str) -> bool) -> bool {
    ["/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"]
        .iter()
        .any(|path| {
            let names = std::fs::read_to_string(path).unwrap_or_default();
            names.lines().any(&is_such)
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(entries: &Value) -> Filter {
        Filter {
            tables: entries.as_array().unwrap().clone(),
        }
    }

    fn base(name: &str, hook: &str, policy: &str) -> Value {
        json!({ "chain": { "family": "inet", "table": "filter", "name": name, "type": "filter",
            "hook": hook, "prio": 0, "policy": policy } })
    }

    fn rule(chain: &str, expr: &Value) -> Value {
        json!({ "rule": { "family": "inet", "table": "filter", "chain": chain, "expr": expr } })
    }

    #[test]
    fn a_policy_a_rule_and_a_chain_behind_a_jump_may_drop() {
        let policy = of(&json!([base("input", "input", "drop")]));
        assert_eq!(policy.may_drop(), ["inet filter input"]);
        let plain = json!({ "chain": { "family": "inet", "table": "filter", "name": "ban" } });
        let behind = of(&json!([
            base("input", "input", "accept"),
            plain,
            rule("input", &json!([{ "jump": { "target": "ban" } }])),
            rule("ban", &json!([{ "reject": null }])),
        ]));
        assert_eq!(behind.may_drop(), ["inet filter input"]);
    }

    #[test]
    fn chains_that_accept_and_those_of_other_hooks_do_not_matter() {
        let filter = of(&json!([
            base("input", "input", "accept"),
            base("forward", "forward", "drop"),
            rule("input", &json!([{ "counter": null }, { "accept": null }])),
            rule("forward", &json!([{ "drop": null }])),
        ]));
        assert!(filter.may_drop().is_empty());
    }

    #[test]
    fn marks_are_seen_in_rules_of_nft_and_of_iptables() {
        let with = |expr: Value| of(&json!([rule("pre", &expr)])).uses_marks();
        assert!(with(
            json!([{ "mangle": { "key": { "meta": { "key": "mark" } }, "value": 1 } }])
        ));
        assert!(with(json!([{ "match": { "op": "==",
            "left": { "ct": { "key": "mark" } }, "right": 1 } }])));
        assert!(with(
            json!([{ "xt": { "type": "target", "name": "CONNMARK" } }])
        ));
        assert!(with(json!([{ "xt": { "type": "match", "name": "mark" } }])));
        assert!(with(json!([{ "xt": null }])), "not named");
        assert!(!with(json!([{ "counter": null }, { "accept": null }])));
        assert!(!with(
            json!([{ "comment": "benchmark" }, { "xt": { "name": "MASQUERADE" } }])
        ));
    }

    #[test]
    fn chains_that_jump_in_a_circle_end() {
        let filter = of(&json!([
            base("input", "input", "accept"),
            rule("input", &json!([{ "jump": { "target": "input" } }])),
        ]));
        assert!(filter.may_drop().is_empty());
    }

    #[test]
    fn a_redirect_of_the_same_port_is_found_and_one_of_another_is_not() {
        let dport = json!({ "payload": { "protocol": "tcp", "field": "dport" } });
        let of_port = |port: u16| json!({ "match": { "op": "==", "left": dport, "right": port } });
        let filter = of(&json!([rule(
            "pre",
            &json!([of_port(18789), { "dnat": { "addr": "10.0.0.2" } }])
        )]));
        assert_eq!(filter.redirecting(18789), ["inet filter pre"]);
        assert!(filter.redirecting(18790).is_empty());
    }
}
