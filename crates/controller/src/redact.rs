//! Taking secrets out of what an app wrote, before it is recorded.
//!
//! A value is found as it is, line by line, and as programs commonly write it: quoted as in JSON or by
//! `Debug`, or escaped for a URL. It is not found encoded otherwise (base64, hexadecimal, a hash), nor
//! broken into parts by the app.

use dockswap_core::ports::Secret;
use std::fmt::Write;

/// Shorter values are not searched for: `1` and `true` stand everywhere.
const SHORTEST: usize = 6;

/// Lines of about this many characters may have been cut, perhaps in the middle of a value.
const LONG: usize = 900;

const MASK: &str = "[redacted]";

/// `lines` with every value of `environment` masked, and every line of a value of several lines: a
/// key that an app prints comes back line by line.
pub(crate) fn redact(lines: Vec<String>, environment: &[(String, Secret)]) -> Vec<String> {
    let mut forms: Vec<String> = environment.iter().flat_map(|(_, secret)| forms(secret.expose())).collect();
    // The longest first: a value may be part of another.
    forms.sort_unstable_by_key(|form| std::cmp::Reverse(form.len()));
    forms.dedup();
    lines
        .into_iter()
        .map(|line| {
            let cut = line.chars().count() >= LONG;
            let line = forms.iter().fold(line, |line, form| line.replace(form.as_str(), MASK));
            if cut { without_beginning(line, &forms) } else { line }
        })
        .collect()
}

/// What to look for.
fn forms(value: &str) -> Vec<String> {
    let parts = std::iter::once(value).chain(value.lines()).map(str::trim);
    let mut forms = Vec::new();
    for part in parts.filter(|part| part.len() >= SHORTEST) {
        let debug = format!("{part:?}");
        forms.push(debug[1..debug.len() - 1].to_owned());
        // Control characters are escaped in what was read of a log.
        forms.push(as_logged(part));
        forms.push(for_url(part));
        forms.push(part.to_owned());
    }
    forms
}

fn as_logged(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut logged, c| {
        if c.is_control() {
            logged.extend(c.escape_default());
        } else {
            logged.push(c);
        }
        logged
    })
}

fn for_url(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// `line` without the beginning of a value at its end, where it was cut.
fn without_beginning(mut line: String, forms: &[String]) -> String {
    let begins = |form: &String| {
        let cuts = form.char_indices().map(|(at, _)| at).rev().filter(|at| *at >= SHORTEST);
        cuts.map(|at| &form[..at]).find(|beginning| line.ends_with(beginning)).map(str::len)
    };
    if let Some(length) = forms.iter().filter_map(begins).max() {
        line.truncate(line.len() - length);
        line.push_str(MASK);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(value: &str, line: &str) -> String {
        redact(vec![line.to_owned()], &[("X".to_owned(), Secret::new(value.to_owned()))]).remove(0)
    }

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
        let key = "-----BEGIN KEY-----\nc2VjcmV0IGtleQ\n-----END KEY-----\n";
        assert_eq!(redacted(key, "loaded:"), "loaded:");
        assert_eq!(redacted(key, "  c2VjcmV0IGtleQ"), "  [redacted]");
        assert_eq!(
            redacted(key, r"k=-----BEGIN KEY-----\nc2VjcmV0IGtleQ\n-----END KEY-----"),
            "k=[redacted]"
        );
    }

    #[test]
    fn a_value_is_found_as_programs_write_it() {
        let value = "pa\"ss/w\\ord ü&1";
        for line in [
            "pa\"ss/w\\ord ü&1".to_owned(),
            format!("{value:?}"),
            "?key=pa%22ss%2Fw%5Cord%20%C3%BC%261&x".to_owned(),
        ] {
            let masked = redacted(value, &line);
            assert!(masked.contains(MASK) && !masked.contains("ord"), "{line}: {masked}");
        }
        assert_eq!(redacted("tab\tbed-välue", r"read tab\tbed-välue"), "read [redacted]");
    }

    #[test]
    fn a_value_that_contains_another_is_masked_whole() {
        let secret = |text: &str| ("X".to_owned(), Secret::new(text.to_owned()));
        let lines =
            redact(vec!["hunter2-and-more".to_owned()], &[secret("hunter2"), secret("hunter2-and-more")]);
        assert_eq!(lines, [MASK]);
    }

    #[test]
    fn a_value_that_was_cut_with_its_line_is_masked() {
        let filler = "x".repeat(980);
        assert_eq!(
            redacted("s3cret-canary-value", &format!("{filler} s3cret-canary")),
            format!("{filler} {MASK}")
        );
        assert_eq!(redacted("s3cret-canary-value", "ends with s3cret-canary"), "ends with s3cret-canary");
    }
}
