//! `audit_log`: one row an order, append-only by trigger.

use crate::stamp::Stamp;
use sea_orm::entity::prelude::*;

/// Who asked for what, and what became of it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_log")]
pub struct Model {
    /// Ascending in the order of commits.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// When it was asked.
    pub at: Stamp,
    /// Who asked.
    pub actor: String,
    /// The token that they showed.
    pub token_id: Option<String>,
    /// From where.
    pub address: Option<String>,
    /// What was asked.
    pub verb: String,
    /// Of what.
    pub target: String,
    /// `done`, `refused` or `failed`.
    pub result: String,
    /// The deployment that it began, or was about.
    pub deployment_id: Option<i64>,
    /// The one request that it was.
    pub request_id: String,
    /// What else was said, and why it was not done.
    pub detail: Json,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
