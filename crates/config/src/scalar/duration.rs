//! Durations as people write them: `500ms`, `5s`, `1m30s`, `2h`.

use crate::fields::quoted;
use std::fmt::Write;
use std::time::Duration;

/// Largest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a duration: numbers with units, largest unit first, whole milliseconds. `0` needs no unit.
///
/// # Errors
/// What is wrong with it, and how it is written, as a sentence.
pub fn parse(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.parse::<f64>().is_ok() {
        return Err(format!("{text} has no unit: write {text}s for seconds, or {text}ms"));
    }
    read(text)
        .map(Duration::from_millis)
        .ok_or_else(|| format!("{} is not a duration: write it as in 500ms, 5s, 1m30s or 2h", quoted(text)))
}

fn read(text: &str) -> Option<u64> {
    let (mut rest, mut total, mut largest) = (text, 0_u64, u64::MAX);
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(number_end);
        let unit_end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let &(_, millis) = UNITS.iter().find(|(name, _)| *name == unit)?;
        if millis >= largest {
            return None;
        }
        total = total.checked_add(scaled(number, millis)?)?;
        (rest, largest) = (after, millis);
    }
    (largest != u64::MAX).then_some(total)
}

/// `decimal` times `unit`, when that is a whole number.
pub(super) fn scaled(decimal: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let (unit, fraction) = (u128::from(unit), fraction.trim_end_matches('0'));
    let power = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = if fraction.is_empty() { 0 } else { fraction.parse::<u128>().ok()?.checked_mul(unit)? };
    if part % power != 0 {
        return None;
    }
    let whole = whole.parse::<u128>().ok()?.checked_mul(unit)?;
    u64::try_from(whole.checked_add(part / power)?).ok()
}

/// Writes a duration as [`parse`] reads it. What is below a millisecond is cut off.
pub(crate) fn show(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, millis) in UNITS {
        if rest >= millis {
            // Writing to a String cannot fail.
            let _ = write!(text, "{}{unit}", rest / millis);
            rest %= millis;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::{parse, show};
    use proptest::prelude::{ProptestConfig, proptest};
    use std::time::Duration;

    #[test]
    fn durations_as_written() {
        for (text, millis) in [
            ("0", 0),
            ("500ms", 500),
            ("5s", 5_000),
            ("1.5s", 1_500),
            ("1m30s", 90_000),
            ("2h", 7_200_000),
            ("1d12h", 129_600_000),
            ("0.001s", 1),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn texts_that_are_no_durations() {
        for text in [
            "",
            "s",
            "5",
            "5.5",
            "-1s",
            "30s1m",
            "1s1s",
            "5 s",
            "1.5ms",
            "1e3s",
            "5x",
            "99999999999999d",
            ".s",
            "1.s",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        let advice = "5 has no unit: write 5s for seconds, or 5ms";
        assert_eq!(parse("5"), Err(advice.to_owned()));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_shown_duration_reads_back(millis in 0_u64..=u64::MAX) {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse(&show(duration)), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = parse(&text);
        }
    }
}
