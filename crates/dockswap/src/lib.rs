//! dockswap: blue-green deployments for Docker. All of the binary but its entry; the one door to it is
//! [`main`], and, with the feature `in-memory`, `memory`.

mod api;
mod cli;
#[cfg(feature = "in-memory")]
pub mod memory;
mod paths;
mod run;

use std::process::ExitCode;

/// Does what the command line says. This function only decides who is asked.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the runtime cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(cli::main(cli));
    // A task that hangs in a library must not keep the process alive.
    runtime.shutdown_background();
    code
}
