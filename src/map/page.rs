//! The map for people: at most 24 lines of 80 columns, from the client down.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Color, Style};

use super::claims::is_ingress;
use super::graph::{Claims, Map, Node};
use crate::terminal::Look;
use crate::terminal::text::{blanks, columns, cut, pad, wrap};
use crate::verdict::words::human_ms;

/// Lines of a terminal of standard size.
const LINES: usize = 24;

/// Columns of a terminal of standard size.
const COLUMNS: usize = 80;

/// Width of the columns for the mark and the kind.
const MARK: usize = 6;
const KIND: usize = 9;

/// Maximum number of lines for claims, for a reason and for advice.
const CLAIMS: usize = 5;
const REASON: usize = 4;
const NEXT: usize = 4;

/// Lines of one part.
#[derive(Clone)]
struct Part {
    style: Style,
    lines: Vec<String>,
}

/// The whole page.
pub(super) fn text(map: &Map, look: Look) -> String {
    let width = look.page().min(COLUMNS);
    let bold = Style::new().bold();
    let title = cut(&format!("{} ({})", map.target, map.taken_from), width);
    let mut last: Vec<Part> = Vec::new();
    if let Some(broken) = &map.broken {
        last.push(indented("next: ", &broken.next, width, NEXT, Style::new()));
    }
    last.push(Part {
        style: Style::new(),
        lines: claims(&map.claims, width),
    });
    last.push(Part {
        style: bold,
        lines: vec![cut(&outcome(map), width)],
    });
    let taken: usize = 1 + last.iter().map(|it| it.lines.len()).sum::<usize>();
    let mut parts = vec![Part {
        style: bold,
        lines: vec![title],
    }];
    parts.extend(nodes(map, width, LINES.saturating_sub(taken)));
    parts.extend(last);
    let mut text = String::new();
    for part in &parts {
        let style = part.style;
        for line in &part.lines {
            let _ = writeln!(text, "{style}{line}{style:#}");
        }
    }
    text
}

/// The nodes within `room` lines: explanations are cut first, then nodes in the middle.
fn nodes(map: &Map, width: usize, room: usize) -> Vec<Part> {
    let build = |most: usize, explains: bool| -> Vec<Part> {
        let nodes = map.nodes.iter();
        nodes
            .map(|it| node(map, it, width, most, explains))
            .collect()
    };
    let lines = |parts: &[Part]| parts.iter().map(|it| it.lines.len()).sum::<usize>();
    for (most, explains) in [(REASON, true), (1, true), (1, false)] {
        let parts = build(most, explains);
        if lines(&parts) <= room {
            return parts;
        }
    }
    let parts = build(1, false);
    let broken = map.broken.as_ref().and_then(|it| map.edges.get(it.edge));
    let broken = broken.map_or(usize::MAX, |edge| edge.to);
    let mut kept = vec![true; parts.len()];
    // Cut from the last but one up to the second, except around the broken edge.
    let middle = 1..parts.len().saturating_sub(1);
    for at in middle.rev().filter(|at| at.abs_diff(broken) > 1) {
        if lines(&without(&parts, &kept)) <= room {
            break;
        }
        if let Some(it) = kept.get_mut(at) {
            *it = false;
        }
    }
    let mut parts = without(&parts, &kept);
    parts.truncate(room);
    parts
}

/// The parts that are kept, with a line in place of the others.
fn without(parts: &[Part], kept: &[bool]) -> Vec<Part> {
    let style = Style::new().dimmed();
    let mut shown = Vec::new();
    let mut left_out = 0;
    for (part, kept) in parts.iter().zip(kept) {
        if !kept {
            left_out += 1;
            continue;
        }
        if left_out > 0 {
            let lines = vec![format!("  {}… {left_out} more", blanks(MARK + 2))];
            shown.push(Part { style, lines });
            left_out = 0;
        }
        shown.push(part.clone());
    }
    shown
}

