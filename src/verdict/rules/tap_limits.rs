//! Limits of the tap's own process and host that kept it from dialling. They say nothing about the
//! gateway.

use crate::session::party::Party;
use crate::session::record::GatewayErrorKind as Kind;
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Find, Rule};
use crate::verdict::view::{View, fact};

const fn limit(id: &'static str, find: Find) -> Rule {
    Rule::of(id, Class::TapFault, Party::Tap, ActOn::Tap, find)
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "The tap's host has no memory for another socket",
        explanation: "The kernel of the tap's host refused a socket, or a packet for it, for lack of \
                      memory (ENOMEM, ENOBUFS): the host or the tap's container is out of memory, or \
                      net.ipv4.tcp_mem is reached. The gateway was not asked.",
        evidence: "ENOMEM or ENOBUFS while the gateway was dialled",
        action: "give the tap's host or container more memory, and look at net.ipv4.tcp_mem there",
        ..limit("tap.fault.memory", memory)
    },
    Rule {
        title: "The tap may not open more files",
        explanation: "Each connection is a file descriptor, two a session. The tap's process had none \
                      left (EMFILE) when the gateway was to be dialled or its name looked up. The \
                      gateway was not asked. The tap warns at its start when limits.connections \
                      allows more than the limit of open files does.",
        evidence: "EMFILE while the gateway was dialled or its name looked up",
        action: "raise the hard limit of open files of the tap (LimitNOFILE= in its systemd unit, \
                 ulimits.nofile of its container, `ulimit -Hn` in a shell), or lower limits.connections",
        ..limit("tap.fault.open_files", open_files)
    },
    Rule {
        title: "The tap's host has no free port for another connection to the gateway",
        explanation: "Each connection to the gateway's address and port needs a local port of its \
                      own. All of net.ipv4.ip_local_port_range are taken (EADDRNOTAVAIL, and the \
                      host has an address of that family): by open sessions, or by closed \
                      connections that wait in TIME-WAIT. The gateway was not asked.",
        evidence: "EADDRNOTAVAIL of a connection to the gateway, on a host that has an address of that family",
        action: "widen net.ipv4.ip_local_port_range on the tap's host, and look with `ss -tan` for who \
                 holds so many connections to the gateway",
        ..limit("tap.fault.ports", ports)
    },
    Rule {
        title: "The tap's host may not open more files",
        explanation: "All processes of the tap's host together had as many files open as the kernel \
                      allows (ENFILE) when the gateway was to be dialled or its name looked up. The \
                      gateway was not asked.",
        evidence: "ENFILE while the gateway was dialled or its name looked up",
        action: "raise fs.file-max on the tap's host, or find the program that keeps so many files open \
                 (`lsof -n | awk '{print $1}' | sort | uniq -c | sort -n | tail`)",
        ..limit("tap.fault.system_files", system_files)
    },
    Rule {
        title: "The tap's host may not watch more sockets",
        explanation: "The user that the tap runs as watches as many files with epoll as the kernel allows \
                      (ENOSPC) when the gateway was to be dialled. The gateway was not asked.",
        evidence: "ENOSPC of epoll while the gateway was dialled",
        action: "raise fs.epoll.max_user_watches on the tap's host",
        ..limit("tap.fault.watches", watches)
    },
];

fn found(view: &View<'_>, kind: Kind, why: &str) -> Option<Finding> {
    if view.gateway_error() != Some(kind) {
        return None;
    }
    let gateway = view.gateway.as_ref();
    // Another address of the name, which failed for a reason of its own, may be a second cause.
    let alone = gateway.is_none_or(|gateway| {
        let mut failed = gateway.attempts.iter().filter_map(|attempt| attempt.error);
        failed.all(|other| other == kind)
    });
    let confidence = if alone {
        Confidence::Certain
    } else {
        Confidence::Likely
    };
    let finding = Finding::new(confidence, format!("we could not dial the gateway: {why}"))
        .because(view.gateway_error_evidence())
        .because([fact(format!(
            "the gateway, which was not asked, is {}",
            view.gateway_name()
        ))]);
    Some(finding)
}

fn memory(view: &View<'_>) -> Option<Finding> {
    let why = "this host has no memory for another socket";
    found(view, Kind::Memory, why)
}

fn open_files(view: &View<'_>) -> Option<Finding> {
    let why = "the tap's process may not open more files";
    found(view, Kind::OpenFiles, why)
}

fn ports(view: &View<'_>) -> Option<Finding> {
    let why = "this host has no free local port for another connection";
    found(view, Kind::Ports, why)
}

fn system_files(view: &View<'_>) -> Option<Finding> {
    let why = "this host may not open more files";
    found(view, Kind::SystemFiles, why)
}

fn watches(view: &View<'_>) -> Option<Finding> {
    let why = "this host may not watch more sockets";
    found(view, Kind::Watches, why)
}
