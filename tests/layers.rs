//! Imports point downward only (`ARCHITECTURE.md`, "Layers"): a module may use the layers below it, and
//! nothing else. Tests may import what they like. Within a folder, and anywhere else, no files import each other in
//! a circle (`circles`). The interfaces of rustls that handle a client's TLS are named in one module (`seam`).

mod circles;
mod seam;
mod source;
mod tree;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use self::source::Source;
use self::tree::Tree;

/// The layers from top to bottom, as in `ARCHITECTURE.md`. A module may import every module of a
/// lower layer.
const LAYERS: &[&[&str]] = &[
    &["main", "cli"],
    // One file or folder a command.
    &[
        "attach",
        "check",
        "demo",
        "explain",
        "fingerprint",
        "health",
        "map",
        "probe",
        "serve",
        "sessions",
        "version",
    ],
    &["app"],
    &["admin", "proxy"],
    &["sink", "transport", "upstream"],
    &["config"],
    &["admission"],
    &["verdict"],
    &["dialect"],
    &["session"],
    &["ws"],
    // Exit codes, which every command shares; the CryptoProvider, for everything that uses TLS; the
    // terminal's properties, for everything that is printed for people; and the way into
    // namespaces, for commands that run beside a gateway.
    &["crypto", "exit", "place", "terminal"],
];

/// Imports within one layer: (importer, imported).
const WITHIN: &[(&str, &str)] = &[
    ("attach", "explain"),
    ("attach", "serve"),
    ("attach", "sessions"),
    ("demo", "serve"),
    ("main", "cli"),
    ("map", "probe"),
    ("upstream", "transport"),
];

/// One import of another top-level module.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Import {
    file: String,
    from: String,
    to: String,
}

#[test]
fn imports_point_downward() {
    let imports = imports();
    assert!(
        imports.len() > 20,
        "the reader of imports sees almost none: {imports:?}"
    );
    let broken: Vec<String> = imports.iter().filter_map(problem).collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn the_table_forbids_what_it_should() {
    let import = |from: &str, to: &str| {
        problem(&Import {
            file: String::new(),
            from: from.into(),
            to: to.into(),
        })
        .is_some()
    };
    assert!(import("ws", "session"));
    assert!(import("sink", "upstream"));
    assert!(import("app", "serve"));
    assert!(import("serve", "cli"));
    assert!(import("transport", "upstream"));
    assert!(import("admission", "config"));
    assert!(import("verdict", "newcomer"));
    assert!(!import("upstream", "transport"));
    assert!(!import("proxy", "ws"));
}

/// A file that is not read could import anything.
#[test]
fn every_file_is_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(&root.join("src"), &mut files);
    let tree = tree_of_src();
    let read: BTreeSet<&str> = tree.files().chain(["src/main.rs"]).collect();
    let unread: Vec<String> = (files.iter())
        .filter(|path| !is_for_tests(path))
        .map(|path| path.strip_prefix(root).expect("below the root"))
        .map(|path| path.display().to_string())
        .filter(|name| !read.contains(name.as_str()))
        .collect();
    assert!(unread.is_empty(), "\n{}", unread.join("\n"));
}

pub fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a source folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// A file that is declared under `#[cfg(test)]`, or is below such a one.
pub fn is_for_tests(path: &Path) -> bool {
    let name = path.file_stem().expect("a name").to_string_lossy();
    let folder = path.parent().expect("a folder");
    let declared = ["", "pub(crate) "].map(|seen| format!("#[cfg(test)]\n{seen}mod {name};"));
    let parents = [folder.with_extension("rs"), folder.join("lib.rs")];
    let parent = (parents.iter()).find(|parent| parent.is_file() && *parent != path);
    parent.is_some_and(|parent| {
        let text = fs::read_to_string(parent).expect("a source file");
        declared.iter().any(|one| text.contains(one)) || is_for_tests(parent)
    })
}

fn tree_of_src() -> Tree {
    Tree::of(Path::new(env!("CARGO_MANIFEST_DIR")), "src/lib.rs")
}

fn program() -> Source {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/main.rs");
    Source::read(&fs::read_to_string(path).expect("the program"))
}

fn problem(import: &Import) -> Option<String> {
    let Import { file, from, to } = import;
    let layer = |name: &str| LAYERS.iter().position(|layer| layer.contains(&name));
    let Some(own) = layer(from) else {
        return Some(format!(
            "{file}: `{from}` has no layer: add it to tests/layers.rs"
        ));
    };
    let Some(other) = layer(to) else {
        return Some(format!(
            "{file}: `{to}` has no layer: add it to tests/layers.rs"
        ));
    };
    let allowed = own < other || WITHIN.contains(&(from, to));
    (!allowed).then(|| format!("{file}: `{from}` must not import `{to}`"))
}

fn imports() -> BTreeSet<Import> {
    let mut imports = BTreeSet::new();
    for import in tree_of_src().imports() {
        let (from, to) = (module_of(&import.from), module_of(&import.to));
        // `lib.rs` declares the modules, and has no item of its own.
        if from != to && to != "lib" {
            imports.insert(Import {
                file: import.from,
                from,
                to,
            });
        }
    }
    // The program is a crate of its own, which imports the library by its name.
    for named in program().named {
        if let [library, module, ..] = named.segments.as_slice()
            && library == "wstap"
        {
            imports.insert(Import {
                file: "src/main.rs".to_owned(),
                from: "main".to_owned(),
                to: module.clone(),
            });
        }
    }
    imports
}

/// `relay` of `src/proxy/relay.rs` is not of interest, `proxy` is.
fn module_of(file: &str) -> String {
    let inner = file.strip_prefix("src/").expect("below src");
    let end = inner.find(['/', '.']).expect("a folder or a file");
    inner[..end].to_owned()
}
