//! Points in time as the records write them, so that what the load saw can be laid beside them.

use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds since 1970, UTC.
pub type Micros = i64;

/// The present.
#[must_use]
pub fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_micros()).expect("a clock before the year 290000")
}

/// The point in time that a column of the database names.
#[must_use]
pub fn micros(column: &str) -> Micros {
    let time =
        chrono::DateTime::parse_from_rfc3339(column).unwrap_or_else(|error| panic!("{column:?}: {error}"));
    time.timestamp_micros()
}

/// A point in time as the columns of the database write it.
#[must_use]
pub fn stamp(at: Micros) -> String {
    let time = chrono::DateTime::from_timestamp_micros(at).expect("a time of our age");
    time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}
