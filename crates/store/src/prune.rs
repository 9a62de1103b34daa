//! Removing what is old: given up images are marked, the oldest events of an app become its checkpoint, and
//! rows that nobody refers to any more go. Each call is a small part of it, within a transaction that somebody
//! else begins and commits. What must stay it is told; it must not know why.

use crate::EventScope;
use crate::checkpoint::Checkpoint;
use crate::entity::{
    app_checkpoint, app_config, app_machine, current_state, deployment, deployment_event, deployment_image,
};
use crate::history::{History, counted, events_after};
use crate::rows::{EventRow, FromRow, Unreadable};
use crate::stamp::Stamp;
use crate::write::Written;
use dockswap_core::machine::ReplayError;
use dockswap_core::records::StoreError;
use dockswap_core::retention::{Kept, Pruned};
use dockswap_core::{AppName, DeploymentId, Timestamp};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict, Query, SelectStatement};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, QueryTrait, Select,
};
use std::collections::BTreeSet;

/// The newest events of an app stay whatever their age: they tell how it came to be as it is.
pub(crate) const NEWEST_EVENTS: u64 = 200;

/// How many rows of a kind go in one transaction: no deploy waits for more.
const EVENTS: u64 = 400;
const DEPLOYMENTS: usize = 100;
const CONFIGS: u64 = 50;
const IMAGES: u64 = 500;

/// What is to be removed at once.
#[derive(Clone, Debug)]
pub(crate) struct Prune {
    /// What stays.
    pub(crate) kept: Kept,
    /// What is younger stays.
    pub(crate) before: Timestamp,
    /// Deployments whose image Docker still has by their name: their rows stay.
    pub(crate) pinned: BTreeSet<DeploymentId>,
}

fn ids(deployments: &BTreeSet<DeploymentId>) -> Vec<i64> {
    deployments.iter().map(|id| id.0).collect()
}

/// Whether the machine is still the one that `kept` was decided on. No other transaction moves it on then.
async fn is_current<C: ConnectionTrait>(kept: &Kept, db: &C) -> Result<bool, DbErr> {
    let machine = app_machine::Entity::find_by_id(kept.app.as_str()).lock_exclusive().one(db).await?;
    let version = machine.map_or(0, |row| row.version);
    Ok(version.cast_unsigned() == kept.version.0)
}

/// Images of `kept.app` that are there, and none of `kept.targets`.
fn unneeded(kept: &Kept) -> Select<deployment_image::Entity> {
    use deployment_image::{Column, Entity};
    let ended = deployment::Entity::find()
        .select_only()
        .column(deployment::Column::Id)
        .filter(deployment::Column::AppName.eq(kept.app.as_str()))
        .filter(deployment::Column::EndedAt.is_not_null());
    Entity::find()
        .filter(Column::GivenUpAt.is_null())
        .filter(Column::DeploymentId.in_subquery(ended.into_query()))
        .filter(Column::DeploymentId.is_not_in(ids(&kept.targets)))
}

/// Marks images as given up.
pub(crate) async fn give_up<C: ConnectionTrait>(
    kept: &Kept,
    at: Timestamp,
    db: &C,
) -> Result<Written, DbErr> {
    use deployment_image::{Column, Entity};
    if !is_current(kept, db).await? {
        return Ok(Written::Conflict);
    }
    let oldest = unneeded(kept).select_only().column(Column::DeploymentId);
    let oldest = oldest.order_by_asc(Column::DeploymentId).limit(IMAGES);
    let oldest: Vec<i64> = oldest.into_tuple().all(db).await?;
    let marked = Entity::update_many()
        .col_expr(Column::GivenUpAt, Expr::value(Stamp(at)))
        .filter(Column::DeploymentId.is_in(oldest))
        .exec(db)
        .await?;
    Ok(Written::Pruned(Pruned { images: marked.rows_affected, ..Pruned::default() }))
}

