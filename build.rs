//! Compiles the fixtures of the verdict rules, and the build facts that `wstap version` prints,
//! into the program.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo sets it")?);
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets it")?);
    fs::write(out.join("examples.rs"), examples(&root)?)?;
    compiler();
    Ok(())
}

/// Sets the compiler and the commit that `wstap version` prints. The commit comes from
/// `WSTAP_COMMIT`: calling git here would rebuild the crate after each commit.
fn compiler() {
    println!("cargo::rerun-if-env-changed=WSTAP_COMMIT");
    let commit = env::var("WSTAP_COMMIT").unwrap_or_default();
    println!("cargo::rustc-env=WSTAP_COMMIT={}", commit.trim());
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let told = Command::new(rustc).arg("--version").output();
    let told = told.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    println!("cargo::rustc-env=WSTAP_RUSTC={}", told.unwrap_or_default());
    let target = env::var("TARGET").unwrap_or_default();
    println!("cargo::rustc-env=WSTAP_TARGET={target}");
}

/// The fixture of each rule, which `wstap explain RULE` shows as an example: (id, record as JSON).
fn examples(root: &Path) -> Result<String, Box<dyn Error>> {
    let folder = root.join("tests/fixtures/verdicts");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if let (Some("json"), Some(id)) = (
            path.extension().and_then(|extension| extension.to_str()),
            path.file_stem().and_then(|stem| stem.to_str()),
        ) {
            // No JSON string holds a line break, so the indentation can go.
            let text: String = fs::read_to_string(&path)?.lines().map(str::trim).collect();
            found.push((id.to_owned(), text));
        }
    }
    found.sort();
    let mut code = String::from("/// See `build.rs`.\nstatic EXAMPLES: &[(&str, &str)] = &[\n");
    for (id, text) in found {
        writeln!(code, "    ({id:?}, {text:?}),")?;
    }
    code.push_str("];\n");
    Ok(code)
}
