//! A database: compare-and-set commits, all or nothing.

use super::faults::Call;
use super::tally::Promise;
use super::{State, World};
use async_trait::async_trait;
use dockswap_core::audit::AuditRecord;
use dockswap_core::machine::{Event, Machine, Transition};
use dockswap_core::name::{ConfigId, Version};
use dockswap_core::ports::{Image, Store};
use dockswap_core::records::{
    CommitError, ConfigRow, CurrentState, DeploymentRow, DeploymentWrite, EventRecord, NewConfig,
    RefusalRecord, StoreError,
};
use dockswap_core::retention::{Kept, Pruned};
use dockswap_core::{AppName, DeploymentId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// The rows.
#[derive(Clone, Default)]
pub(crate) struct Database {
    /// Config N is the one at N - 1.
    pub(crate) configs: Vec<ConfigRow>,
    pub(crate) deployments: BTreeMap<DeploymentId, DeploymentRow>,
    /// Those of an app that are in progress: an index.
    pub(crate) in_progress: BTreeMap<AppName, BTreeSet<DeploymentId>>,
    /// The newest config of each app: an index.
    newest: BTreeMap<AppName, usize>,
    pub(crate) events: Vec<EventRow>,
    pub(crate) machines: BTreeMap<AppName, Machine>,
    pub(crate) current: BTreeMap<AppName, CurrentState>,
    pub(crate) images: BTreeMap<DeploymentId, Image>,
    /// Deployments whose image was given up.
    pub(crate) given_up: BTreeSet<DeploymentId>,
    /// The events, folded as they were written.
    pub(crate) replayed: BTreeMap<AppName, Machine>,
}

/// A row of `deployment_events`.
#[derive(Clone)]
pub(crate) struct EventRow {
    pub(crate) record: EventRecord,
    pub(crate) refused: bool,
    /// The world's time of its commit, whatever the controller's clock says.
    pub(crate) at: Timestamp,
}

impl Database {
    /// The accepted events of an app, by name.
    pub(crate) fn names(&self, app: &AppName) -> Vec<&'static str> {
        self.accepted(app).map(|record| record.event_type).collect()
    }

    pub(crate) fn accepted<'a>(&'a self, app: &'a AppName) -> impl Iterator<Item = &'a EventRecord> {
        self.events
            .iter()
            .filter(move |row| !row.refused && row.record.app_name == *app)
            .map(|row| &row.record)
    }

    /// The state that all events of an app lead to, or why they do not lead anywhere.
    pub(crate) fn replay(&self, app: &AppName) -> Result<Machine, String> {
        let rows = (1..).zip(&self.events).filter(|(_, row)| row.record.app_name == *app);
        Machine::replay(app.clone(), rows.map(|(id, row)| (id, &row.record.payload)))
            .map_err(|error| error.to_string())
    }
}

impl State {
    fn commit(&mut self, transition: &Transition) -> Result<(), CommitError> {
        let app = transition.after().app().clone();
        let have = self.database.machines.get(&app).map_or(Version(0), Machine::version);
        if have != transition.expected() {
            self.tell(format!("conflict on {app}"));
            return Err(CommitError::Conflict { app, expected: transition.expected().0 });
        }
        for write in transition.deployments() {
            match write {
                DeploymentWrite::Begin(row) => {
                    self.database.in_progress.entry(app.clone()).or_default().insert(row.id);
                    if self.database.deployments.insert(row.id, row.clone()).is_some() {
                        self.violated(Promise::Record, format!("deployment {} was given twice", row.id));
                    }
                }
                DeploymentWrite::End { id, status, at } => match self.database.deployments.get_mut(id) {
                    Some(row) => {
                        row.status = *status;
                        self.database.in_progress.entry(app.clone()).or_default().remove(id);
                        row.ended_at.get_or_insert(*at);
                    }
                    None => self.violated(Promise::Record, format!("deployment {id} ends and never began")),
                },
            }
        }
        self.tally.transitions += 1;
        // As on a disk: only what was written comes back.
        let written = serde_json::to_string(transition.after()).expect("a state can be written");
        let machine: Machine = serde_json::from_str(&written).expect("a state can be read");
        self.fold(&app, transition.event());
        self.tell(format!("  {app}: {} -> {}", transition.event().event_type, machine.state()));
        self.served(&app, &machine, transition.event());
        let at = self.now();
        self.database.events.push(EventRow { record: transition.event().clone(), refused: false, at });
        self.database.machines.insert(app.clone(), machine);
        self.database.current.insert(app, transition.current().clone());
        if let Some((deployment, image)) = transition.image() {
            self.database.images.insert(*deployment, image.clone());
        }
        Ok(())
    }

