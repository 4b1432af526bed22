//! The real gateway in six configurations, nginx and other servers on this host, and a client on the other one.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::Install;
use super::super::gateway::{Gateway, Options};
use super::{Stack, WRONG};
use crate::peers::{Peer, Via, blurts, echo, reset_before_status};
use crate::probe::{broken, rung};
use crate::support::certs::{Ca, Validity};
use crate::support::deadline::{STEP, poll};
use crate::support::device::Device;
use crate::support::netns::{HERE_PRIVATE, Hosts, Net, ip_here, nft_in};
use crate::support::nginx;
use crate::support::packages::{Program, Running};
use crate::support::program::faketime;
use crate::support::skip::skip;

/// The gateway's clock ahead of ours.
const AHEAD: &str = "+300";
/// More addresses of the gateway's host: behind the first is a path that loses large packets, behind the second one that
/// loses all, and at the third another gateway answers.
const NARROW: Ipv4Addr = Ipv4Addr::new(10, 87, 0, 4);
const LOSING: Ipv4Addr = Ipv4Addr::new(10, 87, 0, 5);
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(10, 87, 0, 6);
/// Nobody has these. The packets to them are lost.
const DEAD_V4: &str = "10.87.0.77";
const DEAD_V6: &str = "2001:db8::77";
/// The token of the gateway whose clock is ahead.
const OTHER_TOKEN: &str = "other-token-0123456789abcdef0123456789abcdef";

/// Everything that the stacks are made of.
pub struct Field {
    there: String,
    folder: TempDir,
    _hosts: Hosts,
    _nginx: Running,
    proxy: Peer,
    silent: Peer,
    resetting: Peer,
    /// Reachable from the other host, and on its own loopback alone.
    open: Gateway,
    inner: Gateway,
    /// With TLS of their own.
    secure: Gateway,
    expired: Gateway,
    leaf_alone: Gateway,
    /// Its clock is ahead, and its token another one.
    ahead: Gateway,
    /// The file of the CA that all three have their certificates from, and that of another.
    root: PathBuf,
    other: PathBuf,
    nobody: u16,
}

fn with_tls(ca: &Ca, folder: &Path, validity: Validity) -> Options {
    fs::create_dir_all(folder).expect("create a folder");
    let (certificate, key) = ca.write_leaf(folder, &["claw"], validity);
    let tls = json!({
        "enabled": true, "autoGenerate": false, "certPath": certificate, "keyPath": key,
    });
    Options {
        lan: true,
        more: json!({ "gateway": { "tls": tls } }),
        ..Options::default()
    }
}

fn with_its_clock_ahead(library: &Path) -> Options {
    let library: &'static str = library.display().to_string().leak();
    Options {
        lan: true,
        more: json!({ "gateway": { "auth": { "token": OTHER_TOKEN } } }),
        env: vec![
            ("LD_PRELOAD", library),
            ("FAKETIME", AHEAD),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ],
        ..Options::default()
    }
}

/// Ports of nginx; the network is the test's own.
#[derive(Clone, Copy)]
enum Front {
    Upgrades = 8101,
    DropsUpgrade,
    NobodyBehind,
    Redirects,
    WantsLogin,
    OtherServer,
    AddsForwarded,
}

impl Front {
    const ALL: [Self; 7] = [
        Self::Upgrades,
        Self::DropsUpgrade,
        Self::NobodyBehind,
        Self::Redirects,
        Self::WantsLogin,
        Self::OtherServer,
        Self::AddsForwarded,
    ];

    fn url(self) -> String {
        format!("ws://claw:{}", self as u16)
    }

    fn server(self, gateway: SocketAddr, nobody: u16) -> String {
        let upgrades = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade; proxy_set_header Host $http_host;";
        let location = match self {
            Self::Upgrades => format!("proxy_pass http://{gateway}; {upgrades}"),
            Self::DropsUpgrade => format!("proxy_pass http://{gateway};"),
            Self::NobodyBehind => format!("proxy_pass http://127.0.0.1:{nobody}; {upgrades}"),
            Self::Redirects => "return 308 https://claw$request_uri;".to_owned(),
            Self::WantsLogin => format!(
                "auth_basic claw; auth_basic_user_file /dev/null; proxy_pass http://{gateway};"
            ),
            Self::OtherServer => {
                "default_type text/html; return 200 \"<title>Welcome</title>\";".to_owned()
            }
            Self::AddsForwarded => format!(
                "proxy_pass http://{gateway}; {upgrades}
                proxy_set_header X-Forwarded-For $remote_addr;"
            ),
        };
        let port = self as u16;
        format!("server {{ listen {HERE_PRIVATE}:{port}; location / {{ {location} }} }}")
    }
}

