//! `deployment_images`: the image that a deployment really ran.

use crate::stamp::Stamp;
use sea_orm::entity::prelude::*;

/// The image of one deployment, once it was resolved.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "deployment_images")]
pub struct Model {
    /// The deployment.
    #[sea_orm(primary_key, auto_increment = false)]
    pub deployment_id: i64,
    /// The local id, `sha256:…`.
    pub image_id: String,
    /// The registry's digest; absent for an image built on the host.
    pub digest: Option<String>,
    /// Since when the deployment cannot be gone back to.
    pub given_up_at: Option<Stamp>,
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
