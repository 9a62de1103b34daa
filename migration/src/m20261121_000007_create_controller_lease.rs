//! `controller_lease`: who may write. Its one row counts the controllers that this database has
//! had; a write that carries an older count is refused.

use crate::time;
use sea_orm_migration::prelude::*;

/// Creates the table with its one row, or drops it.
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
                    .table("controller_lease")
                    .col(
                        ColumnDef::new("id")
                            .big_integer()
                            .not_null()
                            .primary_key()
                            .check(Expr::col("id").eq(1)),
                    )
                    .col(ColumnDef::new("epoch").big_integer().not_null())
                    .col(ColumnDef::new("holder").text())
                    .col(time("acquired_at"))
                    .take(),
            )
            .await?;
        let first = Query::insert()
            .into_table("controller_lease")
            .columns(["id", "epoch"])
            .values_panic([1.into(), 0.into()])
            .take();
        manager.execute(first).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("controller_lease").take()).await
    }
}
