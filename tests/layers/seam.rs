//! Only `src/transport/tls/engine` names the interfaces of rustls that handle a client's TLS. The
//! library replaces them from version to version, so a new version must change no other file.

use std::fs;
use std::path::Path;

use super::collect;
use super::source::{Named, Source};

/// The module and its parts.
const ENGINE: &str = "src/transport/tls/engine";

/// The engine's callers: these files name nothing of rustls at all.
const CALLERS: [&str; 3] = [
    "src/transport/tls/handshake.rs",
    "src/transport/tls/stream.rs",
    "src/transport/wire.rs",
];

#[test]
fn only_the_engine_names_the_interfaces_that_it_drives() {
    let mut engine = 0;
    let mut elsewhere = Vec::new();
    for (file, source) in sources() {
        for named in source.named.iter().filter(|named| is_driven(named)) {
            if file.starts_with(ENGINE) {
                engine += 1;
            } else {
                elsewhere.push(format!("{file}: {}", named.segments.join("::")));
            }
        }
    }
    assert!(elsewhere.is_empty(), "\n{}", elsewhere.join("\n"));
    assert!(engine > 0, "the engine drives other interfaces now");
}

#[test]
fn callers_of_the_engine_name_nothing_of_rustls() {
    let mut seen = 0;
    for (file, source) in sources() {
        if CALLERS.contains(&file.as_str()) {
            seen += 1;
            let rustls = source
                .named
                .iter()
                .find(|named| named.segments.iter().any(|it| it == "rustls"));
            assert_eq!(rustls, None, "{file}");
            let named = |it: &Named| it.segments.iter().any(|it| it == "TlsEngine");
            assert!(source.named.iter().any(named), "{file} is no caller");
        }
    }
    assert_eq!(seen, CALLERS.len(), "a caller has moved");
}

#[test]
fn every_way_to_name_them_is_found() {
    for text in [
        "use rustls::unbuffered::ConnectionState;",
        "use rustls::{Error, kernel as k};",
        "use rustls as r; fn f() -> r::unbuffered::UnbufferedStatus<'_, '_, ()> {}",
        "use rustls::server::UnbufferedServerConnection as Conn;",
        "struct S { keys: rustls::kernel::KernelConnection<()> }",
    ] {
        assert!(Source::read(text).named.iter().any(is_driven), "{text}");
    }
    let text = "use rustls::{ServerConfig, ServerConnection}; // rustls::kernel";
    assert!(!Source::read(text).named.iter().any(is_driven));
}

/// The interfaces for callers with buffers of their own, and for TLS in the kernel. Modules of ours may be named
/// `kernel`.
fn is_driven(named: &Named) -> bool {
    let segments = || named.segments.iter().map(String::as_str);
    segments()
        .any(|it| it == "unbuffered" || it == "KernelConnection" || it.starts_with("Unbuffered"))
        || segments()
            .zip(segments().skip(1))
            .any(|pair| pair == ("rustls", "kernel"))
}

/// Each file below `src`, without what only tests have.
fn sources() -> Vec<(String, Source)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(&root.join("src"), &mut files);
    files
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a source file");
            let name = path.strip_prefix(root).expect("below the root");
            (name.display().to_string(), Source::read(&text))
        })
        .collect()
}
