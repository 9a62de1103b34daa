//! `app_checkpoints`: the state that an app's oldest events had led to when they were removed. Events are
//! still append-only; what a checkpoint stands for may be removed, and nothing else.

use crate::time;
use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{DbBackend, Statement};

/// Creates the table and lets removals pass below its marks, or takes both back.
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
                    .table("app_checkpoints")
                    .col(ColumnDef::new("app_name").text().not_null().primary_key())
                    .col(ColumnDef::new("upto").big_integer().not_null())
                    .col(ColumnDef::new("events").big_integer().not_null())
                    .col(ColumnDef::new("state").text().not_null())
                    .col(ColumnDef::new("written").text().not_null())
                    .col(ColumnDef::new("sha").text().not_null())
                    .col(time("updated_at").not_null())
                    .take(),
            )
            .await?;
        let triggers = match manager.get_database_backend() {
            DbBackend::Postgres => POSTGRES_UP,
            _ => SQLITE_UP,
        };
        manager.get_connection().execute_unprepared(triggers).await?;
        Ok(())
    }

    /// Refused once events were removed: without its checkpoint no replay comes to the state on record.
    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let backend = manager.get_database_backend();
        let count = Statement::from_string(backend, "SELECT count(*) FROM app_checkpoints");
        let row = manager.get_connection().query_one_raw(count).await?;
        let apps: i64 = row.map_or(Ok(0), |row| row.try_get_by_index(0))?;
        if apps > 0 {
            return Err(DbErr::Custom(format!(
                "old events of {apps} apps were removed, and an older dockswap would find the records of these apps \
                 unsound without their checkpoints: restore a backup from before instead"
            )));
        }
        let triggers = match backend {
            DbBackend::Postgres => POSTGRES_DOWN,
            _ => SQLITE_DOWN,
        };
        manager.get_connection().execute_unprepared(triggers).await?;
        manager.drop_table(Table::drop().table("app_checkpoints").take()).await
    }
}

const SQLITE_UP: &str = "
DROP TRIGGER deployment_events_no_delete;
CREATE TRIGGER deployment_events_no_delete BEFORE DELETE ON deployment_events
WHEN NOT EXISTS (SELECT 1 FROM app_checkpoints WHERE app_name = OLD.app_name AND upto >= OLD.id)
BEGIN SELECT RAISE(ABORT, 'deployment_events is append-only'); END;
";

const SQLITE_DOWN: &str = "
DROP TRIGGER deployment_events_no_delete;
CREATE TRIGGER deployment_events_no_delete BEFORE DELETE ON deployment_events
BEGIN SELECT RAISE(ABORT, 'deployment_events is append-only'); END;
";

const POSTGRES_UP: &str = "
CREATE OR REPLACE FUNCTION deployment_events_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN
    IF TG_OP = 'DELETE' AND EXISTS (
        SELECT 1 FROM app_checkpoints WHERE app_name = OLD.app_name AND upto >= OLD.id
    ) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'deployment_events is append-only';
END $$;
";

const POSTGRES_DOWN: &str = "
CREATE OR REPLACE FUNCTION deployment_events_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'deployment_events is append-only'; END $$;
";
