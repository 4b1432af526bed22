//! A network of our own: two namespaces joined by a cable, gone with the test.
//!
//! *Here* is a host with loopback and a network address; a gateway, a tap and an nginx run on it as
//! they do on a machine of somebody's. *There* is another host, so that a client can be truly
//! remote. Nothing outside can be reached or disturbed, and every port is free.
//!
//! A test runs itself again inside, so that whatever it starts is inside as well:
//!
//! ```ignore
//! let Some(net) = netns::enter("live: who is local", test_name!()).await else { return };
//! ```
//!
//! Outside, `enter` makes the network, runs this one test in it, removes everything and gives
//! `None`. Inside, it gives the [`Net`]. It needs root and `ip` (iproute2); without them the test is
//! skipped, and says so; with `CI=true` it fails.

use std::env;
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use super::program::Program;
use super::skip::skip;
use super::tap::signal;

/// The network addresses of *here*, as the internet has them (RFC 5737, RFC 3849).
pub const HERE_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const HERE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// And as a private network has them (RFC 1918), which some software trusts more.
pub const HERE_PRIVATE: Ipv4Addr = Ipv4Addr::new(10, 87, 0, 1);
/// The addresses of the other host.
pub const THERE_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub const THERE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
pub const THERE_PRIVATE: Ipv4Addr = Ipv4Addr::new(10, 87, 0, 2);

/// The addresses on both sides of [`Net::switch`] (RFC 5737).
pub const HERE_SWITCHED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
pub const THERE_SWITCHED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);

/// Set for the run inside: the name that both namespaces start with.
const MARK: &str = "WSTAP_TEST_NETNS";
const PREFIX: &str = "wstap-test";
/// Below the time limit of `.config/nextest.toml`, so that what was printed is still shown.
const LIMIT: Duration = Duration::from_secs(210);
const DIAL: Duration = Duration::from_secs(5);

/// The full name of the test that uses it, as the runner knows it.
macro_rules! test_name {
    ($test:ident) => {
        concat!(module_path!(), "::", stringify!($test))
    };
}
pub(crate) use test_name;

/// The network, as a test inside sees it.
pub struct Net {
    name: String,
}

/// Between both hosts' `switched` addresses.
pub struct Switch {
    middle: String,
}

impl Switch {
    /// From now on it drops larger packets on their way to the other host, and sends no error, as
    /// switches do.
    pub fn narrow(&self, mtu: u32) {
        ip(&format!("-n {} link set right mtu {mtu}", self.middle)).expect("set the MTU");
    }
}

impl Net {
    /// The name of the other host's namespace, as `ip netns` knows it.
    pub fn there(&self) -> String {
        there(&self.name)
    }

    /// The name of this host's namespace.
    pub fn here(&self) -> String {
        here(&self.name)
    }

    /// A connection from the other host.
    pub fn connect_from_there(&self, to: SocketAddr) -> io::Result<TcpStream> {
        connect_in(&there(&self.name), to)
    }

    /// The same from this port, which may have been used before.
    pub fn connect_from_there_at(&self, port: u16, to: SocketAddr) -> io::Result<TcpStream> {
        in_namespace(namespace(&there(&self.name))?, move || {
            let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            let any = match to {
                SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            socket.bind(&SocketAddr::new(any, port).into())?;
            socket.connect_timeout(&to.into(), DIAL)?;
            Ok(socket.into())
        })
    }

    /// What the namespaces of this network begin with.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// This host's link-local address, as the other one dials it.
    pub fn here_link_local(&self, port: u16) -> SocketAddr {
        let (here, there) = (here(&self.name), there(&self.name));
        for (namespace, address) in [(here, "fe80::1"), (there.clone(), "fe80::2")] {
            let add = format!("-n {namespace} addr add {address}/64 dev cable nodad");
            ip(&add).expect("add an address");
        }
        let link = ip(&format!("-n {there} -o link show dev cable")).expect("the link");
        let (index, _) = link.split_once(':').expect("its index");
        let index = index.parse().expect("a number");
        let address = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
        SocketAddrV6::new(address, port, 0, index).into()
    }

    /// A second way to the other host, through a switch.
    pub fn switch(&self) -> Switch {
        let (here, there) = (here(&self.name), there(&self.name));
        let middle = middle(&self.name);
        for command in [
            format!("netns add {middle}"),
            format!("link add left netns {middle} type veth peer name switched netns {here}"),
            format!("link add right netns {middle} type veth peer name switched netns {there}"),
            format!("-n {middle} link add switch type bridge"),
            format!("-n {here} addr add {HERE_SWITCHED}/24 dev switched"),
            format!("-n {there} addr add {THERE_SWITCHED}/24 dev switched"),
            format!("-n {here} link set switched up"),
            format!("-n {there} link set switched up"),
        ] {
            ip(&command).expect("build the switch");
        }
        for port in ["left", "right"] {
            ip(&format!("-n {middle} link set {port} master switch")).expect("plug it in");
            ip(&format!("-n {middle} link set {port} up")).expect("switch it on");
        }
        ip(&format!("-n {middle} link set switch up")).expect("switch it on");
        Switch { middle }
    }

    /// A listener on the other host.
    pub fn listen_there(&self, on: IpAddr) -> io::Result<TcpListener> {
        let there = namespace(&there(&self.name))?;
        in_namespace(there, move || TcpListener::bind((on, 0)))
    }

    /// From now on the other host's packets from or to this port are lost on the way, so that what
    /// it gets on such a connection is never acknowledged.
    pub fn lose(&self, port: u16) {
        for family in ["-4", "-6"] {
            for side in ["sport", "dport"] {
                let there = there(&self.name);
                let rule =
                    format!("{family} -n {there} rule add ipproto tcp {side} {port} blackhole");
                ip(&rule).expect("add a rule");
            }
        }
    }
}

/// Runs `ip` on *here*.
pub fn ip_here(net: &Net, arguments: &str) {
    ip(&format!("-n {} {arguments}", here(&net.name))).expect("run ip");
}

/// A connection from this namespace.
pub fn connect_in(name: &str, to: SocketAddr) -> io::Result<TcpStream> {
    in_namespace(namespace(name)?, move || {
        TcpStream::connect_timeout(&to, DIAL)
    })
}

/// Makes a socket in a network namespace, in which it stays.
pub fn in_namespace<T: Send + 'static>(
    namespace: File,
    make: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    // Only a thread can move: this one ends with the call.
    let inside = move || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        make()
    };
    thread::spawn(inside).join().expect("the thread inside")
}

