//! Taking secrets out of what an app wrote, before it is recorded.

use dockswap_core::ports::Secret;

/// Shorter values are not searched for: `1` and `true` stand everywhere.
const SHORTEST: usize = 6;

/// `lines` with every value of `environment` masked, and every line of a value of several lines: a
/// key that an app prints comes back line by line.
pub(crate) fn redact(lines: Vec<String>, environment: &[(String, Secret)]) -> Vec<String> {
    lines
        .into_iter()
        .map(|line| {
            environment
                .iter()
                .flat_map(|(_, secret)| std::iter::once(secret.expose()).chain(secret.expose().lines()))
                .map(str::trim)
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

    #[test]
    fn a_value_of_several_lines_is_masked_line_by_line() {
        let key = Secret::new("-----BEGIN KEY-----\nc2VjcmV0IGtleQ\n-----END KEY-----\n".to_owned());
        let lines =
            redact(vec!["loaded:".to_owned(), "  c2VjcmV0IGtleQ".to_owned()], &[("KEY".to_owned(), key)]);
        assert_eq!(lines, ["loaded:", "  [redacted]"]);
    }
}
