//! `deployment_events`: the record of every step. Rows are added, never changed or removed: the
//! database itself refuses.

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
                    .table("deployment_events")
                    .col(ColumnDef::new("id").big_integer().not_null().auto_increment().primary_key())
                    .col(ColumnDef::new("deployment_id").big_integer().not_null())
                    .col(ColumnDef::new("app_name").text().not_null())
                    .col(ColumnDef::new("event_type").text().not_null())
                    .col(ColumnDef::new("payload").json().not_null())
                    .col(ColumnDef::new("error").text())
                    .col(time("created_at").not_null())
                    .foreign_key(
                        ForeignKey::create()
                            .name("deployment_events_deployment_id")
                            .from("deployment_events", "deployment_id")
                            .to("deployments", "id"),
                    )
                    .take(),
            )
            .await?;
        for (name, columns) in [
            ("deployment_events_by_deployment_and_time", ["deployment_id", "created_at", "id"].as_slice()),
            ("deployment_events_by_deployment", &["deployment_id", "id"]),
            ("deployment_events_by_app", &["app_name", "id"]),
        ] {
            let mut index = Index::create().name(name).table("deployment_events").take();
            for column in columns {
                index.col(*column);
            }
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
        manager.drop_table(Table::drop().table("deployment_events").take()).await?;
        if manager.get_database_backend() == DbBackend::Postgres {
            manager
                .get_connection()
                .execute_unprepared("DROP FUNCTION deployment_events_append_only()")
                .await?;
        }
        Ok(())
    }
}

/// `INSERT OR REPLACE` removes the row it replaces without firing a delete trigger, hence the one
/// on insert. (A row whose id SQLite is to choose has -1 for it there.)
const SQLITE_APPEND_ONLY: &str = "
CREATE TRIGGER deployment_events_no_update BEFORE UPDATE ON deployment_events
BEGIN SELECT RAISE(ABORT, 'deployment_events is append-only'); END;
CREATE TRIGGER deployment_events_no_delete BEFORE DELETE ON deployment_events
BEGIN SELECT RAISE(ABORT, 'deployment_events is append-only'); END;
CREATE TRIGGER deployment_events_no_replace BEFORE INSERT ON deployment_events
WHEN EXISTS (SELECT 1 FROM deployment_events WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'deployment_events is append-only'); END;
";

const POSTGRES_APPEND_ONLY: &str = "
CREATE FUNCTION deployment_events_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'deployment_events is append-only'; END $$;
CREATE TRIGGER deployment_events_no_change BEFORE UPDATE OR DELETE ON deployment_events
FOR EACH ROW EXECUTE FUNCTION deployment_events_append_only();
CREATE TRIGGER deployment_events_no_truncate BEFORE TRUNCATE ON deployment_events
FOR EACH STATEMENT EXECUTE FUNCTION deployment_events_append_only();
";