/// A port of this host at which nobody listens.
fn nobody() -> u16 {
    let listener = TcpListener::bind((HERE_PRIVATE, 0)).expect("a port");
    listener.local_addr().expect("its address").port()
}

/// The files of the network between both hosts.
fn lay(net: &Net, open: SocketAddr, ahead: SocketAddr) -> Hosts {
    for address in [NARROW, LOSING, ELSEWHERE] {
        ip_here(net, &format!("addr add {address}/24 dev cable"));
    }
    let (here, port) = (net.here(), open.port());
    nft_in(&here, &["add", "table", "ip", "path"]);
    let hook = "{ type filter hook input priority 0; }";
    nft_in(&here, &["add", "chain", "ip", "path", "in", hook]);
    let hook = "{ type nat hook prerouting priority -100; }";
    nft_in(&here, &["add", "chain", "ip", "path", "nat", hook]);
    let rule = |chain: &str, to: Ipv4Addr, then: &str| {
        let rule = format!("add rule ip path {chain} ip daddr {to} {then}");
        nft_in(&here, &rule.split(' ').collect::<Vec<_>>());
    };
    rule("in", NARROW, "ip length > 1400 drop");
    rule("in", LOSING, "drop");
    let other = ahead.port();
    rule(
        "nat",
        ELSEWHERE,
        &format!("tcp dport {port} redirect to :{other}"),
    );
    let text = format!(
        "{HERE_PRIVATE} claw other-name\n\
         {HERE_PRIVATE} half-dead\n{DEAD_V4} half-dead\n\
         {HERE_PRIVATE} dead-v6\n{DEAD_V6} dead-v6\n\
         {HERE_PRIVATE} two-gateways\n{ELSEWHERE} two-gateways\n"
    );
    Hosts::write(&net.there(), &text)
}

const LOGIN: &[u8] = b"HTTP/1.1 407 Proxy Authentication Required\r\nServer: squid/5.7\r\n\
    Proxy-Authenticate: Basic realm=\"corp\"\r\nContent-Length: 0\r\n\r\n";

impl Field {
    /// Starts all of it. `None` where something is not installed: skip.
    pub async fn build(net: &Net, install: &Install) -> Option<Self> {
        let (Some(program), Some(library)) = (Program::find("nginx"), faketime()) else {
            skip(
                "live: stacks before the gateway",
                "make fetch gets nginx and libfaketime",
            );
            return None;
        };
        let folder = TempDir::new().expect("a folder");
        let (root, other) = (Ca::new(), Ca::new());
        let at = |name: &str| folder.path().join(name);
        let secure = with_tls(&root, &at("secure"), Validity::Now);
        let expired = with_tls(&root, &at("expired"), Validity::Expired);
        let leaf_alone = with_tls(&root.intermediate(), &at("leaf-alone"), Validity::Now);
        let lan = Options {
            lan: true,
            ..Options::default()
        };
        let launch = |options: &Options| Gateway::launch(install, options);
        let (mut open, mut inner) = (launch(&lan), launch(&Options::default()));
        let (secure, expired) = (launch(&secure), launch(&expired));
        let leaf_alone = launch(&leaf_alone);
        let mut ahead = launch(&with_its_clock_ahead(&library));
        let ahead_options = with_its_clock_ahead(&library);
        for (gateway, options) in [
            (&mut open, &lan),
            (&mut inner, &Options::default()),
            (&mut ahead, &ahead_options),
        ] {
            // Six at once on a busy machine: one may give up waiting for itself.
            if let Err(problem) = gateway.wait_until_ready().await {
                eprintln!("once more: {problem}");
                *gateway = Gateway::start_with(install, options).await;
            }
        }
        for gateway in [&secure, &expired, &leaf_alone] {
            listens(gateway.addr()).await;
        }
        let via = Via::At((HERE_PRIVATE, 0).into());
        let nobody = nobody();
        let servers = Front::ALL.map(|front| front.server(inner.addr(), nobody));
        let its = TempDir::new().expect("a folder");
        let command = nginx::command(&program, its.path(), &servers.concat());
        let running = Running::start(command, its);
        for front in Front::ALL {
            listens((HERE_PRIVATE, front as u16).into()).await;
        }
        let hosts = lay(net, open.addr(), ahead.addr());
        let write = |ca: &Ca, name: &str| {
            fs::create_dir_all(at(name)).expect("create a folder");
            ca.write(&at(name))
        };
        Some(Self {
            there: net.there(),
            root: write(&root, "root"),
            other: write(&other, "other"),
            folder,
            _hosts: hosts,
            _nginx: running,
            proxy: blurts::start(&via, LOGIN).await,
            silent: echo::start(&via).await,
            resetting: reset_before_status::start(&via).await,
            open,
            inner,
            secure,
            expired,
            leaf_alone,
            ahead,
            nobody,
        })
    }

