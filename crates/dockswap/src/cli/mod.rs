//! The operator's commands: one verb a file. They ask the controller over its socket, and print.
//! They decide nothing: what is possible is for the controller to say.

mod app_files;
mod audit;
mod cancel;
mod certificate;
mod client;
mod completions;
mod config;
mod configs;
mod db;
mod deploy;
mod docker_run;
mod doctor;
mod drift;
mod events;
mod exit;
mod facts;
#[cfg(test)]
mod fixture;
mod follow;
mod health;
#[cfg(test)]
mod help;
mod history;
mod init;
mod listeners;
mod logs;
mod maintenance;
mod man;
mod outcome;
mod page;
mod pause;
mod plan;
mod project;
mod promote;
mod prune;
mod records;
mod recover;
mod reload;
mod remove;
mod resume;
mod rollback;
mod run;
mod schema;
mod sentence;
mod server;
mod session;
mod status;
mod switch;
mod text;
mod token;
mod validate;
mod version;
mod wait;
mod whoami;
mod why;

pub(crate) use listeners::holder_of;
pub(crate) use run::{ProxyArgs, RunArgs};
pub(crate) use text::escape;

use crate::paths::Paths;
use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand};
use dockswap_core::AppName;
use exit::{CliError, Exit};
use session::Session;
use std::path::PathBuf;
use std::process::ExitCode;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed
  2  wrong usage, or an invalid config
  3  the deploy failed, and the old version still serves
  4  no such app, deployment or color
  5  conflict: another operation or controller holds it
  6  the controller does not answer
  7  timed out waiting";

/// Blue-green deployments for Docker.
///
/// Edit an app's YAML file, and its new version takes over the traffic with no failed request, or the
/// old one never notices.
#[derive(Debug, Parser)]
#[command(name = "dockswap", version, styles = STYLES, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// App files and settings [default: ./dockswap-cfg if there, else the user's or the system's]
    #[arg(long, global = true, value_name = "DIR", env = "DOCKSWAP_CONFIG_DIR", hide_env_values = true)]
    pub(crate) config_dir: Option<PathBuf>,
    /// Database and sockets [default: the user's or the system's]
    #[arg(long, global = true, value_name = "DIR", env = "DOCKSWAP_DATA_DIR", hide_env_values = true)]
    pub(crate) data_dir: Option<PathBuf>,
    /// The controller's socket [default: api.sock in the data directory]
    #[arg(long, global = true, value_name = "PATH", env = "DOCKSWAP_SOCKET", hide_env_values = true)]
    pub(crate) socket: Option<PathBuf>,
    /// A controller's API over TCP instead, as in `https://deploy.example.com:7443`
    #[arg(long, global = true, value_name = "URL", env = "DOCKSWAP_SERVER", hide_env_values = true)]
    pub(crate) server: Option<String>,
    /// The file that holds the token to show [default: the environment variable `DOCKSWAP_TOKEN`]
    #[arg(long, global = true, value_name = "FILE", env = "DOCKSWAP_TOKEN_FILE", hide_env_values = true)]
    pub(crate) token_file: Option<PathBuf>,
    /// Root certificates in PEM by which the server is known [default: those of the system]
    #[arg(long, global = true, value_name = "FILE", env = "DOCKSWAP_CA", hide_env_values = true)]
    pub(crate) ca: Option<PathBuf>,
    /// Write one JSON document to stdout
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

