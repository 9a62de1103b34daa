//! The scanner on a real directory and a clock that is told the time.

use super::super::bell::{Sign, Signs, Writer};
use super::super::{DirectoryState, FileContent};
use super::{Now, Scanner};
use crate::trust::Trust;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};
use tempfile::TempDir;

/// A directory with `web.yaml` in it, and times counted from its making.
struct Stage {
    dir: TempDir,
    scanner: Scanner,
    signs: Signs,
    start: Instant,
    wall: SystemTime,
}

impl Stage {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().expect("temp dir");
        let scanner = Scanner::new(dir.path(), Trust::Owner);
        // Ahead of both clocks, so that every file of the test changed before its signs.
        let ahead = Duration::from_secs(1);
        let (start, wall) = (Instant::now() + ahead, SystemTime::now() + ahead);
        let stage = Self { dir, scanner, signs: Signs::new(), start, wall };
        stage.write("web.yaml", text);
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().expect("real path").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("write");
    }

    fn sign(&mut self, name: &str, millis: u64, writer: Writer) {
        let at = self.start + Duration::from_millis(millis);
        self.signs.insert(self.path(name), Sign { at, writer });
    }

    /// Scans at `millis`; says how long to wait for the next scan.
    fn scan(&mut self, millis: u64) -> Option<u64> {
        let passed = Duration::from_millis(millis);
        let now = Now { instant: self.start + passed, wall: self.wall + passed };
        let next = self.scanner.scan(&now, &self.signs)?;
        u64::try_from((next - now.instant).as_millis()).ok()
    }

    /// What the next snapshot says of `name`.
    fn text(&self, name: &str) -> Option<String> {
        let snapshot = self.scanner.snapshot();
        let content = snapshot.files.iter().find(|(path, _)| path.ends_with(name))?.1;
        Some(match content {
            FileContent::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            FileContent::Unreadable(why) => format!("unreadable: {why}"),
        })
    }
}

#[test]
fn a_file_that_was_closed_is_read_after_a_short_quiet() {
    let mut stage = Stage::new("a: 1\n");
    stage.sign("web.yaml", 0, Writer::Done);
    assert_eq!(stage.scan(5), Some(10));
    assert!(stage.scanner.is_waiting());
    assert_eq!(stage.scan(15), None);
    assert_eq!(stage.text("web.yaml").as_deref(), Some("a: 1\n"));
}

#[test]
fn a_file_that_is_open_is_not_read_while_its_writer_pauses() {
    let mut stage = Stage::new("a: 1\n");
    for pause in [0, 300, 900, 1_800] {
        stage.sign("web.yaml", pause, Writer::Open);
        assert_eq!(stage.scan(pause + 1), Some(999), "{pause}");
        assert_eq!(stage.scan(pause + 300), Some(700), "{pause}");
    }
    stage.write("web.yaml", "a: 1\nb: 2\n");
    stage.sign("web.yaml", 2_200, Writer::Done);
    assert_eq!(stage.scan(2_215), None);
    assert_eq!(stage.text("web.yaml").as_deref(), Some("a: 1\nb: 2\n"));
}

#[test]
fn a_file_that_stays_open_is_read_at_last() {
    let mut stage = Stage::new("a: 1\n");
    stage.sign("web.yaml", 0, Writer::Open);
    assert_eq!(stage.scan(0), Some(1_000));
    for millis in (500..10_000).step_by(500) {
        stage.sign("web.yaml", millis, Writer::Open);
        assert!(stage.scan(millis).is_some(), "{millis}");
    }
    stage.sign("web.yaml", 10_000, Writer::Open);
    stage.scan(10_000);
    assert_eq!(stage.text("web.yaml").as_deref(), Some("a: 1\n"));
}

#[test]
fn a_file_of_unknown_origin_must_be_quiet_for_longer() {
    let mut stage = Stage::new("a: 1\n");
    assert_eq!(stage.scan(0), Some(250));
    stage.write("web.yaml", "a: 1\nb:");
    assert_eq!(stage.scan(200), Some(250));
    assert_eq!(stage.scan(450), None);
    assert_eq!(stage.text("web.yaml").as_deref(), Some("a: 1\nb:"));
}

#[test]
fn a_file_that_changed_long_ago_is_read_at_once() {
    let mut stage = Stage::new("a: 1");
    stage.wall += Duration::from_secs(10);
    assert_eq!(stage.scan(0), None);
    assert_eq!(stage.text("web.yaml").as_deref(), Some("a: 1"));
}

#[test]
fn a_file_without_a_last_line_break_may_go_on() {
    for text in ["", "a: 1\nb"] {
        let mut stage = Stage::new(text);
        stage.sign("web.yaml", 0, Writer::Done);
        assert_eq!(stage.scan(0), Some(15));
        assert_eq!(stage.scan(15), Some(235));
        assert_eq!(stage.scan(250), None);
        assert_eq!(stage.text("web.yaml").as_deref(), Some(text));
    }
}

