//! Constant load on one app, until Ctrl-C or for a while: how many requests, how many failed and why,
//! and which versions answered. Exits with 1 when any request failed.

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use clap::Parser;
use dockswap_tests::{Load, Mix};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

/// Constant load on one app, every answer checked.
#[derive(Parser)]
struct Args {
    /// Where the proxy listens.
    proxy: SocketAddr,
    /// The value of the Host header.
    host: String,
    /// For how many seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Clients with a connection that is kept.
    #[arg(long, default_value_t = 4)]
    keep_alive: usize,
    /// Clients that open a connection for each request.
    #[arg(long, default_value_t = 2)]
    one_shot: usize,
    /// Clients that post bodies of up to 100 kB.
    #[arg(long, default_value_t = 2)]
    posts: usize,
    /// Milliseconds from one request of a client to its next; 0: as soon as it is answered.
    #[arg(long, default_value_t = 25)]
    period_ms: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let period = Duration::from_millis(args.period_ms);
    let Args { keep_alive, one_shot, posts, .. } = args;
    let load = Load::begin(args.proxy, &args.host, Mix { keep_alive, one_shot, posts, period, path: "/" });
    std::thread::sleep(Duration::from_secs(args.seconds));
    let report = load.stop();
    let mut versions: BTreeMap<&str, usize> = BTreeMap::new();
    for sample in &report.samples {
        *versions.entry(&sample.version).or_default() += 1;
    }
    println!("{report}");
    for (version, count) in versions {
        println!("  {count} answered by {version}");
    }
    println!("  half within {:?}, 99 % within {:?}", report.percentile(50), report.percentile(99));
    if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
