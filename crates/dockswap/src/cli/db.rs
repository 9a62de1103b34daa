//! `dockswap db`.

use super::exit::{CliError, Exit};
use super::session::{Session, now};
use super::text::{as_u64, count};
use crate::api::with_causes;
use clap::{Args, Subcommand};
use dockswap_core::machine::Machine;
use dockswap_core::records::StoreError;
use dockswap_store::{AppRecords, ConnectError, Holder, LeaseError, SchemaError, SchemaStatus};
use serde_json::json;
use std::path::PathBuf;

/// Check, migrate or copy the database
#[derive(Debug, Args)]
pub(crate) struct DbArgs {
    #[command(subcommand)]
    verb: DbVerb,
}

#[derive(Debug, Subcommand)]
enum DbVerb {
    /// Check the database, with or without a running controller
    ///
    /// Its integrity and foreign keys; and, by replaying the events of every app, that they give its
    /// recorded state, and that the recorded color and image are those that traffic uses. Changes
    /// nothing; exits with 1 when anything is wrong.
    Check,
    /// Bring the schema up to date
    ///
    /// A controller does so by itself when it starts. While one runs, a schema that is not up to date is
    /// left alone (exit code 5).
    Migrate {
        /// Only say what is applied and what is missing
        #[arg(long)]
        status: bool,
    },
    /// Copy the database into a file that must not exist
    ///
    /// For `SQLite`; the controller may go on writing meanwhile. For `PostgreSQL` use `pg_dump`.
    Backup {
        /// The copy
        file: PathBuf,
    },
}

pub(crate) async fn db(session: &Session, args: &DbArgs) -> Result<Exit, CliError> {
    let url = session.paths.database_url(&session.settings()?);
    match &args.verb {
        DbVerb::Check => check(session, &url).await,
        DbVerb::Migrate { status: true } => {
            let status = dockswap_store::migration_status(&url).await.map_err(refused)?;
            show_schema(session, &status)?;
            Ok(if status.pending.is_empty() { Exit::Done } else { Exit::Failed })
        }
        DbVerb::Migrate { status: false } => migrate(session, &url).await,
        DbVerb::Backup { file } => {
            let history = dockswap_store::connect_read_only(&url).await.map_err(refused)?;
            history.backup_to(file).await.map_err(|error| {
                CliError::new(Exit::Failed, "there is no backup").because(with_causes(&error))
            })?;
            session.show(&json!({ "file": file }), || vec![format!("copied to {}", file.display())])?;
            Ok(Exit::Done)
        }
    }
}

/// What is up to date already is left alone, also while a controller has it.
async fn migrate(session: &Session, url: &str) -> Result<Exit, CliError> {
    let before = match dockswap_store::migration_status(url).await {
        Ok(status) if status.pending.is_empty() && status.unknown.is_empty() => status,
        _ => dockswap_store::migrate_up(url, &Holder::this_process(now())).await.map_err(refused)?,
    };
    session.show(&json!({ "applied": before.pending }), || match before.pending.as_slice() {
        [] => vec!["the schema is up to date".to_owned()],
        applied => applied.iter().map(|name| format!("applied {name}")).collect(),
    })?;
    Ok(Exit::Done)
}

async fn check(session: &Session, url: &str) -> Result<Exit, CliError> {
    let history = dockswap_store::connect_read_only(url).await.map_err(refused)?;
    let failed =
        |error: StoreError| CliError::new(Exit::Failed, "the check did not end").because(with_causes(&error));
    let mut findings = history.integrity().await.map_err(failed)?;
    let apps = history.apps().await.map_err(failed)?;
    let mut events = 0;
    for app in &apps {
        match history.records(app).await {
            Ok(records) => {
                events += records.events.len();
                findings.extend(wrong(&records));
            }
            Err(error @ StoreError::Unreadable { .. }) => findings.push(with_causes(&error)),
            Err(error) => return Err(failed(error)),
        }
    }
    let sound = findings.is_empty();
    let document = json!({ "sound": sound, "apps": apps.len(), "events": events, "findings": findings });
    session.show(&document, || {
        if sound {
            let (apps, events) = (count(as_u64(apps.len()), "app"), count(as_u64(events), "event"));
            vec![format!("sound: {apps}, {events} replayed")]
        } else {
            Vec::new()
        }
    })?;
    if sound {
        return Ok(Exit::Done);
    }
    let what = format!("{} in the database", count(as_u64(findings.len()), "defect"));
    Err(CliError::new(Exit::Failed, what)
        .because(findings.join("\n"))
        .next("dockswap db backup FILE  (before anything else)"))
}

