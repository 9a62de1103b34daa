//! `dockswap db`.

use super::exit::{CliError, Exit};
use super::session::{Session, now};
use super::text::{as_u64, bytes, count};
use crate::api::audit::record_of_this_user;
use crate::api::with_causes;
use clap::{Args, Subcommand};
use dockswap_core::audit::{AuditRecord, AuditResult};
use dockswap_store::{
    ConnectError, Holder, LeaseError, RestoreError, Restored, SchemaError, SchemaStatus, VacuumError,
    Vacuumed, Verdict,
};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Check, migrate, copy, restore or shrink the database
#[derive(Debug, Args)]
pub(crate) struct DbArgs {
    #[command(subcommand)]
    verb: DbVerb,
}

#[derive(Debug, Subcommand)]
enum DbVerb {
    /// Check the database, with or without a running controller
    ///
    /// Its integrity and foreign keys; that nothing of its schema is missing, as the triggers that keep
    /// events from being changed; by replaying the events of every app, that they give its recorded
    /// state, color, image and deployments; and that every stored file still has its hash. A controller
    /// does so when it starts, and a restore before it touches anything. Changes nothing; exits with 1
    /// when anything is wrong.
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
    /// Put a backup in the place of the database, while no controller runs
    ///
    /// For `SQLite`. The backup is checked first (as `db check` does), and brought up to date where an
    /// older version made it. The database that is there is kept beside it. While a controller runs
    /// nothing is done (exit code 5). Traffic is not touched: the proxy goes on as it is, and the
    /// controller, once started, leaves what serves where it is, also where it is newer than the
    /// backup. Tokens that were revoked since stay revoked: what the database that is there does not
    /// know as good is good for nothing. For `PostgreSQL` use `pg_restore`.
    Restore {
        /// A copy that `dockswap db backup` or the controller made
        file: PathBuf,
    },
    /// Give back the room that removed records have left in the file, while no controller runs
    ///
    /// For `SQLite`. A running controller uses that room again by itself, and a file that is copied by a
    /// backup has none of it: this is for a file that was once much larger. A copy is made beside the
    /// file and checked (as `db check` does), and takes its place; where the disk has no room for it
    /// nothing is begun. While a controller runs nothing is done (exit code 5): stop it first, traffic
    /// goes on without it. `PostgreSQL` does so by itself (autovacuum).
    Vacuum,
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
        DbVerb::Restore { file } => restore(session, &url, file).await,
        DbVerb::Vacuum => vacuum(session, &url).await,
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
    let verdict = history
        .check()
        .await
        .map_err(|error| CliError::new(Exit::Failed, "the check did not end").because(with_causes(&error)))?;
    let Verdict { apps, events, findings } = &verdict;
    let document =
        json!({ "sound": verdict.is_sound(), "apps": apps, "events": events, "findings": findings });
    session.show(&document, || {
        if verdict.is_sound() {
            let (apps, events) = (count(as_u64(*apps), "app"), count(as_u64(*events), "event"));
            vec![format!("sound: {apps}, {events} replayed")]
        } else {
            Vec::new()
        }
    })?;
    if verdict.is_sound() {
        return Ok(Exit::Done);
    }
    let what = format!("{} in the database", count(as_u64(findings.len()), "defect"));
    Err(ways_out(CliError::new(Exit::Failed, what).because(findings.join("\n")), url))
}

async fn restore(session: &Session, url: &str, file: &Path) -> Result<Exit, CliError> {
    let holder = Holder::this_process(now());
    let mut order = record_of_this_user("db_restore", "controller".to_owned());
    order.note("from", file.display().to_string());
    let restored =
        dockswap_store::restore(url, file, &holder, AuditRecord { result: AuditResult::Done, ..order }).await;
    let restored = restored.map_err(|error| not_restored(&error))?;
    let Restored { database, kept, until, apps, deployments, tokens_revoked, grants_lost, migrated } =
        &restored;
    let document = json!({
        "database": database, "from": file, "kept": kept, "until": until,
        "apps": apps, "deployments": deployments, "migrated": migrated,
        "tokens_revoked": tokens_revoked, "grants_lost": grants_lost,
    });
    session.show(&document, || {
        let until = until.as_ref().map_or("nothing on record".to_owned(), |at| format!("records until {at}"));
        let (deployments, apps) = (count(*deployments, "deployment"), count(as_u64(*apps), "app"));
        let mut lines = vec![
            format!("restored {} from {}", database.display(), file.display()),
            format!("{until}: {deployments} of {apps}"),
        ];
        if !migrated.is_empty() {
            lines.push(format!("its schema was brought up to date: {}", migrated.join(", ")));
        }
        if !tokens_revoked.is_empty() {
            let names = tokens_revoked.join(", ");
            lines.push(format!("revoked, for the database that was here did not know them as good: {names}"));
        }
        if *grants_lost > 0 {
            let grants = count(as_u64(*grants_lost), "grant");
            lines.push(format!("{grants} that were taken away since the backup stay away"));
        }
        lines.extend(
            kept.as_ref().map(|kept| format!("the database that was here is kept: {}", kept.display())),
        );
        lines.extend(AFTER_A_RESTORE.map(ToOwned::to_owned));
        lines
    })?;
    Ok(Exit::Done)
}

