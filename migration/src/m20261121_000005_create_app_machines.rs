//! `app_machines`: the state of each app's machine, from which the controller goes on after a
//! restart, and the version that every commit is compared with.

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
                    .table("app_machines")
                    .col(ColumnDef::new("app_name").text().not_null().primary_key())
                    .col(ColumnDef::new("version").big_integer().not_null())
                    .col(ColumnDef::new("state").text().not_null())
                    .take(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("app_machines").take()).await
    }
}
