//! The tables, and what they say about the bars.

use crate::case::{
    CASES, KEEP_ALIVE, LARGE, MANY_ROUTES, ONE_ROUTE, ONE_SHOT, PACED, TLS_KEEP_ALIVE, TLS_ONE_SHOT,
};
use crate::neighbor::{Neighbor, SWITCHES, SWITCHES_PER_SECOND};
use crate::peer::{Kind, Peer};
use anstream::println;
use std::collections::BTreeMap;

/// What one proxy did in one case in one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) cpu_micros: f64,
    pub(crate) per_second: f64,
    pub(crate) p50_micros: f64,
    pub(crate) p99_micros: f64,
    pub(crate) rss_mib: f64,
}

/// Memory of one proxy in one round: started, and with connections that rest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) at_start_mib: f64,
    pub(crate) resting_mib: f64,
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub(crate) struct Results {
    /// By case and by proxy, one for each round.
    pub(crate) figures: BTreeMap<(&'static str, String), Vec<Figures>>,
    pub(crate) memory: BTreeMap<String, Vec<Memory>>,
    pub(crate) neighbor: BTreeMap<String, Vec<Neighbor>>,
}

/// The median; of an even number the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.get(values.len().saturating_sub(1) / 2)?, values.get(values.len() / 2)?);
    Some(f64::midpoint(*low, *high))
}

impl Results {
    fn of(&self, case: &'static str, peer: &str, figure: impl Fn(&Figures) -> f64) -> Option<f64> {
        let rounds = self.figures.get(&(case, peer.to_owned()))?;
        median(rounds.iter().map(figure).collect())
    }

    fn resting(&self, peer: &str) -> Option<f64> {
        median(self.memory.get(peer)?.iter().map(|memory| memory.resting_mib).collect())
    }

    /// Writes the tables of all cases that were measured, and the table of the bars.
    pub(crate) fn print(&self, peers: &[Peer]) {
        for case in CASES {
            if !self.figures.keys().any(|(name, _)| *name == case.name) {
                continue;
            }
            println!("### {}\n", case.name);
            println!("| | CPU µs a request | requests/s | p50 µs | p99 µs | RSS MiB |");
            println!("|---|---:|---:|---:|---:|---:|");
            for peer in peers {
                let of = |figure: fn(&Figures) -> f64| self.of(case.name, &peer.name, figure);
                let Some(cpu) = of(|f| f.cpu_micros) else { continue };
                let [rate, p50, p99, rss]: [fn(&Figures) -> f64; 4] =
                    [|f| f.per_second, |f| f.p50_micros, |f| f.p99_micros, |f| f.rss_mib];
                let [rate, p50, p99, rss] = [rate, p50, p99, rss].map(|f| of(f).unwrap_or_default());
                println!("| {} | {cpu:.1} | {rate:.0} | {p50:.0} | {p99:.0} | {rss:.0} |", peer.name);
            }
            println!();
        }
        if !self.memory.is_empty() {
            println!("### 1,000 connections that rest\n");
            println!("| | RSS MiB at start | RSS MiB |\n|---|---:|---:|");
            for peer in peers {
                let Some(rounds) = self.memory.get(&peer.name) else { continue };
                let start = median(rounds.iter().map(|memory| memory.at_start_mib).collect());
                let resting = self.resting(&peer.name);
                println!(
                    "| {} | {:.1} | {:.1} |",
                    peer.name,
                    start.unwrap_or_default(),
                    resting.unwrap_or_default()
                );
            }
            println!();
        }
        for peer in peers.iter().filter(|peer| peer.kind == Kind::Dockswap) {
            self.judge(&peer.name);
        }
    }

    /// Writes what is met and what not.
    fn judge(&self, name: &str) {
        let cpu = |case, peer: &str| self.of(case, peer, |f| f.cpu_micros);
        let best = |case| [cpu(case, "nginx"), cpu(case, "HAProxy")].into_iter().flatten().reduce(f64::min);
        let p99 = |peer: &str| self.of(PACED, peer, |f| f.p99_micros);
        let ratios = [
            (
                "CPU, keep-alive, beside the better of nginx and HAProxy",
                cpu(KEEP_ALIVE, name),
                best(KEEP_ALIVE),
                1.0,
            ),
            ("CPU, keep-alive, beside Caddy", cpu(KEEP_ALIVE, name), cpu(KEEP_ALIVE, "Caddy"), 0.4),
            ("p99, keep-alive at 16,000 requests a second, beside HAProxy", p99(name), p99("HAProxy"), 1.0),
            ("CPU, one request a connection, beside the better", cpu(ONE_SHOT, name), best(ONE_SHOT), 1.15),
            ("CPU, 10 KiB answers, beside the better", cpu(LARGE, name), best(LARGE), 1.15),
            ("CPU, TLS keep-alive, beside the better", cpu(TLS_KEEP_ALIVE, name), best(TLS_KEEP_ALIVE), 1.15),
            (
                "CPU, TLS one request a connection, beside the better",
                cpu(TLS_ONE_SHOT, name),
                best(TLS_ONE_SHOT),
                1.15,
            ),
            ("CPU, 1,000 routes beside 1", cpu(MANY_ROUTES, name), cpu(ONE_ROUTE, name), 1.05),
        ];
        println!("### What {name} was to meet\n");
        println!("| | measured | at most | |\n|---|---:|---:|---|");
        for (what, ours, theirs, most) in ratios {
            match ours.zip(theirs).map(|(ours, theirs)| ours / theirs) {
                Some(ratio) => println!("| {what} | {ratio:.2} | {most:.2} | {} |", verdict(ratio <= most)),
                None => println!("| {what} | – | {most:.2} | not measured |"),
            }
        }
        if let Some((ours, theirs)) = self.resting(name).zip(self.resting("HAProxy")) {
            let more = ours - theirs;
            println!(
                "| RSS at 1,000 resting connections, more than HAProxy | {more:.1} MiB | 10 MiB | {} |",
                verdict(more <= 10.0)
            );
        }
        if let Some(rounds) = self.neighbor.get(name) {
            let ratios = rounds.iter().map(|round| round.switched_micros / round.calm_micros).collect();
            let ratio = median(ratios).unwrap_or_default();
            println!(
                "| p99 of an app while another one is switched {SWITCHES} times, {SWITCHES_PER_SECOND} a second, beside without | {ratio:.2} | 1.10 | {} |",
                verdict(ratio < 1.1)
            );
        }
        println!();
    }
}

const fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "**not met**" }
}
