//! `dockswap man`.

use super::Cli;
use super::exit::{CliError, Exit};
use super::session::raw;
use clap::{Args, CommandFactory};
use std::path::{Path, PathBuf};

/// Print the manual page, or write the pages of all commands into a directory
///
/// To read it: dockswap man | man -l -
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Where to write dockswap.1, dockswap-deploy.1 and so on; made when missing
    dir: Option<PathBuf>,
}

pub(crate) fn man(args: &ManArgs) -> Result<Exit, CliError> {
    match &args.dir {
        Some(dir) => write_all(dir)?,
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            raw(&page)?;
        }
    }
    Ok(Exit::Done)
}

fn write_all(dir: &Path) -> Result<(), CliError> {
    let written = std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Cli::command(), dir));
    written.map_err(|error| {
        CliError::new(Exit::Failed, format!("the pages cannot be written to {}", dir.display()))
            .because(error.to_string())
    })
}
