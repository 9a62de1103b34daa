//! The last table, on disk: what the proxy serves at start before any controller is up.

use crate::kept::KeptFile;
use dockswap_core::routes::RouteTable;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

/// The form that this version writes, and the only one that it reads.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Written<'a> {
    format: u32,
    table: Cow<'a, RouteTable>,
}

/// The file that holds the last table.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    file: KeptFile,
}

impl Snapshot {
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self { file: KeptFile::new(path) }
    }

    /// The last table; an empty one when there is none. A file that cannot be understood is renamed
    /// to `<name>.broken-<seconds>`, logged, and taken for none.
    ///
    /// # Errors
    /// When the file is there and cannot be read: serving nothing instead would be worse than not
    /// starting.
    pub(crate) fn load(&self) -> io::Result<RouteTable> {
        let Some(bytes) = self.file.read()? else { return Ok(RouteTable::default()) };
        match serde_json::from_slice::<Written<'_>>(&bytes) {
            Ok(written) if written.format == FORMAT => Ok(written.table.into_owned()),
            Ok(written) => self.set_aside(&format!("it is of format {}, not {FORMAT}", written.format)),
            Err(error) => self.set_aside(&error.to_string()),
        }
    }

    /// Writes `table`, as [`KeptFile::write`] does.
    ///
    /// # Errors
    /// When the disk fails or is full; the file before stays.
    pub(crate) fn save(&self, table: &RouteTable) -> io::Result<()> {
        let text = serde_json::to_vec(&Written { format: FORMAT, table: Cow::Borrowed(table) })?;
        self.file.write(&text)
    }

    fn set_aside(&self, why: &str) -> io::Result<RouteTable> {
        let aside = self.file.set_aside()?;
        tracing::error!(
            kept = %aside.display(), why,
            "the saved route table cannot be understood; starting without routes until the controller sends them"
        );
        Ok(RouteTable::default())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says so by failing")]

    use super::*;
    use std::fs;

    #[test]
    fn what_was_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let snapshot = Snapshot::new(dir.path().join("routes.json"));
        assert_eq!(snapshot.load().unwrap(), RouteTable::default());
        for revision in [7, 8] {
            let table = RouteTable { revision, apps: Vec::new() };
            snapshot.save(&table).unwrap();
            assert_eq!(snapshot.load().unwrap(), table);
        }
    }

    #[test]
    fn a_broken_file_is_kept_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("routes.json");
        for broken in ["", "{", "[]", r#"{"format":2,"table":{"revision":1,"apps":[]}}"#] {
            fs::write(&path, broken).unwrap();
            assert_eq!(Snapshot::new(path.clone()).load().unwrap(), RouteTable::default());
            let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert_eq!(left.len(), 1, "{left:?}");
            assert!(left[0].to_str().unwrap().contains("routes.json.broken-"), "{left:?}");
            assert_eq!(fs::read_to_string(&left[0]).unwrap(), broken);
            fs::remove_file(&left[0]).unwrap();
        }
    }

    #[test]
    fn a_crash_while_writing_leaves_the_table_before() {
        let dir = tempfile::tempdir().unwrap();
        let snapshot = Snapshot::new(dir.path().join("routes.json"));
        let table = RouteTable { revision: 1, apps: Vec::new() };
        snapshot.save(&table).unwrap();
        fs::write(snapshot.file.beside(".new"), r#"{"format":1,"tab"#).unwrap();
        assert_eq!(snapshot.load().unwrap(), table);
        snapshot.save(&RouteTable { revision: 2, ..table }).unwrap();
        assert_eq!(snapshot.load().unwrap().revision, 2);
    }
}
