//! dockswap: blue-green deployments for Docker. All of the binary but its entry; the one door to it is
//! [`main`], and, with the feature `in-memory`, `memory`.

mod api;
mod cli;
mod clock;
#[cfg(feature = "in-memory")]
pub mod memory;
mod paths;
mod run;

use std::process::ExitCode;

/// Does what the command line says. This function only decides who is asked.
#[must_use]
pub fn main() -> ExitCode {
    match cli::parse() {
        Ok(cli) => cli::main(cli),
        Err(code) => code,
    }
}
