//! Text from containers, made safe to show: an app must not move the reader's cursor or forge lines.
//! Pure.

/// The most characters of a line that are kept.
const LONGEST: usize = 1_000;

/// `line` with its control characters escaped, cut at 1,000 characters.
pub(crate) fn line(line: &str) -> String {
    let mut safe = String::with_capacity(line.len());
    let mut characters = 0;
    for character in line.chars() {
        let shown =
            if is_unsafe(character) { character.escape_default().to_string() } else { character.to_string() };
        characters += shown.chars().count();
        if characters > LONGEST {
            break;
        }
        safe.push_str(&shown);
    }
    safe
}

/// Control characters, and those that reorder the text around them.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(line("\u{1b}[2Jhe\tllo\u{7}\u{9b}\u{202e}"), r"\u{1b}[2Jhe\tllo\u{7}\u{9b}\u{202e}");
    }

    #[test]
    fn text_in_any_script_stays() {
        assert_eq!(line("Grüße, 世界 👋"), "Grüße, 世界 👋");
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        assert_eq!(line(&"é".repeat(5_000)).chars().count(), LONGEST);
        assert_eq!(line(&format!("{}\u{1b}", "x".repeat(LONGEST - 1))), "x".repeat(LONGEST - 1));
    }
}
