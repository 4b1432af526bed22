//! `--status` and `--detach`: another shell's questions to the attached tap, and what to do if it
//! does not answer.

use std::fs;
use std::io::{self, Write as _};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

use super::accepted;
use super::control::{self, Asked, Name, Question};
use super::iproute::{self, RouteError};
use super::nft;
use super::options::Options;
use super::routes;
use super::status::Status;
use crate::exit;
use crate::terminal::Look;

/// Prints the status; returns 0 if a tap is attached and answers.
pub(super) fn status(options: &Options) -> u8 {
    match control::ask(Question::Status) {
        Ok(Asked::Answer(text)) if options.json => say(&text, exit::OK),
        Ok(Asked::Answer(text)) => match serde_json::from_str::<Status>(&text) {
            Ok(status) => say(&status.page(Look::stdout().page()), exit::OK),
            Err(error) => fail(&format!(
                "failed to read the answer of the attached tap: {error}"
            )),
        },
        Ok(Asked::Silent(pid)) => {
            let who = who(pid);
            let traffic = if nft::is_armed() {
                "its redirect expires within 3 s"
            } else {
                "new connections go straight to the gateway"
            };
            fail(&format!(
                "the attached tap{who} does not answer: it is stopped or stuck. {traffic}.\n  to do: \
                 `wstap attach --detach` removes its table and rules, and cuts its sessions"
            ))
        }
        other => unanswered(other),
    }
}

