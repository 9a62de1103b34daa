//! `dockswap run` and `dockswap proxy`: their arguments, and how their ends become exit codes. The
//! processes themselves are in `crate::run`.

use super::exit::{CliError, Exit};
use super::on_one_thread_if_alone;
use super::session::Session;
use crate::api::with_causes;
use crate::run::doorway::UnfitCertificate;
use crate::run::{Ended, Proxy};
use clap::{Args, ValueEnum};
use dockswap_config::LogFormat;
use dockswap_store::ConnectError;
use std::net::SocketAddr;

/// Run the controller
///
/// It watches the app files, deploys what changes, and answers the other commands. It starts the
/// proxy when none answers. Ctrl-C or SIGTERM ends both; the containers stay as they are. SIGHUP reads the
/// config directory again. SIGUSR2 goes on as the program that lies where this one was started from, and so does
/// the proxy: an upgrade that refuses no connection.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The database: `sqlite://PATH` or `postgres://USER@HOST/NAME`
    #[arg(long, value_name = "URL", hide_env_values = true)]
    pub(crate) database_url: Option<String>,
    /// Where the proxy takes HTTP, when it is started by this command [default: 0.0.0.0:80]
    #[arg(long, value_name = "ADDR")]
    pub(crate) proxy_http: Option<SocketAddr>,
    /// Where the proxy takes HTTPS, once a route asks for it [default: 0.0.0.0:443]
    #[arg(long, value_name = "ADDR")]
    pub(crate) proxy_https: Option<SocketAddr>,
    /// Docker: `unix:///PATH` or `tcp://HOST:PORT` [default: `DOCKER_HOST`, or the usual socket]
    #[arg(long, value_name = "HOST")]
    pub(crate) docker_host: Option<String>,
    /// Deployments at the same time, over all apps [default: 4]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) max_concurrent: Option<usize>,
    /// error, warn, info, debug or trace, or directives [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,
    /// How the log is written [default: text]
    #[arg(long, value_name = "FORMAT", value_parser = log_format)]
    pub(crate) log_format: Option<LogFormat>,
}

/// Run the proxy alone
///
/// `dockswap run` starts one by itself. A proxy of its own goes on serving while the controller is
/// restarted or upgraded, and serves its last routes before any controller is up.
#[derive(Debug, Args)]
pub(crate) struct ProxyArgs {
    /// Where it takes HTTP [default: 0.0.0.0:80]
    #[arg(long, value_name = "ADDR")]
    pub(crate) http: Option<SocketAddr>,
    /// Where it takes HTTPS, once a route asks for it [default: 0.0.0.0:443]
    #[arg(long, value_name = "ADDR")]
    pub(crate) https: Option<SocketAddr>,
    /// The user that it runs as, of `/etc/passwd` or as `UID:GID`; only root can become another
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// Take the place of the proxy that runs: no connection is refused, and it finishes what it carries
    #[arg(long)]
    pub(crate) takeover: bool,
}

/// The words for [`LogFormat`].
#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormatWord {
    Text,
    Json,
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    LogFormatWord::from_str(text, true).map(|word| match word {
        LogFormatWord::Text => LogFormat::Text,
        LogFormatWord::Json => LogFormat::Json,
    })
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("write a number from 1 on".to_owned()),
    }
}

pub(crate) async fn run(session: &Session, args: &RunArgs) -> Result<Exit, CliError> {
    let settings = session.settings()?;
    session.paths.check_trust().map_err(|why| {
        CliError::new(Exit::Usage, "the controller's settings are not safe from others").because(why)
    })?;
    match crate::run::run(&session.paths, args, settings).await {
        Ok(Ended::ForGood) => Ok(Exit::Done),
        Ok(Ended::ToGoOnAs(program)) => Err(ended(anyhow::Error::new(program.take_the_place()))),
        Err(error) => {
            let mut error = ended(error);
            error.now = Some(session.what_the_proxy_serves().await);
            Err(error)
        }
    }
}

/// Runs a proxy in this process, which must have no other thread yet.
pub(crate) fn proxy(session: &Session, args: &ProxyArgs) -> Result<Exit, CliError> {
    let settings = session.settings()?;
    let proxy = Proxy::prepare(&session.paths, args, &settings).map_err(ended)?;
    drop(settings);
    on_one_thread_if_alone(proxy.serve())?.map_err(ended)?;
    Ok(Exit::Done)
}

/// Why a process ended that should have gone on.
#[expect(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
pub(crate) fn ended(error: anyhow::Error) -> CliError {
    if let Some(refused) = error.downcast_ref::<ConnectError>() {
        return super::db::explain(refused);
    }
    let exit = if error.is::<UnfitCertificate>() { Exit::Usage } else { Exit::Failed };
    let error: &dyn std::error::Error = error.as_ref();
    CliError::new(exit, with_causes(error)).next("dockswap doctor")
}

#[cfg(test)]
mod tests {
    use super::ended;
    use anyhow::Context;
    use dockswap_store::{ConnectError, LeaseError};

    #[test]
    fn a_second_controller_ends_with_a_conflict() {
        let held = ConnectError::Lease(LeaseError::Held { holder: "pid 71 on build-1".to_owned() });
        let error = ended(Err::<(), _>(held).context("cannot start").expect_err("an error"));
        assert_eq!(error.exit.code(), 5);
        assert!(error.what.contains("pid 71 on build-1"), "{error}");
        assert_eq!(ended(anyhow::anyhow!("other")).exit.code(), 1);
    }
}
