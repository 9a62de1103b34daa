//! A problem in a file: where it is, and what to write instead. It must not know what files mean.

use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};

/// A place in a text, both counted from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Position {
    /// Where every text begins.
    pub const START: Self = Self { line: 1, column: 1 };
}

/// Something in a file, or in an environment variable, that must be written differently.
///
/// As text: `FILE:LINE:COLUMN: PATH: MESSAGE`, without the parts that it does not have, and safe to show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file, as it was named by the caller; for a variable: `environment variable NAME`.
    pub file: PathBuf,
    /// Where in the file; `None` for what has no lines (a variable, an unreadable file).
    #[serde(flatten)]
    pub position: Option<Position>,
    /// The field, as in `docker.environment.PORT` or `routes[1].host`; empty for the whole file.
    pub path: String,
    /// What is wrong, and what to write instead. Never holds a value of an environment variable.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whoever may make a file may give it any name.
        for c in self.file.to_string_lossy().chars() {
            let reorders =
                matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            if c.is_control() || reorders { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
        }
        if let Some(Position { line, column }) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for Problem {}

/// Whether a source has lines that a position can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lines {
    Present,
    Absent,
}

/// The problems of one source, collected while it is read to its end.
#[derive(Debug)]
pub(crate) struct Report {
    source: PathBuf,
    lines: Lines,
    problems: Vec<Problem>,
}

impl Report {
    /// For a file.
    pub(crate) fn on(file: &Path) -> Self {
        Self { source: file.to_owned(), lines: Lines::Present, problems: Vec::new() }
    }

    /// For an environment variable.
    pub(crate) fn on_variable(name: &str) -> Self {
        let source = PathBuf::from(format!("environment variable {name}"));
        Self { source, lines: Lines::Absent, problems: Vec::new() }
    }

    /// Notes a problem. What a file says may stand in it: control characters are escaped, for it is
    /// shown on terminals.
    pub(crate) fn add(&mut self, at: Position, path: &str, message: impl Into<String>) {
        let (file, path, message) = (self.source.clone(), escaped(path), escaped(&message.into()));
        let position = (self.lines == Lines::Present).then_some(at);
        self.problems.push(Problem { file, position, path, message });
    }

    /// Whether nothing was noted.
    pub(crate) fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// What was noted, in the order of the text.
    pub(crate) fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|problem| problem.position);
        self.problems
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    escaped
}
