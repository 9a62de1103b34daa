//! The backups that the controller takes by itself.

use super::wire;
use crate::run::backups::{Backups, Fault};
use crate::run::state::State;
use axum::Json;
use axum::extract;
use std::sync::Arc;

pub(super) async fn list(extract::State(state): extract::State<Arc<State>>) -> Json<wire::Backups> {
    Json(shown(&state.backups))
}

/// How the backups stand.
pub(crate) fn shown(backups: &Backups) -> wire::Backups {
    let (mut taken, mut fault) = (Vec::new(), backups.fault().map(in_words));
    match backups.archive.as_ref().map(dockswap_store::Archive::list) {
        Some(Ok(all)) => {
            let all = all.into_iter();
            taken.extend(all.map(|one| wire::Backup {
                file: one.file,
                at: wire::Time(one.at),
                bytes: one.bytes,
            }));
        }
        Some(Err(error)) => {
            fault = fault.or_else(|| {
                let next = "let this user read backup.dir".to_owned();
                Some(wire::BackupFault {
                    since: wire::Time(dockswap_core::Timestamp::default()),
                    why: error.to_string(),
                    next,
                })
            });
        }
        None => {}
    }
    wire::Backups {
        every_s: backups.settings.every.as_secs(),
        keep: backups.settings.keep,
        dir: backups.archive.as_ref().map(|archive| archive.dir().to_owned()),
        backups: taken,
        fault,
    }
}

/// What a status says of a fault.
pub(super) fn warning(fault: &Fault) -> String {
    format!("there is no new backup since {}: {}\nnext: {}", wire::Time(fault.since), fault.why, fault.next)
}

fn in_words(fault: Fault) -> wire::BackupFault {
    wire::BackupFault { since: wire::Time(fault.since), why: fault.why, next: fault.next.to_owned() }
}
