//! Reading: what people and the controller ask of the records. It changes nothing.
//!
//! Lists are in the order in which rows were written (by id): a clock that was set back between
//! two starts does not reorder them.

use crate::DEADLINE;
use crate::entity::{app_config, app_machine, current_state, deployment, deployment_event, deployment_image};
use crate::error::{store_error, timed_out};
use crate::rows::{ConfigSummary, EventRow, FromRow, SummaryRow};
use crate::slow::SlowOperations;
use dockswap_core::machine::Machine;
use dockswap_core::ports::Image;
use dockswap_core::records::{ConfigRow, CurrentState, DeploymentRow, StoreError};
use dockswap_core::{AppName, ConfigId, DeploymentId, ImageId};
use sea_orm::sea_query::{Expr, ExprTrait, Func, Query};
use sea_orm::{
    ColumnTrait, Condition, DatabaseConnection, DbBackend, DbErr, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect, QueryTrait, Select,
};
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// How many rows at most.
    pub limit: u64,
    /// How many rows are passed over first.
    pub offset: u64,
}

/// A number as databases count: they know none beyond `i64::MAX`.
pub(crate) fn counted(rows: u64) -> u64 {
    Ord::min(rows, i64::MAX.cast_unsigned())
}

impl Page {
    /// The first `limit` rows.
    #[must_use]
    pub const fn first(limit: u64) -> Self {
        Self { limit, offset: 0 }
    }
}

/// Whose events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventScope {
    /// Every app's.
    All,
    /// One app's.
    App(AppName),
    /// One deployment's.
    Deployment(DeploymentId),
}

/// The records of a database, to be read. Cheap to clone.
#[derive(Clone, Debug)]
pub struct History {
    pub(crate) db: DatabaseConnection,
    pub(crate) deadline: Duration,
    pub(crate) slow: Arc<SlowOperations>,
}

impl History {
    /// What is in `db`.
    pub(crate) fn of(db: DatabaseConnection) -> Self {
        Self { db, deadline: DEADLINE, slow: Arc::default() }
    }

    /// Where it is a file.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        let is_file = self.db.get_database_backend() == DbBackend::Sqlite;
        is_file.then(|| self.db.get_sqlite_connection_pool().connect_options().get_filename().to_owned())
    }

    /// Runs `query`, and gives up at the deadline.
    pub(crate) async fn read<T>(
        &self,
        operation: &'static str,
        query: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, StoreError> {
        let began = Instant::now();
        let answer = tokio::time::timeout(self.deadline, query).await;
        self.slow.note(operation, began.elapsed(), None);
        match answer {
            Ok(answer) => answer.map_err(|cause| store_error(operation, self.deadline, cause)),
            Err(_) => Err(timed_out(operation, self.deadline)),
        }
    }

    pub(crate) async fn list<T: FromRow>(
        &self,
        operation: &'static str,
        rows: impl Future<Output = Result<Vec<T::Row>, DbErr>>,
    ) -> Result<Vec<T>, StoreError> {
        let rows = self.read(operation, rows).await?;
        rows.into_iter()
            .map(|row| T::from_row(row).map_err(|unreadable| unreadable.during(operation)))
            .collect()
    }

    async fn find<T: FromRow>(
        &self,
        operation: &'static str,
        row: impl Future<Output = Result<Option<T::Row>, DbErr>>,
    ) -> Result<Option<T>, StoreError> {
        let row = self.read(operation, row).await?;
        row.map(|row| T::from_row(row).map_err(|unreadable| unreadable.during(operation))).transpose()
    }

    /// What traffic of each app really uses, by app name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn current_states(&self) -> Result<Vec<CurrentState>, StoreError> {
        use current_state::{Column, Entity};
        self.list("read the current states", Entity::find().order_by_asc(Column::AppName).all(&self.db)).await
    }

    /// What traffic of one app really uses; `None` when nothing was ever deployed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn current_state(&self, app: &AppName) -> Result<Option<CurrentState>, StoreError> {
        self.find("read a current state", current_state::Entity::find_by_id(app.as_str()).one(&self.db)).await
    }

    /// The deployments of an app, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn deployments(&self, app: &AppName, page: Page) -> Result<Vec<DeploymentRow>, StoreError> {
        self.list("read the deployments", deployments_of(app, page).all(&self.db)).await
    }

    /// The newest `limit` deployments of an app, or of those older than `before`; newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn deployments_before(
        &self,
        app: &AppName,
        before: Option<DeploymentId>,
        limit: u64,
    ) -> Result<Vec<DeploymentRow>, StoreError> {
        let older = before.map(|before| deployment::Column::Id.lt(before.0));
        let query = deployments_of(app, Page::first(limit)).filter(Condition::all().add_option(older));
        self.list("read the deployments", query.all(&self.db)).await
    }

    /// One deployment.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn deployment(&self, id: DeploymentId) -> Result<Option<DeploymentRow>, StoreError> {
        self.find("read a deployment", deployment::Entity::find_by_id(id.0).one(&self.db)).await
    }

    /// The highest deployment id, 0 when there is none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_deployment(&self) -> Result<DeploymentId, StoreError> {
        use deployment::{Column, Entity};
        let newest = Entity::find().select_only().column(Column::Id).order_by_desc(Column::Id);
        let id = self.read("read the last deployment", newest.into_tuple().one(&self.db)).await?;
        Ok(DeploymentId(id.unwrap_or(0)))
    }

    /// The image that a deployment ran, once it was resolved.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn image_of(&self, deployment: DeploymentId) -> Result<Option<Image>, StoreError> {
        let query = deployment_image::Entity::find_by_id(deployment.0);
        let row = self.read("read a deployment's image", query.one(&self.db)).await?;
        Ok(row.map(|row| Image { id: ImageId(row.image_id), digest: row.digest }))
    }

    /// The newest events first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn events(&self, scope: &EventScope, page: Page) -> Result<Vec<EventRow>, StoreError> {
        self.list("read the events", newest_events(scope, page).all(&self.db)).await
    }

    /// At most `limit` events that were written after the event `after` (0: from the first one),
    /// oldest first: called again with the last id, it follows.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn events_after(
        &self,
        scope: &EventScope,
        after: i64,
        limit: u64,
    ) -> Result<Vec<EventRow>, StoreError> {
        self.list("read the events", events_after(scope, after).limit(counted(limit)).all(&self.db)).await
    }

    /// The versions of an app's file, newest first, without their bytes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn configs(&self, app: &AppName, page: Page) -> Result<Vec<ConfigSummary>, StoreError> {
        let query = config_summaries(app, page).into_model::<SummaryRow>();
        self.list("read the configs", query.all(&self.db)).await
    }

    /// One version of an app's file, with its bytes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn config(&self, id: ConfigId) -> Result<Option<ConfigRow>, StoreError> {
        self.find("read a config", app_config::Entity::find_by_id(id.0).one(&self.db)).await
    }

    /// The newest version of each app's file, by app name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn newest_configs(&self) -> Result<Vec<ConfigRow>, StoreError> {
        let mut rows: Vec<ConfigRow> =
            self.list("read the newest configs", newest_configs().all(&self.db)).await?;
        rows.sort_by(|one, other| one.app.cmp(&other.app));
        Ok(rows)
    }

    /// Every app's machine as last committed, by app name.
    ///
    /// # Errors
    /// When the database fails, or a state cannot be read (named in the error).
    pub async fn machines(&self) -> Result<Vec<Machine>, StoreError> {
        use app_machine::{Column, Entity};
        self.list("read the machines", Entity::find().order_by_asc(Column::AppName).all(&self.db)).await
    }
}

