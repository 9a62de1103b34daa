//! What `dockswap doctor` says of backups: the newest one, or why there is none. How they are taken is not its business.

use super::Finding;
use crate::api::backups::shown;
use crate::api::wire::{self, Time};
use crate::cli::session::{Session, now};
use crate::cli::text::bytes;
use crate::run::backups::Backups;
use dockswap_config::Settings;
use dockswap_core::Timestamp;
use std::time::Duration;

const CHECK: &str = "backups";

/// Asks the controller; where none answers, what is in the directory is told.
pub(super) async fn ask(session: &Session, settings: &Settings) -> Finding {
    let asked = session.client.get("/v1/backups").await;
    let here = || {
        let backups = Backups::new(&session.paths, settings);
        backups.look(now());
        shown(&backups)
    };
    finding(&asked.unwrap_or_else(|_| here()), now())
}

fn finding(all: &wire::Backups, now: Timestamp) -> Finding {
    let Some(dir) = &all.dir else {
        return Finding::ok(CHECK, "the database is no file: back it up with its own tools, as pg_dump");
    };
    let newest = all.backups.first();
    let stands = match newest {
        Some(one) => format!(
            "{} in {}, the newest of {}, {}",
            all.backups.len(),
            dir.display(),
            Time(one.at.0),
            bytes(one.bytes)
        ),
        None => format!("none in {}", dir.display()),
    };
    if let Some(fault) = &all.fault {
        let detail = format!("there is no new one since {}: {}\n{stands}", fault.since, fault.why);
        return Finding::warn(CHECK, detail, fault.next.clone());
    }
    let every = Duration::from_secs(all.every_s);
    if every.is_zero() {
        return Finding::ok(CHECK, format!("none is taken by itself (backup.every is 0s); {stands}"));
    }
    match newest {
        Some(one) if now.saturating_since(one.at.0 + every) > every => Finding::warn(
            CHECK,
            format!("{stands}, which is old"),
            "start the controller, and look at its log",
        ),
        Some(_) => Finding::ok(CHECK, stands),
        None => Finding::ok(CHECK, format!("{stands} yet: the first is taken within a minute of the start")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::finding;
    use crate::api::wire::{Backup, BackupFault, Backups, Time};
    use dockswap_core::Timestamp;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
    const HOUR: Duration = Duration::from_hours(1);

    fn hourly(age: Option<Duration>) -> Backups {
        let micros = |age: Duration| i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        let one = age.map(|age| Backup {
            file: "/b/1.db".into(),
            at: Time(Timestamp::from_micros(NOW.as_micros() - micros(age))),
            bytes: 4_096,
        });
        let backups = one.into_iter().collect();
        Backups { every_s: 3_600, keep: 7, dir: Some("/b".into()), backups, fault: None }
    }

    #[test]
    fn what_is_missing_or_old_is_told() {
        let fault = BackupFault {
            since: Time(NOW),
            why: "the disk is full".to_owned(),
            next: "free some".to_owned(),
        };
        for (all, level, said) in [
            (hourly(Some(HOUR)), Level::Ok, "1 in /b, the newest of 2027-01-15T"),
            (hourly(Some(3 * HOUR)), Level::Warn, "which is old"),
            (hourly(None), Level::Ok, "within a minute"),
            (Backups { every_s: 0, ..hourly(Some(900 * HOUR)) }, Level::Ok, "backup.every is 0s"),
            (Backups { fault: Some(fault), ..hourly(Some(HOUR)) }, Level::Warn, "the disk is full\n1 in /b"),
            (Backups { dir: None, ..hourly(None) }, Level::Ok, "pg_dump"),
        ] {
            let found = finding(&all, NOW);
            assert_eq!(found.level, level, "{found:?}");
            assert!(found.detail.contains(said), "{found:?}");
        }
    }
}
