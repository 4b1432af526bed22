//! The Dockerfile, by the rules that linters of Dockerfiles have, each with its reason.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::{document, path, read};

const FILE: &str = "deploy/Dockerfile";

/// One instruction, its lines joined.
#[derive(Debug)]
struct Instruction {
    name: String,
    rest: String,
}

impl Instruction {
    fn words(&self) -> Vec<&str> {
        self.rest.split_whitespace().collect()
    }

    /// The exec form: a list, with no shell between the engine and the program.
    fn exec(&self) -> Vec<String> {
        let start = self.rest.find('[').unwrap_or_else(|| panic!("{self:?}"));
        serde_json::from_str(&self.rest[start..])
            .unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }
}

fn instructions(text: &str) -> Vec<Instruction> {
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    let joined = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let lines = joined
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let split = lines.map(|line| {
        let (name, rest) = line.split_once(' ').expect("an instruction");
        let (name, rest) = (name.to_ascii_uppercase(), rest.trim().to_owned());
        Instruction { name, rest }
    });
    split.collect()
}

fn shipped() -> Vec<Instruction> {
    instructions(&read(FILE))
}

fn all<'a>(file: &'a [Instruction], name: &str) -> Vec<&'a Instruction> {
    file.iter().filter(|it| it.name == name).collect()
}

fn last<'a>(file: &'a [Instruction], name: &str) -> &'a Instruction {
    let found = all(file, name).pop();
    found.unwrap_or_else(|| panic!("no {name}"))
}

/// What is wrong with a Dockerfile by rules that hold for any.
fn complaints(file: &[Instruction]) -> Vec<String> {
    let mut found = Vec::new();
    let mut stages = BTreeSet::new();
    for from in all(file, "FROM") {
        let words = from.words();
        // The same name may be another image tomorrow: nobody could build this one again.
        match words[0].rsplit_once(':') {
            Some((_, "latest")) | None if !stages.contains(words[0]) => {
                found.push(format!("no version is pinned: FROM {}", from.rest));
            }
            _ => {}
        }
        if let [_, _, stage] = words[..] {
            stages.insert(stage);
        }
    }
    for instruction in file {
        match instruction.name.as_str() {
            // It fetches and unpacks by guessing; COPY does neither.
            "ADD" => found.push("ADD".to_owned()),
            // By way of a shell the program is not the one that SIGTERM reaches.
            "CMD" | "ENTRYPOINT" if !instruction.rest.starts_with('[') => {
                found.push(format!(
                    "shell form: {} {}",
                    instruction.name, instruction.rest
                ));
            }
            "HEALTHCHECK" if !instruction.rest.contains("CMD [") => {
                found.push(format!("shell form: HEALTHCHECK {}", instruction.rest));
            }
            // It stays in the image's history.
            "ENV" | "ARG"
                if ["TOKEN", "SECRET", "PASSWORD", "KEY"]
                    .iter()
                    .any(|it| instruction.rest.to_uppercase().contains(it)) =>
            {
                found.push(format!(
                    "a secret: {} {}",
                    instruction.name, instruction.rest
                ));
            }
            "RUN"
                if instruction.rest.contains("cargo build")
                    && !instruction.rest.contains("--locked") =>
            {
                found.push("cargo build without --locked".to_owned());
            }
            // More programs than are used, and lists that are old tomorrow.
            "RUN"
                if instruction.rest.contains("apt-get install")
                    && !["--no-install-recommends", "rm -rf /var/lib/apt/lists/*"]
                        .iter()
                        .all(|it| instruction.rest.contains(it)) =>
            {
                found.push(format!("RUN {}", instruction.rest));
            }
            "RUN" if instruction.rest.contains("sudo ") || instruction.rest.contains("| sh") => {
                found.push(format!("RUN {}", instruction.rest));
            }
            _ => {}
        }
    }
    // A number: what runs the container can see that it is not root without looking a name up.
    let user = all(file, "USER")
        .pop()
        .map(|it| it.rest.clone())
        .unwrap_or_default();
    let uid = user.split(':').next().and_then(|it| it.parse::<u32>().ok());
    if uid.is_none_or(|uid| uid == 0) {
        found.push(format!("runs as {user:?}"));
    }
    if all(file, "HEALTHCHECK").is_empty() {
        found.push("no HEALTHCHECK".to_owned());
    }
    found
}