/// A node, and the edge that leads to it.
fn node(map: &Map, node: &Node, width: usize, most: usize, explains: bool) -> Part {
    let edge = map.edges.iter().find(|it| it.to == node.id);
    let mark = match edge {
        None => "from",
        Some(edge) if edge.broken.is_some() => "BROKEN",
        Some(edge) => edge.by.map_or("?", super::graph::By::word),
    };
    let colour = match mark {
        "BROKEN" => Some(AnsiColor::Red),
        "?" => Some(AnsiColor::Yellow),
        _ => None,
    };
    let style = Style::new().fg_color(colour.map(Color::Ansi));
    let front = format!("  {}  {}  ", pad(mark, MARK), pad(node.kind.word(), KIND));
    let mut part = indented(&front, &node.label, width, most, style);
    let broken = edge.and_then(|it| it.broken.as_deref());
    let why_not = edge.and_then(|it| it.why_not.as_deref());
    let said = match (broken, why_not) {
        (Some(broken), _) => Some(broken.to_owned()),
        (None, Some(why_not)) if explains => Some(format!("not verified: {why_not}")),
        _ => None,
    };
    if let Some(said) = said {
        let margin = blanks(columns(&front));
        let most = if broken.is_some() { REASON } else { most };
        part.lines
            .extend(indented(&margin, &said, width, most, style).lines);
    }
    part
}

fn outcome(map: &Map) -> String {
    let took = human_ms(map.ms);
    let unverified = map.edges.iter().filter(|it| !it.verified).count();
    let words = |id: usize| map.nodes.get(id).map_or("?", |it| it.kind.word());
    match map.broken.as_ref().and_then(|it| map.edges.get(it.edge)) {
        Some(edge) => format!("broken: {} → {}, {took}", words(edge.from), words(edge.to)),
        None if unverified == 0 => format!("nothing is broken, every edge is verified, {took}"),
        None if unverified == 1 => format!("nothing is broken, 1 edge is not verified, {took}"),
        None => format!("nothing is broken, {unverified} edges are not verified, {took}"),
    }
}

fn claims(claims: &Claims, width: usize) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for port in &claims.ports {
        let owner = (port.owner.as_ref()).map_or("nobody has it", |owner| owner.label.as_str());
        let mut line = format!("  {} {}: {owner}", port.port, port.purpose);
        let is_ingress = is_ingress(port);
        match &port.leads_to {
            Some(gateway) if is_ingress => {
                let _ = write!(line, " → {gateway}");
            }
            None if is_ingress => line.push_str(" → gateway not known"),
            _ => {}
        }
        all.push(line);
        for wanting in &port.wanted_by {
            let failed = if wanting.error.is_some() {
                ", could not start"
            } else {
                ""
            };
            let words = wanting.container.words();
            all.push(format!("    wanted by {words}: {}{failed}", wanting.state));
        }
    }
    if claims.gateways.len() > 1 {
        let names: Vec<String> = (claims.gateways.iter())
            .map(|it| format!("{} {}", it.container.words(), it.state))
            .collect();
        all.push(format!("  gateways: {}", names.join("; ")));
    }
    if let Some(why_not) = &claims.why_not {
        all.push(format!("  containers: {why_not}"));
    }
    let more = all.len().saturating_sub(CLAIMS);
    if more > 0 {
        all.truncate(CLAIMS - 1);
        all.push(format!("  … {} more", more + 1));
    }
    all.iter().map(|line| cut(line, width)).collect()
}

/// Wrapped text after `front`, in at most `most` lines.
fn indented(front: &str, text: &str, width: usize, most: usize, style: Style) -> Part {
    let margin = columns(front);
    let room = width.saturating_sub(margin);
    let wrapped = wrap(text, room);
    let mut lines: Vec<String> = Vec::new();
    for (nth, line) in wrapped.iter().take(most).enumerate() {
        let before = if nth == 0 {
            front.to_owned()
        } else {
            blanks(margin)
        };
        let is_cut = nth + 1 == most && wrapped.len() > most;
        let line = if is_cut {
            cut(&format!("{line} …"), room)
        } else {
            line.clone()
        };
        lines.push(format!("{before}{line}"));
    }
    Part { style, lines }
}

