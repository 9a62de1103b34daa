//! `docs/safety.md` is made from a run of hours, and the catalog changes in between: every row must be on it.

use dockswap_proof::{FAULTS, PROMISES, SCARS, THREATS};
use std::collections::BTreeSet;

#[test]
fn the_page_has_the_rows_of_the_catalog() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/safety.md");
    let page = std::fs::read_to_string(page).expect("docs/safety.md");
    let promised = page.split("## What is not promised").next().unwrap_or_default();
    // `| **id** | …` where it was counted, `- **id** (…)` where it was not.
    let ids = promised.lines().filter_map(|line| line.strip_prefix("| **").or(line.strip_prefix("- **")));
    let shown: BTreeSet<&str> = ids.filter_map(|rest| rest.split("**").next()).collect();
    let rows = PROMISES.iter().chain(FAULTS).chain(THREATS).chain(SCARS);
    let wanted: BTreeSet<&str> = rows.map(|row| row.id).collect();
    assert_eq!(shown, wanted, "run scripts/safety, or `dockswap-safety page DIRECTORY >docs/safety.md`");
}