/// Removes the oldest that may go.
pub(crate) async fn prune<C: ConnectionTrait>(
    prune: &Prune,
    at: Timestamp,
    db: &C,
) -> Result<Written, DbErr> {
    let app = &prune.kept.app;
    if !is_current(&prune.kept, db).await? {
        return Ok(Written::Conflict);
    }
    let unsound = |why: String| DbErr::Custom(format!("nothing old of {app} is removed: {why}"));
    let row = app_checkpoint::Entity::find_by_id(app.as_str()).one(db).await?;
    let checkpoint = row.map(Checkpoint::from_row).transpose();
    let checkpoint = checkpoint.map_err(|error| unsound(error.to_string()))?;
    let mut checkpoint = checkpoint.unwrap_or_else(|| Checkpoint::beginning(app.clone()));
    let before = checkpoint.clone();
    let due = due(prune, &checkpoint, db).await?;
    for event in &due {
        checkpoint.absorb(event).map_err(|error: ReplayError| unsound(error.to_string()))?;
    }
    let mut pruned = Pruned::default();
    if !due.is_empty() {
        // First: nothing is removed that no checkpoint stands for.
        save(&checkpoint, at, db).await?;
        let removed = deployment_event::Entity::delete_many()
            .filter(deployment_event::Column::AppName.eq(app.as_str()))
            .filter(deployment_event::Column::Id.lte(checkpoint.upto))
            .exec(db)
            .await?;
        if removed.rows_affected != due.len() as u64 {
            return Err(unsound("there are events that its checkpoint stands for already".to_owned()));
        }
        pruned.events = removed.rows_affected;
    }
    for id in over(prune, &checkpoint, db).await? {
        deployment_image::Entity::delete_by_id(id.0).exec(db).await?;
        pruned.deployments += deployment::Entity::delete_by_id(id.0).exec(db).await?.rows_affected;
        checkpoint.written.forget(id);
    }
    if pruned.deployments > 0 && checkpoint != before {
        save(&checkpoint, at, db).await?;
    }
    pruned.configs = remove_configs(prune, db).await?;
    Ok(Written::Pruned(pruned))
}

async fn save<C: ConnectionTrait>(checkpoint: &Checkpoint, at: Timestamp, db: &C) -> Result<(), DbErr> {
    use app_checkpoint::{Column, Entity};
    let row = checkpoint.row(at).map_err(|error| DbErr::Json(error.to_string()))?;
    let columns =
        [Column::Upto, Column::Events, Column::State, Column::Written, Column::Sha, Column::UpdatedAt];
    let replace = OnConflict::column(Column::AppName).update_columns(columns).to_owned();
    Entity::insert(row).on_conflict(replace).exec_without_returning(db).await?;
    Ok(())
}

/// The newest event of an app that may go at all: the newest few stay.
fn last_that_may_go(app: &AppName) -> Select<deployment_event::Entity> {
    use deployment_event::{Column, Entity};
    let events = Entity::find().select_only().column(Column::Id).filter(Column::AppName.eq(app.as_str()));
    events.order_by_desc(Column::Id).limit(1).offset(counted(NEWEST_EVENTS))
}

/// The oldest events that are to go now.
async fn due<C: ConnectionTrait>(
    prune: &Prune,
    checkpoint: &Checkpoint,
    db: &C,
) -> Result<Vec<EventRow>, DbErr> {
    let app = &prune.kept.app;
    let last: Option<i64> = last_that_may_go(app).into_tuple().one(db).await?;
    let Some(last) = last else { return Ok(Vec::new()) };
    let oldest = events_after(&EventScope::App(app.clone()), checkpoint.upto)
        .filter(deployment_event::Column::Id.lte(last))
        .limit(EVENTS)
        .all(db)
        .await?;
    let rows: Result<Vec<EventRow>, Unreadable> = oldest.into_iter().map(EventRow::from_row).collect();
    let rows = rows.map_err(|error| DbErr::Custom(error.to_string()))?;
    Ok(rows.into_iter().take_while(|event| event.created_at < prune.before).collect())
}

