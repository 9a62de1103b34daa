//! What can be written, each as one whole: applied inside a transaction that somebody else begins
//! and commits.

use crate::audit;
use crate::entity::{
    app_config, app_machine, controller_lease, current_state, deployment, deployment_event, deployment_image,
};
use crate::keys::KeyWrite;
use crate::projects::{self, ProjectOutcome, ProjectRemoval};
use crate::prune::{self, Prune};
use crate::rows::without_nul;
use crate::stamp::Stamp;
use crate::tokens::{TokenOutcome, TokenWrite};
use dockswap_core::audit::AuditRecord;
use dockswap_core::machine::Transition;
use dockswap_core::ports::Image;
use dockswap_core::records::{CurrentState, DeploymentStatus, DeploymentWrite, EventRecord, NewConfig};
use dockswap_core::retention::{Kept, Pruned};
use dockswap_core::{AppName, ConfigId, DeploymentId, ProjectName, Timestamp};
use sea_orm::sea_query::{Expr, Func, OnConflict};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, NotSet, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect, Set, Statement,
};

/// One thing to write, whole or not at all.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    /// A step of an app's machine.
    Transition(Box<Unit>),
    /// An event that changed nothing.
    Refusal(EventRecord),
    /// A version of an app file.
    Config(NewConfig),
    /// Images that are given up.
    GiveUp(Kept, Timestamp),
    /// The removal of what is old.
    Prune(Box<Prune>, Timestamp),
    /// A change of tokens.
    Token(Box<TokenWrite>),
    /// The key of an order, or its answer.
    Key(KeyWrite),
    /// To which projects apps belong.
    Projects(Vec<(AppName, Option<ProjectName>)>),
    /// Taking a project away.
    RemoveProject(Box<ProjectRemoval>),
    /// An order that changed nothing else.
    Audit(Box<AuditRecord>),
    /// Nothing new: to see whether anything can be written.
    Touch,
}

/// A transition as it is written.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    /// Whose.
    pub(crate) app: AppName,
    /// The version that the machine must still have; 0 when it must have no row.
    pub(crate) expected: i64,
    /// The version after.
    pub(crate) version: i64,
    /// The machine after, as JSON.
    pub(crate) state: String,
    /// The event row.
    pub(crate) event: EventRecord,
    /// The changes of `deployments`, in order.
    pub(crate) deployments: Vec<DeploymentWrite>,
    /// The row of `current_state`.
    pub(crate) current: CurrentState,
    /// The image that a deployment turned out to run.
    pub(crate) image: Option<(DeploymentId, Image)>,
    /// The order that it carries out.
    pub(crate) audit: Option<AuditRecord>,
}

/// What came of a write that did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// It is in the transaction.
    Done,
    /// It is in the transaction, under this id.
    Config(ConfigId),
    /// It is in the transaction: so much is gone.
    Pruned(Pruned),
    /// What became of the wish to take a project away.
    Project(ProjectOutcome),
    /// What became of a change of tokens.
    Token(TokenOutcome),
    /// The machine is no longer the expected one, or the key is there already: nothing was written.
    Conflict,
}

impl Unit {
    /// The rows of `transition`.
    pub(crate) fn of(transition: &Transition) -> Result<Self, serde_json::Error> {
        let after = transition.after();
        let state = without_nul(serde_json::to_value(after)?);
        Ok(Self {
            app: after.app().clone(),
            expected: transition.expected().0.cast_signed(),
            version: after.version().0.cast_signed(),
            state: state.to_string(),
            event: transition.event().clone(),
            deployments: transition.deployments().to_vec(),
            current: transition.current().clone(),
            image: transition.image().cloned(),
            audit: transition.audit().cloned(),
        })
    }

    async fn apply<C: ConnectionTrait>(&self, db: &C) -> Result<Written, DbErr> {
        // First, so that a conflict is known before anything is written.
        if !self.advance_machine(db).await? {
            return Ok(Written::Conflict);
        }
        for write in &self.deployments {
            write_deployment(write, db).await?;
        }
        let event = deployment_event::ActiveModel::from(&self.event);
        deployment_event::Entity::insert(event).exec_without_returning(db).await?;
        self.write_current_state(db).await?;
        if let Some((deployment, image)) = &self.image {
            let row = image_row(*deployment, image);
            let insert = deployment_image::Entity::insert(row).on_conflict(replace_image());
            insert.exec_without_returning(db).await?;
        }
        if let Some(record) = &self.audit {
            audit::write(record, db).await?;
        }
        Ok(Written::Done)
    }

