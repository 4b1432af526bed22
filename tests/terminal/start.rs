//! A start that fails says in one line what failed and in one what to do.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::support::program::Program;
use crate::support::pty::{program, wstap};
use crate::support::skip::skip;

const GATEWAY: &str = "http://127.0.0.1:18789";

/// Exit code and the lines of stderr.
fn start(mut command: Command) -> (i32, Vec<String>) {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    let lines = text.lines().map(str::to_owned).collect();
    (output.status.code().unwrap(), lines)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn a_port_in_use_names_who_has_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let listen = format!("http://{addr}");
    let (code, told) = start(wstap(&["serve", "--listen", &listen, "--gateway", GATEWAY]));
    assert_eq!((code, told.len()), (2, 2), "{told:?}");
    let pid = std::process::id();
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    let holder = format!("address in use by {} (pid {pid})", name.trim());
    assert!(
        told[0].contains(&format!("failed to listen on {addr}: {holder}")),
        "{told:?}"
    );
    assert!(told[0].contains("--listen: "), "{told:?}");
    let advice = format!("  to do: end pid {pid}, or choose another port");
    assert_eq!(told[1], advice);
    // The admin listener as well.
    let listen = [
        "--listen",
        "http://127.0.0.1:0",
        "--admin",
        &addr.to_string(),
    ];
    let (_, told) = start(wstap(
        &[&["serve", "--gateway", GATEWAY], listen.as_slice()].concat(),
    ));
    assert!(
        told[0].contains("--admin: ") && told[0].contains(&holder),
        "{told:?}"
    );
}

#[test]
fn a_holder_that_cannot_be_seen_is_not_guessed() {
    let test = "a holder that cannot be seen";
    if !is_root() {
        return skip(test, "it takes root to start a program as another user");
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("http://{}", taken.local_addr().unwrap());
    let mut command = wstap(&["serve", "--listen", &listen, "--gateway", GATEWAY]);
    command.uid(65534).gid(65534).env("HOME", "/nonexistent");
    let (code, told) = start(command);
    assert_eq!((code, told.len()), (2, 2), "{told:?}");
    assert!(
        told[0].contains("by a process that uid 65534 cannot see"),
        "{told:?}"
    );
    assert!(told[1].contains("ss -ltnp"), "{told:?}");
}

#[test]
fn two_listeners_of_one_address_are_told() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let listen = ["--listen", &addr, "--listen", &addr];
    let (code, told) = start(wstap(
        &[&["serve", "--gateway", GATEWAY], listen.as_slice()].concat(),
    ));
    assert_eq!(code, 2, "{told:?}");
    assert!(
        told[0].contains("another listener of this wstap"),
        "{told:?}"
    );
}

#[test]
fn a_port_for_root_names_the_capability_and_a_higher_port() {
    let test = "a port for root";
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    if first.trim().parse::<u16>().unwrap() <= 443 {
        return skip(test, "this host lets everybody have port 443");
    }
    let args = [
        "serve",
        "--listen",
        "http://127.0.0.1:443",
        "--gateway",
        GATEWAY,
    ];
    let mut command = if is_root() {
        let Some(setpriv) = Program::find("setpriv") else {
            return skip(test, "there is no setpriv");
        };
        let mut command = setpriv.command();
        let no = "-net_bind_service";
        command.args(["--bounding-set", no, "--inh-caps", no, "--"]);
        command.arg(program()).args(args);
        command
    } else {
        wstap(&args)
    };
    command.env_remove("RUST_LOG");
    let (code, told) = start(command);
    assert_eq!((code, told.len()), (2, 2), "{told:?}");
    assert!(told[0].contains("CAP_NET_BIND_SERVICE"), "{told:?}");
    assert!(told[1].contains("127.0.0.1:8443"), "{told:?}");
}

#[test]
fn an_unreadable_key_is_told_with_its_mode_and_who_runs() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let names = ["claw.example".to_owned()];
    let state = folder.path().join("made");
    let files = wstap::transport::dev_ca::ensure(&state, &names, jiff::Timestamp::now()).unwrap();
    let (cert, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    fs::copy(&files.cert, &cert).unwrap();
    fs::copy(&files.key, &key).unwrap();
    fs::set_permissions(&cert, Permissions::from_mode(0o644)).unwrap();
    let mode = if is_root() { 0o600 } else { 0o000 };
    fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
    let config = folder.path().join("tap.yaml");
    let text = format!(
        "listeners:\n  - listen: 127.0.0.1:0\n    tls: {{ certificates: [{{ cert: {}, key: {} }}] }}\n\
         gateway: {{ url: {GATEWAY} }}\n",
        cert.display(),
        key.display(),
    );
    fs::write(&config, text).unwrap();
    let mut command = wstap(&["serve", "--config", config.to_str().unwrap()]);
    let uid = if is_root() {
        command.uid(65534).gid(65534).env("HOME", "/nonexistent");
        65534
    } else {
        rustix::process::geteuid().as_raw()
    };
    let (code, told) = start(command);
    assert_eq!((code, told.len()), (2, 2), "{told:?}");
    for part in [
        key.to_str().unwrap().to_owned(),
        "listeners[0].tls.certificates[0].key: ".to_owned(),
        format!("with mode {mode:04o}"),
        format!("wstap runs as uid {uid} "),
    ] {
        assert!(told[0].contains(&part), "{part}: {told:?}");
    }
    assert!(told[1].starts_with("  to do: let uid "), "{told:?}");
}