/// What does not fit together in the records of one app: its events, replayed, must give its machine
/// and its row of `current_state`.
fn wrong(records: &AppRecords) -> Vec<String> {
    let app = &records.app;
    let replayed =
        match Machine::replay(app.clone(), records.events.iter().map(|event| (event.id, &event.payload))) {
            Ok(machine) => machine,
            Err(error) => return vec![format!("{app}: {error}")],
        };
    let mut findings = Vec::new();
    match &records.machine {
        None => findings.push(format!("{app}: its machine is not on record")),
        Some(machine) if *machine != replayed => findings.push(format!(
            "{app}: its machine is on record as {} (version {}), and its events give {} (version {})",
            machine.state(),
            machine.version(),
            replayed.state(),
            replayed.version()
        )),
        Some(_) => {}
    }
    let recorded = records.current.as_ref();
    let expected = replayed.current_state(recorded.map(|row| row.updated_at).unwrap_or_default());
    if expected.as_ref() != recorded {
        let shown = |row: Option<&dockswap_core::records::CurrentState>| {
            row.map_or_else(
                || "nothing".to_owned(),
                |row| {
                    let color = row.active_color.map_or("none", dockswap_core::Color::as_str);
                    let image = row.image.as_deref().unwrap_or("none");
                    format!("{} (deployment {}, color {color}, image {image})", row.status, row.deployment_id)
                },
            )
        };
        findings.push(format!(
            "{app}: current_state says {}, and its events give {}",
            shown(recorded),
            shown(expected.as_ref())
        ));
    }
    findings
}

fn show_schema(session: &Session, status: &SchemaStatus) -> Result<(), CliError> {
    let SchemaStatus { applied, pending, unknown } = status;
    let document = json!({ "applied": applied, "pending": pending, "unknown": unknown });
    session.show(&document, || {
        let named = |title: &'static str, names: &[String]| {
            names.iter().map(move |name| format!("{title:<8} {name}")).collect::<Vec<_>>()
        };
        [named("applied", applied), named("pending", pending), named("unknown", unknown)].concat()
    })
}

/// Why a database is not to be had.
#[expect(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
fn refused(error: ConnectError) -> CliError {
    CliError::new(exit_of(&error), with_causes(&error))
}

/// The exit code for a database that is not to be had.
pub(crate) const fn exit_of(error: &ConnectError) -> Exit {
    match error {
        ConnectError::Lease(LeaseError::Held { .. }) => Exit::Conflict,
        ConnectError::Url { .. } | ConnectError::Schema(SchemaError::Newer { .. }) => Exit::Usage,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::{refused, wrong};
    use dockswap_core::machine::{Event, Machine, Order, OrderReason, OrderTarget, Plan};
    use dockswap_core::{AppName, Color, ConfigId, DeploymentId, Timestamp};
    use dockswap_store::{AppRecords, ConnectError, EventRow, LeaseError};
    use std::path::Path;

    /// An app that pulls its first image.
    fn records() -> AppRecords {
        let app: AppName = "web".parse().unwrap();
        let text = b"name: web\nimage: app:v1\ndocker: { expose_port: 8080 }\n";
        let spec = dockswap_config::parse_app(
            Path::new("x"),
            text,
            Path::new("/"),
            &dockswap_config::Policy::default(),
        )
        .unwrap();
        let at = Timestamp::from_micros(5);
        let order = Order {
            deployment: DeploymentId(1),
            target: OrderTarget::Config(Plan::of(&spec, ConfigId(1))),
            reason: OrderReason::Edit,
        };
        let transition = Machine::new(app.clone()).step(&Event::Deploy(order), at).unwrap();
        let event = EventRow {
            id: 1,
            deployment_id: DeploymentId(1),
            app_name: app.clone(),
            event_type: transition.event().event_type.to_owned(),
            payload: transition.event().payload.clone(),
            error: None,
            created_at: at,
        };
        let current = Some(transition.current().clone());
        AppRecords { app, machine: Some(transition.committed()), current, events: vec![event] }
    }

    #[test]
    fn records_that_fit_together_are_sound() {
        assert_eq!(wrong(&records()), Vec::<String>::new());
    }

    #[test]
    fn what_the_events_do_not_say_is_found() {
        let mut other_color = records();
        other_color.current.as_mut().unwrap().active_color = Some(Color::Green);
        assert_eq!(
            wrong(&other_color),
            [
                "web: current_state says pulling (deployment 1, color green, image none), and its events give pulling (deployment 1, color none, image none)"
            ]
        );
        let mut other_machine = records();
        other_machine.machine = Some(Machine::new("web".parse().unwrap()));
        assert_eq!(wrong(&other_machine).len(), 1);
        let mut lost_event = records();
        lost_event.events.clear();
        assert_eq!(wrong(&lost_event).len(), 2);
        let mut unreadable = records();
        unreadable.events[0].payload = serde_json::json!({});
        assert_eq!(wrong(&unreadable), ["web: the payload of event 1 cannot be read: no event"]);
    }

    #[test]
    fn a_database_that_another_controller_holds_is_a_conflict() {
        let held = ConnectError::Lease(LeaseError::Held { holder: "pid 71".to_owned() });
        assert_eq!(refused(held).exit.code(), 5);
        assert_eq!(refused(ConnectError::Missing { path: "x".into() }).exit.code(), 1);
    }
}
