//! Clocks that processes share, and their own.

use std::time::Duration;

use nix::time::ClockId;
use nix::unistd::Pid;

use super::Fallible;

/// The same for all processes of the machine, so that what one saw can be told from what another saw.
pub fn now() -> Fallible<Duration> {
    Ok(ClockId::CLOCK_MONOTONIC.now()?.into())
}

/// CPU time of a process: all its threads, also those that have ended. In nanoseconds, where
/// `/proc/PID/stat` has ticks of ten milliseconds.
pub fn of_process(id: u32) -> Fallible<Duration> {
    let id = Pid::from_raw(id.try_into()?);
    Ok(ClockId::pid_cpu_clock_id(id)?.now()?.into())
}
