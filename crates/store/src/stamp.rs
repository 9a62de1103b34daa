//! A point in time as a column holds it. It must not know which column.

use chrono::{DateTime, Utc};
use dockswap_core::Timestamp;
use sea_orm::DeriveValueType;
use std::fmt;
use std::str::FromStr;

/// The first and the last point that four digits of a year can write, in microseconds.
const WRITABLE: (i64, i64) = (-62_167_219_200_000_000, 253_402_300_799_999_999);

/// A [`Timestamp`] as text: `2026-11-21T07:38:26.123456Z`, always UTC and always of this width, so
/// that the order of the texts is the order of the times. What lies outside the years 0 to 9999 is
/// written as the nearest point inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, DeriveValueType)]
#[sea_orm(value_type = "String", column_type = "Text")]
pub struct Stamp(pub(crate) Timestamp);

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros().clamp(WRITABLE.0, WRITABLE.1);
        let time: DateTime<Utc> = DateTime::from_timestamp_micros(micros).unwrap_or_default();
        write!(f, "{}", time.format("%Y-%m-%dT%H:%M:%S%.6fZ"))
    }
}

impl FromStr for Stamp {
    type Err = chrono::ParseError;

    fn from_str(text: &str) -> Result<Self, chrono::ParseError> {
        let time = DateTime::parse_from_rfc3339(text)?;
        Ok(Self(Timestamp::from_micros(time.timestamp_micros())))
    }
}

impl From<Timestamp> for Stamp {
    fn from(time: Timestamp) -> Self {
        Self(time)
    }
}

impl From<Stamp> for Timestamp {
    fn from(stamp: Stamp) -> Self {
        stamp.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::{Stamp, WRITABLE};
    use dockswap_core::Timestamp;

    fn text(micros: i64) -> String {
        Stamp(Timestamp::from_micros(micros)).to_string()
    }

    #[test]
    fn a_time_is_written_with_its_microseconds_and_read_back() {
        assert_eq!(text(1_795_246_706_123_456), "2026-11-21T07:38:26.123456Z");
        assert_eq!(text(0), "1970-01-01T00:00:00.000000Z");
        for micros in [WRITABLE.0, -1, 0, 1, 1_795_246_706_000_000, WRITABLE.1] {
            assert_eq!(text(micros).parse::<Stamp>().unwrap().0.as_micros(), micros);
        }
    }

    #[test]
    fn the_order_of_texts_is_the_order_of_times() {
        let times = [i64::MIN, WRITABLE.0, -1, 0, 1, 999, 1_000, 999_999, 1_000_000, WRITABLE.1, i64::MAX];
        let texts: Vec<String> = times.into_iter().map(text).collect();
        assert!(texts.is_sorted(), "{texts:?}");
        assert!(texts.iter().all(|text| text.len() == 27), "{texts:?}");
    }
}
