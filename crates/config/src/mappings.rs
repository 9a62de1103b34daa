//! The options of a container that are mappings, in the spellings that Compose knows: labels,
//! tmpfs, extra hosts and ulimits.

use crate::fields::{Field, Item, Shape, one_of, quoted};
use crate::problem::Report;
use dockswap_core::spec::Ulimit;
use std::collections::BTreeMap;
use std::net::IpAddr;

const LIMITS: &[&str] = &[
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];
const LIMIT: &[Field] = &[
    Field::new("soft", Shape::Integer { min: 0, max: i64::MAX as u64 }, "The limit in force."),
    Field::new(
        "hard",
        Shape::Integer { min: 0, max: i64::MAX as u64 },
        "The most that the process may raise it to.",
    ),
];

/// Reads labels: a mapping, or a list of `name=value`.
pub(crate) fn labels(item: &Item<'_>, report: &mut Report) -> Option<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    if let Some(entries) = item.entries() {
        for (name, at, value) in entries {
            if let Some(message) = label_trouble(name) {
                report.add(at, &value.path, message);
            }
            if let Some(text) = value.value("a text (\"\" for an empty one)", report) {
                labels.insert(name.to_owned(), text.to_owned());
            }
        }
        return Some(labels);
    }
    for line in item.items(report, "a mapping of names and texts, or a list of name=text")? {
        let Some(text) = line.text(report) else { continue };
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        if let Some(message) = label_trouble(name) {
            line.refuse::<()>(message, report);
        }
        if labels.insert(name.to_owned(), value.to_owned()).is_some() {
            line.refuse::<()>(format!("{name} stands already in this list: keep one of them"), report);
        }
    }
    Some(labels)
}

fn label_trouble(name: &str) -> Option<&'static str> {
    if name.trim().is_empty() {
        Some("a label needs a name")
    } else if name.starts_with("dockswap.") {
        Some("labels beginning with `dockswap.` are dockswap's own: write another name")
    } else {
        None
    }
}

/// Reads mount points with their options: one, or a list.
pub(crate) fn tmpfs(item: &Item<'_>, report: &mut Report) -> Option<BTreeMap<String, String>> {
    let expected = "an absolute path inside the container, as in /tmp or /tmp:size=64m";
    let mut mounts = BTreeMap::new();
    for item in item.one_or_many(report, &format!("{expected}, or a list of them"))? {
        let Some(text) = item.text(report) else { continue };
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        if !target.starts_with('/') || target.len() < 2 || text.contains(char::is_whitespace) {
            item.wrong::<()>(expected, report);
        } else if mounts.insert(target.to_owned(), options.to_owned()).is_some() {
            item.refuse::<()>(format!("{target} is mounted already: write another target"), report);
        }
    }
    Some(mounts)
}

/// Reads lines for `/etc/hosts`: a list of `host:address` (or `host=address`), or a mapping.
pub(crate) fn extra_hosts(item: &Item<'_>, report: &mut Report) -> Option<Vec<String>> {
    let expected = "host:address, as in db:10.0.0.5 or host.docker.internal:host-gateway";
    let mut lines = Vec::new();
    if let Some(entries) = item.entries() {
        for (host, _, value) in entries {
            let Some(address) = value.text(report) else { continue };
            lines.extend(value.parsed(hosts_line(host, address), report));
        }
        return Some(lines);
    }
    for item in item.items(report, &format!("a list of {expected}"))? {
        let Some(text) = item.text(report) else { continue };
        match text.split_once('=').or_else(|| text.split_once(':')) {
            Some((host, address)) => lines.extend(item.parsed(hosts_line(host, address), report)),
            None => lines.extend(item.wrong::<String>(expected, report)),
        }
    }
    Some(lines)
}

fn hosts_line(host: &str, address: &str) -> Result<String, String> {
    let host_ok = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    if !host_ok {
        return Err(format!("{} is not a host name", quoted(host)));
    }
    if bare != "host-gateway" && bare.parse::<IpAddr>().is_err() {
        return Err(format!("{} is not an address: write an IP address or host-gateway", quoted(address)));
    }
    Ok(format!("{host}:{bare}"))
}

/// Reads limits by name: a number for both, or `{soft, hard}`.
pub(crate) fn ulimits(item: &Item<'_>, report: &mut Report) -> Option<BTreeMap<String, Ulimit>> {
    let Some(entries) = item.entries() else {
        return item.wrong("a mapping, as in { nofile: 65536 }", report);
    };
    let mut limits = BTreeMap::new();
    for (name, at, value) in entries {
        if !LIMITS.contains(&name) {
            report.add(at, &value.path, format!("unknown limit: write {}", one_of(LIMITS)));
            continue;
        }
        limits.extend(ulimit(&value, report).map(|limit| (name.to_owned(), limit)));
    }
    Some(limits)
}

fn ulimit(item: &Item<'_>, report: &mut Report) -> Option<Ulimit> {
    if item.scalar().is_some() {
        let both = bound(item, report)?;
        return Some(Ulimit { soft: both, hard: both });
    }
    let fields = item.section(LIMIT, report)?;
    fields.require("soft", "1024", report);
    fields.require("hard", "65536", report);
    let soft = fields.take("soft").and_then(|item| bound(&item, report));
    let hard = fields.take("hard").and_then(|item| bound(&item, report));
    let limit = Ulimit { soft: soft?, hard: hard? };
    if limit.hard != -1 && (limit.soft == -1 || limit.soft > limit.hard) {
        return item.refuse("the soft limit is above the hard one: lower it", report);
    }
    Some(limit)
}

/// A bound; -1 is unlimited.
fn bound(item: &Item<'_>, report: &mut Report) -> Option<i64> {
    let expected = "a whole number, or -1 for unlimited";
    match item.word(expected, report)?.parse::<i64>() {
        Ok(number @ -1..) => Some(number),
        _ => item.wrong(expected, report),
    }
}
