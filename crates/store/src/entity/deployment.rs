//! `deployments`: one row a deployment, manual rollbacks included.

use crate::stamp::Stamp;
use sea_orm::entity::prelude::*;

/// One deployment.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "deployments")]
pub struct Model {
    /// Given by the controller: it is part of container names, which must be known before.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    /// The app.
    pub app_name: String,
    /// What it deploys.
    pub config_id: i64,
    /// The image as written.
    pub image: String,
    /// When it began.
    pub started_at: Stamp,
    /// When it ended.
    pub ended_at: Option<Stamp>,
    /// `in_progress`, `success`, `failed`, `rolled_back` or `cancelled`.
    pub status: String,
    /// The color that it targets: `blue` or `green`.
    pub active_color: String,
    /// The deployment that it undoes.
    pub rollback_of: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    #[sea_orm(
        belongs_to = "super::app_config::Entity",
        from = "Column::ConfigId",
        to = "super::app_config::Column::Id"
    )]
    AppConfig,
    #[sea_orm(belongs_to = "Entity", from = "Column::RollbackOf", to = "Column::Id")]
    RollbackOf,
    #[sea_orm(has_many = "super::deployment_event::Entity")]
    DeploymentEvent,
    #[sea_orm(has_one = "super::deployment_image::Entity")]
    DeploymentImage,
}

impl Related<super::app_config::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::AppConfig.def()
    }
}

impl Related<super::deployment_event::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::DeploymentEvent.def()
    }
}

impl Related<super::deployment_image::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::DeploymentImage.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