    /// The other host, as `--in` has it.
    pub fn place(&self) -> String {
        format!("netns:/run/netns/{}", self.there)
    }

    /// The namespace of the other host.
    pub fn there(&self) -> &str {
        &self.there
    }

    /// Those for which the gateway is only asked.
    pub fn stacks(&self) -> Vec<Stack> {
        let mut stacks = self.before_the_gateway();
        stacks.extend(self.over_tls());
        stacks.extend(self.behind_others());
        stacks.extend(self.refused());
        stacks
    }

    fn before_the_gateway(&self) -> Vec<Stack> {
        let port = self.open.addr().port();
        let refused = "gateway.unreachable.refused";
        vec![
            Stack::new(
                "nothing listens",
                format!("ws://claw:{}", self.nobody),
                "L1.tcp",
                refused,
            )
            .advises("start the gateway")
            .named_by(&["econnrefused", "connection refused"]),
            Stack::new(
                "gateway on its own loopback",
                format!("ws://claw:{}", self.inner.addr().port()),
                "L1.tcp",
                refused,
            )
            .advises("--bind lan")
            .named_by(&["loopback-only", "bind=loopback"]),
            Stack::new(
                "unknown name",
                format!("ws://no-such-host.invalid:{port}"),
                "L1.name",
                "gateway.unreachable.dns",
            )
            .advises("check the name")
            .named_by(&["enotfound", "eai_again", "does not resolve"]),
            Stack::new(
                "one of two addresses dead",
                format!("ws://half-dead:{port}"),
                "L1.tcp",
                "gateway.unreachable.partly",
            )
            .advises("fix the route to the failing address")
            .named_by(&[DEAD_V4]),
            Stack::new(
                "dead IPv6 address",
                format!("ws://dead-v6:{port}"),
                "L1.tcp",
                "gateway.unreachable.partly",
            )
            .advises("fix the route to the failing address")
            .named_by(&[DEAD_V6]),
            Stack::new(
                "packets dropped",
                format!("ws://{LOSING}:{port}"),
                "L1.tcp",
                "gateway.unreachable.timeout",
            )
            .advises("firewall")
            .named_by(&["etimedout", "timed out connecting"]),
            Stack::new(
                "large packets dropped",
                format!("ws://{NARROW}:{port}"),
                "L1.size",
                "network.cut.large_request",
            )
            .advises("MTU")
            .named_by(&["mtu"]),
            Stack::new(
                "reset before an answer",
                url("ws", &self.resetting),
                "L1.upgrade",
                "gateway.silent.reset",
            )
            .advises("gateway's log at this time")
            .named_by(&["econnreset", "connection reset"]),
            Stack::new(
                "two gateways behind a name",
                format!("ws://two-gateways:{port}"),
                "L2.auth",
                "gateway.auth.token_mismatch",
            )
            .secret(Some(OTHER_TOKEN))
            .advises("sha256:")
            .named_by(&["two gateways", "2 addresses"]),
        ]
    }

