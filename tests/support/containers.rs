//! Containers as a container engine makes them, without one: network namespaces on a bridge of the
//! test's own host ([`Net`]), each with its own `/etc/hosts`, host name, secrets and state.
//!
//! What a program sees in one is what it sees in Compose where it matters here: its own loopback, its
//! neighbours by the names of their services and nothing else by name, and a host name of twelve
//! hexadecimal digits.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

use super::netns::{Net, connect_in, here, ip, remove};
use super::packages::Program;

/// A bridge network of the host, and who is in it.
pub struct Bridge {
    host: String,
    name: String,
    hosts: String,
    folder: Arc<TempDir>,
    containers: Vec<Container>,
}

/// One container.
#[derive(Clone, Debug)]
pub struct Container {
    namespace: String,
    addr: Ipv4Addr,
    host_name: String,
    folder: PathBuf,
    /// Keeps the folder.
    _folder: Arc<TempDir>,
}

impl Bridge {
    /// A network whose host has this address; `members` are the services with their addresses.
    pub fn new(net: &Net, host_addr: Ipv4Addr, members: &[(&str, Ipv4Addr)]) -> Self {
        let host = here(net.name());
        for command in [
            format!("-n {host} link add bridge type bridge"),
            format!("-n {host} addr add {host_addr}/24 dev bridge"),
            format!("-n {host} link set bridge up"),
            format!("netns exec {host} sysctl -q net.ipv4.ip_forward=1"),
        ] {
            ip(&command).expect("build the bridge");
        }
        let mut hosts = "127.0.0.1 localhost\n::1 localhost\n".to_owned();
        for (name, addr) in members {
            writeln!(hosts, "{addr} {name}").expect("writing to a string");
        }
        let mut bridge = Self {
            host,
            name: net.name().to_owned(),
            hosts,
            folder: Arc::new(TempDir::new().expect("a temporary folder")),
            containers: Vec::new(),
        };
        for (number, (name, addr)) in members.iter().enumerate() {
            let container = bridge.plug_in(number, name, *addr, host_addr);
            bridge.containers.push(container);
        }
        bridge
    }

    pub fn container(&self, name: &str) -> &Container {
        let namespace = self.namespace(name);
        let mut containers = self.containers.iter();
        let found = containers.find(|container| container.namespace == namespace);
        found.unwrap_or_else(|| panic!("no container {name}"))
    }

    /// The host forwards this port to a container, as an engine does for a published one. With
    /// `masked` everybody comes from the bridge's own address, as with userland proxies and on
    /// desktops.
    pub fn publish(&self, nft: &Program, port: u16, to: Ipv4Addr, masked: bool) {
        let masquerade = if masked {
            format!("ip daddr {to} tcp dport {port} masquerade")
        } else {
            String::new()
        };
        let rules = format!(
            "table ip published
            delete table ip published
            table ip published {{
                chain in {{
                    type nat hook prerouting priority dstnat;
                    tcp dport {port} dnat to {to}:{port}
                }}
                chain out {{
                    type nat hook postrouting priority srcnat;
                    {masquerade}
                }}
            }}"
        );
        let file = self.folder.path().join("rules.nft");
        fs::write(&file, rules).expect("write the rules");
        let mut command = nft.command();
        // The test runs on the host.
        let output = command.arg("-f").arg(&file).output().expect("run nft");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "nft: {complaint}");
    }

    fn plug_in(&self, number: usize, name: &str, addr: Ipv4Addr, host_addr: Ipv4Addr) -> Container {
        let (host, namespace) = (&self.host, self.namespace(name));
        let plug = format!("plug{number}");
        for command in [
            format!("netns add {namespace}"),
            format!("link add eth0 netns {namespace} type veth peer name {plug} netns {host}"),
            format!("-n {host} link set {plug} master bridge"),
            format!("-n {host} link set {plug} up"),
            format!("-n {namespace} addr add {addr}/24 dev eth0"),
            format!("-n {namespace} link set lo up"),
            format!("-n {namespace} link set eth0 up"),
            format!("-n {namespace} route add default via {host_addr}"),
        ] {
            ip(&command).expect("plug a container in");
        }
        let folder = self.folder.path().join(name);
        for name in ["secrets", "state"] {
            fs::create_dir_all(folder.join(name)).expect("create a folder");
        }
        fs::write(folder.join("hosts"), &self.hosts).expect("write the hosts file");
        // No name server: what is not in the file does not exist, and that is said at once.
        fs::write(folder.join("nsswitch.conf"), "hosts: files\n").expect("write a file");
        Container {
            namespace,
            addr,
            host_name: format!("{:012x}", 0xc0de_0000_u64 + number as u64),
            folder,
            _folder: self.folder.clone(),
        }
    }

    fn namespace(&self, name: &str) -> String {
        format!("{}-in-{name}", self.name)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        for container in &self.containers {
            remove(&container.namespace);
        }
    }
}

