//! Status codes that count as healthy: `200`, `200-399`.

use crate::fields::quoted;

/// Reads a code or a range of codes, both ends counted in.
pub(crate) fn parse(text: &str) -> Result<(u16, u16), String> {
    let code = |text: &str| text.trim().parse::<u16>().ok().filter(|code| (100..=599).contains(code));
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    match (code(low), code(high)) {
        (Some(low), Some(high)) if low <= high => Ok((low, high)),
        _ => Err(format!(
            "{} is not a status: write a code from 100 to 599, or a range such as 200-399",
            quoted(text)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn codes_and_ranges() {
        assert_eq!(parse("200"), Ok((200, 200)));
        assert_eq!(parse("200-399"), Ok((200, 399)));
        assert_eq!(parse("200 - 204"), Ok((200, 204)));
        for text in ["", "99", "600", "399-200", "2xx", "200-", "-200", "200,204", "200-300-400"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
