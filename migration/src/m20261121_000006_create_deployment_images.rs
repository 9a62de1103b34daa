//! `deployment_images`: the image that a deployment really ran, so that a rollback runs that one
//! and not what its tag means today.

use sea_orm_migration::prelude::*;

/// Creates the table, or drops it.
#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("deployment_images")
                    .col(ColumnDef::new("deployment_id").big_integer().not_null().primary_key())
                    .col(ColumnDef::new("image_id").text().not_null())
                    .col(ColumnDef::new("digest").text())
                    .foreign_key(
                        ForeignKey::create()
                            .name("deployment_images_deployment_id")
                            .from("deployment_images", "deployment_id")
                            .to("deployments", "id"),
                    )
                    .take(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("deployment_images").take()).await
    }
}
