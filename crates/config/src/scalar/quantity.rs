//! Amounts: memory as in `512m`, and CPUs as in `1.5`.

use super::duration::scaled;
use crate::fields::quoted;

/// Docker accepts no smaller memory limit.
const LEAST_MEMORY: u64 = 6 * 1024 * 1024;
/// Docker accepts no smaller share of a CPU.
const LEAST_NANOS: u64 = 10_000_000;
const NANOS: u64 = 1_000_000_000;

/// Reads a number of bytes: a decimal number and `b`, `k`, `m` or `g`, of 1,024 each.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    read(text).ok_or_else(|| format!("{} is no number of bytes: write it as in 512k or 10m", quoted(text)))
}

/// Reads a memory limit in bytes, as [`bytes`] does.
pub(crate) fn memory(text: &str) -> Result<u64, String> {
    let bytes = read(text)
        .ok_or_else(|| format!("{} is not an amount of memory: write it as in 512m or 1.5g", quoted(text)))?;
    if bytes < LEAST_MEMORY {
        return Err(format!(
            "{text} is less than 6m, the least that Docker accepts: write it as in 512m or 1.5g"
        ));
    }
    Ok(bytes)
}

fn read(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let unit_at = lower.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(lower.len());
    let (number, unit) = lower.split_at(unit_at);
    let factor = match unit {
        "" | "b" => Some(1),
        "k" | "kb" | "kib" => Some(1 << 10),
        "m" | "mb" | "mib" => Some(1 << 20),
        "g" | "gb" | "gib" => Some(1 << 30),
        _ => None,
    };
    factor.and_then(|factor| scaled(number, factor)).filter(|&bytes| i64::try_from(bytes).is_ok())
}

/// Reads a number of CPUs, in billionths of one.
pub(crate) fn cpus(text: &str) -> Result<u64, String> {
    let most = 1024 * NANOS;
    match scaled(text, NANOS) {
        Some(nanos) if (LEAST_NANOS..=most).contains(&nanos) => Ok(nanos),
        Some(_) => Err(format!("{text} is out of range: write a number of CPUs from 0.01 to 1024")),
        None => Err(format!("{} is not a number of CPUs: write it as in 0.5 or 2", quoted(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::{bytes, cpus, memory};

    #[test]
    fn amounts_of_memory() {
        for (text, bytes) in [
            ("512m", 536_870_912),
            ("1.5g", 1_610_612_736),
            ("6M", 6_291_456),
            ("8192k", 8_388_608),
            ("10000000", 10_000_000),
            ("10000000b", 10_000_000),
            ("1GB", 1_073_741_824),
        ] {
            assert_eq!(memory(text), Ok(bytes), "{text}");
        }
        for text in ["", "m", "512", "5m", "512x", "-1g", "1.0000001g", "1e9", "9999999999g", "512 m"] {
            assert!(memory(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_of_bytes() {
        for (text, expected) in [("0", 0), ("512k", 524_288), ("1.5m", 1_572_864), ("100", 100)] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "k", "-1", "512x", "1e9"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_of_cpus() {
        for (text, nanos) in [("0.5", 500_000_000), ("2", 2_000_000_000), ("1.25", 1_250_000_000)] {
            assert_eq!(cpus(text), Ok(nanos), "{text}");
        }
        for text in ["", "0", "0.001", "two", "-1", "2000", "0.5cpu"] {
            assert!(cpus(text).is_err(), "{text}");
        }
    }
}