/// Deployments that are over, that nothing on record refers to, and whose image Docker has let go of.
async fn over<C: ConnectionTrait>(
    prune: &Prune,
    checkpoint: &Checkpoint,
    db: &C,
) -> Result<Vec<DeploymentId>, DbErr> {
    use deployment::{Column, Entity};
    // Others have their first event still on record, which refers to them.
    let known = checkpoint.written.deployments.keys();
    let stays = |id: &&DeploymentId| prune.kept.rows.contains(id) || prune.pinned.contains(id);
    let oldest: Vec<i64> = known.filter(|id| !stays(id)).take(DEPLOYMENTS).map(|id| id.0).collect();
    if oldest.is_empty() {
        return Ok(Vec::new());
    }
    // By the highest one the next id is found.
    let newest: Option<i64> = Entity::find()
        .select_only()
        .column(Column::Id)
        .order_by_desc(Column::Id)
        .into_tuple()
        .one(db)
        .await?;
    let refers = |other: SelectStatement| Expr::exists(other).not();
    let this = || Expr::col((Entity, Column::Id));
    let events = Query::select()
        .expr(Expr::val(1))
        .from(deployment_event::Entity)
        .and_where(Expr::col(deployment_event::Column::DeploymentId).eq(this()))
        .take();
    let states = Query::select()
        .expr(Expr::val(1))
        .from(current_state::Entity)
        .and_where(Expr::col(current_state::Column::DeploymentId).eq(this()))
        .take();
    let images = Query::select()
        .expr(Expr::val(1))
        .from(deployment_image::Entity)
        .and_where(Expr::col((deployment_image::Entity, deployment_image::Column::DeploymentId)).eq(this()))
        .and_where(Expr::col(deployment_image::Column::GivenUpAt).is_null())
        .take();
    let found: Vec<i64> = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::Id.is_in(oldest))
        .filter(Column::Id.lt(newest.unwrap_or(0)))
        .filter(Column::EndedAt.lt(Stamp(prune.before)))
        .filter(Condition::all().add(refers(events)).add(refers(states)).add(refers(images)))
        .order_by_asc(Column::Id)
        .into_tuple()
        .all(db)
        .await?;
    // What a rollback has undone stays for as long as that rollback.
    let undone: Vec<Option<i64>> = Entity::find()
        .select_only()
        .column(Column::RollbackOf)
        .filter(Column::RollbackOf.is_in(found.clone()))
        .into_tuple()
        .all(db)
        .await?;
    let free = found.into_iter().filter(|id| !undone.contains(&Some(*id)));
    Ok(free.map(DeploymentId).collect())
}

/// Stored files that are old, and that nobody deploys or has deployed any more.
fn unused_configs(prune: &Prune, deployed: SelectStatement) -> Select<app_config::Entity> {
    use app_config::{Column, Entity};
    let kept: Vec<i64> = prune.kept.configs.iter().map(|id| id.0).collect();
    let newest = Query::select()
        .expr(Expr::col(Column::Id).max())
        .from(Entity)
        .and_where(Expr::col(Column::AppName).eq(prune.kept.app.as_str()))
        .take();
    Entity::find()
        .filter(Column::AppName.eq(prune.kept.app.as_str()))
        .filter(Column::CreatedAt.lt(Stamp(prune.before)))
        .filter(Column::Id.is_not_in(kept))
        .filter(Expr::col((Entity, Column::Id)).lt(Expr::SubQuery(None, Box::new(newest.into()))))
        .filter(Expr::exists(deployed).not())
}

fn deploying() -> SelectStatement {
    Query::select()
        .expr(Expr::val(1))
        .from(deployment::Entity)
        .and_where(
            Expr::col((deployment::Entity, deployment::Column::ConfigId))
                .eq(Expr::col((app_config::Entity, app_config::Column::Id))),
        )
        .take()
}

async fn remove_configs<C: ConnectionTrait>(prune: &Prune, db: &C) -> Result<u64, DbErr> {
    use app_config::{Column, Entity};
    let oldest = unused_configs(prune, deploying()).select_only().column(Column::Id);
    let oldest: Vec<i64> = oldest.order_by_asc(Column::Id).limit(CONFIGS).into_tuple().all(db).await?;
    if oldest.is_empty() {
        return Ok(0);
    }
    Ok(Entity::delete_many().filter(Column::Id.is_in(oldest)).exec(db).await?.rows_affected)
}

