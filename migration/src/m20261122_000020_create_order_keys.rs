//! `order_keys`: the keys under which clients sent orders (`Idempotency-Key`), and what these were
//! answered, so that an order that is sent twice is carried out once.

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
                    .table("order_keys")
                    .col(ColumnDef::new("actor").text().not_null())
                    .col(ColumnDef::new("key_sha").text().not_null())
                    .col(ColumnDef::new("fingerprint").text().not_null())
                    .col(ColumnDef::new("after_event").big_integer().not_null())
                    .col(time("created_at").not_null())
                    .col(ColumnDef::new("answer").text())
                    .primary_key(Index::create().col("actor").col("key_sha"))
                    .take(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("order_keys_by_actor_and_time")
                    .table("order_keys")
                    .col("actor")
                    .col("created_at")
                    .take(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("order_keys").take()).await
    }
}
