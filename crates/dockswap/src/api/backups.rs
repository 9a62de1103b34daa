//! The backups that the controller takes by itself.

use super::wire;
use crate::run::backups::{Backups, Fault, Standing};
use crate::run::state::State;
use axum::Json;
use axum::extract;
use std::sync::Arc;

pub(super) async fn list(extract::State(state): extract::State<Arc<State>>) -> Json<wire::Backups> {
    Json(shown(&state.backups))
}

/// How the backups stand, as was seen last.
pub(crate) fn shown(backups: &Backups) -> wire::Backups {
    let Standing { backups: taken, fault } = backups.standing();
    let taken = taken.into_iter();
    let taken = taken.map(|one| wire::Backup { file: one.file, at: wire::Time(one.at), bytes: one.bytes });
    wire::Backups {
        every_s: backups.settings.every.as_secs(),
        keep: backups.settings.keep,
        dir: backups.archive.as_ref().map(|archive| archive.dir().to_owned()),
        backups: taken.collect(),
        fault: fault.map(in_words),
    }
}

/// What a status says of a fault.
pub(super) fn warning(fault: &Fault) -> String {
    format!("there is no new backup since {}: {}\nnext: {}", wire::Time(fault.since), fault.why, fault.next)
}

fn in_words(fault: Fault) -> wire::BackupFault {
    wire::BackupFault { since: wire::Time(fault.since), why: fault.why, next: fault.next.to_owned() }
}