    /// Whether the machine was still the expected one; if so, it is the next one now.
    async fn advance_machine<C: ConnectionTrait>(&self, db: &C) -> Result<bool, DbErr> {
        use app_machine::{ActiveModel, Column, Entity};
        let rows = if self.expected == 0 {
            let row = ActiveModel {
                app_name: Set(self.app.to_string()),
                version: Set(self.version),
                state: Set(self.state.clone()),
            };
            let taken = OnConflict::column(Column::AppName).do_nothing().to_owned();
            Entity::insert(row).on_conflict(taken).exec_without_returning(db).await?
        } else {
            Entity::update_many()
                .col_expr(Column::Version, Expr::value(self.version))
                .col_expr(Column::State, Expr::value(self.state.clone()))
                .filter(Column::AppName.eq(self.app.as_str()))
                .filter(Column::Version.eq(self.expected))
                .exec(db)
                .await?
                .rows_affected
        };
        Ok(rows == 1)
    }

    async fn write_current_state<C: ConnectionTrait>(&self, db: &C) -> Result<(), DbErr> {
        let row = current_state::ActiveModel::from(&self.current);
        let insert = current_state::Entity::insert(row).on_conflict(replace_current_state());
        insert.exec_without_returning(db).await?;
        Ok(())
    }

    /// Whether the machine is the one after this transition: nobody else writes that state.
    async fn is_written<C: ConnectionTrait>(&self, db: &C) -> Result<bool, DbErr> {
        let row = app_machine::Entity::find_by_id(self.app.as_str()).one(db).await?;
        Ok(row.is_some_and(|row| row.version == self.version && row.state == self.state))
    }
}

impl Write {
    /// Writes it. An error leaves a part of it in the transaction, which must then be given up; a
    /// [`Written::Conflict`] leaves nothing of it.
    pub(crate) async fn apply<C: ConnectionTrait>(&self, db: &C) -> Result<Written, DbErr> {
        match self {
            Self::Transition(unit) => unit.apply(db).await,
            Self::Refusal(event) => {
                let known = deployment::Entity::find_by_id(event.deployment_id.0).count(db).await?;
                if known > 0 {
                    let row = deployment_event::ActiveModel::from(event);
                    deployment_event::Entity::insert(row).exec_without_returning(db).await?;
                }
                Ok(Written::Done)
            }
            Self::Config(config) => {
                let row = app_config::ActiveModel::from(config);
                let inserted = app_config::Entity::insert(row).exec(db).await?;
                projects::note(&config.app, config.project.as_ref(), db).await?;
                if let Some(record) = &config.audit {
                    audit::write(record, db).await?;
                }
                Ok(Written::Config(ConfigId(inserted.last_insert_id)))
            }
            Self::GiveUp(kept, at) => prune::give_up(kept, *at, db).await,
            Self::Prune(old, at) => prune::prune(old, *at, db).await,
            Self::Token(write) => write.apply(db).await,
            Self::Key(write) => write.apply(db).await,
            Self::Projects(projects) => {
                for (app, project) in projects {
                    projects::note(app, project.as_ref(), db).await?;
                }
                Ok(Written::Done)
            }
            Self::RemoveProject(removal) => removal.apply(db).await,
            Self::Audit(record) => {
                audit::write(record, db).await?;
                Ok(Written::Done)
            }
            Self::Touch => {
                touch(db).await?;
                Ok(Written::Done)
            }
        }
    }

