//! No circle of files: a reader can read first what a file imports, and a change of one does not reach itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::path::Path;

use super::tree::{Import, Tree};

#[test]
fn no_folder_has_a_circle_of_files() {
    let imports = super::tree_of_src().imports();
    assert!(imports.len() > 500, "almost no import was found");
    let circles = circles(&imports);
    assert!(circles.is_empty(), "\n{}", shown(&circles, &imports));
}

#[test]
fn benches_have_no_circle_of_files() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut imports = BTreeSet::new();
    for root in [
        "attach/main.rs",
        "gates/main.rs",
        "scanner.rs",
        "tap/main.rs",
    ] {
        imports.extend(Tree::of(repository, &format!("benches/{root}")).imports());
    }
    assert!(imports.len() > 100, "almost no import was found");
    let circles = circles(&imports);
    assert!(circles.is_empty(), "\n{}", shown(&circles, &imports));
}

/// Files each of which leads to each other one.
type Circle = BTreeSet<String>;

fn circles(imports: &BTreeSet<Import>) -> BTreeSet<Circle> {
    let mut graph: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for import in imports {
        graph.entry(&import.from).or_default().insert(&import.to);
    }
    let led_to: BTreeMap<&str, BTreeSet<&str>> =
        (graph.keys().map(|file| (*file, reached(&graph, file)))).collect();
    let mutual = |file: &str| -> Circle {
        let all = led_to[file].iter();
        all.filter(|other| led_to.get(**other).is_some_and(|it| it.contains(file)))
            .map(|&other| other.to_owned())
            .collect()
    };
    (graph.keys().map(|file| mutual(file)))
        .filter(|circle| circle.len() > 1)
        .collect()
}

/// The files that this one imports, and those that they import, and so on.
fn reached<'a>(graph: &BTreeMap<&'a str, BTreeSet<&'a str>>, file: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut left = VecDeque::from([file]);
    while let Some(file) = left.pop_front() {
        for next in graph.get(file).into_iter().flatten() {
            if reached.insert(*next) {
                left.push_back(next);
            }
        }
    }
    reached
}

/// For each circle its files, and every import that is a part of it.
fn shown(circles: &BTreeSet<Circle>, imports: &BTreeSet<Import>) -> String {
    let mut text = String::new();
    for circle in circles {
        let _ = writeln!(
            text,
            "{} files import each other in a circle; move what they share to a file below them:",
            circle.len()
        );
        for import in imports {
            let Import { from, to, written } = import;
            if circle.contains(from) && circle.contains(to) {
                let _ = writeln!(text, "  {from} imports {to} ({written})");
            }
        }
    }
    text
}

#[test]
fn a_circle_is_found_with_its_files() {
    let tree = Tree::of_texts(&[
        ("src/lib.rs", "mod ws; mod sink;"),
        (
            "src/ws.rs",
            "mod close; mod frame; mod opcode; mod scanner; pub use close::CloseCode; pub use frame::Header;",
        ),
        (
            "src/ws/close.rs",
            "use super::scanner::Violation; use super::opcode::Opcode;",
        ),
        ("src/ws/scanner.rs", "use super::frame::{self, Header};"),
        (
            "src/ws/frame.rs",
            "fn f(code: crate::ws::close::CloseCode) {}",
        ),
        ("src/ws/opcode.rs", "use std::fmt;"),
        ("src/sink.rs", "use crate::ws::{CloseCode, Header};"),
    ]);
    let imports = tree.imports();
    let circles = circles(&imports);
    assert_eq!(
        shown(&circles, &imports),
        "3 files import each other in a circle; move what they share to a file below them:\n\
         \x20 src/ws/close.rs imports src/ws/scanner.rs (super::scanner::Violation)\n\
         \x20 src/ws/frame.rs imports src/ws/close.rs (crate::ws::close::CloseCode)\n\
         \x20 src/ws/scanner.rs imports src/ws/frame.rs (super::frame)\n\
         \x20 src/ws/scanner.rs imports src/ws/frame.rs (super::frame::Header)\n"
    );
}

#[test]
fn a_parent_whose_item_a_child_imports_is_in_a_circle_with_it() {
    for import in [
        "use super::*;",
        "use crate::ws::{Opcode};",
        "fn f() -> super::Opcode {}",
    ] {
        let tree = Tree::of_texts(&[
            ("src/lib.rs", "mod ws;"),
            ("src/ws.rs", "mod frame; fn g() { frame::f(); }"),
            ("src/ws/frame.rs", import),
        ]);
        assert_eq!(circles(&tree.imports()).len(), 1, "{import}");
    }
}

#[test]
fn comments_tests_and_declarations_make_no_circle() {
    let tree = Tree::of_texts(&[
        ("src/lib.rs", "mod ws;"),
        ("src/ws.rs", "mod frame; mod close; pub struct Opcode;"),
        (
            "src/ws/frame.rs",
            "use super::Opcode; use super::close::Code; // use super::frame::X;\n \
             pub(in crate::ws) fn f() {} \
             #[cfg(test)] mod tests { use super::*; use super::super::close::Code; }",
        ),
        (
            "src/ws/close.rs",
            "//! See [`super::frame`].\n/* use super::frame::Header; */ const A: &str = \"use super::frame::X;\"; \
             #[cfg(test)] use super::frame::Header; \
             #[cfg(test)] mod tests { const B: &str = \"}\"; use super::super::frame::Header; }",
        ),
    ]);
    assert_eq!(circles(&tree.imports()), BTreeSet::new());
}
