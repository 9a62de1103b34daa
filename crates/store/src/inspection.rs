//! What a check needs: the database's own verdict, and the records of an app at one instant. It must
//! not know what makes them right: that is for a replay to say (`check`).

use crate::checkpoint::Checkpoint;
use crate::entity::{app_checkpoint, app_machine, current_state, deployment, deployment_image};
use crate::history::{EventScope, History, events_after};
use crate::rows::{EventRow, FromRow, Unreadable};
use crate::transaction::begin_read;
use dockswap_core::machine::{Machine, ReplayError};
use dockswap_core::ports::Image;
use dockswap_core::records::{CurrentState, DeploymentRow, StoreError};
use dockswap_core::{AppName, DeploymentId, ImageId};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, QueryFilter, QueryOrder, QueryResult,
    QuerySelect, QueryTrait, Statement,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How many events are read at once.
const EVENTS: u64 = 500;

/// How long a whole look at the database may take.
const INSPECTION_DEADLINE: Duration = Duration::from_mins(10);

/// Everything on record about one app, as it was at one instant.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AppRecords {
    /// The app.
    pub(crate) app: AppName,
    /// Its machine as last committed.
    pub(crate) machine: Option<Machine>,
    /// Its row of `current_state`.
    pub(crate) current: Option<CurrentState>,
    /// Where its events lead, from its checkpoint on where it has one; or which of them does not fit.
    pub(crate) retraced: Result<Checkpoint, ReplayError>,
    /// How many they were.
    pub(crate) events: usize,
    /// Its deployments, by id.
    pub(crate) deployments: BTreeMap<DeploymentId, DeploymentRow>,
    /// The image that each of them ran.
    pub(crate) images: BTreeMap<DeploymentId, Image>,
}

impl History {
    /// The same, for a look at everything, which takes its time.
    pub(crate) fn patient(&self) -> Self {
        Self { db: self.db.clone(), deadline: INSPECTION_DEADLINE, slow: Arc::default() }
    }

    /// Every app that has a machine, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn apps(&self) -> Result<Vec<AppName>, StoreError> {
        use app_machine::{Column, Entity};
        let operation = "read the apps";
        let names = Entity::find().select_only().column(Column::AppName).order_by_asc(Column::AppName);
        let names = self.read(operation, names.into_tuple::<String>().all(&self.db)).await?;
        names
            .into_iter()
            .map(|name| {
                AppName::try_from(name).map_err(|cause| StoreError::Unreadable {
                    operation,
                    what: "app_machines.app_name".to_owned(),
                    message: cause.to_string(),
                })
            })
            .collect()
    }

    /// Everything on record about `app`, read in one transaction.
    ///
    /// # Errors
    /// When the database fails, or a row cannot be read (named in the error).
    pub(crate) async fn records(&self, app: &AppName) -> Result<AppRecords, StoreError> {
        let operation = "read an app's records";
        let (machine, current, retraced, deployments, images) = self
            .patient()
            .read(
                operation,
                Box::pin(async {
                    let snapshot = begin_read(&self.db).await?;
                    let machine = app_machine::Entity::find_by_id(app.as_str()).one(&snapshot).await?;
                    let current = current_state::Entity::find_by_id(app.as_str()).one(&snapshot).await?;
                    let checkpoint = app_checkpoint::Entity::find_by_id(app.as_str()).one(&snapshot).await?;
                    let retraced = retrace(app, checkpoint, &snapshot).await?;
                    let mine =
                        deployment::Entity::find().filter(deployment::Column::AppName.eq(app.as_str()));
                    let ids = mine.clone().select_only().column(deployment::Column::Id).into_query();
                    let images = deployment_image::Entity::find()
                        .filter(deployment_image::Column::DeploymentId.in_subquery(ids))
                        .all(&snapshot)
                        .await?;
                    Ok((machine, current, retraced, mine.all(&snapshot).await?, images))
                }),
            )
            .await?;
        let records = || {
            Ok(AppRecords {
                app: app.clone(),
                machine: machine.map(Machine::from_row).transpose()?,
                current: current.map(CurrentState::from_row).transpose()?,
                retraced: retraced.end?,
                events: retraced.events,
                deployments: deployments
                    .into_iter()
                    .map(|row| DeploymentRow::from_row(row).map(|row| (row.id, row)))
                    .collect::<Result<_, _>>()?,
                images: images
                    .into_iter()
                    .map(|row| {
                        let image = Image { id: ImageId(row.image_id), digest: row.digest };
                        (DeploymentId(row.deployment_id), image)
                    })
                    .collect(),
            })
        };
        records().map_err(|unreadable: Unreadable| unreadable.during(operation))
    }

    /// What the database finds wrong with itself, a line each; empty when nothing is. On
    /// PostgreSQL always empty: it keeps foreign keys itself, and checks its pages when it reads
    /// them.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn integrity(&self) -> Result<Vec<String>, StoreError> {
        if self.db.get_database_backend() != DbBackend::Sqlite {
            return Ok(Vec::new());
        }
        self.patient()
            .read("check the database", async {
                let ask = |sql| self.db.query_all_raw(Statement::from_string(DbBackend::Sqlite, sql));
                // The driver takes for granted that the schema is text: asked for a table that has another type
                // of column, its thread panics, and what was asked may never be answered.
                for row in ask("SELECT CAST(sql AS BLOB) FROM sqlite_schema WHERE sql IS NOT NULL").await? {
                    let sql: Vec<u8> = row.try_get_by_index(0)?;
                    if std::str::from_utf8(&sql).is_err() {
                        let sql = String::from_utf8_lossy(&sql);
                        return Ok(vec![format!("the schema is not text: {}", sql.escape_debug())]);
                    }
                }
                let mut findings = Vec::new();
                for row in ask("PRAGMA integrity_check").await? {
                    let line: String = row.try_get_by_index(0)?;
                    if line != "ok" {
                        findings.push(line);
                    }
                }
                for row in ask("PRAGMA foreign_key_check").await? {
                    findings.push(dangling(&row)?);
                }
                Ok(findings)
            })
            .await
    }
}

