//! The proxy beside nginx, `HAProxy` and Caddy, each on one thread on one core, in turns, in one run: what a
//! request costs in processor time, how many there are, how long they take, and how much memory that needs.
//!
//! Writes tables to stdout, for `docs/benchmarks.md`. One bad answer ends it.

#![allow(clippy::missing_panics_doc, reason = "a measurement fails by panicking")]

mod case;
mod handshakes;
mod idle;
mod instructions;
mod load;
mod neighbor;
mod paced;
mod peer;
mod process;
mod report;

use anstream::{eprintln, println};
use case::{CASES, Case};
use clap::{Parser, Subcommand};
use neighbor::{Neighbor, ROUNDS};
use peer::{Kind, Peer, Running};
use report::{Figures, Memory, Results};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The proxy beside its peers, each on one thread.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    part: Option<Part>,
    /// How often each case is measured for each proxy.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// How long one measurement takes, in seconds.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Three rounds of one second: for a first look.
    #[arg(long)]
    quick: bool,
    /// Only cases whose name contains this; `idle` stands for the memory of resting connections, `neighbor` for an
    /// app beside one that is switched.
    #[arg(long)]
    only: Vec<String>,
    /// Only these proxies, by name.
    #[arg(long)]
    peer: Vec<String>,
    /// Counts instructions by callgrind instead of measuring time: of dockswap, nginx and `HAProxy`.
    #[arg(long)]
    instructions: bool,
    /// Another dockswap to measure beside this one, as NAME=PATH.
    #[arg(long, value_parser = beside)]
    beside: Vec<(String, PathBuf)>,
}

/// What this program does for itself.
#[derive(Subcommand)]
enum Part {
    /// Generates a load of TLS handshakes.
    #[command(hide = true)]
    ShakeHands { port: u16, path: String, connections: usize, seconds: u64 },
    /// Generates a load of a given rate.
    #[command(hide = true)]
    Pace { port: u16, path: String, connections: u32, per_second: u32, seconds: u64 },
}

fn beside(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("write NAME=PATH")?;
    Ok((name.to_owned(), path.into()))
}

/// A proxy with one route and, when a case asks for them, one with many.
struct Contender<'a> {
    peer: &'a Peer,
    one: Running,
    many: Option<Running>,
}

fn main() {
    let mut args = Args::parse();
    match args.part {
        Some(Part::ShakeHands { port, path, connections, seconds }) => {
            return handshakes::run(port, &path, connections, Duration::from_secs(seconds));
        }
        Some(Part::Pace { port, path, connections, per_second, seconds }) => {
            return paced::run(port, &path, (connections, per_second), Duration::from_secs(seconds));
        }
        None => {}
    }
    if args.quick {
        (args.rounds, args.seconds) = (3, 1);
    }
    let limit = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit }).expect("room for connections");
    let mut peers = vec![Peer::dockswap("dockswap", dockswap_tests::dockswap())];
    peers.extend(args.beside.iter().map(|(name, path)| Peer::dockswap(name, path.clone())));
    peers.extend(Peer::others());
    let named = |peer: &Peer| args.peer.is_empty() || args.peer.contains(&peer.name);
    peers.retain(|peer| peer.kind == Kind::Dockswap || named(peer));
    let wanted =
        |name: &str| args.only.is_empty() || args.only.iter().any(|part| name.contains(part.as_str()));
    let cases: Vec<Case> = CASES.into_iter().filter(|case| wanted(case.name)).collect();

    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    peer::make_keys(dir);
    let (_upstream, port) = peer::upstream(dir);
    if args.instructions {
        println!("| | instructions a request |\n|---|---:|");
        // Caddy's runtime is none for callgrind.
        for peer in peers.iter().filter(|peer| peer.kind != Kind::Caddy) {
            println!("| {} | {:.0} |", peer.name, instructions::measure(peer, port, dir));
        }
        return;
    }
    let mut results = Results::default();
    if !cases.is_empty() {
        let contenders: Vec<_> = peers.iter().map(|peer| contender(peer, &cases, port, dir)).collect();
        measure(&args, &cases, &contenders, dir, &mut results);
    }
    if wanted("idle") {
        for round in 0..args.rounds {
            for peer in in_turn(&peers, round) {
                let memory = rest(peer, port, dir);
                results.memory.entry(peer.name.clone()).or_default().push(memory);
            }
        }
    }
    if wanted("neighbor") {
        for peer in peers.iter().filter(|peer| peer.kind == Kind::Dockswap) {
            let rounds = neighbor(peer, port, dir);
            results.neighbor.insert(peer.name.clone(), rounds);
        }
    }
    results.print(&peers);
    let versions: Vec<String> = peers.iter().map(|peer| format!("{} {}", peer.name, peer.version)).collect();
    println!("Medians of {} rounds of {} s each: {}.", args.rounds, args.seconds, versions.join(", "));
}

