//! The gateway's answers to upgrades that a hop behind the tap has mangled (catalogue section 3).

use super::before_101::answered;
use super::book::{Book, Expect};
use crate::live::gateway::Gateway;
use crate::live::guest::Guest;
use crate::peers::mangling_hop;
use crate::support::tap::Setup;

/// What a hop does to each header line.
type Mangle = fn(&str) -> Option<String>;

pub async fn cases(gateway: &Gateway, book: &mut Book) {
    let malformed = || answered("gateway.refused.bad_handshake", 400);
    let cases: [(&str, Mangle, Expect); 4] = [
        (
            "200: a hop behind the tap strips Upgrade and Connection",
            |line| (!is(line, "upgrade") && !is(line, "connection")).then(|| line.to_owned()),
            answered("hop.fault.upgrade_stripped_behind", 200).act_on("hop"),
        ),
        (
            "400: a hop behind the tap strips Connection",
            |line| (!is(line, "connection")).then(|| line.to_owned()),
            malformed(),
        ),
        (
            "400: a hop behind the tap changes the version",
            |line| Some(replaced(line, "sec-websocket-version", "12")),
            malformed(),
        ),
        (
            "400: a hop behind the tap changes the key",
            |line| Some(replaced(line, "sec-websocket-key", "short")),
            malformed(),
        ),
    ];
    for (case, mangle, expect) in cases {
        let hop = mangling_hop::start(gateway.addr(), mangle).await;
        let tap = Setup::before(&hop).openclaw().start().await;
        let visit = Guest::cli().visit(&tap).await;
        book.check(case, &tap, &visit, expect).await;
    }
}

fn is(line: &str, name: &str) -> bool {
    line.split(':')
        .next()
        .is_some_and(|found| found.eq_ignore_ascii_case(name))
}

fn replaced(line: &str, name: &str, value: &str) -> String {
    if is(line, name) {
        format!("{name}: {value}")
    } else {
        line.to_owned()
    }
}
