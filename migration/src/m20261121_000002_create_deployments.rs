//! `deployments`: one row a deployment, manual rollbacks included.

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
        let statuses = ["in_progress", "success", "failed", "rolled_back", "cancelled"];
        manager
            .create_table(
                Table::create()
                    .table("deployments")
                    .col(ColumnDef::new("id").big_integer().not_null().auto_increment().primary_key())
                    .col(ColumnDef::new("app_name").text().not_null())
                    .col(ColumnDef::new("config_id").big_integer().not_null())
                    .col(ColumnDef::new("image").text().not_null())
                    .col(time("started_at").not_null())
                    .col(time("ended_at"))
                    .col(
                        ColumnDef::new("status").text().not_null().check(Expr::col("status").is_in(statuses)),
                    )
                    .col(
                        ColumnDef::new("active_color")
                            .text()
                            .not_null()
                            .check(Expr::col("active_color").is_in(["blue", "green"])),
                    )
                    .col(ColumnDef::new("rollback_of").big_integer())
                    .foreign_key(
                        ForeignKey::create()
                            .name("deployments_config_id")
                            .from("deployments", "config_id")
                            .to("app_configs", "id"),
                    )
                    .foreign_key(
                        ForeignKey::create()
                            .name("deployments_rollback_of")
                            .from("deployments", "rollback_of")
                            .to("deployments", "id"),
                    )
                    .take(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("deployments_by_app_and_time")
                    .table("deployments")
                    .col("app_name")
                    .col("started_at")
                    .col("id")
                    .take(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("deployments_by_app")
                    .table("deployments")
                    .col("app_name")
                    .col("id")
                    .take(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("deployments").take()).await
    }
}
