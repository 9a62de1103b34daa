//! Files that are moved, removed or replaced while they are open: nothing is written into what has no
//! name any more, and it goes on by itself when they are back.

use crate::tests::fixtures::{Place, path};
use crate::tests::story::{Story, assert_sound};
use dockswap_core::ports::Store;
use dockswap_proof::{Proof, long};
use std::fs;
use std::path::{Path, PathBuf};

/// What somebody does to the files.
#[derive(Clone, Copy, Debug)]
enum Deed {
    MovesTheDirectory,
    MovesTheDatabase,
    MovesTheLog,
    ReplacesTheDatabase,
    PutsADirectoryThere,
}

const DEEDS: [Deed; 5] = [
    Deed::MovesTheDirectory,
    Deed::MovesTheDatabase,
    Deed::MovesTheLog,
    Deed::ReplacesTheDatabase,
    Deed::PutsADirectoryThere,
];

fn with(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

impl Deed {
    fn victim(self, file: &Path) -> PathBuf {
        match self {
            Self::MovesTheDirectory => file.parent().unwrap().to_owned(),
            Self::MovesTheLog => with(file, "-wal"),
            Self::MovesTheDatabase | Self::ReplacesTheDatabase | Self::PutsADirectoryThere => file.to_owned(),
        }
    }

    fn is_done(self, file: &Path) {
        let victim = self.victim(file);
        let away = with(&victim, ".away");
        fs::rename(&victim, &away).unwrap();
        match self {
            Self::ReplacesTheDatabase => fs::copy(&away, &victim).map(drop).unwrap(),
            Self::PutsADirectoryThere => fs::create_dir(&victim).unwrap(),
            Self::MovesTheDirectory | Self::MovesTheDatabase | Self::MovesTheLog => {}
        }
    }

    fn is_undone(self, file: &Path) {
        let victim = self.victim(file);
        if victim.is_dir() {
            fs::remove_dir(&victim).unwrap();
        }
        fs::rename(with(&victim, ".away"), &victim).unwrap();
    }
}

#[tokio::test]
async fn db_ro_what_is_gone_is_named_and_nothing_is_written_until_it_is_back() {
    let place = Place::sqlite();
    let file = path(&place);
    let database = place.open().await;
    let mut story = Story::of(&database, "web", 0).await;
    story.advance(&database).await;
    let mut proof = Proof::of("db.ro", "directory, database or log moved or replaced while open, SQLite");
    for trial in 0..if long() { 100 } else { 20 } {
        let deed = DEEDS[trial % DEEDS.len()];
        deed.is_done(&file);
        let transition = story.next();
        let refused = database.commit(&transition).await.expect_err("it goes nowhere");
        let told = format!("{:?}", std::error::Error::source(&refused));
        let unready = database.check_writable().await;
        deed.is_undone(&file);
        let later = database.commit(&transition).await;
        story.machine = transition.committed();
        let named = told.contains(&file.display().to_string());
        match (named, unready, later) {
            (true, Err(_), Ok(())) => proof.kept(),
            (_, unready, later) => proof.broken(format!("{deed:?}: {told}, {unready:?}, {later:?}")),
        }
    }
    assert_sound(database.history()).await;
    database.close().await;
    assert_sound(place.open().await.history()).await;
    proof.conclude();
}
