//! The records, read from the file itself: an independent witness. Nothing is ever written.

use crate::app_file::version_in;
use crate::time::{Micros, micros};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// One row, by column.
pub type Row = BTreeMap<String, Value>;

/// A `SQLite` database of dockswap's.
#[derive(Clone, Debug)]
pub struct Database {
    path: PathBuf,
}

impl Database {
    /// The database at `path`, which need not be there yet.
    #[must_use]
    pub const fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    #[must_use]
    pub const fn path(&self) -> &PathBuf {
        &self.path
    }

    /// Every row that `sql` finds. Before the database is there: none.
    #[must_use]
    pub fn rows(&self, sql: &str, parameters: &[&str]) -> Vec<Row> {
        if !self.path.exists() {
            return Vec::new();
        }
        self.ask(sql, parameters).unwrap_or_else(|error| {
            assert!(error.to_string().contains("no such table"), "{sql}: {error}");
            Vec::new()
        })
    }

    fn ask(&self, sql: &str, parameters: &[&str]) -> rusqlite::Result<Vec<Row>> {
        let connection = Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        let mut statement = connection.prepare(sql)?;
        let columns: Vec<String> = statement.column_names().into_iter().map(ToOwned::to_owned).collect();
        let parameters = rusqlite::params_from_iter(parameters);
        let rows = statement.query_map(parameters, |row| {
            let cells = columns.iter().enumerate();
            cells.map(|(at, column)| Ok((column.clone(), value(row.get_ref(at)?)))).collect()
        })?;
        rows.collect()
    }

    /// The first cell of the first row, as text.
    #[must_use]
    pub fn text(&self, sql: &str, parameters: &[&str]) -> Option<String> {
        let row = self.rows(sql, parameters).into_iter().next()?;
        match row.into_values().next()? {
            Value::Null => None,
            Value::String(text) => Some(text),
            other => Some(other.to_string()),
        }
    }

    /// The first cell of the first row, as a number; 0 when there is none.
    #[must_use]
    pub fn number(&self, sql: &str, parameters: &[&str]) -> i64 {
        self.text(sql, parameters).and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    /// `current_state.status` of `app`.
    #[must_use]
    pub fn state(&self, app: &str) -> Option<String> {
        self.text("SELECT status FROM current_state WHERE app_name = ?1", &[app])
    }

    /// The newest deployment of `app`: id and status.
    #[must_use]
    pub fn newest(&self, app: &str) -> Option<(i64, String)> {
        let sql = "SELECT id, status FROM deployments WHERE app_name = ?1 ORDER BY id DESC LIMIT 1";
        let row = self.rows(sql, &[app]).into_iter().next()?;
        Some((row["id"].as_i64()?, row["status"].as_str()?.to_owned()))
    }

    /// How the newest deployment of the config `sha` of `app` ended: its id and status, once it has.
    #[must_use]
    pub fn ended(&self, app: &str, sha: &str) -> Option<(i64, String)> {
        let sql = "SELECT d.id, d.status FROM deployments d JOIN app_configs c ON c.id = d.config_id
                   WHERE d.app_name = ?1 AND c.config_sha = ?2 AND d.status <> 'in_progress'
                   ORDER BY d.id DESC LIMIT 1";
        let row = self.rows(sql, &[app, sha]).into_iter().next()?;
        Some((row["id"].as_i64()?, row["status"].as_str()?.to_owned()))
    }

    /// When the proxy's confirmation of each switch of `app` was committed, with the version of the
    /// app that serves from then on, as its config names it; in order.
    #[must_use]
    pub fn switches(&self, app: &str) -> Vec<(Micros, String)> {
        let sql = "SELECT e.created_at AS at, CAST(c.config_yaml AS TEXT) AS yaml
                   FROM deployment_events e
                   JOIN deployments d ON d.id = e.deployment_id JOIN app_configs c ON c.id = d.config_id
                   WHERE e.app_name = ?1 AND e.event_type = 'traffic_switched' ORDER BY e.id";
        let rows = self.rows(sql, &[app]);
        let text = |row: &Row, column: &str| row[column].as_str().unwrap_or_default().to_owned();
        rows.iter().map(|row| (micros(&text(row, "at")), version_in(&text(row, "yaml")))).collect()
    }
}

impl Database {
    /// When each switch of `app` could first take effect: the event before its confirmation.
    #[must_use]
    pub fn starts_of_switches(&self, app: &str) -> Vec<Micros> {
        let sql = "SELECT (SELECT b.created_at FROM deployment_events b
                           WHERE b.app_name = e.app_name AND b.id < e.id ORDER BY b.id DESC LIMIT 1) AS at
                   FROM deployment_events e
                   WHERE e.app_name = ?1 AND e.event_type = 'traffic_switched' ORDER BY e.id";
        let rows = self.rows(sql, &[app]);
        rows.iter().filter_map(|row| row["at"].as_str()).map(micros).collect()
    }
}

fn value(cell: ValueRef<'_>) -> Value {
    match cell {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned().into(),
    }
}
