//! `docs/verdicts.md`, made from the registry.

use std::fmt::Write as _;

use super::registry::rules;
use crate::session::record::Class;

/// The page: every class with its rules.
#[must_use]
pub fn page() -> String {
    let mut page = String::from(
        "# Verdicts\n\n\
         Made from the rules themselves; do not edit. A record carries one verdict: that of the\n\
         first rule, in order of precedence, that finds something.\n",
    );
    for class in Class::ALL {
        let mut of_class = rules()
            .iter()
            .filter(|rule| rule.class == class)
            .collect::<Vec<_>>();
        if of_class.is_empty() {
            continue;
        }
        of_class.sort_by_key(|rule| rule.id);
        let layer = class
            .layer()
            .map_or_else(String::new, |layer| format!(" ({layer:?})"));
        let _ = write!(page, "\n## `{class}`{layer}\n");
        for rule in of_class {
            let _ = write!(
                page,
                "\n### `{}`\n\n**{}.** Ended by: {}. To act: {}.\n\n{}\n\n\
                 Needs: {}. Known of: {}.\n\nNext: {}\n",
                rule.id,
                rule.title,
                rule.party.as_str(),
                serde_json::to_value(rule.act_on)
                    .ok()
                    .and_then(|value| value.as_str().map(str::to_owned))
                    .unwrap_or_default(),
                rule.explanation,
                rule.evidence,
                rule.known_of(),
                rule.action,
            );
        }
    }
    page
}
