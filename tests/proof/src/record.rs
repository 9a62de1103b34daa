//! What one proof has counted, as a file.

use serde::{Deserialize, Serialize};
use std::path::Path;

/// What one proof has counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The id of the row, as the catalog has it.
    pub row: String,
    /// What was tried, and on what.
    pub setting: String,
    /// Which of several tests that count together this is of; empty: it counts alone.
    #[serde(default)]
    pub part: String,
    /// How often it was tried.
    pub runs: u64,
    /// How often the promise was broken.
    pub failures: u64,
}

impl Record {
    /// The upper end of the 95 % confidence interval of the rate of failures, from 0 to 1: three in
    /// `runs` when none failed (the rule of three); else Wilson's.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub fn bound(&self) -> f64 {
        let (runs, failures) = (self.runs as f64, self.failures as f64);
        if self.runs == 0 {
            return 1.0;
        }
        if self.failures == 0 {
            return (3.0 / runs).min(1.0);
        }
        let z = 1.959_964_f64;
        let rate = failures / runs;
        let middle = rate + z * z / (2.0 * runs);
        let spread = z * (rate * (1.0 - rate) / runs + z * z / (4.0 * runs * runs)).sqrt();
        ((middle + spread) / (1.0 + z * z / runs)).min(1.0)
    }

    /// Writes the record into `directory`, over an earlier one of the same row, setting and part.
    ///
    /// # Errors
    /// When the directory cannot be made or written to.
    pub fn save(&self, directory: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(directory)?;
        let slug = |text: &str| -> String {
            text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
        };
        let name = [&self.row, &self.setting, &self.part].map(|text| slug(text)).join("--") + ".json";
        std::fs::write(directory.join(name), serde_json::to_vec(self)?)
    }
}

/// All records in `directory`, ordered by row and setting; the parts of one are one.
///
/// # Errors
/// When the directory or a record in it cannot be read.
pub fn load(directory: &Path) -> std::io::Result<Vec<Record>> {
    let mut records = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            records.push(serde_json::from_slice::<Record>(&std::fs::read(path)?)?);
        }
    }
    records.sort_by(|a, b| (&a.row, &a.setting).cmp(&(&b.row, &b.setting)));
    records.dedup_by(|part, whole| {
        let together = (&part.row, &part.setting) == (&whole.row, &whole.setting);
        if together {
            whole.runs += part.runs;
            whole.failures += part.failures;
        }
        together
    });
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::{Record, load};

    fn bound(runs: u64, failures: u64) -> f64 {
        Record { row: "P3".into(), setting: "x".into(), part: String::new(), runs, failures }.bound()
    }

    #[test]
    fn parts_are_counted_together() {
        let directory = std::env::temp_dir().join(format!("dockswap-proof-{}", std::process::id()));
        for (setting, part) in [("x", "a"), ("x", "b"), ("y", "a")] {
            let record =
                Record { row: "P3".into(), setting: setting.into(), part: part.into(), runs: 2, failures: 1 };
            record.save(&directory).expect("a directory for temporary files");
        }
        let records = load(&directory).expect("what was saved");
        std::fs::remove_dir_all(&directory).expect("what was made");
        let counts: Vec<(&str, u64, u64)> =
            records.iter().map(|record| (record.setting.as_str(), record.runs, record.failures)).collect();
        assert_eq!(counts, [("x", 4, 2), ("y", 2, 1)]);
    }

    #[test]
    fn no_failure_is_bounded_by_the_rule_of_three() {
        assert!((bound(1_000_000, 0) - 3e-6).abs() < 1e-12);
        assert!((bound(2, 0) - 1.0).abs() < f64::EPSILON);
        assert!((bound(0, 0) - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn failures_widen_the_bound() {
        assert!(bound(100, 1) > 0.01 && bound(100, 1) < 0.06);
        assert!(bound(100, 1) < bound(100, 5));
    }
}
