//! dockswap: blue-green deployments for Docker. Everything is in the library, where tests reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    dockswap::main()
}
