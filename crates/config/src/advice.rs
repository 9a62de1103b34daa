//! What to write in the place of a key that does not exist. It must not know where the key stood.

use crate::fields::{Field, keys};
use crate::policy;

/// What people coming from Compose write, and what it is called here.
const COMPOSE_NAMES: [(&str, &str); 9] = [
    ("build", "build the image first, and name it in `image`"),
    ("container_name", "containers are named <app>-<color>-<deployment>"),
    ("cpus", "write `cpu_limit` under `docker`"),
    ("env", "write `environment` under `docker`"),
    ("healthcheck", "write `health_check` at the top level"),
    ("mem_limit", "write `memory_limit` under `docker`"),
    ("networks", "write `network` under `docker`"),
    ("port", "write `expose_port` under `docker`"),
    ("restart", "write `restart_policy` under `docker`"),
];

/// The problem with `key`, which is not in `table`, in a file whose outermost fields are `root`.
pub(crate) fn unknown_key(key: &str, table: &[Field], root: &[Field]) -> String {
    if let Some(reason) = policy::refusal(key) {
        return format!("refused: {reason}");
    }
    let advice = elsewhere(key, root)
        .or_else(|| COMPOSE_NAMES.iter().find(|(name, _)| *name == key).map(|(_, text)| (*text).to_owned()))
        .or_else(|| nearest(key, table).map(|near| format!("did you mean `{near}`?")))
        .unwrap_or_else(|| format!("known here are {}", keys(table)));
    format!("unknown key: {advice}")
}

/// Where else in the file the key would be right.
fn elsewhere(key: &str, root: &[Field]) -> Option<String> {
    let has = |table: &[Field]| table.iter().any(|field| field.key == key);
    if has(root) {
        return Some("write it at the top level".to_owned());
    }
    let section = root.iter().find(|field| field.shape.fields().is_some_and(has))?;
    Some(format!("write it under `{}`", section.key))
}

/// The key that was probably meant.
fn nearest(key: &str, table: &[Field]) -> Option<&'static str> {
    let normal = key.to_ascii_lowercase().replace('-', "_");
    let distance = |field: &Field| strsim::damerau_levenshtein(&normal, field.key);
    let (near, distance) = table.iter().map(|field| (field.key, distance(field))).min_by_key(|&(_, d)| d)?;
    (distance <= near.len().div_ceil(3)).then_some(near)
}
