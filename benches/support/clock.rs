//! The clock that processes share, and the CPU time of each.

use std::time::Duration;

use nix::time::ClockId;
use nix::unistd::Pid;

use super::Fallible;

/// A clock that is the same for all processes of the machine, so that times of one can be compared
/// with those of another.
pub fn now() -> Fallible<Duration> {
    Ok(ClockId::CLOCK_MONOTONIC.now()?.into())
}

/// CPU time of a process: all its threads, including those that have ended. In nanoseconds, while
/// `/proc/PID/stat` has ticks of ten milliseconds.
pub fn of_process(id: u32) -> Fallible<Duration> {
    let id = Pid::from_raw(id.try_into()?);
    Ok(ClockId::pid_cpu_clock_id(id)?.now()?.into())
}
