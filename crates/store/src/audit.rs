//! The audit's rows: written once, with what they record or by themselves, and read. What an order means it must not know.

use crate::entity::audit_log::{ActiveModel, Column, Entity, Model};
use crate::history::{self, History, Page};
use crate::rows::{FromRow, Unreadable, parse, text_without_nul, without_nul};
use crate::stamp::Stamp;
use dockswap_core::audit::AuditRecord;
use dockswap_core::records::StoreError;
use dockswap_core::{AppName, DeploymentId};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, NotSet, PaginatorTrait, QueryFilter, Select,
    Set,
};

/// A row of `audit_log`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// Ascending in the order of commits.
    pub id: i64,
    /// What it says.
    pub record: AuditRecord,
}

/// Which rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditScope {
    /// Only those about this app.
    pub app: Option<AppName>,
    /// Only those of whom is called so: `uid:1000(ada)`, `token:ci`.
    pub actor: Option<String>,
}

/// Writes `record`, unless there is a row of that request already.
pub(crate) async fn write<C: ConnectionTrait>(record: &AuditRecord, db: &C) -> Result<(), DbErr> {
    if is_written(record, db).await? {
        return Ok(());
    }
    let record = record.clone().masked();
    let row = ActiveModel {
        id: NotSet,
        at: Set(Stamp(record.at)),
        actor: Set(text_without_nul(&record.actor)),
        token_id: Set(record.token.map(String::from)),
        address: Set(record.address),
        verb: Set(record.verb),
        target: Set(text_without_nul(&record.target)),
        result: Set(record.result.to_string()),
        deployment_id: Set(record.deployment.map(|id| id.0)),
        request_id: Set(record.request),
        detail: Set(without_nul(record.detail)),
    };
    Entity::insert(row).exec_without_returning(db).await?;
    Ok(())
}

/// Whether there is a row of that request.
pub(crate) async fn is_written<C: ConnectionTrait>(record: &AuditRecord, db: &C) -> Result<bool, DbErr> {
    Ok(Entity::find().filter(Column::RequestId.eq(record.request.as_str())).count(db).await? > 0)
}

pub(crate) fn newest(scope: &AuditScope, page: Page) -> Select<Entity> {
    let app = scope.app.as_ref().map(|app| Column::Target.eq(format!("app/{app}")));
    let actor = scope.actor.as_ref().map(|actor| Column::Actor.eq(actor.as_str()));
    history::newest(
        Entity::find().filter(Condition::all().add_option(app).add_option(actor)),
        Column::Id,
        page,
    )
}

impl FromRow for AuditRow {
    type Row = Model;

    fn from_row(row: Model) -> Result<Self, Unreadable> {
        let what = || format!("audit_log {}", row.id);
        let result = row.result.parse().map_err(|cause| Unreadable::new(what(), &cause))?;
        let record = AuditRecord {
            at: row.at.into(),
            actor: row.actor,
            token: row.token_id.map(|id| parse(id, what)).transpose()?,
            address: row.address,
            verb: row.verb,
            target: row.target,
            detail: row.detail,
            result,
            deployment: row.deployment_id.map(DeploymentId),
            request: row.request_id,
        };
        Ok(Self { id: row.id, record })
    }
}

impl History {
    /// What is on record of who asked for what, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit(&self, scope: &AuditScope, page: Page) -> Result<Vec<AuditRow>, StoreError> {
        self.list("read the audit", newest(scope, page).all(&self.db)).await
    }
}