/// The outcome of [`try_enter`].
pub enum Entered {
    Inside(Net),
    /// The test has run inside, and passed.
    Passed,
    /// There can be no such network here: why.
    Impossible(String),
}

/// Outside: runs `test` again inside a network of its own, and gives `None` when that has passed
/// or was skipped. Inside: the network.
pub async fn enter(what: &str, test: &str) -> Option<Net> {
    enter_for(what, test, LIMIT).await
}

/// The same for a test that takes longer.
pub async fn enter_for(what: &str, test: &str, limit: Duration) -> Option<Net> {
    match try_enter_for(test, limit).await {
        Entered::Inside(net) => return Some(net),
        Entered::Passed => {}
        Entered::Impossible(why) => skip(what, &why),
    }
    None
}

/// The same for tests that can do something without.
pub async fn try_enter(test: &str) -> Entered {
    try_enter_for(test, LIMIT).await
}

async fn try_enter_for(test: &str, limit: Duration) -> Entered {
    if let Ok(name) = env::var(MARK) {
        return Entered::Inside(Net { name });
    }
    match Cable::lay() {
        Ok(cable) => cable.run(test, limit).await,
        Err(problem) => return Entered::Impossible(format!("no network namespace: {problem}")),
    }
    Entered::Passed
}

/// Both namespaces. Removed when dropped, with every process in them.
struct Cable {
    name: String,
}

impl Cable {
    fn lay() -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        sweep()?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let cable = Self {
            name: format!("{PREFIX}-{}-{number}", std::process::id()),
        };
        let (here, there) = (here(&cable.name), there(&cable.name));
        ip(&format!("netns add {here}"))?;
        ip(&format!("netns add {there}"))?;
        ip(&format!(
            "link add cable netns {here} type veth peer name cable netns {there}"
        ))?;
        let ends = [
            (here, [HERE_V4, HERE_PRIVATE], HERE_V6),
            (there, [THERE_V4, THERE_PRIVATE], THERE_V6),
        ];
        for (namespace, v4, v6) in ends {
            for v4 in v4 {
                ip(&format!("-n {namespace} addr add {v4}/24 dev cable"))?;
            }
            // Without the search for duplicates the address can be used at once.
            ip(&format!("-n {namespace} addr add {v6}/64 dev cable nodad"))?;
            for device in ["lo", "cable"] {
                ip(&format!("-n {namespace} link set {device} up"))?;
            }
        }
        Ok(cable)
    }

    async fn run(&self, test: &str, limit: Duration) {
        // The runner's names leave the crate's out.
        let (_, test) = test.split_once("::").expect("a name with its crate");
        let folder = TempDir::new().expect("a temporary folder");
        let output = folder.path().join("output");
        let stdout = File::create(&output).expect("create a file");
        let mut command = tokio::process::Command::new("ip");
        command
            .args(["netns", "exec", &here(&self.name)])
            .arg(env::current_exe().expect("the path of this program"))
            .args([test, "--exact", "--include-ignored", "--nocapture"])
            .env(MARK, &self.name)
            .stdin(Stdio::null())
            .stderr(stdout.try_clone().expect("a second handle"))
            .stdout(stdout)
            .kill_on_drop(true);
        let mut child = command.spawn().expect("run the test inside");
        let status = tokio::time::timeout(limit, child.wait()).await;
        let output = std::fs::read(&output).unwrap_or_default();
        let output = String::from_utf8_lossy(&output);
        eprintln!("{output}");
        let status = status.unwrap_or_else(|_| panic!("not done inside in {limit:?}"));
        let status = status.expect("wait for the test inside");
        let passed = status.success() && output.contains("1 passed");
        assert!(passed, "the test inside the network: {status}");
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        remove(&here(&self.name));
        remove(&there(&self.name));
        remove(&middle(&self.name));
    }
}

