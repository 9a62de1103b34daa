//! `current_state`: one row an app, naming what traffic really uses.

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
                    .table("current_state")
                    .col(ColumnDef::new("app_name").text().not_null().primary_key())
                    .col(ColumnDef::new("deployment_id").big_integer().not_null())
                    .col(
                        ColumnDef::new("active_color")
                            .text()
                            .check(Expr::col("active_color").is_in(["blue", "green"])),
                    )
                    .col(ColumnDef::new("image").text())
                    .col(ColumnDef::new("status").text().not_null())
                    .col(time("updated_at").not_null())
                    .foreign_key(
                        ForeignKey::create()
                            .name("current_state_deployment_id")
                            .from("current_state", "deployment_id")
                            .to("deployments", "id"),
                    )
                    .take(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("current_state").take()).await
    }
}
