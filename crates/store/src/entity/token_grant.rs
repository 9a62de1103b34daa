//! `token_grants`: what a token is good for, one row a grant.

use sea_orm::entity::prelude::*;

/// A role, and where it holds.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "token_grants")]
pub struct Model {
    /// In the order in which they were given.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Whose.
    pub token_id: String,
    /// Where it holds; absent: everywhere.
    pub project: Option<String>,
    /// The role.
    pub role: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    #[sea_orm(
        belongs_to = "super::api_token::Entity",
        from = "Column::TokenId",
        to = "super::api_token::Column::Id"
    )]
    Token,
}

impl Related<super::api_token::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Token.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