    /// What became of it, when the answer to the commit was lost: `None` when it is not there.
    pub(crate) async fn find<C: ConnectionTrait>(&self, db: &C) -> Result<Option<Written>, DbErr> {
        match self {
            Self::Transition(unit) => Ok(unit.is_written(db).await?.then_some(Written::Done)),
            Self::Refusal(event) => {
                use deployment_event::{Column, Entity};
                let rows = Entity::find()
                    .filter(Column::DeploymentId.eq(event.deployment_id.0))
                    .filter(Column::CreatedAt.eq(Stamp(event.at)))
                    .filter(Column::EventType.eq(event.event_type))
                    .count(db)
                    .await?;
                Ok((rows > 0).then_some(Written::Done))
            }
            Self::Config(config) => {
                use app_config::{Column, Entity};
                let id = Entity::find()
                    .select_only()
                    .column(Column::Id)
                    .filter(Column::AppName.eq(config.app.as_str()))
                    .filter(Column::CreatedAt.eq(Stamp(config.at)))
                    .filter(Column::ConfigSha.eq(config.sha.0.as_str()))
                    .order_by_desc(Column::Id)
                    .into_tuple::<i64>()
                    .one(db)
                    .await?;
                Ok(id.map(|id| Written::Config(ConfigId(id))))
            }
            Self::Token(write) => write.find(db).await,
            Self::Key(write) => write.find(db).await,
            Self::RemoveProject(removal) => removal.find(db).await,
            Self::Audit(record) => Ok(audit::is_written(record, db).await?.then_some(Written::Done)),
            // They leave no trace that says whose they are, and may be done again: it is gone on with them.
            Self::GiveUp(..) | Self::Prune(..) | Self::Projects(_) | Self::Touch => Ok(None),
        }
    }
}

/// Writes something that means nothing.
async fn touch<C: ConnectionTrait>(db: &C) -> Result<(), DbErr> {
    if db.get_database_backend() == DbBackend::Sqlite {
        // A row that becomes what it was is not written at all; this number in the file's head is the
        // application's own, and dockswap has no other use for it.
        let number = "PRAGMA user_version";
        let before = db.query_one_raw(Statement::from_string(DbBackend::Sqlite, number)).await?;
        let before: i32 = before.map_or(Ok(0), |row| row.try_get_by_index(0))?;
        db.execute_unprepared(&format!("{number} = {}", before.wrapping_add(1).max(0))).await?;
    } else {
        use controller_lease::{Column, Entity, ROW};
        let same = Entity::update_many().col_expr(Column::Epoch, Expr::col(Column::Epoch));
        same.filter(Column::Id.eq(ROW)).exec(db).await?;
    }
    Ok(())
}

async fn write_deployment<C: ConnectionTrait>(write: &DeploymentWrite, db: &C) -> Result<(), DbErr> {
    match write {
        DeploymentWrite::Begin(row) => {
            let row = deployment::ActiveModel::from(row);
            deployment::Entity::insert(row).exec_without_returning(db).await?;
            Ok(())
        }
        DeploymentWrite::End { id, status, at } => end_deployment(*id, *status, *at, db).await,
    }
}

/// Ends a deployment that there must be.
pub(crate) async fn end_deployment<C: ConnectionTrait>(
    id: DeploymentId,
    status: DeploymentStatus,
    at: Timestamp,
    db: &C,
) -> Result<(), DbErr> {
    use deployment::{Column, Entity};
    let ended_at = Func::coalesce([Expr::col(Column::EndedAt), Expr::value(Stamp(at))]);
    let ended = Entity::update_many()
        .col_expr(Column::Status, Expr::value(status.as_str()))
        .col_expr(Column::EndedAt, ended_at.into())
        .filter(Column::Id.eq(id.0))
        .exec(db)
        .await?;
    if ended.rows_affected == 1 { Ok(()) } else { Err(DbErr::RecordNotFound(format!("deployment {id}"))) }
}

/// What a row of `current_state` does to the one of the same app.
pub(crate) fn replace_current_state() -> OnConflict {
    use current_state::Column;
    OnConflict::column(Column::AppName)
        .update_columns([
            Column::DeploymentId,
            Column::ActiveColor,
            Column::Image,
            Column::Status,
            Column::UpdatedAt,
        ])
        .to_owned()
}

/// The image of a deployment as a row.
pub(crate) fn image_row(deployment: DeploymentId, image: &Image) -> deployment_image::ActiveModel {
    deployment_image::ActiveModel {
        deployment_id: Set(deployment.0),
        image_id: Set(image.id.to_string()),
        digest: Set(image.digest.clone()),
        given_up_at: NotSet,
    }
}

/// What such a row does to the one of the same deployment.
pub(crate) fn replace_image() -> OnConflict {
    use deployment_image::Column;
    OnConflict::column(Column::DeploymentId).update_columns([Column::ImageId, Column::Digest]).to_owned()
}
