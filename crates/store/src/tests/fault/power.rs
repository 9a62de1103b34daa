//! Power that is lost: the files as they may be on the disk afterwards. What was acknowledged is there, and
//! what was not is there whole or not at all.

use crate::tests::fixtures::{Place, holder, path};
use crate::tests::story::{Chance, Facts, Story, assert_sound};
use crate::{connect, connect_checked, connect_read_only};
use dockswap_core::ports::Store;
use dockswap_proof::{Proof, long};
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Of a log: its own head, and that of each frame.
const HEAD: usize = 32;
const FRAME: usize = 24 + 4096;

/// The child's database; without it, it is no child.
const CHILD: &str = "DOCKSWAP_STORE_CHILD";

/// A database and its log, with what was acknowledged at which length of the log.
struct Disk {
    database: Vec<u8>,
    log: Vec<u8>,
    /// The database after everything in the log was brought into it.
    folded: Vec<u8>,
    /// By length of the log: what was on record then.
    commits: Vec<(usize, Facts)>,
}

impl Disk {
    async fn written() -> Self {
        let place = Place::sqlite();
        let first = place.open().await;
        let mut story = Story::of(&first, "web", 0).await;
        story.advance(&first).await;
        first.close().await;
        let file = path(&place);
        let log = PathBuf::from(format!("{}-wal", file.display()));
        let database = read(&file);
        let controller = place.open().await;
        let mut commits = Vec::new();
        for _ in 0..40 {
            let length = usize::try_from(log.metadata().unwrap().len()).unwrap();
            commits.push((length, Facts::of(controller.history()).await));
            story.advance(&controller).await;
        }
        let length = usize::try_from(log.metadata().unwrap().len()).unwrap();
        commits.push((length, Facts::of(controller.history()).await));
        assert!(read(&file) == database, "nothing was brought into the database yet");
        let log = read(&log);
        controller.close().await;
        Self { database, log, folded: read(&file), commits }
    }

    /// What must be on record with `length` bytes of the log.
    fn acknowledged(&self, length: usize) -> &Facts {
        &self.commits.iter().rev().find(|(end, _)| *end <= length).unwrap_or(&self.commits[0]).1
    }
}

/// The bytes of a file of an open database. Not by this process: closing a file lets go of all the locks
/// that it has on it, SQLite's among them.
fn read(path: &Path) -> Vec<u8> {
    Command::new("cat").arg(path).output().unwrap().stdout
}

/// What a controller finds in these files; `Err`: why it refuses them.
async fn found(database: &[u8], log: Option<&[u8]>, index: Option<&[u8]>) -> Result<Facts, String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dockswap.db");
    std::fs::write(&file, database).unwrap();
    for (suffix, bytes) in [("-wal", log), ("-shm", index)] {
        if let Some(bytes) = bytes {
            std::fs::write(format!("{}{suffix}", file.display()), bytes).unwrap();
        }
    }
    let opened = connect_checked(&format!("sqlite://{}", file.display()), &holder()).await;
    let database = opened.map_err(|error| error.to_string())?;
    let facts = Facts::of(database.history()).await;
    database.close().await;
    Ok(facts)
}

fn count(proof: &mut Proof, what: &str, found: Result<Facts, String>, expected: &Facts) {
    match found {
        Ok(facts) if facts == *expected => proof.kept(),
        Ok(facts) => proof.broken(format!(
            "{what}: at version {:?}, acknowledged was {:?}",
            facts.versions(),
            expected.versions()
        )),
        Err(error) => proof.broken(format!("{what}: {error}")),
    }
}

#[tokio::test]
async fn db_wal_cut_anywhere_opens_at_the_last_whole_commit() {
    let disk = Disk::written().await;
    let mut proof = Proof::of("db.wal", "log cut at and within every frame, SQLite");
    let frames = (disk.log.len() - HEAD) / FRAME;
    let mut chance = Chance::of(7);
    for frame in 0..=frames {
        let boundary = HEAD + frame * FRAME;
        let within = boundary + 1 + chance.below(FRAME - 1);
        for length in [boundary, within.min(disk.log.len())] {
            let found = found(&disk.database, Some(&disk.log[..length]), None).await;
            count(&mut proof, &format!("cut at {length}"), found, disk.acknowledged(length));
        }
    }
    for length in 0..HEAD {
        let found = found(&disk.database, Some(&disk.log[..length]), None).await;
        count(&mut proof, &format!("cut at {length}"), found, &disk.commits[0].1);
    }
    proof.conclude();
}