impl Global {
    /// Where things are.
    pub(crate) fn paths(&self) -> anyhow::Result<Paths> {
        Paths::resolve(self.config_dir.clone(), self.data_dir.clone())
    }
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Init(init::InitArgs),
    Run(RunArgs),
    Proxy(ProxyArgs),
    Validate(validate::ValidateArgs),
    Plan(plan::PlanArgs),
    Deploy(deploy::DeployArgs),
    Rollback(rollback::RollbackArgs),
    Switch(switch::SwitchArgs),
    Promote(promote::PromoteArgs),
    Cancel(cancel::CancelArgs),
    Recover(recover::RecoverArgs),
    Pause(pause::PauseArgs),
    Resume(resume::ResumeArgs),
    Maintenance(maintenance::MaintenanceArgs),
    Remove(remove::RemoveArgs),
    Status(status::StatusArgs),
    Why(why::WhyArgs),
    History(history::HistoryArgs),
    Events(events::EventsArgs),
    Configs(configs::ConfigsArgs),
    Config(config::ConfigArgs),
    Logs(logs::LogsArgs),
    Health(health::HealthArgs),
    DockerRun(docker_run::DockerRunArgs),
    Drift(drift::DriftArgs),
    Facts(facts::FactsArgs),
    Reload(reload::ReloadArgs),
    Wait(wait::WaitArgs),
    Prune(prune::PruneArgs),
    Doctor(doctor::DoctorArgs),
    Db(db::DbArgs),
    Token(token::TokenArgs),
    Whoami(whoami::WhoamiArgs),
    Project(project::ProjectArgs),
    Audit(audit::AuditArgs),
    Schema(schema::SchemaArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
    Version(version::VersionArgs),
}

impl Verb {
    /// The app that it is about.
    fn app(&self) -> Option<&AppName> {
        match self {
            Self::Deploy(args) => Some(&args.app),
            Self::Rollback(args) => Some(&args.app),
            Self::Switch(args) => Some(&args.app),
            Self::Promote(args) => Some(&args.app),
            Self::Cancel(args) => Some(&args.app),
            Self::Recover(args) => Some(&args.app),
            Self::Pause(args) => Some(&args.app),
            Self::Resume(args) => Some(&args.app),
            Self::Maintenance(args) => Some(&args.app),
            Self::Remove(args) => Some(&args.app),
            Self::Logs(args) => Some(&args.app),
            Self::Health(args) => Some(&args.app),
            Self::DockerRun(args) => Some(&args.app),
            Self::Wait(args) => Some(&args.app),
            Self::Drift(args) => args.app.as_ref(),
            _ => None,
        }
    }

    /// What a verb reads that is on the controller's own host; `None`: nothing.
    const fn reads_here(&self) -> Option<&'static str> {
        match self {
            Self::Validate(_) | Self::Plan(_) => Some("app files and settings"),
            Self::Doctor(_) => Some("the system around the controller"),
            Self::Db(_) => Some("the database"),
            _ => None,
        }
    }
}

/// What was typed. Help and wrong usage are printed here, with the exit code to end with.
pub(crate) fn parse() -> Result<Cli, ExitCode> {
    Cli::try_parse().map_err(|error| {
        // What was typed is not understood, so whether JSON was wanted can only be looked for.
        let json = std::env::args_os().skip(1).take_while(|word| word != "--").any(|word| word == "--json");
        if error.use_stderr() && json {
            complain(&usage(&error), true);
        } else {
            let _ = error.print();
        }
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage.code()))
    })
}

/// Wrong usage as an error like every other: clap's first line, and below it what it advises.
fn usage(error: &clap::Error) -> CliError {
    let text = error.to_string();
    let (what, why) = text.split_once('\n').unwrap_or((&text, ""));
    let what = what.trim_start_matches("error: ");
    CliError {
        why: Some(why.trim().to_owned()).filter(|why| !why.is_empty()),
        ..CliError::new(Exit::Usage, what)
    }
}

/// Carries out a verb, and says on stderr what went wrong.
pub(crate) fn main(cli: Cli) -> ExitCode {
    let json = cli.global.json;
    let outcome = Session::new(&cli.global).and_then(|session| match cli.verb {
        // It gives up its privileges first, and these the kernel keeps for each thread.
        Verb::Proxy(args) => run::proxy(&session, &args),
        verb => on_runtime(explained(&session, verb))?,
    });
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => {
            complain(&error, json);
            error.exit.into()
        }
    }
}

/// Runs `work` to its end on a runtime of its own.
fn on_runtime<T>(work: impl Future<Output = T>) -> Result<T, CliError> {
    run_on(tokio::runtime::Builder::new_multi_thread(), work)
}

/// The same on a runtime without threads of its own where there is only one processor to use: handing tasks
/// from one thread to another would cost a seventh of what a request does.
fn on_one_thread_if_alone<T>(work: impl Future<Output = T>) -> Result<T, CliError> {
    let alone = std::thread::available_parallelism().is_ok_and(|processors| processors.get() == 1);
    if alone { run_on(tokio::runtime::Builder::new_current_thread(), work) } else { on_runtime(work) }
}

