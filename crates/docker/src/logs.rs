//! What containers wrote: the last lines as evidence, and the whole stream for `dockswap logs`.

use crate::daemon::Docker;
use crate::escape;
use crate::failure::Failure;
use bollard::container::LogOutput;
use bollard::query_parameters::{LogsOptions, LogsOptionsBuilder};
use bytes::Bytes;
use dockswap_core::name::ContainerId;
use dockswap_core::ports::EngineError;
use futures_core::stream::BoxStream;
use futures_util::stream::{self, StreamExt};
use std::time::Duration;
use tokio::time::timeout;

/// Bytes of one line that are kept while it is read: enough for 1,000 characters of any script.
const LINE_BYTES: usize = 4_000;

/// Whether a log ends with what is there, or goes on with what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// What is there.
    No,
    /// Until the container ends or the stream is dropped.
    Yes,
}

impl Docker {
    /// The log of a container, stdout and stderr together and as they were written (nothing is
    /// escaped): its last `tail` lines or all of it, and what comes when it is followed. Ends after
    /// the first error.
    #[must_use]
    pub fn logs(
        &self,
        container: &ContainerId,
        tail: Option<usize>,
        follow: Follow,
    ) -> BoxStream<'static, Result<Bytes, EngineError>> {
        let (docker, id) = (self.clone(), container.0.clone());
        let began = async move {
            docker.session_in_time().await.map(|_| docker.client.logs(&id, Some(options(tail, follow))))
        };
        let operation = format!("read the log of container {container}");
        stream::once(began)
            .flat_map(|began| match began {
                Ok(log) => log.map(|piece| piece.map(LogOutput::into_bytes).map_err(Failure::from)).boxed(),
                Err(failure) => stream::once(async { Err(failure) }).boxed(),
            })
            .map(move |piece| piece.map_err(|failure| failure.during(&operation)))
            .boxed()
    }

    pub(crate) async fn tail(
        &self,
        container: &ContainerId,
        lines: usize,
    ) -> Result<Vec<String>, EngineError> {
        let failed = |failure: Failure| failure.during(format!("read the log of container {container}"));
        self.session_in_time().await.map_err(failed)?;
        let read = async {
            let mut log = self.client.logs(&container.0, Some(options(Some(lines), Follow::No)));
            let mut pieces = Lines::default();
            while let Some(piece) = log.next().await {
                pieces.push(&piece?);
            }
            Ok(pieces.last(lines))
        };
        within(self.deadline, read).await.map_err(failed)
    }
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, bollard::errors::Error>>,
) -> Result<T, Failure> {
    timeout(limit, work)
        .await
        .map_or_else(|_| Err(Failure::late(limit)), |answer| answer.map_err(Failure::from))
}

fn options(tail: Option<usize>, follow: Follow) -> LogsOptions {
    let tail = tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
    LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&tail).follow(follow == Follow::Yes).build()
}

/// Puts lines together from the pieces of two streams, in the order in which they end.
#[derive(Debug, Default)]
struct Lines {
    done: Vec<String>,
    out: Vec<u8>,
    err: Vec<u8>,
}

impl Lines {
    fn push(&mut self, piece: &LogOutput) {
        let open = if matches!(piece, LogOutput::StdErr { .. }) { &mut self.err } else { &mut self.out };
        for part in piece.as_ref().split_inclusive(|&byte| byte == b'\n') {
            let (text, ended) = part.strip_suffix(b"\n").map_or((part, false), |text| (text, true));
            let room = LINE_BYTES.saturating_sub(open.len());
            open.extend_from_slice(&text[..text.len().min(room)]);
            if ended {
                self.done.push(shown(open));
                open.clear();
            }
        }
    }

    /// The last `count` lines; one that was never ended counts.
    fn last(mut self, count: usize) -> Vec<String> {
        for open in [&self.out, &self.err] {
            if !open.is_empty() {
                self.done.push(shown(open));
            }
        }
        self.done.split_off(self.done.len().saturating_sub(count))
    }
}

fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    escape::line(text.strip_suffix('\r').unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(text: &'static str) -> LogOutput {
        LogOutput::StdOut { message: Bytes::from_static(text.as_bytes()) }
    }

    fn err(text: &'static str) -> LogOutput {
        LogOutput::StdErr { message: Bytes::from_static(text.as_bytes()) }
    }

    fn lines(pieces: impl IntoIterator<Item = LogOutput>, count: usize) -> Vec<String> {
        let mut lines = Lines::default();
        pieces.into_iter().for_each(|piece| lines.push(&piece));
        lines.last(count)
    }

    #[test]
    fn two_streams_are_merged_line_by_line() {
        let pieces = [out("be"), err("oh "), out("gin\r\nmid"), err("no\n"), out("dle\nend")];
        assert_eq!(lines(pieces, 9), ["begin", "oh no", "middle", "end"]);
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        assert_eq!(lines([out("1\n2\n3\n")], 2), ["2", "3"]);
        assert_eq!(lines([out("1\n")], 0), Vec::<String>::new());
    }

    #[test]
    fn what_an_app_writes_cannot_move_the_cursor() {
        assert_eq!(lines([out("\u{1b}[2J\n")], 1), [r"\u{1b}[2J"]);
    }

    #[test]
    fn an_endless_line_is_not_kept_whole() {
        let mut long = Lines::default();
        for _ in 0..10_000 {
            long.push(&out("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
        }
        assert!(long.out.len() <= LINE_BYTES);
        assert_eq!(long.last(1).first().map(String::len), Some(1_000));
    }
}
