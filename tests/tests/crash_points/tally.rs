//! What was counted over many kills, by the promise.

use dockswap_proof::Proof;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Something that was not as promised.
#[derive(Clone, Debug)]
pub(crate) struct Breach {
    /// The row of the catalog.
    pub(crate) row: &'static str,
    /// What was seen.
    pub(crate) what: String,
}

impl Breach {
    pub(crate) fn of(row: &'static str, what: impl Display) -> Self {
        Self { row, what: what.to_string() }
    }
}

/// The counts of one test.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    rows: BTreeMap<&'static str, (u64, Vec<String>)>,
}

impl Tally {
    /// One kill, after which the promises `judged` were looked at and `breaches` were found.
    pub(crate) fn add(&mut self, at: &impl Display, judged: &[&'static str], breaches: &[Breach]) {
        for row in judged {
            let (kept, broken) = self.rows.entry(row).or_default();
            let found: Vec<&str> = breaches
                .iter()
                .filter(|breach| breach.row == *row)
                .map(|breach| breach.what.as_str())
                .collect();
            if found.is_empty() {
                *kept += 1;
            } else {
                broken.push(format!("at {at}: {}", found.join("; ")));
            }
        }
    }

    /// How many kills were judged.
    pub(crate) fn tried(&self, row: &str) -> u64 {
        self.rows.get(row).map_or(0, |(kept, broken)| *kept + broken.len() as u64)
    }

    /// Counts them as proofs; panics if anything was broken.
    pub(crate) fn conclude(self, setting: &str) {
        let concluded = self.rows.into_iter().map(|(row, (kept, broken))| {
            let mut proof = Proof::of(row, setting);
            proof.kept_times(kept);
            for why in &broken {
                proof.broken(why);
            }
            // All are written down, also after one that was broken.
            catch_unwind(AssertUnwindSafe(|| proof.conclude())).is_ok()
        });
        assert!(concluded.filter(|kept| !kept).count() == 0, "promises were broken");
    }
}
