//! The watch on real directories, with the ways in which files really change.

use dockswap_config::{
    DirectoryState, FileContent, POLL, Snapshot, Trust, Watch, read_directory, watch, write_atomically,
};
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// What a snapshot says of each file, by name.
fn contents(snapshot: &Snapshot) -> Vec<(String, String)> {
    let text = |content: &FileContent| match content {
        FileContent::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        FileContent::Unreadable(why) => format!("unreadable: {why}"),
    };
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    snapshot.files.iter().map(|(path, content)| (name(path), text(content))).collect()
}

fn files(files: &[(&str, &str)]) -> Vec<(String, String)> {
    files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

async fn next(watch: &mut Watch) -> Snapshot {
    let next = tokio::time::timeout(Duration::from_secs(30), watch.next()).await;
    next.expect("a snapshot in time").expect("a watch that lives")
}

/// The first snapshot that shows `expected`, and every one before it.
async fn until(watch: &mut Watch, expected: &[(&str, &str)]) -> Vec<Snapshot> {
    let mut seen = Vec::new();
    loop {
        seen.push(next(watch).await);
        if seen.last().is_some_and(|snapshot| contents(snapshot) == files(expected)) {
            return seen;
        }
    }
}

/// A directory with one app, and its watch after the first snapshot.
async fn watched() -> (TempDir, Watch) {
    let dir = tempfile::tempdir().expect("temp dir");
    fs::write(dir.path().join("web.yaml"), "v: 1\n").expect("write");
    let mut watch = watch(dir.path(), POLL, Trust::Owner).expect("watch");
    assert_eq!(contents(&next(&mut watch).await), files(&[("web.yaml", "v: 1\n")]));
    (dir, watch)
}

#[tokio::test]
async fn a_missing_directory_is_made() {
    let temp = tempfile::tempdir().expect("temp dir");
    let dir = temp.path().join("config/apps");
    let mut watch = watch(&dir, POLL, Trust::Owner).expect("watch");
    let first = next(&mut watch).await;
    assert_eq!((first.directory, first.files.len()), (DirectoryState::Available, 0));
    fs::write(dir.join("web.yaml"), "v: 1\n").expect("write");
    assert_eq!(contents(&next(&mut watch).await), files(&[("web.yaml", "v: 1\n")]));
}

#[tokio::test]
async fn a_plain_save() {
    let (dir, mut watch) = watched().await;
    fs::write(dir.path().join("web.yaml"), "v: 2\n").expect("write");
    assert_eq!(contents(&next(&mut watch).await), files(&[("web.yaml", "v: 2\n")]));
}

#[tokio::test]
async fn a_save_by_rename_beside_editors_files() {
    let (dir, mut watch) = watched().await;
    for name in ["4913", ".web.yaml.swp", "#web.yaml#", "web.yaml~", ".web.yaml.tmp"] {
        fs::write(dir.path().join(name), "x: [").expect("write");
    }
    fs::rename(dir.path().join("web.yaml"), dir.path().join("web.yaml~")).expect("backup");
    fs::rename(dir.path().join(".web.yaml.tmp"), dir.path().join("web.yaml")).expect("rename");
    assert_eq!(contents(&next(&mut watch).await), files(&[("web.yaml", "x: [")]));
    write_atomically(&dir.path().join("web.yaml"), b"v: 2\n").expect("replace");
    assert_eq!(contents(&next(&mut watch).await), files(&[("web.yaml", "v: 2\n")]));
}

#[tokio::test]
async fn a_swap_of_the_directory_behind_a_link() {
    let dir = tempfile::tempdir().expect("temp dir");
    for version in ["1", "2"] {
        fs::create_dir(dir.path().join(format!("..v{version}"))).expect("dir");
        fs::write(dir.path().join(format!("..v{version}/web.yaml")), format!("v: {version}\n"))
            .expect("write");
    }
    symlink("..v1", dir.path().join("..data")).expect("link");
    symlink("..data/web.yaml", dir.path().join("web.yaml")).expect("link");
    let mut watch = watch(dir.path(), POLL, Trust::Owner).expect("watch");
    assert_eq!(contents(&next(&mut watch).await), files(&[("web.yaml", "v: 1\n")]));
    symlink("..v2", dir.path().join("..data_tmp")).expect("link");
    fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).expect("swap");
    assert_eq!(contents(&next(&mut watch).await), files(&[("web.yaml", "v: 2\n")]));
}

#[tokio::test]
async fn an_edit_of_a_file_that_is_linked_from_elsewhere() {
    let (temp, elsewhere) = (tempfile::tempdir().expect("temp dir"), tempfile::tempdir().expect("temp dir"));
    let target = elsewhere.path().join("source.yaml");
    fs::write(&target, "v: 1\n").expect("write");
    symlink(&target, temp.path().join("web.yaml")).expect("link");
    let mut watch = watch(temp.path(), POLL, Trust::Owner).expect("watch");
    assert_eq!(contents(&next(&mut watch).await), files(&[("web.yaml", "v: 1\n")]));
    fs::write(&target, "v: 2\n").expect("write");
    assert_eq!(contents(&next(&mut watch).await), files(&[("web.yaml", "v: 2\n")]));
}