#[tokio::test]
async fn db_wal_garbled_opens_at_a_commit() {
    let disk = Disk::written().await;
    let mut proof = Proof::of("db.wal", "log garbled at a random place, stale index, SQLite");
    let seeds = if long() { 500 } else { 200 };
    for seed in 0..seeds {
        let mut chance = Chance::of(seed);
        let mut log = disk.log.clone();
        let place = chance.below(log.len());
        log[place] ^= u8::try_from(1 + chance.below(255)).unwrap();
        let noise: Vec<u8> = (0..32_768).map(|_| u8::try_from(chance.below(256)).unwrap()).collect();
        let index = (seed % 2 == 0).then_some(noise.as_slice());
        // What comes after a broken frame is not believed; nothing before it is lost.
        let intact = if place < HEAD { 0 } else { HEAD + (place - HEAD) / FRAME * FRAME };
        let found = found(&disk.database, Some(&log), index).await;
        count(&mut proof, &format!("seed {seed}, byte {place}"), found, disk.acknowledged(intact));
    }
    let gone = found(&disk.database, None, None).await;
    count(&mut proof, "no log at all", gone, &disk.commits[0].1);
    proof.conclude();
}

/// What the disk may have made of writes that it was not yet told to keep.
fn unsynced(chance: &mut Chance, bytes: &mut Vec<u8>, span: Range<usize>) {
    bytes.truncate(span.end);
    for sector in span.clone().step_by(512) {
        let end = span.end.min(sector + 512);
        match chance.below(3) {
            0 => bytes[sector..end].fill(0),
            1 => bytes[sector..end]
                .iter_mut()
                .for_each(|byte| *byte = u8::try_from(chance.below(256)).unwrap()),
            _ => {}
        }
    }
}

#[tokio::test]
async fn ctl_power_what_was_acknowledged_is_there() {
    let disk = Disk::written().await;
    let mut proof = Proof::of("ctl.power", "unsynced writes dropped or torn, SQLite files");
    let seeds = if long() { 2_000 } else { 500 };
    for seed in 0..seeds {
        let mut chance = Chance::of(seed);
        let (what, found, expected) = if seed % 2 == 0 {
            // In a commit: its frames were being written, those before were on the disk.
            let at = chance.below(disk.commits.len() - 1);
            let (begin, end) = (disk.commits[at].0, disk.commits[at + 1].0);
            let mut log = disk.log.clone();
            unsynced(&mut chance, &mut log, begin..end);
            let found = found(&disk.database, Some(&log), None).await;
            // If by chance all of it got there, it may count.
            let whole = log == disk.log[..end];
            (format!("commit {at}"), found, &disk.commits[at + usize::from(whole)].1)
        } else {
            // While the log is brought into the database: any of its pages may be there, or torn.
            let mut database = disk.folded.clone();
            for (page, bytes) in database.chunks_mut(4096).enumerate() {
                let before = disk.database.chunks(4096).nth(page);
                match (chance.below(3), before) {
                    (0, Some(before)) => bytes.copy_from_slice(before),
                    (0, None) => bytes.fill(0),
                    (1, Some(before)) => bytes[2048..].copy_from_slice(&before[2048..]),
                    _ => {}
                }
            }
            let found = found(&database, Some(&disk.log), None).await;
            ("checkpoint".to_owned(), found, disk.acknowledged(disk.log.len()))
        };
        count(&mut proof, &format!("seed {seed}, {what}"), found, expected);
    }
    proof.conclude();
}

/// Not a test of its own: the process that is killed. It says each version after its commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_commits_until_it_is_killed() {
    let Ok(url) = std::env::var(CHILD) else { return };
    let database = connect(&url, &holder()).await.unwrap();
    let mut stories = Vec::new();
    for seat in 0..4 {
        let name = format!("app-{seat}");
        let is_known = database.machines().await.unwrap().iter().any(|m| m.app().as_str() == name);
        stories.push(if is_known {
            Story::resumed(&database, &name, seat).await
        } else {
            Story::of(&database, &name, seat).await
        });
    }
    loop {
        let steps = stories.iter_mut().enumerate().map(async |(seat, story)| {
            story.advance(&database).await;
            println!("acknowledged {seat} {}", story.machine.version());
        });
        futures_util::future::join_all(steps).await;
    }
}

