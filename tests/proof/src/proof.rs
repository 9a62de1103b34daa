//! Counting the trials of one promise.

use crate::record::Record;
use crate::{DIRECTORY, catalog};
use std::fmt::Display;
use std::path::PathBuf;

/// Counts how often a promise was tried, and how often it was broken. A test makes one, counts, and
/// concludes; a test that panics half way has counted a failure.
///
// Not run: what it counts would stand among what the tests have counted.
/// ```no_run
/// let mut proof = dockswap_proof::Proof::of("P8", "ten idle restarts");
/// for container in 1..=10 {
///     let restarted = false; // what Docker says of it
///     if restarted { proof.broken(format!("container {container} was restarted")) } else { proof.kept() }
/// }
/// proof.conclude();
/// ```
#[derive(Debug)]
#[must_use = "a proof counts nothing until it is concluded"]
pub struct Proof {
    record: Record,
    concluded: bool,
}

impl Proof {
    /// The trials of the catalog's row `row`. `setting` says in a few words what is tried and on what, and
    /// tells this proof from others of the same row.
    ///
    /// # Panics
    /// When the catalog has no such row.
    pub fn of(row: &str, setting: impl Into<String>) -> Self {
        assert!(catalog::row(row).is_some(), "the catalog of tests/proof has no row {row}");
        let record = Record {
            row: row.to_owned(),
            setting: setting.into(),
            part: String::new(),
            runs: 0,
            failures: 0,
        };
        Self { record, concluded: false }
    }

    /// Counts together with other tests of the same row and setting; `part` tells this test from them.
    pub fn part(mut self, part: impl Into<String>) -> Self {
        self.record.part = part.into();
        self
    }

    /// Whether anything was counted yet.
    #[must_use]
    pub const fn is_tried(&self) -> bool {
        self.record.runs > 0
    }

    /// One trial, in which the promise was kept.
    pub fn kept(&mut self) {
        self.kept_times(1);
    }

    /// That many trials, in each of which the promise was kept.
    pub fn kept_times(&mut self, trials: u64) {
        self.record.runs += trials;
    }

    /// One trial, in which the promise was broken.
    pub fn broken(&mut self, why: impl Display) {
        eprintln!("{} broken ({}): {why}", self.record.row, self.record.setting);
        self.broken_times(1);
    }

    /// That many trials, in each of which the promise was broken.
    pub fn broken_times(&mut self, trials: u64) {
        self.record.runs += trials;
        self.record.failures += trials;
    }

    /// Prints and writes down what was counted.
    ///
    /// # Panics
    /// When the promise was broken, or never tried.
    pub fn conclude(mut self) {
        self.write();
        let Record { row, setting, runs, failures, .. } = &self.record;
        assert!(*runs > 0, "{row} was never tried: {setting}");
        assert!(*failures == 0, "{row} was broken {failures} times in {runs}: {setting}");
    }

    fn write(&mut self) {
        self.concluded = true;
        let Record { row, setting, runs, failures, .. } = &self.record;
        println!("proof {row}: {setting}: {runs} runs, {failures} failures");
        if let Some(directory) = std::env::var_os(DIRECTORY) {
            self.record
                .save(&PathBuf::from(directory))
                .expect("DOCKSWAP_PROOFS names a directory to write to");
        }
    }
}

/// One trial of `row` in which the promise was kept, for a test that is itself the trial: called as its last
/// statement.
///
/// # Panics
/// When the catalog has no such row.
pub fn kept(row: &str, setting: impl Into<String>) {
    let mut proof = Proof::of(row, setting);
    proof.kept();
    proof.conclude();
}

impl Drop for Proof {
    fn drop(&mut self) {
        if !self.concluded && std::thread::panicking() {
            self.broken_times(1);
            self.write();
        }
    }
}