/// Where the events of an app lead.
struct Retraced {
    end: Result<Result<Checkpoint, ReplayError>, Unreadable>,
    events: usize,
}

/// Follows the events of an app, a page at a time.
async fn retrace<C: ConnectionTrait>(
    app: &AppName,
    checkpoint: Option<app_checkpoint::Model>,
    db: &C,
) -> Result<Retraced, DbErr> {
    let mut events = 0;
    let mut reached = match checkpoint.map(Checkpoint::from_row).transpose() {
        Ok(checkpoint) => checkpoint.unwrap_or_else(|| Checkpoint::beginning(app.clone())),
        Err(unreadable) => return Ok(Retraced { end: Err(unreadable), events }),
    };
    // From the first one: what a checkpoint stands for must be gone.
    let mut after = 0;
    loop {
        let page = events_after(&EventScope::App(app.clone()), after).limit(EVENTS).all(db).await?;
        let Some(last) = page.last() else { return Ok(Retraced { end: Ok(Ok(reached)), events }) };
        after = last.id;
        for row in page {
            let event = match EventRow::from_row(row) {
                Ok(event) => event,
                Err(unreadable) => return Ok(Retraced { end: Err(unreadable), events }),
            };
            if event.id <= reached.upto {
                let message = "its checkpoint stands for it, and it is on record all the same".to_owned();
                let end = Ok(Err(ReplayError::Unreadable { event: event.id, message }));
                return Ok(Retraced { end, events });
            }
            events += 1;
            if let Err(error) = reached.follow(&event) {
                return Ok(Retraced { end: Ok(Err(error)), events });
            }
        }
    }
}

fn dangling(row: &QueryResult) -> Result<String, DbErr> {
    let table: String = row.try_get_by_index(0)?;
    let id: Option<i64> = row.try_get_by_index(1)?;
    let parent: String = row.try_get_by_index(2)?;
    Ok(format!("row {} of {table} refers to a row of {parent} that is not there", id.unwrap_or_default()))
}
