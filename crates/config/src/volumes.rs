//! Volumes and bind mounts: `src:dst[:ro]`.

use crate::app::Surroundings;
use crate::fields::{Item, quoted};
use crate::policy::normal;
use crate::problem::Report;
use dockswap_core::spec::Volume;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const FORM: &str = "write src:dst or src:dst:ro, as in data:/data or /srv/files:/files:ro";

/// Reads the list. Every target stands once, and not in `tmpfs`.
pub(crate) fn decode(
    item: &Item<'_>,
    tmpfs: &BTreeMap<String, String>,
    around: &Surroundings<'_>,
    report: &mut Report,
) -> Option<Vec<Volume>> {
    let mut targets: BTreeSet<String> = tmpfs.keys().cloned().collect();
    let mut volumes = Vec::new();
    for item in item.items(report, "a list of src:dst[:ro]")? {
        let Some(text) = item.text(report) else { continue };
        let Some(volume) = item.parsed(volume(text, around), report) else { continue };
        if !targets.insert(volume.target.clone()) {
            item.refuse::<()>(format!("{} is mounted already: write another target", volume.target), report);
        }
        volumes.push(volume);
    }
    Some(volumes)
}

fn volume(text: &str, around: &Surroundings<'_>) -> Result<Volume, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, mode) = match parts[..] {
        [source, target] => (source, target, "rw"),
        [source, target, mode] => (source, target, mode),
        _ => return Err(format!("{} is not a volume: {FORM}", quoted(text))),
    };
    let read_only = match mode {
        "ro" => true,
        "rw" => false,
        _ => return Err(format!("the mode {} is not known: write ro, or leave it out", quoted(mode))),
    };
    if !target.starts_with('/') || normal(Path::new(target)) == Path::new("/") {
        return Err(format!("{} is not an absolute path inside the container: {FORM}", quoted(target)));
    }
    let target = normal(Path::new(target)).to_string_lossy().into_owned();
    Ok(Volume { source: origin(source, read_only, around)?, target, read_only })
}

/// The name of a volume, or an absolute host path that may be mounted.
fn origin(source: &str, read_only: bool, around: &Surroundings<'_>) -> Result<String, String> {
    if source.starts_with('~') {
        return Err(format!("{} is not expanded: write the absolute path", quoted(source)));
    }
    if source.starts_with(['/', '.']) {
        let path = normal(&around.base_dir.join(source));
        around.policy.check_bind_mount(&path, read_only)?;
        return path
            .into_os_string()
            .into_string()
            .map_err(|_| "the directory's name is not UTF-8".to_owned());
    }
    let name = source.len() >= 2
        && source.as_bytes()[0].is_ascii_alphanumeric()
        && source.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if name {
        return Ok(source.to_owned());
    }
    Err(format!("{} is neither a volume's name nor a path: {FORM}", quoted(source)))
}
