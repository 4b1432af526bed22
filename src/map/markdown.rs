//! The map for merge requests and tickets: a paragraph, a mermaid graph, and the claims of ports.

use std::fmt::Write as _;

use super::graph::{Claim, Edge, Map};
use crate::probe::formats::{cell, commands};
use crate::verdict::words::human_ms;

/// The map as GitHub Flavored Markdown.
pub(super) fn markdown(map: &Map) -> String {
    let outcome = match &map.broken {
        Some(broken) => format!(
            "**broken**: {}. Next: {}",
            cell(&broken.because),
            commands(&broken.next)
        ),
        None => "nothing is broken".to_owned(),
    };
    let mut text = format!(
        "### wstap map {}\n\nIn {}: {outcome}.\n\n```mermaid\nflowchart TD\n",
        cell(&map.target),
        human_ms(map.ms)
    );
    for node in &map.nodes {
        let _ = writeln!(
            text,
            "    n{}[\"{}: {}\"]",
            node.id,
            node.kind.word(),
            quoted(&node.label)
        );
    }
    for edge in &map.edges {
        let _ = writeln!(text, "    n{} {} n{}", edge.from, arrow(edge), edge.to);
    }
    text.push_str("```\n");
    let unverified = map.edges.iter().filter_map(|edge| {
        let why_not = edge.why_not.as_ref()?;
        let to = map.nodes.get(edge.to)?;
        Some((to, why_not))
    });
    for (to, why_not) in unverified {
        let _ = writeln!(
            text,
            "\n- not verified, {} {}: {}",
            to.kind.word(),
            cell(&to.label),
            cell(why_not)
        );
    }
    if !map.claims.ports.is_empty() {
        text.push_str("\n| port | for | has it | leads to | wanted by |\n|---|---|---|---|---|\n");
    }
    for port in &map.claims.ports {
        let _ = writeln!(text, "{}", row(port));
    }
    if let Some(why_not) = &map.claims.why_not {
        let _ = writeln!(text, "\nContainers: {}", cell(why_not));
    }
    text
}

fn row(port: &Claim) -> String {
    let owner = (port.owner.as_ref()).map_or("nobody", |owner| owner.label.as_str());
    let leads_to = port.leads_to.as_deref().unwrap_or("not known");
    let wanted: Vec<String> = (port.wanted_by.iter())
        .map(|it| format!("{} ({})", it.container.words(), it.state))
        .collect();
    format!(
        "| {} | {} | {} | {} | {} |",
        port.port,
        cell(&port.purpose),
        cell(owner),
        cell(leads_to),
        cell(&wanted.join(", "))
    )
}

fn arrow(edge: &Edge) -> &'static str {
    match (&edge.broken, edge.by) {
        (Some(_), _) => "--x|broken|",
        (None, Some(super::graph::By::Socket)) => "-->|socket|",
        (None, Some(super::graph::By::Proc)) => "-->|proc|",
        (None, Some(super::graph::By::Engine)) => "-->|engine|",
        (None, None) => "-.->|not verified|",
    }
}

/// Escapes text for a mermaid label, with mermaid's own entities.
fn quoted(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '#' => plain.push_str("#35;"),
            '"' => plain.push_str("#quot;"),
            '<' => plain.push_str("#lt;"),
            '>' => plain.push_str("#gt;"),
            '&' => plain.push_str("#amp;"),
            // It would end the block, or begin markup.
            '`' => plain.push('\''),
            '\n' | '\r' => plain.push(' '),
            char => plain.push(char),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_ends_no_graph() {
        assert_eq!(
            quoted("a\"] --> x[\"<b>\n``` #1"),
            "a#quot;] --#gt; x[#quot;#lt;b#gt; ''' #35;1"
        );
    }
}