fn run_on<T>(mut runtime: tokio::runtime::Builder, work: impl Future<Output = T>) -> Result<T, CliError> {
    let runtime = runtime.enable_all().build()?;
    let done = runtime.block_on(work);
    // A task that hangs in a library must not keep the process alive.
    runtime.shutdown_background();
    Ok(done)
}

/// Carries out a verb; an error says what serves all the same.
async fn explained(session: &Session, verb: Verb) -> Result<Exit, CliError> {
    let app = verb.app().cloned();
    match (carry_out(session, verb).await, app) {
        (Err(error), Some(app)) if error.exit != Exit::NoController => {
            Err(session.with_what_serves(error, &app).await)
        }
        (Err(error), _) => Err(session.with_what_the_proxy_serves(error).await),
        (outcome, _) => outcome,
    }
}

fn complain(error: &CliError, json: bool) {
    if error.silent {
        return;
    }
    let document = serde_json::json!({ "error": error });
    session::note(&if json { document.to_string() } else { error.to_string() });
}

async fn carry_out(session: &Session, verb: Verb) -> Result<Exit, CliError> {
    if let Some(what) = verb.reads_here().filter(|_| session.client.is_remote()) {
        return Err(CliError::new(Exit::Usage, "this command does not work over --server")
            .because(format!("it reads {what}, where the controller runs"))
            .next("run it there, without --server and DOCKSWAP_SERVER"));
    }
    match verb {
        Verb::Run(args) => run::run(session, &args).await,
        Verb::Proxy(_) => unreachable!("it makes a runtime of its own, later"),
        Verb::Init(args) => init::init(session, &args),
        Verb::Validate(args) => validate::validate(session, &args).await,
        Verb::Plan(args) => plan::plan(session, &args).await,
        Verb::Deploy(args) => deploy::deploy(session, &args).await,
        Verb::Rollback(args) => rollback::rollback(session, &args).await,
        Verb::Switch(args) => switch::switch(session, &args).await,
        Verb::Promote(args) => promote::promote(session, &args).await,
        Verb::Cancel(args) => cancel::cancel(session, &args).await,
        Verb::Recover(args) => recover::recover(session, &args).await,
        Verb::Pause(args) => pause::pause(session, &args).await,
        Verb::Resume(args) => resume::resume(session, &args).await,
        Verb::Maintenance(args) => maintenance::maintenance(session, &args).await,
        Verb::Remove(args) => remove::remove(session, &args).await,
        Verb::Status(args) => status::status(session, &args).await,
        Verb::Why(args) => why::why(session, &args).await,
        Verb::History(args) => history::history(session, &args).await,
        Verb::Events(args) => events::events(session, &args).await,
        Verb::Configs(args) => configs::configs(session, &args).await,
        Verb::Config(args) => config::config(session, &args).await,
        Verb::Logs(args) => logs::logs(session, &args).await,
        Verb::Health(args) => health::health(session, &args).await,
        Verb::DockerRun(args) => docker_run::docker_run(session, &args).await,
        Verb::Drift(args) => drift::drift(session, &args).await,
        Verb::Facts(args) => facts::facts(session, &args).await,
        Verb::Reload(args) => reload::reload(session, &args).await,
        Verb::Wait(args) => wait::wait(session, &args).await,
        Verb::Prune(args) => prune::prune(session, &args).await,
        Verb::Doctor(args) => doctor::doctor(session, &args).await,
        Verb::Db(args) => db::db(session, &args).await,
        Verb::Token(args) => token::token(session, &args).await,
        Verb::Whoami(args) => whoami::whoami(session, &args).await,
        Verb::Project(args) => project::project(session, &args).await,
        Verb::Audit(args) => audit::audit(session, &args).await,
        Verb::Schema(args) => schema::schema(&args),
        Verb::Completions(args) => completions::completions(&args),
        Verb::Man(args) => man::man(&args),
        Verb::Version(args) => version::version(session, &args),
    }
}

#[cfg(test)]
mod tests {
    use super::{Cli, usage};
    use clap::Parser;

    #[test]
    fn wrong_usage_is_an_error_like_every_other() {
        let error = Cli::try_parse_from(["dockswap", "--json", "wait", "web", "--for", "ever"]);
        let error = usage(&error.expect_err("no such state"));
        assert_eq!(error.exit.code(), 2);
        assert_eq!(error.what, "invalid value 'ever' for '--for <STATE>'");
        assert!(error.why.is_some_and(|why| why.contains("possible values: pending, stable")));
    }
}
