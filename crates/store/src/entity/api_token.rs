//! `api_tokens`: one row a token, also after it was revoked.

use crate::stamp::Stamp;
use sea_orm::entity::prelude::*;

/// A token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "api_tokens")]
pub struct Model {
    /// As in the token itself.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// What people call it; of those that are not revoked, one has it.
    pub name: String,
    /// The SHA-256 of the secret in lower-case hex.
    pub secret_sha: String,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Stamp,
    /// From then on it is good for nothing.
    pub expires_at: Option<Stamp>,
    /// About when it was last used: written at most once a minute.
    pub last_used_at: Option<Stamp>,
    /// Who revoked it.
    pub revoked_by: Option<String>,
    /// When.
    pub revoked_at: Option<Stamp>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    #[sea_orm(has_many = "super::token_grant::Entity")]
    Grant,
}

impl Related<super::token_grant::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Grant.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
