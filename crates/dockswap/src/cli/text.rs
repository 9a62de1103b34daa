//! Text for people: tables, ages, sizes, and what apps said made safe to show. Pure.

use dockswap_core::Timestamp;
use std::fmt::Write;
use std::time::Duration;

/// `text` in one line: control characters, and those that reorder the text around them, escaped.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) { safe.extend(c.escape_default()) } else { safe.push(c) }
    }
    safe
}

/// Control characters, and those that reorder the text around them.
pub(crate) fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `text` over several lines, each escaped, all but the first behind `indent`.
pub(crate) fn block(text: &str, indent: &str) -> String {
    let lines: Vec<String> = text.trim_end().lines().map(escape).collect();
    lines.join(&format!("\n{indent}"))
}

/// Rows of cells under a head, as wide as needed. The last column is not padded.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<const N: usize>(head: [&str; N]) -> Self {
        Self { rows: vec![head.map(str::to_owned).to_vec()] }
    }

    /// Adds a row; an empty cell shows as a dash.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        let shown = |cell: String| if cell.is_empty() { "-".to_owned() } else { escape(&cell) };
        self.rows.push(cells.map(shown).to_vec());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    /// The lines, the head first.
    pub(crate) fn lines(&self) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                // Writing into a String cannot fail.
                let _ = write!(line, "{cell:<width$}  ");
            }
            line.trim_end().to_owned()
        };
        self.rows.iter().map(line).collect()
    }
}

/// A duration as people say it: `350 ms`, `4.2 s`, `3 min 5 s`, `2 h 10 min`, `9 d`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..172_800 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// How long ago `then` was, for a column: `5s`, `3m`, `2h`, `9d`.
pub(crate) fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.saturating_since(then).as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Bytes as people say them: `412 B`, `1.5 MB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if count < 1_000 {
        return format!("{count} B");
    }
    let mut tenths = u128::from(count) / 100;
    let mut unit = 0;
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1_000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// For [`count`].
pub(crate) fn as_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// `1 request`, `2 requests`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::{Table, age, block, bytes, count, duration, escape};
    use dockswap_core::Timestamp;
    use std::time::Duration;

    #[test]
    fn what_an_app_said_cannot_move_the_cursor() {
        assert_eq!(escape("a\u{1b}[2J\u{202e}b\n"), "a\\u{1b}[2J\\u{202e}b\\n");
        assert_eq!(escape("Grüße, 世界"), "Grüße, 世界");
        assert_eq!(block("one\n  | two\u{7}\n", "    "), "one\n      | two\\u{7}");
    }

    #[test]
    fn tables_are_as_wide_as_needed() {
        let mut table = Table::new(["APP", "STATE", "IMAGE"]);
        assert!(table.is_empty());
        table.row(["web".to_owned(), "awaiting_promotion".to_owned(), "app:v1".to_owned()]);
        table.row(["long-name".to_owned(), "stable".to_owned(), String::new()]);
        assert_eq!(
            table.lines(),
            [
                "APP        STATE               IMAGE",
                "web        awaiting_promotion  app:v1",
                "long-name  stable              -",
            ]
        );
    }

    #[test]
    fn durations_and_ages() {
        for (millis, text) in [
            (0, "0 ms"),
            (350, "350 ms"),
            (4_210, "4.2 s"),
            (185_000, "3 min 5 s"),
            (7_800_000, "2 h 10 min"),
            (777_600_000, "9 d"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        for (seconds, text) in [(5, "5s"), (180, "3m"), (7_200, "2h"), (777_600, "9d")] {
            assert_eq!(age(at(0), at(seconds)), text);
        }
        // A clock that was set back since.
        assert_eq!(age(at(10), at(0)), "0s");
    }

    #[test]
    fn sizes_and_counts() {
        for (size, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (1_550_000, "1.5 MB"),
            (u64::MAX, "18446744.0 TB"),
        ] {
            assert_eq!(bytes(size), text);
        }
        assert_eq!(
            (count(1, "request"), count(0, "request")),
            ("1 request".to_owned(), "0 requests".to_owned())
        );
    }
}
