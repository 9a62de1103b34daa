//! `app_configs`: every version of every app file, byte for byte.

use crate::time;
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
                    .table("app_configs")
                    .col(ColumnDef::new("id").big_integer().not_null().auto_increment().primary_key())
                    .col(ColumnDef::new("app_name").text().not_null())
                    .col(ColumnDef::new("config_yaml").blob().not_null())
                    .col(ColumnDef::new("config_sha").text().not_null())
                    .col(time("created_at").not_null())
                    .take(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("app_configs_by_app_and_time")
                    .table("app_configs")
                    .col("app_name")
                    .col("created_at")
                    .col("id")
                    .take(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("app_configs_by_app")
                    .table("app_configs")
                    .col("app_name")
                    .col("id")
                    .take(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("app_configs").take()).await
    }
}
