//! `deployment_events`: the record of every step; rows are only ever added.

use crate::stamp::Stamp;
use sea_orm::entity::prelude::*;

/// One step of a deployment, or one refused event.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "deployment_events")]
pub struct Model {
    /// Given by the database, ascending: the order in which things were committed.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// The deployment that it belongs to.
    pub deployment_id: i64,
    /// The app.
    pub app_name: String,
    /// The event's name.
    pub event_type: String,
    /// From, to, color and facts: enough to replay.
    pub payload: Json,
    /// What went wrong, when something did.
    pub error: Option<String>,
    /// When.
    pub created_at: Stamp,
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
