//! Taking secrets out of what an app wrote, before it is recorded.

use dockswap_core::ports::Secret;

/// Shorter values are not searched for: `1` and `true` stand everywhere.
const SHORTEST: usize = 6;

/// `lines` with every value of `environment` masked.
pub(crate) fn redact(lines: Vec<String>, environment: &[(String, Secret)]) -> Vec<String> {
    lines
        .into_iter()
        .map(|line| {
            environment
                .iter()
                .map(|(_, secret)| secret.expose())
                .filter(|value| value.len() >= SHORTEST)
                .fold(line, |line, value| line.replace(value, "[redacted]"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_masked_and_short_ones_are_left() {
        let environment = [
            ("TOKEN".to_owned(), Secret::new("s3cret-canary".to_owned())),
            ("DEBUG".to_owned(), Secret::new("1".to_owned())),
        ];
        let lines = redact(vec!["token s3cret-canary refused, try 1".to_owned()], &environment);
        assert_eq!(lines, ["token [redacted] refused, try 1"]);
    }
}
