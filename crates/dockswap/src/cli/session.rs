//! What every command has at hand: where things are, the controller's socket, and stdout and stderr.

use super::Global;
use super::client::{Client, ClientError, Place};
use super::exit::{CliError, Exit};
use super::sentence;
use super::server::Server;
use crate::api::wire;
pub(crate) use crate::clock::wall_clock as now;
use crate::paths::Paths;
use dockswap_config::Settings;
use dockswap_core::AppName;
use dockswap_core::ports::{Router, Secret};
use dockswap_proxy::ProxyClient;
use serde::Serialize;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long is waited for the controller to say what serves, when something else failed already.
const AFTERTHOUGHT: Duration = Duration::from_secs(3);

/// How data is written to stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs: one JSON document.
    Json,
}

/// What a command has at hand.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) paths: Paths,
    pub(crate) client: Client,
    pub(crate) format: Format,
    /// `--config-dir`, when it was given.
    pub(crate) given_config_dir: Option<PathBuf>,
}

impl Session {
    pub(crate) fn new(global: &Global) -> Result<Self, CliError> {
        let paths = global.paths().map_err(|error| CliError::new(Exit::Usage, format!("{error:#}")))?;
        let place = match &global.server {
            Some(server) => Place::Server(Server::at(server, global.ca.as_deref())?),
            None => Place::Socket(global.socket.clone().unwrap_or_else(|| paths.api_socket())),
        };
        let client = Client::new(place, token(global.token_file.as_deref())?);
        let format = if global.json { Format::Json } else { Format::Text };
        Ok(Self { paths, client, format, given_config_dir: global.config_dir.clone() })
    }

    /// The controller's settings, as this user would start it.
    pub(crate) fn settings(&self) -> Result<Settings, CliError> {
        self.paths.settings().map_err(|problems| {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            CliError::new(Exit::Usage, "the controller's settings are not valid").because(problems.join("\n"))
        })
    }

    /// Writes `document` as JSON, or the lines that `lines` makes.
    pub(crate) fn show(
        &self,
        document: &impl Serialize,
        lines: impl FnOnce() -> Vec<String>,
    ) -> Result<(), CliError> {
        match self.format {
            Format::Json => json(document),
            Format::Text => lines().iter().try_for_each(|line| data(line)),
        }
    }

    /// Adds to an error for want of a controller what the proxy serves all the same.
    pub(crate) async fn with_what_the_proxy_serves(&self, mut error: CliError) -> CliError {
        if error.exit == Exit::NoController && error.now.is_none() && !self.client.is_remote() {
            error.now = Some(self.what_the_proxy_serves().await);
        }
        error
    }

    /// What the proxy serves while no controller does its work.
    pub(crate) async fn what_the_proxy_serves(&self) -> String {
        let proxy = ProxyClient::new(self.paths.proxy_socket());
        match tokio::time::timeout(AFTERTHOUGHT, proxy.status()).await {
            Ok(Ok(status)) => sentence::of_proxy(&status),
            Ok(Err(_)) | Err(_) => {
                "no proxy answers (`dockswap proxy` would serve the last routes)".to_owned()
            }
        }
    }

    /// Adds to an error about `app` what serves now, as far as the controller says so.
    pub(crate) async fn with_what_serves(&self, mut error: CliError, app: &AppName) -> CliError {
        if error.now.is_some() || error.silent || error.exit == Exit::NoController {
            return error;
        }
        let asked = tokio::time::timeout(AFTERTHOUGHT, self.app(app)).await;
        if let Ok(Ok(app)) = asked {
            error.now = Some(sentence::serving(&app));
            if error.next.is_empty() {
                error.next.push(format!("dockswap why {}", app.view.app));
            }
        } else if error.exit == Exit::NotFound && error.next.is_empty() {
            error.next.push("dockswap status  (lists the apps)".to_owned());
        }
        error
    }

    /// One app, as it stands now.
    pub(crate) async fn app(&self, app: &AppName) -> Result<wire::App, ClientError> {
        self.client.get(&format!("/v1/apps/{app}")).await
    }
}

/// The longest file that is taken for one of a token.
const LONGEST_TOKEN: usize = 4096;

/// The token to show: what is in `file`, else in the environment. It is never an argument, which others could read.
fn token(file: Option<&Path>) -> Result<Option<Secret>, CliError> {
    let text = match file {
        Some(file) => {
            let failed = |why: String| {
                CliError::new(Exit::Usage, format!("--token-file: {} cannot be used", file.display()))
                    .because(why)
            };
            let text = std::fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
            if text.trim().is_empty() || text.len() > LONGEST_TOKEN {
                return Err(failed("it holds no token: write the token alone into it".to_owned()));
            }
            text
        }
        None => std::env::var("DOCKSWAP_TOKEN").unwrap_or_default(),
    };
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(CliError::new(Exit::Usage, "what is to be shown as a token is none")
            .because("it has characters that no token has"));
    }
    Ok(Some(Secret::new(text.to_owned())))
}

/// Writes `document` as JSON, indented for a terminal.
pub(crate) fn json(document: &impl Serialize) -> Result<(), CliError> {
    let text = if std::io::stdout().is_terminal() {
        serde_json::to_string_pretty(document)
    } else {
        serde_json::to_string(document)
    };
    data(&inert(&text.map_err(std::io::Error::from)?))
}

/// JSON that moves no cursor on a terminal: what JSON itself leaves as it is stands in strings only, and is
/// escaped there.
fn inert(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut safe, c| {
        let harmless = !super::text::is_unsafe(c) || c == '\n';
        if harmless {
            safe.push(c);
        } else {
            let mut units = [0; 2];
            safe.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
        safe
    })
}

/// Writes a line of data to stdout.
pub(crate) fn data(line: &str) -> Result<(), CliError> {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(CliError::from)
}

/// Writes bytes to stdout as they are.
pub(crate) fn raw(bytes: &[u8]) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(CliError::from)
}

/// Writes a line of progress to stderr. Nobody may be reading: that is no reason to fail.
pub(crate) fn note(line: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::inert;

    #[test]
    fn json_for_programs_is_safe_to_show() {
        let hostile = serde_json::json!({ "a": "\u{1b}[31m\u{9b}1m\u{7f}\u{202e}é👋\n" });
        let text = serde_json::to_string_pretty(&hostile).expect("JSON");
        let safe = inert(&text);
        assert!(!safe.chars().any(|c| super::super::text::is_unsafe(c) && c != '\n'), "{safe:?}");
        assert!(safe.contains("é👋"), "{safe}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).expect("still JSON"), hostile);
    }
}
