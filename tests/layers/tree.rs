//! The modules of a crate with their files, and which file imports which.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::source::{Named, Source};

/// A module by its path from the crate's root: `["ws", "frame"]`.
type ModulePath = Vec<String>;

/// The modules of one crate. Files that only tests have are not in it.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// The module's file, relative to the repository. Inline modules are in their parent's file.
    modules: BTreeMap<ModulePath, String>,
    files: Vec<File>,
}

#[derive(Debug)]
struct File {
    name: String,
    module: ModulePath,
    source: Source,
}

/// An import of one file by another, with the path that was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Import {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) written: String,
}

impl Tree {
    /// Follows the declarations from the root file on, for example `src/lib.rs`.
    pub(super) fn of(repository: &Path, root: &str) -> Self {
        let mut tree = Self::default();
        let read = |name: &str| fs::read_to_string(repository.join(name));
        let is_file = |name: &str| repository.join(name).is_file();
        tree.add(&read, &is_file, root, Vec::new(), true);
        tree
    }

    /// Adds a file and what it declares. `owns_folder`: its children are beside it, as those of `lib.rs` and `mod.rs`.
    fn add<E: std::fmt::Debug>(
        &mut self,
        read: &impl Fn(&str) -> Result<String, E>,
        is_file: &impl Fn(&str) -> bool,
        name: &str,
        module: ModulePath,
        owns_folder: bool,
    ) {
        let source = Source::read(&read(name).unwrap_or_else(|error| panic!("{name}: {error:?}")));
        let folder = Path::new(name).parent().expect("the folder of a file");
        let children = if owns_folder {
            folder.to_owned()
        } else {
            Path::new(name).with_extension("")
        };
        for declared in &source.declared {
            let module = [module.as_slice(), std::slice::from_ref(&declared.name)].concat();
            if let Some(path) = &declared.path {
                self.add(read, is_file, &plain(&folder.join(path)), module, true);
                continue;
            }
            if let Some(path) = &declared.elsewhere {
                self.add(
                    read,
                    is_file,
                    &plain(&folder.join(path)),
                    module.clone(),
                    true,
                );
            }
            let file = plain(&children.join(format!("{}.rs", declared.name)));
            let in_folder = plain(&children.join(&declared.name).join("mod.rs"));
            if is_file(&file) {
                self.add(read, is_file, &file, module, false);
            } else {
                self.add(read, is_file, &in_folder, module, true);
            }
        }
        self.modules.insert(module.clone(), name.to_owned());
        let name = name.to_owned();
        self.files.push(File {
            name,
            module,
            source,
        });
    }

    /// A crate of these files, the first of which is the root.
    pub(super) fn of_texts(files: &[(&str, &str)]) -> Self {
        let text = |name: &str| {
            let found = files.iter().find(|(it, _)| *it == name);
            found.map(|(_, text)| (*text).to_owned())
        };
        let mut tree = Self::default();
        let read = |name: &str| text(name).ok_or("no such file");
        let is_file = |name: &str| text(name).is_some();
        tree.add(&read, &is_file, files[0].0, Vec::new(), true);
        tree
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.name.as_str())
    }

    /// Every import of another file. A declaration (`mod x;`) is none.
    pub(super) fn imports(&self) -> BTreeSet<Import> {
        let mut imports = BTreeSet::new();
        for file in &self.files {
            for named in &file.source.named {
                if let Some(to) = self.resolve(&file.module, named)
                    && to != file.name
                {
                    imports.insert(Import {
                        from: file.name.clone(),
                        to: to.to_owned(),
                        written: named.segments.join("::"),
                    });
                }
            }
        }
        imports
    }

    /// The file of the innermost module that the path names; `None` for paths into other crates and for names that were
    /// imported, whose import has been seen.
    fn resolve(&self, module: &ModulePath, named: &Named) -> Option<&str> {
        let mut at = [module.as_slice(), &named.within].concat();
        let mut segments = named.segments.iter().map(String::as_str).peekable();
        match segments.peek().copied()? {
            "crate" => {
                at.clear();
                segments.next();
            }
            "self" => {
                segments.next();
            }
            "super" => {
                while segments.next_if_eq(&"super").is_some() {
                    at.pop();
                }
            }
            first => {
                at.push(first.to_owned());
                if !self.modules.contains_key(&at) {
                    return None;
                }
                segments.next();
            }
        }
        for segment in segments {
            at.push(segment.to_owned());
            if !self.modules.contains_key(&at) {
                at.pop();
                break;
            }
        }
        // An inline module is in the file of the module around it.
        while !self.modules.contains_key(&at) {
            at.pop()?;
        }
        self.modules.get(&at).map(String::as_str)
    }
}

/// Without `..`, and with `/` between the names.
fn plain(path: &Path) -> String {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain.display().to_string()
}

#[test]
fn imports_lead_to_files() {
    let tree = Tree::of_texts(&[
        (
            "src/lib.rs",
            "pub mod ws; #[path = \"../shared/mod.rs\"] mod shared;",
        ),
        (
            "src/ws.rs",
            "mod frame; pub mod scanner; pub use frame::Header; use self::scanner::{Scanner, deep};",
        ),
        (
            "src/ws/frame.rs",
            "use super::{Header, scanner::deep::Depth}; use crate::shared; use std::fmt; mod kernel { use super::super::X; }",
        ),
        (
            "src/ws/scanner.rs",
            "pub mod deep; fn f() { deep::g(); frame::h(); }",
        ),
        (
            "src/ws/scanner/deep.rs",
            "use super::super::frame::Header as H; mod inner { use super::Y; }",
        ),
        ("shared/mod.rs", "mod talk;"),
        ("shared/talk.rs", "use super::Failure;"),
    ]);
    let imports: Vec<String> = (tree.imports().iter())
        .map(|import| format!("{} {} {}", import.from, import.written, import.to))
        .collect();
    let expected = [
        "shared/talk.rs super::Failure shared/mod.rs",
        "src/ws.rs frame::Header src/ws/frame.rs",
        "src/ws.rs self::scanner::Scanner src/ws/scanner.rs",
        "src/ws.rs self::scanner::deep src/ws/scanner/deep.rs",
        "src/ws/frame.rs crate::shared shared/mod.rs",
        "src/ws/frame.rs super::scanner::deep::Depth src/ws/scanner/deep.rs",
        "src/ws/frame.rs super::Header src/ws.rs",
        "src/ws/frame.rs super::super::X src/ws.rs",
        "src/ws/scanner.rs deep::g src/ws/scanner/deep.rs",
        "src/ws/scanner/deep.rs super::super::frame::Header src/ws/frame.rs",
    ];
    let mut expected: Vec<String> = expected.map(str::to_owned).to_vec();
    expected.sort();
    let mut imports = imports;
    imports.sort();
    assert_eq!(imports, expected);
}
