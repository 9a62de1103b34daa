//! `current_state`: one row an app, naming what traffic really uses.

use crate::stamp::Stamp;
use sea_orm::entity::prelude::*;

/// What traffic of one app really uses.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "current_state")]
pub struct Model {
    /// The app.
    #[sea_orm(primary_key, auto_increment = false)]
    pub app_name: String,
    /// The deployment in flight, else the one that serves, else the last one.
    pub deployment_id: i64,
    /// The color that the proxy has confirmed: `blue` or `green`.
    pub active_color: Option<String>,
    /// The image that serves, as written.
    pub image: Option<String>,
    /// The machine's state.
    pub status: String,
    /// When it last changed.
    pub updated_at: Stamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    #[sea_orm(
        belongs_to = "super::deployment::Entity",
        from = "Column::DeploymentId",
        to = "super::deployment::Column::Id"
    )]
    Deployment,
}

impl Related<super::deployment::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Deployment.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
