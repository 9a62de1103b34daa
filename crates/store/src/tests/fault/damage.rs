//! Damaged files: what decisions rest upon is as it was, or the database is refused, with its name and
//! what was found.

use crate::tests::fixtures::{Place, holder, path};
use crate::tests::story::{Chance, Facts, assert_sound, told};
use crate::{ConnectError, Database, connect_checked};
use dockswap_proof::{Proof, long};
use std::path::Path;

const PAGE: usize = 4096;

/// A whole database as bytes, and what it says.
async fn original() -> (Vec<u8>, Facts) {
    let place = Place::sqlite();
    told(&place.url, 3, 30).await;
    let bytes = std::fs::read(path(&place)).unwrap();
    let database = place.open().await;
    assert_sound(database.history()).await;
    (bytes, Facts::of(database.history()).await)
}

/// Opens what `bytes` are, as a controller does.
async fn open(bytes: &[u8]) -> (tempfile::TempDir, Result<Database, ConnectError>) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dockswap.db");
    std::fs::write(&file, bytes).unwrap();
    let opened = connect_checked(&format!("sqlite://{}", file.display()), &holder()).await;
    (directory, opened)
}

/// Counts one trial: `true` when the damage was found.
async fn judge(proof: &mut Proof, what: &str, bytes: &[u8], facts: &Facts) -> bool {
    let (directory, opened) = open(bytes).await;
    match opened {
        Ok(database) => {
            if Facts::of(database.history()).await == *facts {
                proof.kept();
            } else {
                proof.broken(format!(
                    "{what}: opened, and says something else: {}",
                    Facts::of(database.history()).await.versions().len()
                ));
            }
            database.close().await;
            false
        }
        Err(error) => {
            let told = error.to_string();
            if told.contains(&directory.path().display().to_string()) || told.contains("newer dockswap") {
                proof.kept();
            } else {
                proof.broken(format!("{what}: refused without a name: {told}"));
            }
            true
        }
    }
}

#[tokio::test]
async fn db_corrupt_a_flipped_byte_is_found_or_harms_nothing() {
    let (bytes, facts) = original().await;
    let mut proof = Proof::of("db.corrupt", "one byte of a random page changed, SQLite");
    let mut found = 0;
    let seeds = if long() { 5_000 } else { 500 };
    for seed in 0..seeds {
        let mut chance = Chance::of(seed);
        let mut damaged = bytes.clone();
        let place = chance.below(bytes.len() / PAGE) * PAGE + chance.below(PAGE);
        damaged[place] ^= u8::try_from(1 + chance.below(255)).unwrap();
        if judge(&mut proof, &format!("seed {seed}, byte {place}"), &damaged, &facts).await {
            found += 1;
        }
    }
    println!("{found} of {seeds} were found, the others lay in what nothing rests upon");
    assert!(found > seeds / 4, "only {found} of {seeds} were found");
    proof.conclude();
}

/// A type that is no text ends the driver's thread: nobody waits for its answer.
#[tokio::test]
async fn db_corrupt_a_type_that_is_no_text_is_found_and_named() {
    let (bytes, facts) = original().await;
    let mut proof = Proof::of("db.corrupt", "a column's type made something else than text, SQLite");
    let types: Vec<usize> =
        bytes.windows(8).enumerate().filter(|(_, at)| *at == b" integer").map(|(at, _)| at + 1).collect();
    assert!(types.len() > 5, "{}", types.len());
    let mut found = 0;
    for place in types {
        let mut damaged = bytes.clone();
        damaged[place] = 0xff;
        if judge(&mut proof, &format!("type at {place}"), &damaged, &facts).await {
            found += 1;
        }
    }
    // What an earlier schema left behind in the file harms nothing.
    assert!(found > 5, "only {found} were found");
    proof.conclude();
}

#[tokio::test]
async fn db_corrupt_a_page_of_something_else_is_found() {
    let (bytes, facts) = original().await;
    let mut proof = Proof::of("db.corrupt", "a page zeroed, doubled, or full of noise, SQLite");
    for page in 0..bytes.len() / PAGE {
        let span = page * PAGE..(page + 1) * PAGE;
        let other = (page + 1) % (bytes.len() / PAGE) * PAGE;
        let mut chance = Chance::of(u64::try_from(page).unwrap());
        let noise: Vec<u8> = (0..PAGE).map(|_| u8::try_from(chance.below(256)).unwrap()).collect();
        for (what, content) in
            [("zeroed", &[0; PAGE][..]), ("doubled", &bytes[other..other + PAGE]), ("noise", &noise)]
        {
            let mut damaged = bytes.clone();
            damaged[span.clone()].copy_from_slice(content);
            judge(&mut proof, &format!("page {page} {what}"), &damaged, &facts).await;
        }
    }
    proof.conclude();
}

#[tokio::test]
async fn db_corrupt_a_header_or_an_end_that_is_missing_is_found() {
    let (bytes, facts) = original().await;
    let mut proof = Proof::of("db.corrupt", "header zeroed, file cut short, another file, SQLite");
    let mut headless = bytes.clone();
    headless[..100].fill(0);
    assert!(judge(&mut proof, "header zeroed", &headless, &facts).await);
    assert!(judge(&mut proof, "text", &b"not a database ".repeat(400), &facts).await);
    let mut chance = Chance::of(1);
    for _ in 0..60 {
        let end = 1 + chance.below(bytes.len() - 1);
        assert!(judge(&mut proof, &format!("cut at {end}"), &bytes[..end], &facts).await, "cut at {end}");
    }
    proof.conclude();
}

#[tokio::test]
async fn db_corrupt_what_is_no_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dockswap.db");
    std::fs::create_dir(&file).unwrap();
    let refused = connect_checked(&format!("sqlite://{}", file.display()), &holder()).await.unwrap_err();
    let ConnectError::File { path, source } = &refused else { panic!("{refused:?}") };
    assert_eq!(path.as_path(), file.as_path() as &Path);
    assert!(source.to_string().contains("directory"), "{source}");
}