    fn over_tls(&self) -> Vec<Stack> {
        let to = |gateway: &Gateway, scheme: &str, host: &str| {
            format!("{scheme}://{host}:{}", gateway.addr().port())
        };
        let trusting = |stack: Stack, file: &Path| {
            let file = file.display().to_string();
            stack
                .env("SSL_CERT_FILE", &file)
                .env("NODE_EXTRA_CA_CERTS", file)
        };
        let unknown = Stack::new(
            "unknown CA",
            to(&self.secure, "wss", "claw"),
            "L1.tls",
            "gateway.unreachable.certificate_untrusted",
        )
        .advises("CA")
        .named_by(&[
            "unable to verify",
            "self-signed",
            "self signed",
            "unable to get",
        ]);
        let name = Stack::new(
            "certificate of another name",
            to(&self.secure, "wss", "other-name"),
            "L1.tls",
            "gateway.unreachable.certificate_name",
        )
        .advises("name")
        .named_by(&["altnames", "does not match certificate"]);
        let expired = Stack::new(
            "expired certificate",
            to(&self.expired, "wss", "claw"),
            "L1.tls",
            "gateway.unreachable.certificate_expired",
        )
        .advises("renew")
        .named_by(&["expired"]);
        let alone = Stack::new(
            "missing intermediate",
            to(&self.leaf_alone, "wss", "claw"),
            "L1.tls",
            "gateway.unreachable.certificate_untrusted",
        )
        .advises("intermediate")
        .named_by(&["unable to verify", "unable to get"]);
        let plain = Stack::new(
            "ws to a TLS port",
            to(&self.secure, "ws", "claw"),
            "L1.tls",
            "gateway.unreachable.wants_tls",
        )
        .advises("wss")
        .named_by(&["wss", "https"]);
        let reverse = Stack::new(
            "wss to a plain port",
            to(&self.open, "wss", "claw"),
            "L1.tls",
            "gateway.unreachable.not_tls",
        )
        .advises("ws://")
        .named_by(&["wrong version number", "packet length", "ws://"]);
        vec![
            trusting(unknown, &self.other),
            trusting(name, &self.root),
            trusting(expired, &self.root),
            trusting(alone, &self.root),
            trusting(plain, &self.root),
            trusting(reverse, &self.root),
        ]
    }

    fn behind_others(&self) -> Vec<Stack> {
        let behind = |name, front: Front, rule| Stack::new(name, front.url(), "L1.upgrade", rule);
        let proxy = format!("http://user:password@{}", self.proxy.addr());
        vec![
            Stack::new("behind nginx in order", Front::Upgrades.url(), "none", "")
                .named_by(&["reachable: yes", "connectivity probe: ok"]),
            behind(
                "nginx drops Upgrade",
                Front::DropsUpgrade,
                "hop.fault.upgrade_stripped_behind",
            )
            .advises("proxy_set_header Upgrade")
            .named_by(&["upgrade header", "response: 200", "http 200"]),
            behind("502 of nginx", Front::NobodyBehind, "hop.fault.bad_gateway")
                .advises("nginx's error log")
                .named_by(&["502"]),
            behind("308 of nginx", Front::Redirects, "hop.fault.redirect")
                .advises("https:// address")
                .named_by(&["308"]),
            behind("Basic login of nginx", Front::WantsLogin, "hop.fault.login")
                .advises("login")
                .named_by(&["401"]),
            behind(
                "another server",
                Front::OtherServer,
                "hop.fault.foreign_answer",
            )
            .advises("must reach the gateway")
            .named_by(&["response: 200", "http 200"]),
            behind(
                "attribution refused (403)",
                Front::AddsForwarded,
                "gateway.refused.attribution_behind",
            )
            .advises("add no X-Forwarded-*")
            .named_by(&["trustedproxies", "attribution"]),
            Stack::new(
                "proxy wants a login (407)",
                format!("ws://claw:{}", self.open.addr().port()),
                "L1.proxy",
                "hop.fault.proxy_login",
            )
            .env("OPENCLAW_PROXY_URL", proxy)
            .advises("password")
            .named_by(&["407"]),
            Stack::new(
                "no challenge",
                url("ws", &self.silent),
                "L1.challenge",
                "gateway.silent.no_challenge",
            )
            .advises("/healthz")
            .named_by(&["challenge"]),
        ]
    }