#[test]
fn endless_rewriting_delays_its_own_file_only_and_not_for_ever() {
    let mut stage = Stage::new("a: 0\n");
    stage.write("api.yaml", "b: 1\n");
    stage.sign("api.yaml", 0, Writer::Done);
    for millis in (0..2_000).step_by(10) {
        stage.write("web.yaml", &format!("a: {millis}\n"));
        stage.sign("web.yaml", millis, Writer::Done);
        assert!(stage.scan(millis).is_some(), "{millis}");
    }
    assert_eq!(stage.text("api.yaml").as_deref(), Some("b: 1\n"));
    assert_eq!(stage.text("web.yaml"), None);
    stage.sign("web.yaml", 2_000, Writer::Done);
    stage.scan(2_000);
    assert_eq!(stage.text("web.yaml").as_deref(), Some("a: 1990\n"));
}

#[test]
fn a_notification_brings_a_second_look_at_what_seems_unchanged() {
    let mut stage = Stage::new("a: 1\n");
    stage.sign("web.yaml", 0, Writer::Done);
    assert_eq!(stage.scan(15), None);
    stage.sign("web.yaml", 20, Writer::Done);
    assert_eq!(stage.scan(20), Some(15));
    assert_eq!(stage.scan(35), None);
    assert_eq!(stage.scan(40), None);
}

#[test]
fn a_file_is_gone_only_after_it_has_been_for_a_while() {
    let mut stage = Stage::new("a: 1\n");
    stage.sign("web.yaml", 0, Writer::Done);
    stage.scan(15);
    fs::remove_file(stage.path("web.yaml")).expect("remove");
    assert_eq!(stage.scan(100), Some(250));
    assert_eq!(stage.text("web.yaml").as_deref(), Some("a: 1\n"));
    assert_eq!(stage.scan(350), None);
    assert_eq!(stage.text("web.yaml"), None);
}

#[test]
fn what_was_never_read_is_unreadable_until_it_is() {
    let mut stage = Stage::new("a: 1\n");
    stage.sign("web.yaml", 0, Writer::Open);
    stage.scan(0);
    stage.scanner.give_up_waiting();
    assert!(!stage.scanner.is_waiting());
    assert_eq!(stage.text("web.yaml").as_deref(), Some("unreadable: it is still being written"));
    stage.sign("web.yaml", 10, Writer::Done);
    stage.scan(25);
    assert_eq!(stage.text("web.yaml").as_deref(), Some("a: 1\n"));
}

#[test]
fn an_unmounted_directory_deletes_nothing() {
    let mut stage = Stage::new("a: 1\n");
    stage.sign("web.yaml", 0, Writer::Done);
    stage.scan(15);
    let device = stage.scanner.device;
    stage.scanner.device = device.map(|device| device + 1);
    fs::remove_file(stage.path("web.yaml")).expect("remove");
    stage.scan(1_000);
    assert!(matches!(stage.scanner.snapshot().directory, DirectoryState::Unavailable(_)));
    let text = stage.text("web.yaml").expect("still there");
    assert!(text.contains("is it mounted?"), "{text}");
}

#[test]
fn all_files_together_have_a_limit() {
    let mut stage = Stage::new("a: 1\n");
    let large = "#".repeat(1024 * 1024);
    for index in 0..65 {
        stage.write(&format!("big{index:02}.yaml"), &large);
    }
    stage.scan(0);
    stage.scan(250);
    let files = stage.scanner.snapshot().files;
    let refused = |content: &&FileContent| matches!(content, FileContent::Unreadable(_));
    assert_eq!(files.values().filter(refused).count(), 2);
}

mod fault {
    use super::*;
    use dockswap_proof::Proof;

    const FILE: &str = "name: web\nimage: web:v2\ndocker:\n  expose_port: 8080\n  environment:\n    A: '1'\n    B: '22'\n\
                        ports:\n  blue: 8081\nroutes:\n- host: web.example.com\n- host: www.example.com\n";

    /// Every beginning of the file, those that are valid YAML and whole apps among them, with its writer
    /// pausing for up to a second, on each of several moments.
    #[test]
    fn cfg_half() {
        let mut proof = Proof::of("cfg.half", "every beginning of a file, on a clock that is told");
        let mut stage = Stage::new("old: 1\n");
        stage.sign("web.yaml", 0, Writer::Done);
        stage.scan(15);
        let mut now = 20;
        for pauses in [
            &[50, 50, 50][..],
            &[900, 40],
            &[250, 250, 250],
            &[999],
            &[1, 400, 15],
            &[30, 30, 30, 30],
            &[500, 499],
        ] {
            for end in (1..FILE.len()).filter(|&end| FILE.is_char_boundary(end)) {
                let before = stage.text("web.yaml");
                // The writer has the file open, writes a part, pauses, and writes the rest.
                now += 1;
                stage.write("web.yaml", &FILE[..end]);
                stage.sign("web.yaml", now, Writer::Open);
                let mut seen = Vec::new();
                for pause in pauses {
                    now += pause;
                    stage.scan(now);
                    seen.push(stage.text("web.yaml"));
                    stage.sign("web.yaml", now, Writer::Open);
                }
                let whole = format!("{FILE}# {end} {}\n", pauses.len());
                stage.write("web.yaml", &whole);
                stage.sign("web.yaml", now, Writer::Done);
                now += 20;
                stage.scan(now);
                if seen.iter().all(|text| *text == before) && stage.text("web.yaml") == Some(whole) {
                    proof.kept();
                } else {
                    proof.broken(format!("a beginning of {end} bytes was read: {seen:?}"));
                }
            }
        }
        proof.conclude();
    }
}
