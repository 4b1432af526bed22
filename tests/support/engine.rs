//! A container engine of the test's own: dockerd in a network namespace, with a root folder, a socket and
//! process ids of its own. It ends with the test, and everything in it: the first process of its namespace
//! of process ids is killed, and the kernel kills the rest.
//!
//! No image is pulled. The base images that `deploy/Dockerfile` names are stand-ins made of one Debian root
//! file system (`scripts/fetch-packages.sh` makes it), and there is no way out of the namespace. Images stay
//! in `target/containers` (or `$WSTAP_CONTAINERS_DIR`) for the next run.

use std::env;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::timeout;

use super::deadline::poll;
use super::netns::{connect_in, ip, remove};
use super::packages::Program;
use super::program;
use super::records::tail;
use super::tap::signal;

/// For one command: an import of a gigabyte, or a gateway that starts beside other tests.
const LIMIT: Duration = Duration::from_mins(5);

/// A running engine.
pub struct Engine {
    daemon: Child,
    namespace: String,
    folder: TempDir,
    path: String,
    kept: PathBuf,
    /// One engine at a time has the kept images.
    _turn: File,
}

/// What a command printed.
#[derive(Clone, Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Engine {
    /// Starts it; or why there can be none.
    pub async fn start() -> Result<Self, String> {
        let (kept, path) = (kept(), path());
        if !rustix::process::geteuid().is_root() {
            return Err("a container engine takes root".to_owned());
        }
        for name in [
            "dockerd",
            "docker-compose",
            "nsenter",
            "ip",
            "nft",
            "openssl",
        ] {
            if Program::find(name).is_none() {
                return Err(format!("{name} is missing: run make fetch"));
            }
        }
        for file in ["debian.tar", "packages/Packages"] {
            if !kept.join(file).is_file() {
                return Err(format!("{file} for containers is missing: run make fetch"));
            }
        }
        let turn = File::create(kept.join("lock")).expect("create a lock");
        turn.lock().expect("wait for other engines");
        let namespace = format!("wstap-test-{}-engine", std::process::id());
        ip(&format!("netns add {namespace}"))?;
        ip(&format!("-n {namespace} link set lo up"))?;
        let folder = TempDir::new().expect("a temporary folder");
        let log = File::create(folder.path().join("log")).expect("create its log");
        let errors = log.try_clone().expect("a second handle");
        // Not `ip netns exec`: it mounts another /sys, without the control groups.
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{namespace}"))
            .args(["unshare", "--pid", "--fork", "--kill-child"])
            .args(["--mount", "--mount-proc", "sh", "-c"])
            // Sockets of the engine's helpers are here, of any engine of this machine.
            .arg("mount -t tmpfs tmpfs /run && exec dockerd \"$@\"")
            .arg("sh")
            .args(["--storage-driver", "overlay2", "--data-root"])
            .arg(kept.join("data"))
            .arg("--exec-root")
            .arg(folder.path().join("exec"))
            .arg("--pidfile")
            .arg(folder.path().join("pid"))
            .arg(format!("--host={}", host(folder.path())))
            .env("PATH", &path)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        let mut engine = Self {
            daemon: command.spawn().expect("start the engine"),
            namespace,
            folder,
            path,
            kept,
            _turn: turn,
        };
        let up = poll(Duration::from_mins(1), || {
            let ended = engine.daemon.try_wait().expect("wait for dockerd");
            let version = engine.command("docker").arg("version").output();
            let up = version.expect("run docker").status.success();
            (up || ended.is_some()).then_some(up)
        })
        .await;
        if up != Some(true) {
            return Err(format!("dockerd does not start:\n{}", engine.log()));
        }
        engine.sweep().await;
        Ok(engine)
    }

    /// What an engine that was killed has left running.
    async fn sweep(&self) {
        self.shell(
            Path::new("/"),
            "docker ps -aq | xargs -r docker rm -f -v
             docker network prune -f
             docker volume prune -f",
        )
        .await
        .fine("sweep");
    }

    /// A folder for files of the test's.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a script in a folder, with the engine's clients as `docker` and `docker-compose`.
    pub async fn shell(&self, folder: &Path, script: &str) -> Said {
        let mut command = self.command("sh");
        command.args(["-e", "-c", script]).current_dir(folder);
        said(command).await
    }

    /// A connection from the engine's host to a port that is published.
    pub fn connect(&self, port: u16) -> std::io::Result<TcpStream> {
        connect_in(&self.namespace, (Ipv4Addr::LOCALHOST, port).into())
    }

    /// Where it listens, as `DOCKER_HOST` says it.
    pub fn host(&self) -> String {
        host(self.folder())
    }

    /// The network namespace of a container.
    pub async fn namespace(&self, container: &str) -> File {
        let script = format!("docker inspect -f '{{{{.NetworkSettings.SandboxKey}}}}' {container}");
        let said = self.shell(Path::new("/"), &script).await.fine("inspect");
        // The file is mounted where the engine sees it.
        let path = format!("/proc/{}/root{}", self.pid(), said.stdout.trim());
        File::open(path).expect("open a network namespace")
    }

    /// Runs a script on the engine's host, where process ids are those that it gives, with `nft` on the `PATH`.
    pub async fn on_host(&self, script: &str) -> Said {
        let mut command = self.command("nsenter");
        command.args(["--target", &self.pid(), "--mount", "--pid", "--net"]);
        command.args(["sh", "-e", "-c", script]);
        let nft = program::Program::find("nft").expect("make fetch gets nft");
        nft.on_path_of(&mut command);
        said(command).await
    }

    /// The daemon's process id.
    fn pid(&self) -> String {
        let unshare = self.daemon.id();
        let children = format!("/proc/{unshare}/task/{unshare}/children");
        let children = fs::read_to_string(children).unwrap_or_default();
        children.trim().to_owned()
    }

    /// A volume, as the host sees it.
    pub fn volume(&self, name: &str) -> PathBuf {
        self.kept.join("data/volumes").join(name).join("_data")
    }

    /// The images that `deploy/Dockerfile` is built on. The one for the build has a `cargo` that checks how
    /// it is called and that the sources are there, and then hands out this program.
    pub async fn import_bases(&self, program: &Path, dockerfile: &str) {
        let folder = self.folder().join("bases");
        fs::create_dir_all(&folder).expect("create a folder");
        fs::copy(program, folder.join("wstap")).expect("copy the program");
        fs::write(folder.join("cargo"), CARGO).expect("write a script");
        fs::write(folder.join("Dockerfile"), BASES).expect("write a Dockerfile");
        let from: Vec<Vec<&str>> = dockerfile
            .lines()
            .filter_map(|line| line.strip_prefix("FROM "))
            .map(|rest| rest.split_whitespace().collect())
            .collect();
        let is_stage = |image: &str| from.iter().any(|from| from.get(2) == Some(&image));
        let images = from.iter().filter_map(|from| from.first().copied());
        let images: Vec<&str> = images.filter(|image| !is_stage(image)).collect();
        let [build, run] = images[..] else {
            panic!("two base images: {images:?}");
        };
        let script = format!(
            "docker image inspect wstap-test-root >/dev/null 2>&1 ||
                 docker import {} wstap-test-root
             cp -r {} .
             docker build -q --target run -t {run} .
             docker build -q --target build -t {build} .",
            self.kept.join("debian.tar").display(),
            self.kept.join("packages").display()
        );
        self.shell(&folder, &script).await.fine("base images");
    }

    /// The gateway's image, with the same layout as OpenClaw's own where the Compose files see it.
    pub async fn import_gateway(&self, modules: &Path, tag: &str) {
        let folder = self.folder().join("gateway");
        fs::create_dir_all(&folder).expect("create a folder");
        fs::write(folder.join("Dockerfile"), GATEWAY).expect("write a Dockerfile");
        let manifest = modules.join("openclaw/package.json");
        let stamp = fs::read_to_string(manifest).expect("read a manifest");
        let stamp: serde_json::Value = serde_json::from_str(&stamp).expect("JSON");
        let stamp = stamp["version"].as_str().expect("a version");
        let script = format!(
            "[ \"$(docker image inspect -f '{{{{.Config.Labels.stamp}}}}' {tag} 2>&1)\" = {stamp} ] || {{
                 tar -C {} -cf modules.tar .
                 docker build -q --label stamp={stamp} -t {tag} .
                 rm modules.tar
             }}",
            modules.display()
        );
        self.shell(&folder, &script)
            .await
            .fine("the gateway's image");
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", self.folder())
            .env("DOCKER_HOST", host(self.folder()))
            .env("DOCKER_BUILDKIT", "1")
            .env("COMPOSE_HTTP_TIMEOUT", "240")
            .stdin(Stdio::null());
        command
    }

    fn log(&self) -> String {
        let log = fs::read_to_string(self.folder().join("log")).unwrap_or_default();
        tail(&log, 1500).to_owned()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Containers first, so that the next engine does not start them again.
        let mut clean = self.command("sh");
        clean.args([
            "-c",
            "docker ps -aq | xargs -r docker rm -f -v; docker volume prune -f",
        ]);
        drop(clean.stdout(Stdio::null()).stderr(Stdio::null()).status());
        // `unshare` ends with dockerd, whose id in its own namespace is in a file.
        let pid = self.pid();
        if !pid.is_empty() {
            signal("TERM", &pid);
        }
        for _ in 0..100 {
            if matches!(self.daemon.try_wait(), Ok(Some(_))) {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        drop(self.daemon.kill());
        drop(self.daemon.wait());
        remove(&self.namespace);
    }
}

/// Runs a command to its end.
async fn said(command: Command) -> Said {
    let mut command = tokio::process::Command::from(command);
    let output = timeout(LIMIT, command.kill_on_drop(true).output()).await;
    // Not the script: it may have a secret in it.
    let output = output.expect("a command hangs").expect("run sh");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said {
        code: output.status.code(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

impl Said {
    /// Exit code 0, or a panic with what it complained of.
    pub fn fine(self, what: &str) -> Self {
        let (out, err) = (tail(&self.stdout, 1500), tail(&self.stderr, 1500));
        assert_eq!(self.code, Some(0), "{what}: {out}\n{err}");
        self
    }
}

/// Both base images. The one that runs the program has no authorities, like Debian's own; its apt has the
/// packages that the Dockerfile installs, and those that they need.
const BASES: &str = "FROM wstap-test-root AS run
COPY packages /opt/packages
RUN rm -rf /etc/ssl/certs /var/lib/apt/lists/* \\
    && echo 'deb [trusted=yes] file:/opt/packages ./' >/etc/apt/sources.list
FROM wstap-test-root AS build
COPY --chmod=755 cargo /usr/local/bin/cargo
COPY wstap /opt/wstap
";

const CARGO: &str = "#!/bin/sh
set -eu
[ \"$*\" = 'build --profile dist --locked --bin wstap' ]
for file in .cargo/config.toml Cargo.toml Cargo.lock build.rs src/main.rs; do
    [ -f \"$file\" ]
done
install -D /opt/wstap target/dist/wstap
";

const GATEWAY: &str = "FROM wstap-test-root
RUN useradd --uid 1000 --create-home node
ADD modules.tar /srv/node_modules
RUN ln -s /srv/node_modules/node-linux-*/bin/node /usr/local/bin/node
WORKDIR /srv/node_modules/openclaw
USER node
CMD [\"node\", \"dist/index.js\", \"gateway\"]
";

/// Where images are kept between runs.
fn kept() -> PathBuf {
    match env::var_os("WSTAP_CONTAINERS_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("target/containers"),
    }
}

fn host(folder: &Path) -> String {
    format!("unix://{}", folder.join("socket").display())
}

/// Debian's own programs first: another `docker` on the `PATH` need not fit the engine.
fn path() -> String {
    let before = env::var("PATH").unwrap_or_default();
    format!("/usr/bin:/usr/sbin:/bin:/sbin:{before}")
}
