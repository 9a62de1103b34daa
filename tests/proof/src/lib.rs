//! What dockswap promises, and how often a test saw each promise kept. A test counts its trials with a
//! [`Proof`]; `dockswap-safety` makes a table of what all tests have counted. It knows nothing of what is
//! tried.

mod catalog;
mod page;
mod proof;
mod record;

pub use catalog::{FAULTS, PROMISES, Row, SCARS, THREATS, row};
pub use page::{missing, page, table};
pub use proof::{Proof, kept};
pub use record::{Record, load};

/// Names the directory into which proofs write what they counted; without it they only print it.
pub const DIRECTORY: &str = "DOCKSWAP_PROOFS";

/// The long forms of the tests are asked for.
#[must_use]
pub fn long() -> bool {
    std::env::var_os("DOCKSWAP_LONG").is_some_and(|value| value == "1")
}
