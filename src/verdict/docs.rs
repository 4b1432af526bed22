//! Generates `docs/verdicts.md` from the registry.

use std::fmt::Write as _;

use super::precedence::{PRECEDENCE, Step};
use super::registry::rules;
use crate::session::record::Class;

/// The page: every class with its rules, then their precedence.
#[must_use]
pub(crate) fn page() -> String {
    let mut page = String::from(
        "# Verdicts\n\n\
         Made from the rules themselves; do not edit. A record carries one verdict: that of the\n\
         first rule that matches; [what is asked before what](#what-is-asked-before-what) is at the end.\n",
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
    page.push_str(&precedence());
    page
}

/// The section on the order in which rules are tried.
fn precedence() -> String {
    let mut text = String::from(
        "\n## What is asked before what\n\n\
         The stages are tried in this order, and within a stage the steps. The rules of one step \
         exclude\neach other, so that their order has no meaning. `src/verdict/precedence` says \
         why a step comes\nbefore another.\n",
    );
    for (stage, steps) in PRECEDENCE {
        let (title, reason, facts) = (stage.title(), stage.reason(), stage.looks_at());
        let _ = write!(text, "\n### {title}\n\n{reason} Looks at: {facts}.\n\n");
        for (index, step) in steps.iter().enumerate() {
            let _ = writeln!(text, "{}. {}", index + 1, links(step));
        }
    }
    text
}

/// The rules of a step, each with a link to its heading.
fn links(step: Step) -> String {
    let link = |id: &&str| format!("[`{id}`](#{})", id.replace('.', ""));
    step.iter().map(link).collect::<Vec<_>>().join(", ")
}