    fn is_current(&self, kept: &Kept) -> Result<(), CommitError> {
        let have = self.database.machines.get(&kept.app).map_or(Version(0), Machine::version);
        if have == kept.version {
            return Ok(());
        }
        Err(CommitError::Conflict { app: kept.app.clone(), expected: kept.version.0 })
    }

    fn fold(&mut self, app: &AppName, record: &EventRecord) {
        let event: Event =
            serde_json::from_value(record.payload["event"].clone()).expect("an event was written");
        let at: Timestamp =
            serde_json::from_value(record.payload["at_us"].clone()).expect("a time was written");
        let before = self.database.replayed.remove(app).unwrap_or_else(|| Machine::new(app.clone()));
        match before.step(&event, at) {
            Ok(next) => {
                self.database.replayed.insert(app.clone(), next.committed());
            }
            Err(refusal) => {
                self.violated(Promise::Record, format!("a replay refuses {}: {refusal}", event.name()));
            }
        }
    }
}

fn lost(call: Call) -> StoreError {
    StoreError::Failed { operation: "simulated", source: format!("simulated: {call:?}").into() }
}

impl World {
    async fn read<T: Send>(&self, read: impl FnOnce(&Database) -> T + Send) -> Result<T, StoreError> {
        self.call(Call::Read, "", lost, |state, _| Ok(read(&state.database))).await
    }
}

#[async_trait]
impl Store for World {
    async fn machines(&self) -> Result<Vec<Machine>, StoreError> {
        self.read(|database| database.machines.values().cloned().collect()).await
    }

    async fn commit(&self, transition: &Transition) -> Result<(), CommitError> {
        let about = format!("{} {}", transition.after().app(), transition.event().event_type);
        self.call(Call::Commit, about, |call| lost(call).into(), |state, _| state.commit(transition)).await
    }

    async fn record_refusal(&self, refusal: &RefusalRecord) -> Result<(), StoreError> {
        let record = refusal.event.clone();
        self.call(Call::Refusal, record.event_type, lost, |state, _| {
            state.tell(format!("  refused: {}", record.error.clone().unwrap_or_default()));
            let at = state.now();
            state.database.events.push(EventRow { record, refused: true, at });
            Ok(())
        })
        .await
    }

    async fn record_audit(&self, audit: &AuditRecord) -> Result<(), StoreError> {
        let verb = audit.verb.clone();
        self.call(Call::Refusal, verb, lost, |_, _| Ok(())).await
    }

    async fn insert_config(&self, config: &NewConfig) -> Result<ConfigId, StoreError> {
        let config = config.clone();
        self.call(Call::Insert, config.app.clone(), lost, |state, _| {
            let id = ConfigId(i64::try_from(state.database.configs.len()).unwrap_or(i64::MAX) + 1);
            let NewConfig { app, bytes, sha, at: created_at, .. } = config;
            state.tell(format!("  config {id}: {}", String::from_utf8_lossy(&bytes).replace('\n', " ")));
            state.database.newest.insert(app.clone(), state.database.configs.len());
            state.database.configs.push(ConfigRow { id, app, bytes, sha, created_at });
            Ok(id)
        })
        .await
    }

    async fn newest_configs(&self) -> Result<Vec<ConfigRow>, StoreError> {
        self.read(|database| database.newest.values().map(|&nth| database.configs[nth].clone()).collect())
            .await
    }

    async fn config(&self, id: ConfigId) -> Result<Option<ConfigRow>, StoreError> {
        let nth = usize::try_from(id.0 - 1).unwrap_or(usize::MAX);
        self.read(|database| database.configs.get(nth).cloned()).await
    }