impl History {
    /// How much would go. What refers to each other is looked at as if it went at once.
    pub(crate) async fn prunable(&self, kept: &Kept, before: Timestamp) -> Result<Pruned, StoreError> {
        let prune = Prune { kept: kept.clone(), before, pinned: BTreeSet::new() };
        let app = kept.app.as_str();
        self.read("count what is old", async {
            let last: Option<i64> = last_that_may_go(&kept.app).into_tuple().one(&self.db).await?;
            let events = deployment_event::Entity::find()
                .filter(deployment_event::Column::AppName.eq(app))
                .filter(deployment_event::Column::Id.lte(last.unwrap_or(0)))
                .filter(deployment_event::Column::CreatedAt.lt(Stamp(before)));
            let deployments = deployment::Entity::find()
                .filter(deployment::Column::AppName.eq(app))
                .filter(deployment::Column::EndedAt.lt(Stamp(before)))
                .filter(deployment::Column::Id.is_not_in(ids(&kept.rows)));
            let stays = Condition::any()
                .add(Expr::col((deployment::Entity, deployment::Column::Id)).is_in(ids(&kept.rows)))
                .add(deployment::Column::EndedAt.is_null())
                .add(deployment::Column::EndedAt.gte(Stamp(before)));
            let deployed = deploying().cond_where(stays).take();
            Ok(Pruned {
                images: unneeded(kept).count(&self.db).await?,
                deployments: deployments.count(&self.db).await?,
                configs: unused_configs(&prune, deployed).count(&self.db).await?,
                events: events.count(&self.db).await?,
            })
        })
        .await
    }

    /// The deployments of an app whose image was given up, oldest first.
    pub(crate) async fn given_up(&self, app: &AppName) -> Result<Vec<DeploymentId>, StoreError> {
        use deployment_image::{Column, Entity};
        let mine = deployment::Entity::find()
            .select_only()
            .column(deployment::Column::Id)
            .filter(deployment::Column::AppName.eq(app.as_str()));
        let marked = Entity::find()
            .select_only()
            .column(Column::DeploymentId)
            .filter(Column::GivenUpAt.is_not_null())
            .filter(Column::DeploymentId.in_subquery(mine.into_query()))
            .order_by_asc(Column::DeploymentId);
        let ids: Vec<i64> =
            self.read("read the images that were given up", marked.into_tuple().all(&self.db)).await?;
        Ok(ids.into_iter().map(DeploymentId).collect())
    }

    /// Whether the image of a deployment was given up.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_given_up(&self, deployment: DeploymentId) -> Result<bool, StoreError> {
        use deployment_image::{Column, Entity};
        let marked = Entity::find_by_id(deployment.0).filter(Column::GivenUpAt.is_not_null());
        Ok(self.read("read a deployment's image", marked.count(&self.db)).await? > 0)
    }

    /// How many bytes the records take: of a SQLite file, its pages in use; on PostgreSQL, what the rows of the
    /// tables that grow take.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn used_bytes(&self) -> Result<u64, StoreError> {
        use sea_orm::{DbBackend, Statement};
        let backend = self.db.get_database_backend();
        let sql = match backend {
            DbBackend::Sqlite => {
                "SELECT (SELECT page_count FROM pragma_page_count) * (SELECT page_size FROM pragma_page_size) \
                 - (SELECT freelist_count FROM pragma_freelist_count) * (SELECT page_size FROM pragma_page_size)"
            }
            _ => {
                "SELECT CAST(coalesce((SELECT sum(pg_column_size(t.*)) FROM deployment_events t), 0) \
                 + coalesce((SELECT sum(pg_column_size(t.*)) FROM app_configs t), 0) AS bigint)"
            }
        };
        let bytes = self
            .patient()
            .read("measure the database", async {
                let row = self.db.query_one_raw(Statement::from_string(backend, sql)).await?;
                row.map_or(Ok(0), |row| row.try_get_by_index::<i64>(0))
            })
            .await?;
        Ok(u64::try_from(bytes).unwrap_or(0))
    }

    /// When the oldest event on record was written.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn oldest_event(&self) -> Result<Option<Timestamp>, StoreError> {
        let page = self.events_after(&EventScope::All, 0, 1).await?;
        Ok(page.first().map(|event| event.created_at))
    }
}
