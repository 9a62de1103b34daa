//! `api_tokens` and `token_grants`: who may ask over the API, for what. Of a secret only its hash is kept.

use crate::time;
use sea_orm_migration::prelude::*;

/// Creates both tables, or drops them.
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
                    .table("api_tokens")
                    .col(ColumnDef::new("id").text().not_null().primary_key())
                    .col(ColumnDef::new("name").text().not_null())
                    .col(
                        ColumnDef::new("secret_sha")
                            .text()
                            .not_null()
                            .check(Expr::expr(Func::cust("length").arg(Expr::col("secret_sha"))).eq(64)),
                    )
                    .col(ColumnDef::new("created_by").text().not_null())
                    .col(time("created_at").not_null())
                    .col(time("expires_at"))
                    .col(time("last_used_at"))
                    .col(ColumnDef::new("revoked_by").text())
                    .col(time("revoked_at"))
                    .take(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("token_grants")
                    .col(ColumnDef::new("id").big_integer().not_null().auto_increment().primary_key())
                    .col(ColumnDef::new("token_id").text().not_null())
                    .col(ColumnDef::new("project").text())
                    .col(ColumnDef::new("role").text().not_null().check(Expr::col("role").is_in([
                        "viewer",
                        "developer",
                        "admin",
                        "owner",
                    ])))
                    .foreign_key(
                        ForeignKey::create()
                            .name("token_grants_token_id")
                            .from("token_grants", "token_id")
                            .to("api_tokens", "id"),
                    )
                    .take(),
            )
            .await?;
        for (name, column) in [("token_grants_by_token", "token_id"), ("token_grants_by_project", "project")]
        {
            let index = Index::create().name(name).table("token_grants").col(column).take();
            manager.create_index(index).await?;
        }
        // A name is free again once its token was revoked.
        let names = "CREATE UNIQUE INDEX api_tokens_by_name ON api_tokens (name) WHERE revoked_at IS NULL";
        manager.get_connection().execute_unprepared(names).await?;
        let newest = "CREATE INDEX api_tokens_by_age ON api_tokens (created_at, id)";
        manager.get_connection().execute_unprepared(newest).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("token_grants").take()).await?;
        manager.drop_table(Table::drop().table("api_tokens").take()).await
    }
}