    async fn deployment(&self, id: DeploymentId) -> Result<Option<DeploymentRow>, StoreError> {
        self.read(|database| database.deployments.get(&id).cloned()).await
    }

    async fn deployments(
        &self,
        app: &AppName,
        before: Option<DeploymentId>,
        limit: u64,
    ) -> Result<Vec<DeploymentRow>, StoreError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        self.read(|database| {
            let rows = database.deployments.values().rev().filter(|row| row.app_name == *app);
            let rows = rows.filter(|row| before.is_none_or(|before| row.id < before));
            rows.take(limit).cloned().collect()
        })
        .await
    }

    async fn last_deployment(&self) -> Result<DeploymentId, StoreError> {
        self.read(|database| database.deployments.keys().next_back().copied().unwrap_or(DeploymentId(0)))
            .await
    }

    async fn image_of(&self, deployment: DeploymentId) -> Result<Option<Image>, StoreError> {
        self.read(|database| database.images.get(&deployment).cloned()).await
    }

    async fn is_given_up(&self, deployment: DeploymentId) -> Result<bool, StoreError> {
        self.read(|database| database.given_up.contains(&deployment)).await
    }

    async fn given_up(&self, app: &AppName) -> Result<Vec<DeploymentId>, StoreError> {
        self.read(|database| {
            let mine =
                |id: &&DeploymentId| database.deployments.get(id).is_some_and(|row| row.app_name == *app);
            database.given_up.iter().filter(mine).copied().collect()
        })
        .await
    }

    async fn give_up(&self, kept: &Kept, _: Timestamp) -> Result<u64, CommitError> {
        self.call(
            Call::Commit,
            "give up",
            |call| lost(call).into(),
            |state, _| {
                state.is_current(kept)?;
                let database = &mut state.database;
                let over = database
                    .deployments
                    .values()
                    .filter(|row| row.app_name == kept.app && row.ended_at.is_some());
                let over = over.map(|row| row.id).filter(|id| !kept.targets.contains(id));
                let new: Vec<_> = over
                    .filter(|id| database.images.contains_key(id) && !database.given_up.contains(id))
                    .collect();
                database.given_up.extend(&new);
                Ok(u64::try_from(new.len()).unwrap_or(u64::MAX))
            },
        )
        .await
    }

    /// Rows of deployments only: that what is left of the events replays is the real store's to show.
    async fn prune(
        &self,
        kept: &Kept,
        before: Timestamp,
        pinned: &BTreeSet<DeploymentId>,
    ) -> Result<Pruned, CommitError> {
        self.call(
            Call::Commit,
            "prune",
            |call| lost(call).into(),
            |state, _| {
                state.is_current(kept)?;
                let database = &mut state.database;
                let newest = database.deployments.keys().next_back().copied();
                let goes = |row: &DeploymentRow| {
                    row.app_name == kept.app
                        && row.ended_at.is_some_and(|ended| ended < before)
                        && Some(row.id) != newest
                        && !kept.rows.contains(&row.id)
                        && !pinned.contains(&row.id)
                        && (database.given_up.contains(&row.id) || !database.images.contains_key(&row.id))
                };
                let gone: Vec<_> =
                    database.deployments.values().filter(|row| goes(row)).map(|row| row.id).collect();
                for id in &gone {
                    database.deployments.remove(id);
                    database.images.remove(id);
                    database.given_up.remove(id);
                }
                let dangling = database
                    .deployments
                    .values()
                    .filter_map(|row| row.rollback_of)
                    .find(|id| gone.contains(id));
                if let Some(id) = dangling {
                    state.violated(
                        Promise::Record,
                        format!("deployment {id} was removed, and one that stays refers to it"),
                    );
                }
                Ok(Pruned { deployments: u64::try_from(gone.len()).unwrap_or(u64::MAX), ..Pruned::default() })
            },
        )
        .await
    }

    async fn prunable(&self, kept: &Kept, _: Timestamp) -> Result<Pruned, StoreError> {
        self.read(|database| {
            let over = database.images.keys().filter(|id| !kept.targets.contains(id));
            Pruned { images: u64::try_from(over.count()).unwrap_or(u64::MAX), ..Pruned::default() }
        })
        .await
    }
}
