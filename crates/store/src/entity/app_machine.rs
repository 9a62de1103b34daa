//! `app_machines`: the state from which the controller goes on, and the version that every commit
//! is compared with.

use sea_orm::entity::prelude::*;

/// The machine of one app.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "app_machines")]
pub struct Model {
    /// The app.
    #[sea_orm(primary_key, auto_increment = false)]
    pub app_name: String,
    /// How many transitions it has made.
    pub version: i64,
    /// The machine as JSON.
    #[sea_orm(column_type = "Text")]
    pub state: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