/// What comes next, for whoever has just restored a database.
const AFTER_A_RESTORE: [&str; 3] = [
    "next: dockswap run      (or systemctl start dockswap)",
    "      It looks at Docker and the proxy first. What has the traffic keeps it, also where it is newer than",
    "      these records: `dockswap status` says so, and the next deploy of that app puts it right.",
];

fn not_restored(error: &RestoreError) -> CliError {
    let exit = match error {
        RestoreError::Lease(LeaseError::Held { .. }) => Exit::Conflict,
        RestoreError::NotSqlite
        | RestoreError::Url(_)
        | RestoreError::Itself { .. }
        | RestoreError::Schema(SchemaError::Newer { .. }) => Exit::Usage,
        _ => Exit::Failed,
    };
    let said =
        CliError::new(exit, "nothing was restored: the database is as it was").because(with_causes(error));
    match exit {
        Exit::Conflict => said.next("stop that controller first: traffic goes on without it"),
        _ => said,
    }
}

async fn vacuum(session: &Session, url: &str) -> Result<Exit, CliError> {
    let done = dockswap_store::vacuum(url, &Holder::this_process(now())).await;
    let Vacuumed { database, bytes_before, bytes_after } = &done.map_err(|error| not_vacuumed(&error))?;
    let document = json!({ "database": database, "bytes_before": bytes_before, "bytes_after": bytes_after });
    session.show(&document, || {
        vec![format!("{}: {} before, {} now", database.display(), bytes(*bytes_before), bytes(*bytes_after))]
    })?;
    Ok(Exit::Done)
}

fn not_vacuumed(error: &VacuumError) -> CliError {
    let exit = match error {
        VacuumError::Lease(LeaseError::Held { .. }) => Exit::Conflict,
        VacuumError::NotSqlite | VacuumError::Open(ConnectError::Url { .. }) => Exit::Usage,
        _ => Exit::Failed,
    };
    let said = CliError::new(exit, "the database is as it was").because(with_causes(error));
    match error {
        VacuumError::Lease(LeaseError::Held { .. }) => {
            said.next("stop that controller first (systemctl stop dockswap): traffic goes on without it")
        }
        VacuumError::NoRoom(_) => said.next("free some room there: dockswap doctor"),
        VacuumError::Examination(_) => said.next("dockswap db check"),
        _ => said,
    }
}

/// How a damaged database is got out of.
fn ways_out(error: CliError, database: &str) -> CliError {
    if database.starts_with("postgres") {
        return error.next("pg_restore, of what pg_dump made, while no controller runs");
    }
    error
        .next("dockswap db restore FILE  (a copy made by `dockswap db backup`; what is here now is kept)")
        .next(format!(
            "without one: sqlite3 {database} .recover | sqlite3 MENDED; dockswap db restore MENDED"
        ))
        .next("or move it away and start: what serves goes on serving, and every app is deployed once more")
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
    explain(&error)
}

/// Why a database is not to be had, and what to do.
pub(crate) fn explain(error: &ConnectError) -> CliError {
    let said = CliError::new(exit_of(error), with_causes(error));
    match error {
        ConnectError::Damaged { database, findings } => {
            let what = format!("the database {database} is damaged, and nothing in it is relied on");
            ways_out(CliError::new(Exit::Failed, what).because(findings.join("\n")), database)
        }
        ConnectError::File { .. } | ConnectError::Open { .. } => said.next("dockswap doctor"),
        _ => said,
    }
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
    use super::{not_restored, not_vacuumed, refused};
    use dockswap_store::{ConnectError, LeaseError, NoRoom, RestoreError, VacuumError};

    #[test]
    fn a_damaged_database_comes_with_the_ways_out() {
        let findings = vec!["row 3 missing from index x".to_owned()];
        let error = refused(ConnectError::Damaged { database: "/data/dockswap.db".to_owned(), findings });
        let text = error.to_string();
        for words in ["/data/dockswap.db is damaged", "row 3 missing", "db restore FILE", ".recover"] {
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn a_restore_beside_a_controller_is_a_conflict() {
        let held = RestoreError::Lease(LeaseError::Held { holder: "pid 71".to_owned() });
        let error = not_restored(&held);
        assert_eq!(error.exit.code(), 5);
        assert!(error.to_string().contains("pid 71"), "{error}");
        assert_eq!(not_restored(&RestoreError::NotSqlite).exit.code(), 2);
    }

    #[test]
    fn why_a_file_is_as_large_as_it_was_is_told_with_what_helps() {
        let held = VacuumError::Lease(LeaseError::Held { holder: "pid 71".to_owned() });
        let room = VacuumError::NoRoom(NoRoom { dir: "/data".into(), free: 1, needed: 2 });
        for (error, code, words) in [
            (held, 5, ["pid 71", "traffic goes on without it"]),
            (room, 1, ["/data has 1 bytes free", "dockswap doctor"]),
            (VacuumError::NotSqlite, 2, ["SQLite only", "autovacuum"]),
        ] {
            let told = not_vacuumed(&error);
            assert_eq!(told.exit.code(), code);
            assert!(words.iter().all(|words| told.to_string().contains(words)), "{told}");
        }
    }

    #[test]
    fn a_database_that_another_controller_holds_is_a_conflict() {
        let held = ConnectError::Lease(LeaseError::Held { holder: "pid 71".to_owned() });
        assert_eq!(refused(held).exit.code(), 5);
        assert_eq!(refused(ConnectError::Missing { path: "x".into() }).exit.code(), 1);
    }
}
