//! The `wstap` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(wstap::cli::run(std::env::args_os()))
}