#[test]
fn ctl_power_a_controller_that_is_killed_in_its_commits_leaves_whole_ones() {
    let place = Place::sqlite();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut power = Proof::of("ctl.power", "kill -9 among commits of four apps, SQLite");
    let mut whole = Proof::of("P6", "kill -9 among commits of four apps, SQLite");
    let this = std::env::current_exe().unwrap();
    let name = "tests::fault::power::child_that_commits_until_it_is_killed";
    for seed in 0..if long() { 500 } else { 40 } {
        let mut child = Command::new(&this)
            .args([name, "--exact", "--nocapture"])
            .env(CHILD, &place.url)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut acknowledged = [0_u64; 4];
        let mut note = |line: &str| {
            let Some((_, rest)) = line.split_once("acknowledged ") else { return false };
            let (seat, version) = rest.split_once(' ').unwrap();
            acknowledged[seat.parse::<usize>().unwrap()] = version.trim().parse().unwrap();
            true
        };
        let lives = 1 + Chance::of(seed).below(60);
        let mut heard = 0;
        while heard < lives {
            heard += usize::from(note(&said.next().expect("it goes on until it is killed")));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        said.for_each(|line| {
            note(&line);
        });
        let verdict = runtime.block_on(async {
            let history = connect_read_only(&place.url).await.unwrap();
            let verdict = history.check().await.unwrap();
            (verdict, Facts::of(&history).await.versions())
        });
        let (verdict, versions) = verdict;
        if verdict.is_sound() {
            whole.kept();
        } else {
            whole.broken(format!("kill {seed}: {:?}", verdict.findings));
        }
        if versions.iter().zip(acknowledged).all(|(version, acknowledged)| *version >= acknowledged) {
            power.kept();
        } else {
            power.broken(format!("kill {seed}: {versions:?} on record, acknowledged {acknowledged:?}"));
        }
    }
    power.conclude();
    whole.conclude();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p6_a_transaction_that_is_given_up_at_any_write_leaves_nothing() {
    let place = Place::sqlite();
    let database = place.open().await;
    let mut stories = Vec::new();
    for seat in 0..4 {
        let mut story = Story::of(&database, &format!("app-{seat}"), seat).await;
        story.advance(&database).await;
        stories.push(story);
    }
    database.close().await;
    let scribe = crate::tests::fixtures::scribe(&place).await;
    let mut proof = Proof::of("P6", "transaction of 1 to 4 apps given up or committed, SQLite");
    let mut expected: Vec<u64> = vec![1; 4];
    for seed in 0..if long() { 10_000 } else { 1_000 } {
        let mut chance = Chance::of(seed);
        let some: Vec<usize> = (0..4).filter(|_| chance.below(2) == 0).collect();
        let transitions: Vec<_> = some.iter().map(|seat| stories[*seat].next()).collect();
        let writes: Vec<_> = transitions
            .iter()
            .map(|transition| {
                crate::tests::fixtures::transition(&crate::write::Unit::of(transition).unwrap())
            })
            .collect();
        let writes: Vec<_> = writes.iter().collect();
        let (begun, _) = scribe.stage(&writes).await.unwrap();
        if chance.below(3) == 0 {
            begun.commit().await.unwrap();
            for (seat, transition) in some.iter().zip(transitions) {
                stories[*seat].machine = transition.committed();
                expected[*seat] += 1;
            }
        } else {
            drop(begun);
        }
        let sums = "SELECT version FROM app_machines ORDER BY app_name";
        let events = "SELECT count(*) FROM deployment_events GROUP BY app_name ORDER BY app_name";
        let versions = crate::tests::fixtures::numbers(&scribe.db, sums).await;
        let events = crate::tests::fixtures::numbers(&scribe.db, events).await;
        if versions == expected && events == expected {
            proof.kept();
        } else {
            proof.broken(format!("seed {seed}: {versions:?}, {events:?} events, expected {expected:?}"));
        }
    }
    scribe.db.close().await.unwrap();
    assert_sound(&connect_read_only(&place.url).await.unwrap()).await;
    proof.conclude();
}
