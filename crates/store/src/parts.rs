//! The parts of a SQLite database's schema: whether everything is still there that the migrations make, the triggers that
//! keep records from being changed among them. What others have added is theirs.

use crate::error::SchemaError;
use crate::{schema, sqlite};
use dockswap_core::records::in_words;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement};
use std::collections::BTreeMap;
use tokio::sync::OnceCell;

/// By kind and name, the text of each.
type Parts = BTreeMap<(String, String), String>;

/// As the migrations make them.
static EXPECTED: OnceCell<Parts> = OnceCell::const_new();

/// What is missing from the schema of `db`, which is of this version, or is not what it was; a line each.
pub(crate) async fn findings(db: &DatabaseConnection) -> Result<Vec<String>, DbErr> {
    let expected = EXPECTED.get_or_try_init(fresh).await?;
    let found = read(db).await?;
    let mut findings = Vec::new();
    for (part, text) in expected {
        let (kind, name) = part;
        match found.get(part) {
            None => findings.push(format!("the schema lacks the {kind} {name}")),
            // Tables and indexes may have been written down otherwise by an older version.
            Some(other) if kind == "trigger" && other != text => {
                findings.push(format!("the {kind} {name} of the schema is not what it was"));
            }
            Some(_) => {}
        }
    }
    Ok(findings)
}

async fn fresh() -> Result<Parts, DbErr> {
    let db = sqlite::in_memory().await.map_err(|error| DbErr::Custom(error.to_string()))?;
    let made = schema::up(&db).await;
    made.map_err(|error: SchemaError| DbErr::Custom(in_words(&error)))?;
    let parts = read(&db).await?;
    db.close().await?;
    Ok(parts)
}

async fn read(db: &DatabaseConnection) -> Result<Parts, DbErr> {
    let sql = "SELECT type, name, coalesce(sql, '') FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'";
    let rows = db.query_all_raw(Statement::from_string(DbBackend::Sqlite, sql)).await?;
    let part = |row: sea_orm::QueryResult| {
        Ok(((row.try_get_by_index(0)?, row.try_get_by_index(1)?), row.try_get_by_index(2)?))
    };
    rows.into_iter().map(part).collect()
}
