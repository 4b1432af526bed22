//! Lists the rule files, so that adding a verdict rule is adding one file.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let folder = root.join("src/verdict/rules");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut names: Vec<String> = fs::read_dir(&folder)
        .expect("the rules folder is readable")
        .filter_map(|entry| rule_name(&entry.ok()?.path()))
        .collect();
    names.sort();

    let mut code = String::new();
    for name in &names {
        let path = folder.join(format!("{name}.rs"));
        writeln!(code, "#[path = {path:?}]\nmod {name};").expect("writing to a string");
    }
    code.push_str("/// Every rule file's rules.\npub(super) static FILES: &[&[Rule]] = &[\n");
    for name in &names {
        writeln!(code, "    {name}::RULES,").expect("writing to a string");
    }
    code.push_str("];\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("rules.rs"), code).expect("OUT_DIR is writable");
}

fn rule_name(path: &Path) -> Option<String> {
    if path.extension()? != "rs" {
        return None;
    }
    Some(path.file_stem()?.to_str()?.to_owned())
}