fn own(path: &Path, mode: u32, user: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("set its mode");
    chown(path, Some(user), Some(user)).expect("set its owner");
}

/// Where [`Container::run_confined`] puts the configuration.
pub const CONFIG_INSIDE: &str = "/run/image/config.yaml";

/// What happens to the file system before a program starts; only it sees that.
const MOUNTS: &str = "
    set -e
    folder=$1 name=$2
    shift 2
    echo \"$name\" >/proc/sys/kernel/hostname
    for file in hosts nsswitch.conf; do
        mount --bind \"$folder/$file\" \"/etc/$file\"
    done
    mount -t tmpfs -o mode=0755 tmpfs /run
    mkdir /run/secrets
    mount --bind \"$folder/secrets\" /run/secrets
    mount -t tmpfs -o mode=0755 tmpfs /var/lib
    mkdir /var/lib/wstap
    mount --bind \"$folder/state\" /var/lib/wstap
";

/// A command as it is, as root.
const FREE: &str = "exec \"$@\"";

/// Only the volume can be written to; another user, no capability, and none to be had. The program
/// and its configuration may be where that user cannot go.
const CONFINED: &str = "
    user=$1 program=$2 config=$3
    shift 3
    mkdir /run/image
    touch /run/image/program
    mount --bind \"$program\" /run/image/program
    touch /run/image/config.yaml
    mount --bind \"$config\" /run/image/config.yaml
    mount -o remount,bind,ro /run
    mount -o remount,bind,ro /
    exec setpriv --reuid \"$user\" --regid \"$user\" --clear-groups --inh-caps=-all \\
        --bounding-set=-all --no-new-privs /run/image/program \"$@\"
";

impl Container {
    /// The same command inside. Of the environment it keeps only what it sets itself.
    pub fn run(&self, command: &Command) -> Command {
        let words = [command.get_program()];
        self.start(FREE, &words, command)
    }

    /// The same as this user with nothing else that could be taken away: `read_only`, `cap_drop`,
    /// `no-new-privileges`. It finds this configuration at [`CONFIG_INSIDE`].
    pub fn run_confined(&self, command: &Command, user: u32, config: &Path) -> Command {
        let user = user.to_string();
        let words = [OsStr::new(&user), command.get_program(), config.as_os_str()];
        self.start(CONFINED, &words, command)
    }

    /// Runs this script inside with these words, then the command's arguments.
    fn start(&self, script: &str, words: &[&OsStr], command: &Command) -> Command {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        folders.extend(["/usr/sbin".into(), "/sbin".into()]);
        let program = folders
            .iter()
            .map(|folder| folder.join("ip"))
            .find(|it| it.is_file());
        let mut inside = Command::new(program.expect("ip is there"));
        inside
            .args(["netns", "exec", &self.namespace])
            .args(["unshare", "--uts", "sh", "-c"])
            .arg(format!("{MOUNTS}{script}"))
            .arg("sh")
            .arg(&self.folder)
            .arg(&self.host_name)
            .args(words)
            .args(command.get_args())
            .env_clear()
            .env("PATH", std::env::join_paths(&folders).expect("a path"));
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            inside.current_dir(folder);
        }
        inside
    }

    /// Its address on the bridge.
    pub fn addr(&self) -> Ipv4Addr {
        self.addr
    }

    /// A connection from inside.
    pub fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        connect_in(&self.namespace, to)
    }

    /// This container in the network namespace of another one: `network_mode: service:NAME`.
    #[must_use]
    pub fn sharing(&self, other: &Self) -> Self {
        Self {
            namespace: other.namespace.clone(),
            addr: other.addr,
            ..self.clone()
        }
    }

    /// `/run/secrets/NAME` from now on, of this user alone.
    pub fn secret(&self, name: &str, value: &str, user: u32) {
        let file = self.folder.join("secrets").join(name);
        fs::write(&file, value).expect("write a secret");
        own(&file, 0o600, user);
    }

    /// The volume at `/var/lib/wstap` is this user's, as an image makes it.
    pub fn volume_of(&self, user: u32) {
        own(&self.state(), 0o700, user);
    }

    /// `/var/lib/wstap` as the test sees it.
    pub fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// A folder for what else its programs keep.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
