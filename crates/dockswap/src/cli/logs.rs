//! `dockswap logs`.

use super::client::ClientError;
use super::exit::{CliError, Exit};
use super::session::{Session, data, raw};
use super::text::escape;
use bytes::BytesMut;
use clap::Args;
use dockswap_core::{AppName, Color};
use std::io::IsTerminal;

/// Show what an app's containers wrote
///
/// On a terminal, control characters are escaped; elsewhere the bytes pass as they are. With several
/// replicas each line begins with the container's name.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The app
    pub(crate) app: AppName,
    /// blue or green [default: the one that serves]
    #[arg(long, short, value_name = "COLOR")]
    color: Option<Color>,
    /// Go on with what is written from now on
    #[arg(long, short)]
    follow: bool,
    /// Lines from the end of each log: a number, or all
    #[arg(long, short = 'n', value_name = "N", default_value = "100", value_parser = tail)]
    tail: Tail,
}

/// How much of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tail {
    All,
    Lines(usize),
}

fn tail(text: &str) -> Result<Tail, String> {
    match text {
        "all" => Ok(Tail::All),
        _ => text.parse().map(Tail::Lines).map_err(|_| "write a number, or all".to_owned()),
    }
}

pub(crate) async fn logs(session: &Session, args: &LogsArgs) -> Result<Exit, CliError> {
    let app = &args.app;
    let mut path = format!("/v1/apps/{app}/logs?follow={}", args.follow);
    if let Some(color) = args.color {
        path = format!("{path}&color={color}");
    }
    if let Tail::Lines(lines) = args.tail {
        path = format!("{path}&tail={lines}");
    }
    let mut stream = session.client.bytes(&path).await.map_err(|error| match error {
        ClientError::Answered(problem) if problem.code == "no_container" => {
            CliError::from(ClientError::Answered(problem))
                .because("a container that failed is removed; its last lines are kept with the deployment")
                .next(format!("dockswap why {app}"))
        }
        error => error.into(),
    })?;
    let terminal = std::io::stdout().is_terminal();
    let mut open = BytesMut::new();
    while let Some(piece) = stream.next().await {
        let piece = piece?;
        if !terminal {
            raw(&piece)?;
            continue;
        }
        open.extend_from_slice(&piece);
        while let Some(end) = open.iter().position(|&byte| byte == b'\n') {
            data(&shown(&open.split_to(end + 1)))?;
        }
    }
    if !open.is_empty() {
        data(&shown(&open))?;
    }
    Ok(Exit::Done)
}

fn shown(line: &[u8]) -> String {
    escape(String::from_utf8_lossy(line).trim_end_matches(['\r', '\n']))
}

#[cfg(test)]
mod tests {
    use super::{Tail, shown, tail};

    #[test]
    fn how_much_of_a_log() {
        assert_eq!((tail("all"), tail("0")), (Ok(Tail::All), Ok(Tail::Lines(0))));
        assert!(tail("some").is_err());
    }

    #[test]
    fn a_log_cannot_move_the_cursor() {
        assert_eq!(shown(b"\x1b[2Jhello\r\n"), "\\u{1b}[2Jhello");
    }
}
