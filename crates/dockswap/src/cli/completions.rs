//! `dockswap completions`.

use super::Cli;
use super::exit::{CliError, Exit};
use super::session::raw;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// Print completions for a shell
///
/// For bash: `dockswap completions bash > /etc/bash_completion.d/dockswap`
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub(crate) fn completions(args: &CompletionsArgs) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "dockswap", &mut script);
    raw(&script)?;
    Ok(Exit::Done)
}
