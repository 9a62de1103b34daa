//! dockswap: blue-green deployments for Docker. This file only decides who is asked.

mod api;
mod cli;
mod paths;
mod run;

use std::process::ExitCode;

fn main() -> ExitCode {
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
