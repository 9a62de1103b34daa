//! Stored configs as specs, and what to make of a new version of an app file.

use crate::view::project_of;
use dockswap_core::ports::{AppFiles, SpecError, Store};
use dockswap_core::records::{ConfigRow, StoreError};
use dockswap_core::{AppName, AppSpec, ConfigId, ConfigSha, ProjectName};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A version of an app file as it was found in the config directory, parsed and free of clashes.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The file's bytes.
    pub bytes: Vec<u8>,
    /// Their hash.
    pub sha: ConfigSha,
    /// What they say.
    pub spec: Arc<AppSpec>,
}

impl Offer {
    /// The project that it names. One that was stored before names had a form is none.
    #[must_use]
    pub fn project(&self) -> Option<ProjectName> {
        project_of(&self.spec)
    }
}

/// A stored config and what it says.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) row: Arc<ConfigRow>,
    pub(crate) spec: Arc<AppSpec>,
}

impl Stored {
    /// The same version, as it was once offered.
    pub(crate) fn offer(&self) -> Offer {
        Offer { bytes: self.row.bytes.clone(), sha: self.row.sha.clone(), spec: self.spec.clone() }
    }
}

/// Why a stored config is not to be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoredError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error("config {0} is not in the database")]
    Missing(ConfigId),
}

/// Stored configs, parsed once each. Stored bytes never change, so nothing here ever goes stale;
/// what is kept is bounded by forgetting all but the newest few of an app.
pub(crate) struct Specs {
    store: Arc<dyn Store>,
    files: Arc<dyn AppFiles>,
    known: Mutex<HashMap<ConfigId, Stored>>,
}

/// How many parsed configs of one app are kept.
const KEPT_PER_APP: usize = 8;

impl Specs {
    pub(crate) fn new(store: Arc<dyn Store>, files: Arc<dyn AppFiles>) -> Self {
        Self { store, files, known: Mutex::default() }
    }

    /// The config `id`.
    pub(crate) async fn load(&self, id: ConfigId) -> Result<Stored, StoredError> {
        if let Some(stored) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Ok(stored.clone());
        }
        let row = self.store.config(id).await?.ok_or(StoredError::Missing(id))?;
        let spec = self.files.parse(&row)?;
        Ok(self.remember(row, spec))
    }

    /// Keeps a config that was just stored.
    pub(crate) fn remember(&self, row: ConfigRow, spec: Arc<AppSpec>) -> Stored {
        let stored = Stored { row: Arc::new(row), spec };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(stored.row.id, stored.clone());
        forget_old(&mut known, &stored.row.app);
        stored
    }
}

fn forget_old(known: &mut HashMap<ConfigId, Stored>, app: &AppName) {
    let mut ids: Vec<ConfigId> =
        known.values().filter(|stored| stored.row.app == *app).map(|stored| stored.row.id).collect();
    ids.sort_unstable();
    for id in ids.iter().rev().skip(KEPT_PER_APP) {
        known.remove(id);
    }
}
