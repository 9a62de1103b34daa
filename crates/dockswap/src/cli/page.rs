//! `--limit` and `--offset`, as every list takes them.

use clap::Args;
use dockswap_store::Page;

/// Which part of a list.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct PageArgs {
    /// How many rows at most
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=500))]
    limit: u64,
    /// How many rows to pass over first
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    offset: u64,
}

impl From<PageArgs> for Page {
    fn from(args: PageArgs) -> Self {
        Self { limit: args.limit, offset: args.offset }
    }
}
