//! `audit_log`: who asked for what, and what became of it. Rows are added, never changed or removed: the database
//! itself refuses. One row a request, whoever writes it first.

use crate::time;
use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

/// Creates the table with its triggers, or drops both.
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
                    .table("audit_log")
                    .col(ColumnDef::new("id").big_integer().not_null().auto_increment().primary_key())
                    .col(time("at").not_null())
                    .col(ColumnDef::new("actor").text().not_null())
                    .col(ColumnDef::new("token_id").text())
                    .col(ColumnDef::new("address").text())
                    .col(ColumnDef::new("verb").text().not_null())
                    .col(ColumnDef::new("target").text().not_null())
                    .col(
                        ColumnDef::new("result")
                            .text()
                            .not_null()
                            .check(Expr::col("result").is_in(["done", "refused", "failed"])),
                    )
                    .col(ColumnDef::new("deployment_id").big_integer())
                    .col(ColumnDef::new("request_id").text().not_null())
                    .col(ColumnDef::new("detail").json().not_null())
                    .take(),
            )
            .await?;
        let request =
            Index::create().name("audit_log_by_request").table("audit_log").col("request_id").unique().take();
        manager.create_index(request).await?;
        for (name, column) in [("audit_log_by_target", "target"), ("audit_log_by_actor", "actor")] {
            let index = Index::create().name(name).table("audit_log").col(column).col("id").take();
            manager.create_index(index).await?;
        }
        let triggers = match manager.get_database_backend() {
            DbBackend::Postgres => POSTGRES_APPEND_ONLY,
            _ => SQLITE_APPEND_ONLY,
        };
        manager.get_connection().execute_unprepared(triggers).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("audit_log").take()).await?;
        if manager.get_database_backend() == DbBackend::Postgres {
            manager.get_connection().execute_unprepared("DROP FUNCTION audit_log_append_only()").await?;
        }
        Ok(())
    }
}

/// `INSERT OR REPLACE` removes the row it replaces without firing a delete trigger, hence the one on insert: for the id
/// and for the request alike.
const SQLITE_APPEND_ONLY: &str = "
CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log
BEGIN SELECT RAISE(ABORT, 'audit_log is append-only'); END;
CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log
BEGIN SELECT RAISE(ABORT, 'audit_log is append-only'); END;
CREATE TRIGGER audit_log_no_replace BEFORE INSERT ON audit_log
WHEN EXISTS (SELECT 1 FROM audit_log WHERE id = NEW.id OR request_id = NEW.request_id)
BEGIN SELECT RAISE(ABORT, 'audit_log is append-only'); END;
";

const POSTGRES_APPEND_ONLY: &str = "
CREATE FUNCTION audit_log_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'audit_log is append-only'; END $$;
CREATE TRIGGER audit_log_no_change BEFORE UPDATE OR DELETE ON audit_log
FOR EACH ROW EXECUTE FUNCTION audit_log_append_only();
CREATE TRIGGER audit_log_no_truncate BEFORE TRUNCATE ON audit_log
FOR EACH STATEMENT EXECUTE FUNCTION audit_log_append_only();
";