#[test]
fn it_keeps_the_rules() {
    assert_eq!(complaints(&shipped()), Vec::<String>::new());
}

#[test]
fn a_breach_of_each_rule_is_noticed() {
    let text = read(FILE);
    let broken = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        complaints(&instructions(&text.replace(from, to)))
    };
    for (from, to) in [
        ("FROM debian:bookworm-slim", "FROM debian:latest"),
        ("FROM debian:bookworm-slim", "FROM debian"),
        ("USER 10001:10001", "USER root"),
        ("USER 10001:10001", "USER 0:0"),
        ("CMD [\"wstap\", \"health\"]", "CMD wstap health"),
        ("CMD [\"serve\",", "CMD serve # [\"serve\","),
        ("--locked ", ""),
        ("--no-install-recommends ", ""),
        (" \\\n    && rm -rf /var/lib/apt/lists/*", ""),
        ("COPY deploy/image.yaml", "ADD deploy/image.yaml"),
        ("ENV WSTAP_CONFIG=", "ENV TOKEN=x WSTAP_CONFIG="),
    ] {
        assert_eq!(broken(from, to).len(), 1, "{from} -> {to}");
    }
}

#[test]
fn it_agrees_with_the_other_files() {
    let file = shipped();
    let config = "/etc/wstap/wstap.yaml";
    assert_eq!(last(&file, "ENTRYPOINT").exec(), ["wstap"]);
    assert_eq!(last(&file, "CMD").exec(), ["serve", "--config", config]);
    assert_eq!(last(&file, "HEALTHCHECK").exec(), ["wstap", "health"]);
    // `wstap health` learns there where the admin listener is.
    assert_eq!(last(&file, "ENV").rest, format!("WSTAP_CONFIG={config}"));
    assert_eq!(last(&file, "STOPSIGNAL").rest, "SIGTERM");
    let image = document("deploy/image.yaml");
    assert!(
        image["admin"]["listen"].is_string(),
        "health has nobody to ask"
    );
    let state = image["state_dir"].as_str().expect("a folder");
    assert_eq!(last(&file, "VOLUME").exec(), [state]);
    // The volume takes its owner and mode from the image, and is closed to all but the user. Only files
    // below a folder that is copied keep them.
    let (user, group) = last(&file, "USER").rest.split_once(':').expect("a group");
    let made = format!("install -d -m 0700 -o {user} -g {group} /out{state}");
    assert!(
        all(&file, "RUN").iter().any(|it| it.rest.contains(&made)),
        "{made}"
    );
    let copied = |it: &&Instruction| it.rest == "--from=build /out /";
    assert!(all(&file, "COPY").iter().any(copied));
    let port = format!(":{}", last(&file, "EXPOSE").rest);
    assert!(
        image["listeners"][0]["listen"]
            .as_str()
            .is_some_and(|it| it.ends_with(&port))
    );

    let manifest = read("Cargo.toml");
    let of_manifest = |key: &str| {
        let line = manifest.lines().find_map(|line| line.strip_prefix(key));
        line.expect("a line of Cargo.toml")
            .trim_matches([' ', '=', '"'])
            .to_owned()
    };
    assert_eq!(
        all(&file, "ARG")[0].rest,
        format!("VERSION={}", of_manifest("version"))
    );
    let compiler = format!("rust:{}-", of_manifest("rust-version"));
    assert!(
        all(&file, "FROM")[0].rest.starts_with(&compiler),
        "{compiler}"
    );
    let tag = format!("wstap:{}", of_manifest("version"));
    for name in ["deploy/compose.yaml", "deploy/compose.shared.yaml"] {
        let image = document(name)["services"]["wstap"]["image"].clone();
        assert!(
            image.as_str().is_some_and(|it| it.contains(&tag)),
            "{name}: {image}"
        );
    }
}

