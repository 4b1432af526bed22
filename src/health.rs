//! `wstap health`: whether a running tap is alive, or ready for clients, as an exit code and one line.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::admin::client::{self, Answer, Options};
use crate::admin::ready::Readiness;
use crate::exit;
use crate::terminal::Look;

/// The question to the tap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Liveness (`/healthz`): the process serves. A gateway that is down does not change it: a
    /// restart of the tap would not help, and would remove the evidence that explains the outage.
    Alive,
    /// Readiness (`/readyz`): the tap can do its job, for which it needs a gateway.
    Ready,
}

impl Question {
    fn path(self) -> &'static str {
        match self {
            Self::Alive => "/healthz",
            Self::Ready => "/readyz",
        }
    }
}

/// The answer of `/healthz`.
#[derive(Debug, Serialize, Deserialize)]
struct Liveness {
    status: String,
    version: String,
    uptime_s: u64,
    draining: bool,
}

/// Asks once. Returns the exit code: 0 yes, 1 no (or no tap answers), 2 usage or configuration.
#[must_use]
pub(crate) fn run(
    options: &Options,
    question: Question,
    json: bool,
    look: Look,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let options = Options {
        // A mistake in a file is no reason to restart a running tap: it would not start again.
        without_valid_config: question == Question::Alive,
        ..options.clone()
    };
    let (client, runtime) = match client::start(&options, err) {
        Ok(started) => started,
        Err(code) => return code,
    };
    let asked = runtime.block_on(client.get(question.path()));
    let asked = asked.map_err(|error| error.to_string());
    let (yes, written) = match question {
        Question::Alive => {
            let answer = asked.and_then(|answer| read::<Liveness>(&answer));
            let written = if json {
                as_json(&answer, "alive", out)
            } else {
                alive_line(&answer, look, out)
            };
            (answer.is_ok(), written)
        }
        Question::Ready => {
            let answer = asked.and_then(|answer| read::<Readiness>(&answer));
            let written = if json {
                as_json(&answer, "ready", out)
            } else {
                one_line(&answer, look, out)
            };
            (answer.is_ok_and(|answer| answer.ready), written)
        }
    };
    if yes && written.is_ok() {
        exit::OK
    } else {
        exit::FAILED
    }
}

fn read<T: for<'de> Deserialize<'de>>(answer: &Answer) -> Result<T, String> {
    serde_json::from_slice(&answer.body)
        .map_err(|_| "what listens there is not the admin listener of a tap".to_owned())
}

fn as_json<T: Serialize>(
    answer: &Result<T, String>,
    name: &str,
    out: &mut dyn Write,
) -> io::Result<()> {
    match answer {
        Ok(answer) => writeln!(out, "{}", json!(answer)),
        Err(error) => writeln!(out, "{}", json!({ name: false, "error": error })),
    }
}

fn alive_line(
    answer: &Result<Liveness, String>,
    look: Look,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut say = |text: String| writeln!(out, "{}", look.fit(&text));
    match answer {
        Ok(answer) => {
            let doing = if answer.draining {
                "shutting down"
            } else {
                "serving"
            };
            say(format!("alive: wstap {}, {doing}", answer.version))
        }
        Err(error) => say(format!("not alive: {error}")),
    }
}

/// The failed checks, or the gateway's state if none failed. On a terminal it is wrapped.
fn one_line(answer: &Result<Readiness, String>, look: Look, out: &mut dyn Write) -> io::Result<()> {
    let mut say = |text: String| writeln!(out, "{}", look.fit(&text));
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return say(format!("not ready: {error}")),
    };
    let words = |ok: bool| {
        let those = answer.checks.iter().filter(|check| check.ok == ok);
        let those = those.map(|check| format!("{} {}", check.name, check.detail));
        those.collect::<Vec<_>>().join("; ")
    };
    if answer.ready {
        say(format!("ready: {}", words(true)))
    } else {
        say(format!("not ready: {}", words(false)))
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
        one_line(&Ok(Readiness { ready, checks }), Look::PLAIN, &mut out).unwrap();
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
