//! Changing a file that a person wrote: one value, and the whole file at once. It must not lose a
//! comment, a mode, or half of a file.

use crate::problem::{Position, Problem, Report};
use crate::scalar::image;
use crate::yaml::{self, Value};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes `image` as the value of the top-level `image:` into the text of an app file; every other
/// byte stays. `file` names the file in the problem.
///
/// # Errors
/// When `image` is no image reference, or the file has no `image:` with a value on one line.
pub fn replace_image(file: &Path, bytes: &[u8], image: &str) -> Result<Vec<u8>, Problem> {
    let problem = |at: Position, message: String| Problem {
        file: file.to_owned(),
        position: Some(at),
        path: "image".to_owned(),
        message,
    };
    image::check(image).map_err(|message| problem(Position::START, message))?;
    let mut report = Report::on(file);
    let root = yaml::parse(bytes, &mut report);
    if let Some(first) = report.into_problems().into_iter().next() {
        return Err(first);
    }
    let missing = || problem(Position::START, format!("missing: write `image: {image}`"));
    let node = root.as_ref().and_then(|root| root.get("image")).ok_or_else(missing)?;
    let text = std::str::from_utf8(bytes).map_err(|_| missing())?;
    let replaced = match &node.value {
        Value::Scalar(scalar) => yaml::replaced(text, scalar, image),
        Value::List(_) | Value::Map(_) => None,
    };
    let by_hand =
        || problem(node.at, format!("cannot be rewritten here: write `image: {image}` on one line"));
    let replaced = replaced.ok_or_else(by_hand)?.into_bytes();
    let reads_back = yaml::parse(&replaced, &mut Report::on(file)).is_some_and(|root| {
        matches!(root.get("image").map(|node| &node.value), Some(Value::Scalar(scalar)) if scalar.text == image)
    });
    if reads_back { Ok(replaced) } else { Err(by_hand()) }
}

/// Puts `bytes` in the place of the file at `path`: a reader sees the old content or the new one,
/// and after a crash one of them is there. A symlink stays, its target is replaced. An existing
/// file's mode is kept, and its owner where that is permitted.
///
/// # Errors
/// What the file system says; the file is as before then, and no other file is left.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let target = match path.canonicalize() {
        Ok(target) => target,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error),
    };
    let temporary = temporary(&target)?;
    let done = write_new(&temporary, &target, bytes).and_then(|()| fs::rename(&temporary, &target));
    if let Err(error) = done {
        // The first error is the one to report.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    match target.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => File::open(directory)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// A hidden name beside `target`, of this process and this call.
fn temporary(target: &Path) -> io::Result<PathBuf> {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let name = target.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}-{call}.tmp", std::process::id()));
    Ok(target.with_file_name(hidden))
}

fn write_new(temporary: &Path, target: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(temporary)?;
    if let Ok(old) = target.metadata() {
        // Only root may give a file away: another writer's file becomes the writer's own.
        let _ = fchown(&file, Some(old.uid()), Some(old.gid()));
        file.set_permissions(old.permissions())?;
    }
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::{replace_image, write_atomically};
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    fn replaced(text: &str) -> Result<String, String> {
        replace_image(Path::new("a.yaml"), text.as_bytes(), "app:v2")
            .map(|bytes| String::from_utf8(bytes).expect("UTF-8"))
            .map_err(|problem| problem.to_string())
    }

    #[test]
    fn only_the_value_changes() {
        for (before, after) in [
            ("image: app:v1\n", "image: app:v2\n"),
            (
                "# äöü\r\nname: x\r\nimage:   'app:v1'  # the app\r\nx: 1\r\n",
                "# äöü\r\nname: x\r\nimage:   'app:v2'  # the app\r\nx: 1\r\n",
            ),
            ("a: { image: no }\nimage: \"app:v1\"", "a: { image: no }\nimage: \"app:v2\""),
            ("{ name: ü, image: app:v1, x: [1] }", "{ name: ü, image: app:v2, x: [1] }"),
            ("\u{feff}image: app:v1 # x\n", "\u{feff}image: app:v2 # x\n"),
            ("image:\n  app:v1\n", "image:\n  app:v2\n"),
        ] {
            assert_eq!(replaced(before), Ok(after.to_owned()), "{before}");
        }
    }

    #[test]
    fn files_that_are_left_to_the_person() {
        for (text, problem) in [
            ("name: x\n", "a.yaml:1:1: image: missing: write `image: app:v2`"),
            (
                "x: &i app:v1\nimage: *i\n",
                "a.yaml:2:8: image: cannot be rewritten here: write `image: app:v2` on one line",
            ),
            (
                "image: |\n  app:v1\n",
                "a.yaml:2:3: image: cannot be rewritten here: write `image: app:v2` on one line",
            ),
            (
                "image: &i app:v1\nother: *i\n",
                "a.yaml:1:8: image: cannot be rewritten here: write `image: app:v2` on one line",
            ),
            (
                "image: [a]\n",
                "a.yaml:1:8: image: cannot be rewritten here: write `image: app:v2` on one line",
            ),
        ] {
            assert_eq!(replaced(text), Err(problem.to_owned()));
        }
        let problem =
            replace_image(Path::new("a.yaml"), b"image: a\n", "no image").expect_err("no reference");
        assert_eq!(problem.path, "image");
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let dir = tempfile::tempdir().expect("temp dir");
        let (file, link) = (dir.path().join("real.yaml"), dir.path().join("link.yaml"));
        fs::write(&file, "old").expect("write");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("mode");
        symlink("real.yaml", &link).expect("link");
        write_atomically(&link, b"new").expect("replace");
        assert_eq!(fs::read(&file).expect("read"), b"new");
        assert!(link.is_symlink());
        assert_eq!(fs::metadata(&file).expect("stat").permissions().mode() & 0o777, 0o640);
        write_atomically(&dir.path().join("new.yaml"), b"1").expect("create");
        let mut names: Vec<_> =
            fs::read_dir(dir.path()).expect("list").map(|e| e.expect("entry").file_name()).collect();
        names.sort();
        assert_eq!(names, ["link.yaml", "new.yaml", "real.yaml"]);
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let dir = tempfile::tempdir().expect("temp dir");
        let target = dir.path().join("a-directory");
        fs::create_dir(&target).expect("dir");
        assert!(write_atomically(&target, b"x").is_err());
        assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 1);
        assert!(write_atomically(&dir.path().join("absent/x.yaml"), b"x").is_err());
    }
}
