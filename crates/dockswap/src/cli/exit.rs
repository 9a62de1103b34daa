//! How a command ends: its exit code, and what it says when it did not do what was asked.

use super::client::ClientError;
use super::sentence;
use super::text::{block, escape};
use serde::Serialize;
use std::fmt;
use std::io;
use std::process::ExitCode;

/// The exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// Failed.
    Failed,
    /// Wrong usage, or an invalid config.
    Usage,
    /// The deploy failed, and the old version still serves.
    OldServes,
    /// No such app, deployment or color.
    NotFound,
    /// Another operation or controller holds it.
    Conflict,
    /// The controller does not answer.
    NoController,
    /// Timed out waiting.
    TimedOut,
}

impl Exit {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::OldServes => 3,
            Self::NotFound => 4,
            Self::Conflict => 5,
            Self::NoController => 6,
            Self::TimedOut => 7,
        }
    }

    /// What an HTTP status of the API means.
    pub(crate) const fn of_status(status: u16) -> Self {
        match status {
            400 | 413 | 415 | 422 => Self::Usage,
            404 => Self::NotFound,
            409 => Self::Conflict,
            _ => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// A command that did not do what was asked: what failed, why, what serves now, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct CliError {
    #[serde(serialize_with = "code")]
    pub(crate) exit: Exit,
    /// What failed: one sentence.
    pub(crate) what: String,
    /// Why, with Docker's or the app's own last lines; may have several lines.
    pub(crate) why: Option<String>,
    /// What serves now.
    pub(crate) now: Option<String>,
    /// Commands to go on with.
    pub(crate) next: Vec<String>,
    /// Whether there is nobody left to tell.
    #[serde(skip)]
    pub(crate) silent: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn code<S: serde::Serializer>(exit: &Exit, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(exit.code())
}

impl CliError {
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), why: None, now: None, next: Vec::new(), silent: false }
    }

    pub(crate) fn because(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    pub(crate) fn next(mut self, command: impl Into<String>) -> Self {
        self.next.push(command.into());
        self
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", block(&self.what, "       "))?;
        if let Some(why) = &self.why {
            write!(f, "\n  why:  {}", block(why, "        "))?;
        }
        if let Some(now) = &self.now {
            write!(f, "\n  now:  {}", escape(now))?;
        }
        for (index, command) in self.next.iter().enumerate() {
            let title = if index == 0 { "next:" } else { "     " };
            write!(f, "\n  {title} {}", escape(command))?;
        }
        Ok(())
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Unreachable { place, message } if place.starts_with("http") => {
                Self::new(Exit::NoController, format!("the controller does not answer on {place}"))
                    .because(message)
                    .next(format!("curl {place}/healthz  (shows how far one gets)"))
            }
            ClientError::Distrusted { place, message } => Self::new(
                Exit::Failed,
                format!("what answers on {place} is not believed to be the controller"),
            )
            .because(message),
            ClientError::Unreachable { place, message } => {
                Self::new(Exit::NoController, format!("the controller does not answer on {place}"))
                    .because(message)
                    .next("dockswap run     (starts it)")
                    .next("dockswap doctor  (says what is wrong)")
            }
            // A file is for the person to mend, not for the controller to explain.
            ClientError::Answered(problem) if problem.code == "invalid" => Self::new(
                Exit::of_status(problem.status),
                "the app's file, or that version of it, cannot be used",
            )
            .because(problem.detail)
            .next("dockswap validate"),
            ClientError::Answered(problem) if ["not_now", "already"].contains(&problem.code.as_str()) => {
                Self::new(Exit::of_status(problem.status), sentence::of_refusal(&problem.detail))
            }
            ClientError::Answered(problem) if problem.status == 401 => {
                Self::new(Exit::Failed, "the controller wants to know who asks")
                    .because(problem.detail)
                    .next("DOCKSWAP_TOKEN=dsw_… dockswap …, or dockswap --token-file FILE …")
            }
            ClientError::Answered(problem) => Self::new(Exit::of_status(problem.status), problem.detail),
            ClientError::Garbled { message } => {
                Self::new(Exit::Failed, "the controller's answer cannot be read")
                    .because(format!("{message} (are both of the same version?)"))
                    .next("dockswap version")
            }
        }
    }
}

/// Writing to stdout failed. Whoever closed the pipe has read enough.
impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        let silent = error.kind() == io::ErrorKind::BrokenPipe;
        Self { silent, ..Self::new(Exit::Failed, "the output cannot be written").because(error.to_string()) }
    }
}

impl From<anyhow::Error> for CliError {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Failed, format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{CliError, Exit};
    use crate::api::wire::Problem;
    use crate::cli::client::ClientError;

    #[test]
    fn the_codes_are_those_of_the_contract() {
        let all = [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::OldServes,
            Exit::NotFound,
            Exit::Conflict,
            Exit::NoController,
            Exit::TimedOut,
        ];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn answers_of_the_api_have_their_codes() {
        for (status, code) in [(404, 4), (409, 5), (422, 2), (400, 2), (413, 2), (503, 1), (500, 1), (504, 1)]
        {
            let (kind, title) = (String::new(), String::new());
            let problem = Problem { kind, title, status, code: "x".to_owned(), detail: "no".to_owned() };
            assert_eq!(CliError::from(ClientError::Answered(problem)).exit.code(), code, "{status}");
        }
        let unreachable =
            ClientError::Unreachable { place: "/run/api.sock".to_owned(), message: "refused".to_owned() };
        let error = CliError::from(unreachable);
        assert_eq!(error.exit.code(), 6);
        assert!(error.to_string().contains("/run/api.sock"));
    }

    #[test]
    fn an_error_says_what_why_now_and_next() {
        let mut error = CliError::new(Exit::OldServes, "web was not deployed: deployment 7 failed")
            .because("web-green-7 exited with code 1\n  | panic: no DATABASE_URL\u{1b}[31m")
            .next("dockswap why web")
            .next("dockswap events 7");
        error.now = Some("blue (app:v1) serves, as before".to_owned());
        assert_eq!(
            error.to_string(),
            "error: web was not deployed: deployment 7 failed\n\
             \x20 why:  web-green-7 exited with code 1\n\
             \x20         | panic: no DATABASE_URL\\u{1b}[31m\n\
             \x20 now:  blue (app:v1) serves, as before\n\
             \x20 next: dockswap why web\n\
             \x20       dockswap events 7"
        );
    }

    #[test]
    fn a_closed_pipe_is_no_news() {
        let error = CliError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert!(error.silent);
    }
}
