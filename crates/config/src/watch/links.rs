//! Which directories must be watched so that no swap of a symlink goes unnoticed.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// As many links as the kernel follows.
const MOST_LINKS: usize = 40;

/// The real path of `dir`, and the real directory of every symlink on the way to it and from each of
/// `links` to the file that it leads to, and of those files.
pub(super) fn directories<'a>(dir: &Path, links: impl Iterator<Item = &'a Path>) -> BTreeSet<PathBuf> {
    let mut directories = BTreeSet::new();
    // The name is never a link: what counts is the way to it.
    follow(&dir.join("-"), &mut directories);
    for link in links {
        follow(link, &mut directories);
    }
    directories
}

/// Adds the directory of each symlink on the way to the end of `path`, and of the end itself.
fn follow(path: &Path, directories: &mut BTreeSet<PathBuf>) {
    let Ok(path) = std::path::absolute(path) else { return };
    let mut ahead: VecDeque<OsString> = names(&path).collect();
    let (mut here, mut links) = (PathBuf::from("/"), 0);
    while let Some(name) = ahead.pop_front() {
        if name == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&name);
        if let Ok(target) = next.read_link() {
            links += 1;
            if links > MOST_LINKS {
                return;
            }
            directories.insert(here.clone());
            if target.is_absolute() {
                here = PathBuf::from("/");
            }
            for name in names(&target).collect::<Vec<_>>().into_iter().rev() {
                ahead.push_front(name);
            }
        } else if ahead.is_empty() {
            directories.insert(here.clone());
        } else {
            here = next;
        }
    }
}

fn names(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::directories;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::{Path, PathBuf};

    #[test]
    fn the_directory_of_every_link_on_the_way() {
        let temp = tempfile::tempdir().expect("temp dir");
        let root = temp.path().canonicalize().expect("real path");
        for dir in ["apps/..v1", "real/deep", "etc"] {
            fs::create_dir_all(root.join(dir)).expect("dir");
        }
        fs::write(root.join("apps/..v1/web.yaml"), "").expect("write");
        fs::write(root.join("real/deep/api.yaml"), "").expect("write");
        symlink("..v1", root.join("apps/..data")).expect("link");
        symlink("..data/web.yaml", root.join("apps/web.yaml")).expect("link");
        symlink(root.join("real"), root.join("etc/current")).expect("link");
        symlink("../etc/current/deep/api.yaml", root.join("apps/api.yaml")).expect("link");
        symlink("round.yaml", root.join("apps/round.yaml")).expect("link");
        let links: Vec<PathBuf> =
            ["web.yaml", "api.yaml", "round.yaml"].map(|name| root.join("apps").join(name)).into();
        let found = directories(&root.join("apps"), links.iter().map(PathBuf::as_path));
        let below = |path: &PathBuf| path.strip_prefix(&root).map(Path::to_owned).expect("below the root");
        let found: Vec<PathBuf> = found.iter().map(below).collect();
        assert_eq!(found, ["apps", "apps/..v1", "etc", "real/deep"].map(PathBuf::from));
    }
}
