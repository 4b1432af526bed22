//! Lists the rule files, so that adding a verdict rule is adding one file.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo sets it")?);
    let folder = root.join("src/verdict/rules");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder)? {
        names.extend(rule_name(&entry?.path()));
    }
    names.sort();

    let mut code = String::new();
    for name in &names {
        let path = folder.join(format!("{name}.rs"));
        let path = path
            .to_str()
            .ok_or("the path of the sources is not UTF-8")?;
        writeln!(code, "#[path = {path:?}]\nmod {name};")?;
    }
    code.push_str("/// Every rule file's rules.\npub(super) static FILES: &[&[Rule]] = &[\n");
    for name in &names {
        writeln!(code, "    {name}::RULES,")?;
    }
    code.push_str("];\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets it")?);
    fs::write(out.join("rules.rs"), code)?;
    Ok(())
}

fn rule_name(path: &Path) -> Option<String> {
    if path.extension()? != "rs" {
        return None;
    }
    Some(path.file_stem()?.to_str()?.to_owned())
}