/// A build without `--target` makes the tap alone, and neither image runs as root by default.
#[test]
fn the_image_for_attach_is_the_stage_before_the_last() {
    let file = shipped();
    let is_attach = |it: &Instruction| it.name == "FROM" && it.rest.ends_with(" AS attach");
    let start = file.iter().position(is_attach).expect("a stage");
    let stage = &file[start + 1..];
    let end = stage.iter().position(|it| it.name == "FROM");
    let (attach, rest) = stage.split_at(end.expect("another stage"));
    assert_eq!(all(rest, "FROM").len(), 1, "it is the last one");
    assert_eq!(rest[0].rest, "base");
    let base = &file[..start];
    assert_eq!(last(base, "FROM").words()[1..], ["AS", "base"]);
    assert_eq!(last(attach, "USER").rest, last(rest, "USER").rest);
    let installed = &last(attach, "RUN").rest;
    assert!(installed.contains(" iproute2 nftables "), "{installed}");
    let page = read("deploy/README.md");
    let tag = format!("wstap:{}-attach", env!("CARGO_PKG_VERSION"));
    assert!(page.contains(&format!("--target attach -t {tag} .")));
}

/// An image is as small as the program gets, and its build needs no other image than those it names.
#[test]
fn the_program_is_shipped_without_debug_information_and_no_frontend_is_pulled() {
    let text = read(FILE);
    assert!(
        !text.contains("syntax="),
        "the frontend is an image as well"
    );
    let profile = read("Cargo.toml");
    let profile = profile.split("[profile.dist]\n").nth(1).expect("a profile");
    let profile = profile.split("\n\n").next().expect("its lines");
    for line in [
        "inherits = \"release\"",
        "lto = \"fat\"",
        "codegen-units = 1",
        "strip = \"debuginfo\"",
    ] {
        assert!(profile.lines().any(|it| it == line), "{line}");
    }
    let file = shipped();
    let build = &all(&file, "RUN")[0].rest;
    assert!(
        build.contains("cargo build --profile dist --locked"),
        "{build}"
    );
    assert!(build.contains(" target/dist/wstap "), "{build}");
}

/// Files that its page's commands make in `deploy/`: secrets, and copies of files that are kept
/// elsewhere.
#[test]
fn what_is_made_beside_the_files_is_not_committed() {
    for name in [
        "deploy/secrets/openclaw-gateway-token",
        "deploy/openclaw/openclaw.json",
        "deploy/openclaw-cli/state",
        "deploy/dev-ca.pem",
        "certs/tls.key",
    ] {
        let ignored = read(".gitignore");
        let rules = ignored.lines().filter(|line| !line.starts_with(['#', '!']));
        let covers = |rule: &str| {
            let rule = rule.trim_start_matches('/');
            let folder = rule.trim_end_matches('*');
            name == rule || folder.ends_with('/') && name.starts_with(folder)
        };
        assert!(rules.into_iter().any(covers), "{name}");
    }
}

/// Every file that the build stage copies is in the repository and passes `.dockerignore`; with
/// those files alone Cargo can read the package.
#[test]
fn the_context_of_the_build_is_whole() {
    let ignored = read(".dockerignore");
    let rules = ignored
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    let rules: Vec<&str> = rules.collect();
    assert_eq!(rules[0], "*", "nothing goes in that is not named");
    let context = TempDir::new().expect("a temporary folder");
    let named: Vec<&str> = rules[1..]
        .iter()
        .filter_map(|it| it.strip_prefix('!'))
        .collect();
    assert_eq!(named.len(), rules.len() - 1, "{rules:?}");
    for name in &named {
        copy(&path(name), &context.path().join(name));
    }
    let mut copied = BTreeSet::new();
    for copy in all(&shipped(), "COPY") {
        let words = copy.words();
        if words[0].starts_with("--from") {
            continue;
        }
        for source in &words[..words.len() - 1] {
            assert!(named.contains(source), "{source} is not in .dockerignore");
            copied.insert((*source).to_owned());
        }
    }
    let named: BTreeSet<String> = named.iter().map(|it| (*it).to_owned()).collect();
    assert_eq!(copied, named);

    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "metadata",
        "--no-deps",
        "--offline",
        "--locked",
        "--format-version",
        "1",
    ]);
    let output = cargo
        .current_dir(context.path())
        .output()
        .expect("run cargo");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let targets = metadata["packages"][0]["targets"]
        .as_array()
        .expect("targets");
    for target in targets {
        let source = Path::new(target["src_path"].as_str().expect("a path"));
        assert!(
            source.is_file(),
            "{} is not in the context",
            source.display()
        );
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().expect("a folder")).expect("create a folder");
    if !from.is_dir() {
        fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        return;
    }
    for entry in fs::read_dir(from).expect("read a folder") {
        let entry = entry.expect("an entry");
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}
