//! `app_configs`: every version of every app file, byte for byte.

use crate::stamp::Stamp;
use sea_orm::entity::prelude::*;

/// One stored version of an app file.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "app_configs")]
pub struct Model {
    /// Given by the database, ascending.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Whose file.
    pub app_name: String,
    /// The file's bytes, whatever they are.
    pub config_yaml: Vec<u8>,
    /// Their SHA-256 in lower-case hex.
    pub config_sha: String,
    /// When they were read.
    pub created_at: Stamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    #[sea_orm(has_many = "super::deployment::Entity")]
    Deployment,
}

impl Related<super::deployment::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Deployment.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
