//! `dockswap-safety`: makes a table, or `docs/safety.md`, of what the tests' proofs have counted.

use dockswap_proof::{Record, load, missing, page, table};
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "usage: dockswap-safety table|page DIRECTORY
  table   the counts of one run, as text; fails when a promise or a fault has none
  page    docs/safety.md, on standard output
DIRECTORY is what DOCKSWAP_PROOFS named when the tests ran.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [verb, directory] = arguments.as_slice() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let records = match load(&PathBuf::from(directory)) {
        Ok(records) => records,
        Err(error) => {
            eprintln!("dockswap-safety: {directory} cannot be read: {error}");
            return ExitCode::FAILURE;
        }
    };
    match verb.as_str() {
        "table" => print!("{}", table(&records)),
        "page" => print!("{}", page(&records)),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    }
    let missing = missing(&records);
    for row in &missing {
        eprintln!("dockswap-safety: nothing was counted for {}: {}", row.id, row.says);
    }
    let broken: Vec<_> = records.iter().filter(|record| record.failures > 0).collect();
    for Record { row, setting, runs, failures, .. } in &broken {
        eprintln!("dockswap-safety: {row} was broken {failures} times in {runs}: {setting}");
    }
    if missing.is_empty() && broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
