//! Programs that are run to their end.

use std::fmt;
use std::process::{Command, Stdio};

/// How a program ended, and what it wrote.
#[derive(Clone, Debug)]
pub struct Done {
    /// What was run, for messages.
    pub line: String,
    /// The exit code; −1 when a signal ended it.
    pub code: i32,
    /// Data.
    pub stdout: String,
    /// Progress and errors.
    pub stderr: String,
}

impl Done {
    /// Runs `command` without input.
    #[must_use]
    pub fn of(command: &mut Command) -> Self {
        let line = format!("{command:?}");
        let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{line}: {error}"));
        Self {
            line,
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Both outputs.
    #[must_use]
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Panics with everything that was written, unless it ended with `code`.
    #[must_use]
    pub fn exits(self, code: i32) -> Self {
        assert!(self.code == code, "expected exit code {code}:\n{self}");
        self
    }

    /// Panics with everything that was written, unless it contains `text`.
    #[must_use]
    pub fn says(self, text: &str) -> Self {
        assert!(self.all().contains(text), "expected the text {text:?}:\n{self}");
        self
    }

    /// Standard output as JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}):\n{self}"))
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, code, stdout, stderr } = self;
        write!(f, "$ {line}\n[exit code {code}]\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}
