//! The schema of dockswap's database, up and down, one file per migration.
//!
//! Portable over SQLite and PostgreSQL. It must not know what the rows mean: that is `core`'s
//! business, nor how and when they are applied: that is `store`'s, which takes the lock first.
//!
//! Two rules for every migration: it runs inside a transaction, and once released it is never
//! edited; a change is a new file at the end of the list.

mod m20261121_000001_create_app_configs;
mod m20261121_000002_create_deployments;
mod m20261121_000003_create_deployment_events;
mod m20261121_000004_create_current_state;
mod m20261121_000005_create_app_machines;
mod m20261121_000006_create_deployment_images;
mod m20261121_000007_create_controller_lease;
mod m20261122_000008_create_api_tokens;
mod m20261122_000009_create_audit_log;
mod m20261122_000010_create_app_projects;
mod m20261122_000011_give_up_images;
mod m20261122_000012_create_app_checkpoints;
mod m20261122_000020_create_order_keys;

use sea_orm_migration::prelude::{ColumnDef, Expr, ExprTrait, Func};
pub use sea_orm_migration::{MigrationTrait, MigratorTrait, SchemaManager, seaql_migrations};

/// Every migration, oldest first.
#[derive(Clone, Copy, Debug)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261121_000001_create_app_configs::Migration),
            Box::new(m20261121_000002_create_deployments::Migration),
            Box::new(m20261121_000003_create_deployment_events::Migration),
            Box::new(m20261121_000004_create_current_state::Migration),
            Box::new(m20261121_000005_create_app_machines::Migration),
            Box::new(m20261121_000006_create_deployment_images::Migration),
            Box::new(m20261121_000007_create_controller_lease::Migration),
            Box::new(m20261122_000008_create_api_tokens::Migration),
            Box::new(m20261122_000020_create_order_keys::Migration),
            Box::new(m20261122_000009_create_audit_log::Migration),
            Box::new(m20261122_000010_create_app_projects::Migration),
            Box::new(m20261122_000011_give_up_images::Migration),
            Box::new(m20261122_000012_create_app_checkpoints::Migration),
        ]
    }
}

/// The length of a time as it is written: `2026-11-21T07:38:26.123456Z`.
const TIME_CHARS: i32 = 27;

/// A point in time: UTC as text of a fixed width, so that the order of the texts is the order of
/// the times on every database, and `sqlite3` shows what a person can read.
fn time(name: &'static str) -> ColumnDef {
    ColumnDef::new(name)
        .text()
        .check(Expr::expr(Func::cust("length").arg(Expr::col(name))).eq(TIME_CHARS))
        .take()
}