    fn refused(&self) -> Vec<Stack> {
        let open = format!("ws://claw:{}", self.open.addr().port());
        let ahead = format!("ws://claw:{}", self.ahead.addr().port());
        let at_auth = |name, url: &str, rule| Stack::new(name, url.to_owned(), "L2.auth", rule);
        vec![
            Stack::new("empty scopes", open.clone(), "none", "").named_by(&["operator.read"]),
            at_auth("wrong token", &open, "gateway.auth.token_mismatch")
                .secret(Some(WRONG))
                .advises("sha256:")
                .named_by(&["token mismatch", "token_mismatch"]),
            at_auth("no token", &open, "gateway.auth.device_identity_required")
                .secret(None)
                .advises("OPENCLAW_GATEWAY_TOKEN")
                .named_by(&["token missing", "token_missing", "device identity"]),
            at_auth("device not approved", &open, "gateway.pairing.not_paired")
                .device(self.device())
                .advises("openclaw devices approve")
                .named_by(&["pairing required"]),
            Stack::new("clock 5 minutes ahead", ahead, "none", "")
                .secret(Some(OTHER_TOKEN))
                .named_by(&["clock"]),
        ]
    }

    /// The state of a device, in the form of older command line tools. Made once.
    fn device(&self) -> PathBuf {
        let state = self.folder.path().join("device");
        let identity = state.join("identity");
        if !identity.exists() {
            fs::create_dir_all(&identity).expect("create a folder");
            let text = Device::new().file().to_string();
            fs::write(identity.join("device.json"), text).expect("write the device");
        }
        state
    }

    /// Has the device leave a request, and approves it.
    pub async fn paired(&self, install: &Install) -> Stack {
        let url = format!("ws://claw:{}", self.open.addr().port());
        let rule = "gateway.pairing.not_paired";
        let asking = Stack::new("asking", url.clone(), "L2.auth", rule).device(self.device());
        let (report, _) = asking.probed(self).await;
        assert_eq!(asking.complaint(&report), None);
        let listing = ["devices", "list", "--json"];
        let output = self.open.command_line(install, &listing).await;
        let devices: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let request = devices["pending"][0]["requestId"].as_str();
        let approving = ["devices", "approve", request.expect("a request"), "--json"];
        let output = self.open.command_line(install, &approving).await;
        assert!(output.status.success(), "{output:?}");
        Stack::new("in order, with a paired device", url, "none", "")
            .device(self.device())
            .named_by(&["reachable: yes", "connectivity probe: ok"])
    }

    /// After ten wrong secrets.
    pub async fn locked_out(&self) -> Stack {
        let url = format!("ws://claw:{}", self.open.addr().port());
        let rule = "gateway.auth.token_mismatch";
        let wrong = Stack::new("one more", url.clone(), "L2.auth", rule).secret(Some(WRONG));
        for _ in 0..10 {
            wrong.probed(self).await;
        }
        Stack::new("locked out", url, "L2.auth", "gateway.auth.rate_limited")
            .advises("wait 5 min")
            .named_by(&["rate limit", "rate_limited", "too many failed"])
    }

    /// A gateway that is told to stop, probed again and again until it is gone. What is wrong, if anything.
    pub async fn draining(&mut self) -> Option<String> {
        let url = format!("ws://claw:{}", self.open.addr().port());
        let rule = "gateway.lifecycle.admission_closed";
        let stack = Stack::new("draining", url, "L1.upgrade", rule).advises("wait");
        // It waits a second for sessions that do not answer its Close.
        let mut held =
            TcpStream::connect((HERE_PRIVATE, self.open.addr().port())).expect("connect");
        let key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
        let request = format!(
            "GET / HTTP/1.1\r\nHost: claw\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{key}\r\n\r\n"
        );
        held.write_all(request.as_bytes())
            .expect("ask for a session");
        let mut answer = [0; 12];
        held.read_exact(&mut answer).expect("its answer");
        assert_eq!(&answer, b"HTTP/1.1 101");
        self.open.ask_to_stop();
        let mut seen = Vec::new();
        loop {
            let (report, _) = stack.probed(self).await;
            let found = broken(&report);
            if found.0 == "L1.upgrade" {
                return stack.complaint(&report);
            }
            seen.push(found.clone());
            if found.0 == "L1.tcp" {
                return Some(format!("it was never seen to drain: {seen:?}"));
            }
            assert_ne!(rung(&report, "L1.tcp")["status"], "skip", "{report}");
        }
    }
}

fn url(scheme: &str, peer: &Peer) -> String {
    format!("{scheme}://claw:{}", peer.addr().port())
}

async fn listens(addr: SocketAddr) {
    let up = poll(STEP, || TcpStream::connect(addr).ok()).await;
    assert!(up.is_some(), "nobody listens on {addr}");
}
