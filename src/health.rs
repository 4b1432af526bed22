//! `wstap health`: whether a running tap can do its job, as an exit code and one line.

use std::io::{self, Write};

use serde_json::json;

use crate::admin::client::{self, Answer, Options};
use crate::admin::ready::Readiness;
use crate::exit;

/// Asks once. Returns the exit code: 0 ready, 1 not (or no tap answers), 2 usage or configuration.
#[must_use]
pub fn run(options: &Options, json: bool, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let (client, runtime) = match client::start(options, err) {
        Ok(started) => started,
        Err(code) => return code,
    };
    let asked = runtime.block_on(client.get("/readyz"));
    let told = asked
        .map_err(|error| error.to_string())
        .and_then(|answer| read(&answer));
    let written = if json {
        as_json(&told, out)
    } else {
        one_line(&told, out)
    };
    match told {
        Ok(told) if told.ready && written.is_ok() => exit::OK,
        _ => exit::FAILED,
    }
}

fn read(answer: &Answer) -> Result<Readiness, String> {
    serde_json::from_slice(&answer.body)
        .map_err(|_| "what listens there is not the admin listener of a tap".to_owned())
}

fn as_json(told: &Result<Readiness, String>, out: &mut dyn Write) -> io::Result<()> {
    match told {
        Ok(told) => writeln!(out, "{}", json!(told)),
        Err(error) => writeln!(out, "{}", json!({ "ready": false, "error": error })),
    }
}

/// What fails, or where the gateway stands when nothing does.
fn one_line(told: &Result<Readiness, String>, out: &mut dyn Write) -> io::Result<()> {
    let told = match told {
        Ok(told) => told,
        Err(error) => return writeln!(out, "not ready: {error}"),
    };
    let words = |ok: bool| {
        let those = told.checks.iter().filter(|check| check.ok == ok);
        let those = those.map(|check| format!("{} {}", check.name, check.detail));
        those.collect::<Vec<_>>().join("; ")
    };
    if told.ready {
        writeln!(out, "ready: {}", words(true))
    } else {
        writeln!(out, "not ready: {}", words(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::ready::Check;

    fn line(gateway: bool) -> String {
        let check = |name: &str, ok, detail: &str| Check {
            name: name.to_owned(),
            ok,
            detail: detail.to_owned(),
        };
        let gateway = if gateway {
            check("gateway", true, "reached 3 s ago")
        } else {
            check("gateway", false, "could not be reached 0 s ago: refused")
        };
        let checks = vec![check("running", true, "serving"), gateway];
        let ready = checks.iter().all(|check| check.ok);
        let mut out = Vec::new();
        one_line(&Ok(Readiness { ready, checks }), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_line_says_what_fails() {
        assert_eq!(
            line(true),
            "ready: running serving; gateway reached 3 s ago\n"
        );
        assert_eq!(
            line(false),
            "not ready: gateway could not be reached 0 s ago: refused\n"
        );
    }
}
