//! Environment variables as an app file writes them. No message shows a value.

use crate::app::Surroundings;
use crate::fields::Item;
use crate::policy::normal;
use crate::problem::Report;
use crate::scalar::template;
use crate::yaml::joined;
use dockswap_core::spec::{Segment, Template};
use std::collections::BTreeMap;
use std::path::Path;

/// Reads variables: a mapping, or a list of `NAME=value`.
pub(crate) fn decode(
    item: &Item<'_>,
    around: &Surroundings<'_>,
    report: &mut Report,
) -> Option<BTreeMap<String, Template>> {
    let mut variables = BTreeMap::new();
    if item.scalar().is_some_and(|scalar| !scalar.text.is_empty()) {
        return item
            .refuse("found a text: write a mapping of names and values, or a list of NAME=value", report);
    }
    if let Some(entries) = item.entries() {
        for (name, at, mut value) in entries {
            if let Some(message) = trouble(name) {
                // Whoever wrote NAME=value as a key wrote the value too.
                if let Some((name, _)) = name.split_once('=') {
                    value.path = joined(&item.path, name);
                }
                report.add(at, &value.path, message);
            }
            let expected =
                "a value in quotes (\"\" for an empty one), or ${env:NAME} to pass on the controller's";
            let text = value.value(expected, report);
            if let Some(template) = text.and_then(|text| resolvable(text, &value, around, report)) {
                variables.insert(name.to_owned(), template);
            }
        }
        return Some(variables);
    }
    for line in item.items(report, "a mapping of names and values, or a list of NAME=value")? {
        let Some(text) = line.scalar().map(|scalar| scalar.text.as_str()) else {
            line.refuse::<()>("not a text: write NAME=value", report);
            continue;
        };
        let Some((name, value)) = text.split_once('=') else {
            line.refuse::<()>(
                "has no `=`: write NAME=value, or NAME=${env:NAME} to pass on the controller's",
                report,
            );
            continue;
        };
        if let Some(message) = trouble(name) {
            line.refuse::<()>(message, report);
        }
        let Some(template) = resolvable(value, &line, around, report) else { continue };
        if variables.insert(name.to_owned(), template).is_some() {
            line.refuse::<()>(format!("{name} stands already in this list: keep one of them"), report);
        }
    }
    Some(variables)
}

/// What is wrong with a variable's name.
pub(crate) fn trouble(name: &str) -> Option<&'static str> {
    let bad = name.is_empty() || name.contains(|c: char| c == '=' || c.is_whitespace() || c.is_control());
    bad.then_some("not a variable's name: write one without blanks and `=`")
}

/// A value with its file references made absolute and allowed.
fn resolvable(
    text: &str,
    item: &Item<'_>,
    around: &Surroundings<'_>,
    report: &mut Report,
) -> Option<Template> {
    let mut parsed = item.parsed(template::parse(text), report)?;
    for segment in &mut parsed.0 {
        if let Segment::File(path) = segment {
            *path = item.parsed(readable(path, around), report)?;
        }
    }
    Some(parsed)
}

/// Reads the paths of env files.
pub(crate) fn files(item: &Item<'_>, around: &Surroundings<'_>, report: &mut Report) -> Option<Vec<String>> {
    let items = item.one_or_many(report, "a path or a list of paths")?;
    let path = |item: Item<'_>| {
        let text = item.text(report)?;
        item.parsed(readable(text, around), report)
    };
    Some(items.into_iter().filter_map(path).collect())
}

/// `path` as an absolute one that may be read.
fn readable(path: &str, around: &Surroundings<'_>) -> Result<String, String> {
    let absolute = normal(&around.base_dir.join(Path::new(path)));
    around.policy.check_read(&absolute, &around.base_dir)?;
    absolute.into_os_string().into_string().map_err(|_| "the directory's name is not UTF-8".to_owned())
}
