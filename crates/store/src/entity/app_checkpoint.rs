//! `app_checkpoints`: the state that removed events had led to.

use crate::stamp::Stamp;
use sea_orm::entity::prelude::*;

/// What stands for the oldest events of an app, which are not on record any more.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "app_checkpoints")]
pub struct Model {
    /// The app.
    #[sea_orm(primary_key, auto_increment = false)]
    pub app_name: String,
    /// The last event that it stands for.
    pub upto: i64,
    /// How many it stands for.
    pub events: i64,
    /// The machine after the last of them, as JSON.
    #[sea_orm(column_type = "Text")]
    pub state: String,
    /// What they had written beside themselves and is still on record, as JSON.
    #[sea_orm(column_type = "Text")]
    pub written: String,
    /// The hash over them, each with the one before: SHA-256 in lower-case hex.
    pub sha: String,
    /// When it was written last.
    pub updated_at: Stamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