pub(crate) fn deployments_of(app: &AppName, page: Page) -> Select<deployment::Entity> {
    use deployment::{Column, Entity};
    newest(Entity::find().filter(Column::AppName.eq(app.as_str())), Column::Id, page)
}

/// A page of `rows`, newest first. What is passed over is counted in the index alone; only the rows of the
/// page are read.
pub(crate) fn newest<E: EntityTrait>(rows: Select<E>, id: E::Column, page: Page) -> Select<E> {
    let from = (page.offset > 0).then(|| {
        let passed = rows.clone().select_only().column(id).order_by_desc(id);
        Expr::col(id).lte(Expr::SubQuery(
            None,
            Box::new(passed.limit(1).offset(counted(page.offset)).into_query().into()),
        ))
    });
    let rows = rows.filter(Condition::all().add_option(from));
    rows.order_by_desc(id).limit(counted(page.limit))
}

fn events_of(scope: &EventScope) -> Select<deployment_event::Entity> {
    use deployment_event::{Column, Entity};
    let query = Entity::find();
    match scope {
        EventScope::All => query,
        EventScope::App(app) => query.filter(Column::AppName.eq(app.as_str())),
        EventScope::Deployment(id) => query.filter(Column::DeploymentId.eq(id.0)),
    }
}

pub(crate) fn newest_events(scope: &EventScope, page: Page) -> Select<deployment_event::Entity> {
    newest(events_of(scope), deployment_event::Column::Id, page)
}

pub(crate) fn events_after(scope: &EventScope, after: i64) -> Select<deployment_event::Entity> {
    use deployment_event::Column;
    events_of(scope).filter(Column::Id.gt(after)).order_by_asc(Column::Id)
}

pub(crate) fn config_summaries(app: &AppName, page: Page) -> Select<app_config::Entity> {
    use app_config::{Column, Entity};
    let size = Expr::expr(Func::cust("length").arg(Expr::col(Column::ConfigYaml))).cast_as("bigint");
    newest(Entity::find().filter(Column::AppName.eq(app.as_str())), Column::Id, page)
        .select_only()
        .columns([Column::Id, Column::AppName, Column::ConfigSha, Column::CreatedAt])
        .column_as(size, "size_bytes")
}

pub(crate) fn newest_configs() -> Select<app_config::Entity> {
    use app_config::{Column, Entity};
    let newest =
        Query::select().expr(Expr::col(Column::Id).max()).from(Entity).group_by_col(Column::AppName).take();
    Entity::find().filter(Column::Id.in_subquery(newest))
}
