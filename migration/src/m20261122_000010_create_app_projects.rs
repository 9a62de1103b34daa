//! `app_projects`: to which project an app belongs, by its newest stored file. No row: that is not known.

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
                    .table("app_projects")
                    .col(ColumnDef::new("app_name").text().not_null().primary_key())
                    .col(ColumnDef::new("project").text())
                    .take(),
            )
            .await?;
        let index =
            Index::create().name("app_projects_by_project").table("app_projects").col("project").take();
        manager.create_index(index).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("app_projects").take()).await
    }
}