fn contender<'a>(peer: &'a Peer, cases: &[Case], upstream: u16, keys: &Path) -> Contender<'a> {
    let many = cases.iter().map(|case| case.routes).find(|&routes| routes > 1);
    Contender {
        peer,
        one: peer.start(1, upstream, keys),
        many: many.map(|routes| peer.start(routes, upstream, keys)),
    }
}

/// Another proxy begins in each round, so that none always follows the same one.
fn in_turn<T>(all: &[T], round: usize) -> impl Iterator<Item = &T> {
    let (before, from) = all.split_at(round % all.len());
    from.iter().chain(before)
}

fn measure(args: &Args, cases: &[Case], contenders: &[Contender<'_>], dir: &Path, results: &mut Results) {
    let time = Duration::from_secs(args.seconds);
    // The first round finds things cold: it is not counted.
    for round in 0..=args.rounds {
        for case in cases {
            for contender in in_turn(contenders, round) {
                let Some(figures) = one(contender, *case, time, dir) else { continue };
                let name = &contender.peer.name;
                eprintln!("{round}: {}: {name}: {:.1} µs", case.name, figures.cpu_micros);
                if round > 0 {
                    results.figures.entry((case.name, name.clone())).or_default().push(figures);
                }
            }
        }
    }
}

/// One measurement; `None`: the proxy does not have what the case needs.
fn one(contender: &Contender<'_>, case: Case, time: Duration, dir: &Path) -> Option<Figures> {
    let running = if case.routes > 1 { contender.many.as_ref()? } else { &contender.one };
    let url = case.door.url(running.doors)?;
    let before = running.process.cpu();
    let load = load::run(case.tool, url, case.path, time, dir);
    let taken = running.process.cpu().saturating_sub(before);
    Some(Figures {
        cpu_micros: taken.as_secs_f64() * 1e6 / load.requests,
        per_second: load.per_second,
        p50_micros: load.p50_micros,
        p99_micros: load.p99_micros,
        rss_mib: running.process.rss_mib(),
    })
}

/// What an app's clients notice of another app's switches, round by round; the first one finds things cold.
fn neighbor(peer: &Peer, upstream: u16, dir: &Path) -> Vec<Neighbor> {
    let running = peer.start(1, upstream, dir);
    let table = |revision| peer::switched(neighbor::HOSTS, upstream, revision);
    let measured = (0..=ROUNDS).map(|round| neighbor::measure(&running, table, round, dir));
    measured.skip(1).collect()
}

/// The memory of a proxy that has just been started, and with connections that rest.
fn rest(peer: &Peer, upstream: u16, keys: &Path) -> Memory {
    let running = peer.start(1, upstream, keys);
    let at_start_mib = running.process.rss_mib();
    let connections = idle::connections(running.doors.http);
    let memory = Memory { at_start_mib, resting_mib: running.process.rss_mib() };
    drop(connections);
    memory
}