/// Ends a tap that does not answer. One that was only stopped (SIGSTOP) ends its sessions in order:
/// the first SIGTERM detaches it, the second cuts its sessions. The table must outlive the
/// sessions, because without it not even their ends reach the clients.
///
/// Signals go through a pidfd: once the process has ended, its number may belong to another.
fn end(pid: u32) {
    let Some(process) = process(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
    else {
        return;
    };
    let send = |signal| {
        if let Err(error) = pidfd_send_signal(&process, signal) {
            tracing::debug!(%error, ?signal, "failed to send a signal");
        }
    };
    // Readable once it has ended (pidfd_open(2)).
    let ends_within = |limit: Duration| {
        let limit = limit.try_into().ok();
        let waits = &mut [PollFd::new(&process, PollFlags::IN)];
        poll(waits, limit.as_ref()).is_ok_and(|ready| ready > 0)
    };
    send(Signal::TERM);
    send(Signal::CONT);
    if ends_within(Duration::from_millis(300)) {
        return;
    }
    send(Signal::TERM);
    if !ends_within(Duration::from_secs(4)) {
        send(Signal::KILL);
        ends_within(Duration::from_secs(1));
    }
}

fn process(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

/// Waits for the table to disappear. The kernel removes it when its killed holder is gone, which
/// takes a moment.
fn is_gone_soon() -> bool {
    const LOOKS: u32 = 20;
    (0..LOOKS).any(|look| {
        if look > 0 {
            thread::sleep(Duration::from_millis(50));
        }
        !nft::has_table()
    })
}

/// Ends the attached tap, or removes the leftovers of a killed one.
pub(super) fn detach() -> u8 {
    match control::ask(Question::Detach) {
        Ok(Asked::Answer(text)) => say(&Look::stdout().fit(&text), exit::OK),
        Ok(Asked::Nobody) => match swept() {
            Ok(()) => say(
                "no tap is attached here; whatever a killed tap had left has been removed\n",
                exit::OK,
            ),
            Err(Left::Starting) => fail(
                "a tap is attaching in this network namespace right now\n  to do: `wstap attach --detach` again",
            ),
            Err(Left::Table) => fail(
                "no tap is attached here, and the table of a killed one is still there\n  to do: `wstap attach \
                 --detach` again; if it stays, `nft list tables` shows who holds it",
            ),
            Err(Left::NoTool) => fail(
                "no tap is attached here; whether a killed tap has left policy rules cannot be seen: there is no \
                 program ip\n  to do: install it (package iproute2)",
            ),
            Err(Left::Rules(error @ RouteError::Setting(_))) => fail(&format!(
                "no tap is attached here, and a killed one has left a setting on: {error}\n  to do: where /proc/sys \
                 can be written, such as on the container's host: `wstap attach --detach --in container:NAME`"
            )),
            Err(Left::Rules(error)) => fail(&format!(
                "no tap is attached here; policy rules that a killed tap has left cannot be removed: {error}\n  \
                 to do: run it as root with the capability NET_ADMIN"
            )),
        },
        Ok(Asked::Silent(Some(pid))) => {
            end(pid);
            // Only left if the tap could not be ended.
            for child in nft_children(pid) {
                signal(child, Signal::KILL);
            }
            let swept = routes::sweep().and_then(|()| accepted::sweep());
            if !is_gone_soon() {
                return fail(&format!(
                    "the attached tap (pid {pid}) does not answer, and its table is still there\n  to do: \
                     `kill -9 {pid}`"
                ));
            }
            if let Err(error) = swept {
                return fail(&format!(
                    "failed to remove the policy rules of the attached tap (pid {pid}): {error}"
                ));
            }
            say(
                &format!(
                    "the attached tap (pid {pid}) did not answer and was ended, its sessions with it. Its \
                     table and its policy rules are removed.\n"
                ),
                exit::OK,
            )
        }
        Ok(Asked::Silent(None)) => fail(
            "the attached tap does not answer, and its process is in another container\n  to do: end that \
             container by `docker kill`. New connections go straight to the gateway.",
        ),
        other => unanswered(other),
    }
}

/// Why the leftovers of a killed tap are still there.
enum Left {
    /// Another tap has taken the name since we asked.
    Starting,
    NoTool,
    Table,
    Rules(RouteError),
}

fn swept() -> Result<(), Left> {
    // Hold the name meanwhile, so that a tap that starts now does not lose its own rules.
    let _name = Name::take().map_err(|_| Left::Starting)?;
    if matches!(iproute::version(), Err(error) if error.kind() == io::ErrorKind::NotFound) {
        return Err(Left::NoTool);
    }
    routes::sweep()
        .and_then(|()| accepted::sweep())
        .map_err(Left::Rules)?;
    if !is_gone_soon() {
        return Err(Left::Table);
    }
    Ok(())
}

fn unanswered(asked: io::Result<Asked>) -> u8 {
    match asked {
        Ok(Asked::Nobody) => fail(
            "no tap is attached in this network namespace\n  to do: if the gateway runs in a container, add --in \
             container:NAME",
        ),
        Ok(Asked::Denied) => fail(
            "the attached tap obeys only root and the user that runs it\n  to do: run this as root or as that user",
        ),
        Ok(Asked::Stranger(uid)) => stranger(uid),
        Ok(Asked::Silent(_) | Asked::Answer(_)) => fail("the attached tap gave no usable answer"),
        Err(error) => fail(&format!("failed to ask the attached tap: {error}")),
    }
}

/// Reports that the control socket belongs neither to root nor to this user.
pub(super) fn stranger(uid: u32) -> u8 {
    fail(&format!(
        "a process of uid {uid} holds the control socket @wstap-attach: it is not trusted\n  to do: find it \
         with `ss -xlp | grep wstap-attach`, and end it"
    ))
}

fn who(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (pid {pid})"))
}

fn say(text: &str, code: u8) -> u8 {
    let _ = io::stdout().write_all(text.as_bytes());
    code
}

fn fail(text: &str) -> u8 {
    let text = Look::stderr().fit(&format!("wstap: {text}"));
    let _ = writeln!(io::stderr(), "{text}");
    exit::FAILED
}

/// The `nft` processes that a process has started.
fn nft_children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        // `pid (comm) state ppid …`, proc_pid_stat(5).
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(before, rest)| {
            before.ends_with("(nft") && rest.split(' ').nth(1) == Some(&parent.to_string())
        })
    })
    .collect()
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = process(pid)
        && let Err(error) = kill_process(pid, signal)
    {
        tracing::debug!(%error, ?signal, "failed to send a signal");
    }
}
