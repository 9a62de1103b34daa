//! `order_keys`: the keys under which orders were sent.

use crate::stamp::Stamp;
use sea_orm::entity::prelude::*;

/// One order that came with a key.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "order_keys")]
pub struct Model {
    /// Who sent it.
    #[sea_orm(primary_key, auto_increment = false)]
    pub actor: String,
    /// The key's hash: what clients send by mistake is kept nowhere.
    #[sea_orm(primary_key, auto_increment = false)]
    pub key_sha: String,
    /// The hash of what was ordered.
    pub fingerprint: String,
    /// The newest event when it came.
    pub after_event: i64,
    /// When it came.
    pub created_at: Stamp,
    /// What it was answered; absent: nothing yet, or nobody knows.
    pub answer: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