pub(super) fn here(name: &str) -> String {
    format!("{name}-here")
}

fn there(name: &str) -> String {
    format!("{name}-there")
}

fn middle(name: &str) -> String {
    format!("{name}-middle")
}

pub(super) fn namespace(name: &str) -> io::Result<File> {
    File::open(Path::new("/run/netns").join(name))
}

/// Removes what tests that were killed have left.
fn sweep() -> Result<(), String> {
    for line in ip("netns list")?.lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let rest = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.strip_prefix('-'));
        let Some((pid, _)) = rest.and_then(|rest| rest.split_once('-')) else {
            continue;
        };
        if !Path::new("/proc").join(pid).exists() {
            remove(name);
        }
    }
    Ok(())
}

/// Ends what still runs inside a namespace of ours, and the namespace.
pub(super) fn remove(name: &str) {
    for pid in ip(&format!("netns pids {name}"))
        .unwrap_or_default()
        .lines()
    {
        signal("KILL", pid);
    }
    drop(ip(&format!("netns del {name}")));
}

/// What `ip` says, or complains of.
pub(super) fn ip(arguments: &str) -> Result<String, String> {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("failed to run ip: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {arguments}: {}", complaint.trim()))
}

#[tokio::test]
async fn the_other_host_is_another_one() {
    use tokio::net::TcpListener;
    let name = test_name!(the_other_host_is_another_one);
    let Some(net) = enter("support: a network of our own", name).await else {
        return;
    };
    let pairs: [(IpAddr, IpAddr); 3] = [
        (HERE_V4.into(), THERE_V4.into()),
        (HERE_PRIVATE.into(), THERE_PRIVATE.into()),
        (HERE_V6.into(), THERE_V6.into()),
    ];
    for (here, there) in pairs {
        let listener = TcpListener::bind((here, 0)).await.expect("bind");
        let addr = listener.local_addr().expect("its address");
        let client = net.connect_from_there(addr).expect("connect from there");
        let (_, peer) = listener.accept().await.expect("accept");
        assert_eq!(peer.ip(), there);
        assert_eq!(client.local_addr().expect("its address"), peer);
        // Nobody listens on the other host, and its loopback is not ours.
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, addr.port()));
        net.connect_from_there(loopback)
            .expect_err("its own loopback");
    }
}

/// The hosts file of a namespace, as `ip netns exec` puts it over `/etc/hosts`; gone with this.
pub struct Hosts(PathBuf);

impl Hosts {
    pub fn write(namespace: &str, text: &str) -> Self {
        let folder = Path::new("/etc/netns").join(namespace);
        std::fs::create_dir_all(&folder).expect("create a folder");
        std::fs::write(folder.join("hosts"), text).expect("write a file");
        Self(folder)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The same command in a namespace.
pub fn run_in(namespace: &str, command: &Command) -> Command {
    let mut inside = Command::new("ip");
    inside.args(["netns", "exec", namespace]);
    inside.arg(command.get_program()).args(command.get_args());
    inside.env_clear();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            inside.env(name, value);
        }
    }
    if let Some(folder) = command.get_current_dir() {
        inside.current_dir(folder);
    }
    inside
}

/// Runs `nft` in a namespace.
pub fn nft_in(namespace: &str, arguments: &[&str]) -> String {
    let program = Program::find("nft").expect("make fetch gets nft");
    let mut command = Command::new("ip");
    program.on_path_of(&mut command);
    let command = command.args(["netns", "exec", namespace, "nft"]);
    let output = command.args(arguments).output().expect("run nft");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// Counts the IPv4 packets that leave a namespace from now on.
pub fn count_packets(namespace: &str, to: Ipv4Addr) {
    nft_in(namespace, &["add", "table", "ip", "seen"]);
    let chain = "{ type filter hook output priority 0; }";
    nft_in(namespace, &["add", "chain", "ip", "seen", "out", chain]);
    for others in ["!=", "=="] {
        let rule = ["add", "rule", "ip", "seen", "out", "ip", "daddr", others];
        nft_in(
            namespace,
            &[&rule[..], &[&to.to_string(), "counter"]].concat(),
        );
    }
}

/// Those to others, and those to the address.
pub fn counted_packets(namespace: &str) -> (u64, u64) {
    let rules = nft_in(namespace, &["list", "table", "ip", "seen"]);
    let mut counters = rules.split("counter packets ").skip(1).map(|rest| {
        let digits = rest.split(' ').next().expect("a number");
        digits.parse().expect("a number")
    });
    let mut next = || counters.next().expect("a counter");
    (next(), next())
}