#[cfg(test)]
mod tests {
    use super::super::graph::{By, Graph, InContainer, Kind, Owner, Wanting};
    use super::super::graph::{Claim, Gateway, SCHEMA};
    use super::*;

    fn container(name: &str) -> InContainer {
        InContainer {
            id: "1f".repeat(32),
            name: Some(name.to_owned()),
            project: Some(name.to_owned()),
            service: None,
            image: None,
        }
    }

    /// A map with `count` nodes, whose edge `broken` is broken, if it exists.
    fn map(count: usize, label: &str, broken: usize, ports: u16) -> Map {
        let mut graph = Graph::default();
        for nth in 0..count {
            let node = graph.add(Node::new(Kind::Address, &format!("{nth} {label}")));
            if node > 0 {
                let edge = if nth % 2 == 0 {
                    graph.seen(node - 1, node, By::Socket)
                } else {
                    graph.unseen(node - 1, node, label)
                };
                if edge == broken {
                    graph.breaks(edge, label, label);
                }
            }
        }
        let owner = Owner {
            label: label.to_owned(),
            pid: None,
            container: None,
            by: By::Proc,
        };
        let wanting = Wanting {
            container: container(label),
            state: label.to_owned(),
            error: None,
        };
        let gateway = Gateway {
            container: container(label),
            state: label.to_owned(),
        };
        let port = |port| Claim {
            port,
            purpose: "webhooks".to_owned(),
            owner: Some(owner.clone()),
            wanted_by: vec![wanting.clone(); 3],
            leads_to: Some(label.to_owned()),
        };
        Map {
            schema: SCHEMA,
            at: jiff::Timestamp::UNIX_EPOCH,
            target: format!("ws://{label}"),
            taken_from: label.to_owned(),
            nodes: graph.nodes,
            edges: graph.edges,
            broken: graph.broken,
            claims: Claims {
                gateways: vec![gateway; 3],
                ports: (0..ports).map(port).collect(),
                why_not: Some(label.to_owned()),
            },
            ms: 1.0,
        }
    }

    #[test]
    fn whatever_there_is_fits_a_terminal() {
        let labels = [
            "a".to_owned(),
            "a word and another ".repeat(20),
            "x".repeat(400),
            "広い".repeat(90),
        ];
        for count in [1_usize, 2, 5, 12, 13, 20, 40] {
            for label in &labels {
                for broken in [0, 1, count / 2, count.saturating_sub(2), usize::MAX] {
                    for ports in [0, 1, 9] {
                        let map = map(count, label, broken, ports);
                        for width in [None, Some(40), Some(80), Some(120)] {
                            let look = Look {
                                styled: false,
                                width,
                            };
                            let text = anstream::adapter::strip_str(&text(&map, look)).to_string();
                            let lines: Vec<&str> = text.lines().collect();
                            assert!(lines.len() <= LINES, "{}:\n{text}", lines.len());
                            for line in lines {
                                assert!(columns(line) <= COLUMNS, "{line}");
                            }
                            let named = text.contains("BROKEN") && text.contains("next: ");
                            assert_eq!(named, map.broken.is_some(), "{broken}:\n{text}");
                            assert!(text.contains("from    address    0"), "{text}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_left_out_is_counted_where_it_was() {
        for broken in [usize::MAX, 19] {
            let map = map(40, "a", broken, 1);
            let look = Look {
                styled: false,
                width: None,
            };
            let text = anstream::adapter::strip_str(&text(&map, look)).to_string();
            let (mut next, mut gaps) = (0, 0);
            for line in text.lines().skip(1) {
                let words: Vec<&str> = line.split_whitespace().collect();
                match words[..] {
                    ["…", left_out, "more"] if next < 40 => {
                        next += left_out.parse::<usize>().unwrap();
                        gaps += 1;
                    }
                    [_, "address", nth, "a"] => {
                        assert_eq!(nth.parse::<usize>().unwrap(), next, "{text}");
                        next += 1;
                    }
                    _ => {}
                }
            }
            assert_eq!(next, 40, "{text}");
            assert!(gaps > 0, "{text}");
        }
    }
}