#[tokio::test]
async fn a_file_that_is_written_piece_by_piece() {
    let (dir, mut watch) = watched().await;
    let path = dir.path().join("web.yaml");
    let writer = std::thread::spawn(move || {
        let mut file = fs::File::create(path).expect("create");
        for piece in ["v: 2\n", "w: 3\n", "x: 4\n", "y: 5\n"] {
            file.write_all(piece.as_bytes()).expect("write");
            // The pauses are what is tested, not a wait for something.
            std::thread::sleep(Duration::from_millis(60));
        }
    });
    let whole = [("web.yaml", "v: 2\nw: 3\nx: 4\ny: 5\n")];
    assert_eq!(contents(&next(&mut watch).await), files(&whole));
    writer.join().expect("writer");
}

#[tokio::test]
async fn many_edits_end_with_the_last_one() {
    let (dir, mut watch) = watched().await;
    for edit in 0..200 {
        fs::write(dir.path().join("web.yaml"), format!("v: {edit}\n")).expect("write");
    }
    let seen = until(&mut watch, &[("web.yaml", "v: 199\n")]).await;
    assert!(seen.iter().all(|snapshot| snapshot.files.len() == 1));
}

#[tokio::test]
async fn a_file_comes_and_goes() {
    let (dir, mut watch) = watched().await;
    fs::write(dir.path().join("api.yml"), "a: 1\n").expect("write");
    until(&mut watch, &[("api.yml", "a: 1\n"), ("web.yaml", "v: 1\n")]).await;
    fs::remove_file(dir.path().join("web.yaml")).expect("remove");
    assert_eq!(contents(&next(&mut watch).await), files(&[("api.yml", "a: 1\n")]));
}

#[tokio::test]
async fn files_that_cannot_be_used_are_there_all_the_same() {
    let (dir, mut watch) = watched().await;
    fs::remove_file(dir.path().join("web.yaml")).expect("remove");
    fs::create_dir(dir.path().join("web.yaml")).expect("dir");
    until(&mut watch, &[("web.yaml", "unreadable: it is a directory")]).await;
    fs::remove_dir(dir.path().join("web.yaml")).expect("remove");
    let file = fs::File::create(dir.path().join("web.yaml")).expect("create");
    file.set_len(100 * 1024 * 1024).expect("a big file");
    drop(file);
    let why = "unreadable: it has 104857600 bytes: at most 1048576 (1 MiB) are read";
    until(&mut watch, &[("web.yaml", why)]).await;
    fs::remove_file(dir.path().join("web.yaml")).expect("remove");
    symlink("nowhere", dir.path().join("web.yaml")).expect("link");
    until(&mut watch, &[("web.yaml", "unreadable: it is a link to a file that does not exist")]).await;
}

#[tokio::test]
async fn a_directory_that_vanishes_deletes_nothing() {
    let temp = tempfile::tempdir().expect("temp dir");
    let dir = temp.path().join("apps");
    fs::create_dir(&dir).expect("dir");
    fs::write(dir.join("web.yaml"), "v: 1\n").expect("write");
    let mut watch = watch(&dir, POLL, Trust::Owner).expect("watch");
    next(&mut watch).await;
    fs::rename(&dir, temp.path().join("away")).expect("rename");
    let gone = next(&mut watch).await;
    assert!(matches!(gone.directory, DirectoryState::Unavailable(_)), "{gone:?}");
    assert!(matches!(gone.files.get(&dir.join("web.yaml")), Some(FileContent::Unreadable(_))), "{gone:?}");
    fs::rename(temp.path().join("away"), &dir).expect("rename");
    let back = next(&mut watch).await;
    assert_eq!(back.directory, DirectoryState::Available);
    assert_eq!(contents(&back), files(&[("web.yaml", "v: 1\n")]));
    fs::write(dir.join("web.yaml"), "v: 2\n").expect("write");
    until(&mut watch, &[("web.yaml", "v: 2\n")]).await;
}

#[tokio::test]
async fn what_no_notification_tells_is_found_by_looking() {
    let temp = tempfile::tempdir().expect("temp dir");
    // Nobody watches the directory of the link's directory: an outer swap goes unnoticed there, but
    // not by a rescan.
    let mut watch = watch(temp.path(), Duration::from_secs(3_600), Trust::Owner).expect("watch");
    next(&mut watch).await;
    fs::write(temp.path().join("web.yaml"), "v: 1\n").expect("write");
    watch.rescan().now();
    assert_eq!(contents(&next(&mut watch).await), files(&[("web.yaml", "v: 1\n")]));
}

#[test]
fn a_directory_can_be_read_once() {
    let dir = tempfile::tempdir().expect("temp dir");
    fs::write(dir.path().join("web.yaml"), "v: 1").expect("write");
    fs::write(dir.path().join("notes.txt"), "x").expect("write");
    assert_eq!(contents(&read_directory(dir.path(), Trust::Owner)), files(&[("web.yaml", "v: 1")]));
    let absent = read_directory(&dir.path().join("absent"), Trust::Owner);
    assert!(matches!(absent.directory, DirectoryState::Unavailable(_)));
}
