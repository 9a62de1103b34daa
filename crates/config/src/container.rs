//! The `docker` section: how containers are made.

use crate::app::Surroundings;
use crate::fields::{Field, Fields, Item, Shape};
use crate::mappings;
use crate::problem::Report;
use crate::scalar::quantity;
use crate::variables;
use crate::volumes;
use dockswap_core::Color;
use dockswap_core::spec::{ContainerOptions, Protocol, PullPolicy, RestartPolicy};
use std::collections::BTreeMap;

/// Its fields.
pub(crate) const FIELDS: &[Field] = &[
    Field::new("expose_port", Shape::Port, "The port on which the app listens inside the container."),
    Field::new(
        "protocol",
        Shape::Choice(&["http1", "h2c"]),
        "What it speaks there: http1 (HTTP/1.1), or h2c (HTTP/2 without TLS, as gRPC servers do); default http1.",
    ),
    Field::new(
        "environment",
        Shape::Environment,
        "Environment variables; ${env:X} and ${file:PATH} are resolved when the container is created and never stored.",
    ),
    Field::new(
        "environment_overrides",
        Shape::Section(OVERRIDES, &[]),
        "Environment variables of one color; they win over environment.",
    ),
    Field::new(
        "env_file",
        Shape::Texts,
        "Files of NAME=value lines, read when the container is created; environment wins over them.",
    ),
    Field::new("command", Shape::Command, "Replaces the image's CMD."),
    Field::new("entrypoint", Shape::Command, "Replaces the image's ENTRYPOINT."),
    Field::new("user", Shape::User, "user[:group], by name or number."),
    Field::new("working_dir", Shape::Text, "Absolute path inside the container."),
    Field::new("labels", Shape::Labels, "Labels of the containers; none may begin with `dockswap.`."),
    Field::new("read_only", Shape::Bool, "Whether the root file system is read-only; default false."),
    Field::new("tmpfs", Shape::Tmpfs, "Mount points in memory, as in /tmp or /tmp:size=64m."),
    Field::new("extra_hosts", Shape::ExtraHosts, "Lines for /etc/hosts, as in db:10.0.0.5."),
    Field::new("ulimits", Shape::Ulimits, "Resource limits, as in nofile: 65536."),
    Field::new("init", Shape::Bool, "Whether a tiny init is process 1; default false."),
    Field::new(
        "volumes",
        Shape::Volumes,
        "Volumes and bind mounts, as in data:/data or /srv/files:/files:ro; shared by both colors.",
    ),
    Field::new("memory_limit", Shape::Size, "As in 512m or 1.5g; default none."),
    Field::new("cpu_limit", Shape::Cpus, "CPUs, as in 0.5 or 2; default none."),
    Field::new(
        "restart_policy",
        Shape::Restart,
        "no, always, on-failure[:n] or unless-stopped; default unless-stopped.",
    ),
    Field::new(
        "pull_policy",
        Shape::Choice(&["always", "missing", "never"]),
        "When the image is fetched; default missing.",
    ),
    Field::new(
        "network",
        Shape::Text,
        "The bridge network of the containers, made when absent; default dockswap.",
    ),
];

/// The fields of `environment_overrides`.
const OVERRIDES: &[Field] = &[
    Field::new("blue", Shape::Environment, "Of the blue slot."),
    Field::new("green", Shape::Environment, "Of the green slot."),
];

/// Reads the section. `None`: the port is missing or wrong, and `report` says so.
pub(crate) fn decode(
    fields: &Fields<'_>,
    around: &Surroundings<'_>,
    report: &mut Report,
) -> Option<ContainerOptions> {
    fields.require("expose_port", "8080", report);
    let expose_port = fields.integer("expose_port", report);
    let environment = fields.take("environment").and_then(|item| variables::decode(&item, around, report));
    let env_file = fields.take("env_file").and_then(|item| variables::files(&item, around, report));
    let tmpfs = fields.take("tmpfs").and_then(|item| mappings::tmpfs(&item, report)).unwrap_or_default();
    let volumes = fields.take("volumes").and_then(|item| volumes::decode(&item, &tmpfs, around, report));
    let options = ContainerOptions {
        expose_port: expose_port.unwrap_or_default(),
        protocol: match fields.choice("protocol", report) {
            Some("h2c") => Protocol::H2c,
            _ => Protocol::Http1,
        },
        environment: environment.unwrap_or_default(),
        environment_overrides: overrides(fields, around, report),
        env_file: env_file.unwrap_or_default(),
        command: fields.take("command").and_then(|item| words(&item, report)),
        entrypoint: fields.take("entrypoint").and_then(|item| words(&item, report)),
        user: fields.take("user").and_then(|item| user(&item, report)),
        working_dir: fields.take("working_dir").and_then(|item| working_dir(&item, report)),
        labels: fields.take("labels").and_then(|item| mappings::labels(&item, report)).unwrap_or_default(),
        read_only: fields.bool("read_only", report).unwrap_or(false),
        tmpfs,
        extra_hosts: fields
            .take("extra_hosts")
            .and_then(|i| mappings::extra_hosts(&i, report))
            .unwrap_or_default(),
        ulimits: fields.take("ulimits").and_then(|item| mappings::ulimits(&item, report)).unwrap_or_default(),
        init: fields.bool("init", report).unwrap_or(false),
        volumes: volumes.unwrap_or_default(),
        memory_limit_bytes: fields.take("memory_limit").and_then(|item| {
            let text = item.word("an amount of memory such as 512m or 1.5g", report)?;
            item.parsed(quantity::memory(text), report)
        }),
        cpu_limit_nanos: fields.take("cpu_limit").and_then(|item| {
            let text = item.word("a number of CPUs such as 0.5 or 2", report)?;
            item.parsed(quantity::cpus(text), report)
        }),
        restart_policy: fields
            .take("restart_policy")
            .and_then(|item| restart_policy(&item, report))
            .unwrap_or(RestartPolicy::UnlessStopped),
        pull_policy: match fields.choice("pull_policy", report) {
            Some("always") => PullPolicy::Always,
            Some("never") => PullPolicy::Never,
            _ => PullPolicy::Missing,
        },
        network: fields
            .take("network")
            .and_then(|item| network(&item, report))
            .unwrap_or_else(|| "dockswap".to_owned()),
    };
    expose_port.map(|_| options)
}

fn overrides(
    fields: &Fields<'_>,
    around: &Surroundings<'_>,
    report: &mut Report,
) -> BTreeMap<Color, BTreeMap<String, dockswap_core::spec::Template>> {
    let Some(section) = fields.section("environment_overrides", report) else { return BTreeMap::new() };
    let of = |color: Color| {
        let item = section.take(color.as_str())?;
        Some((color, variables::decode(&item, around, report)?))
    };
    [Color::Blue, Color::Green].into_iter().filter_map(of).collect()
}

/// A command line, split as a shell would, or its words.
fn words(item: &Item<'_>, report: &mut Report) -> Option<Vec<String>> {
    let expected = "a command line, or a list of its words";
    if let Some(line) = item.scalar() {
        item.word(expected, report)?;
        let unclosed = || "a quote is not closed: close it, or write a list of words".to_owned();
        return item.parsed(shlex::split(&line.text).ok_or_else(unclosed), report);
    }
    let items = item.items(report, expected)?;
    Some(items.iter().filter_map(|item| item.value("a word", report).map(str::to_owned)).collect())
}

fn user(item: &Item<'_>, report: &mut Report) -> Option<String> {
    let expected = "user or user:group, by name or number";
    let text = item.word(expected, report)?;
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-$".contains(&b))
    };
    let (user, group) = text.split_once(':').unwrap_or((text, "0"));
    if part(user) && part(group) { Some(text.to_owned()) } else { item.wrong(expected, report) }
}

fn working_dir(item: &Item<'_>, report: &mut Report) -> Option<String> {
    let text = item.text(report)?;
    if text.starts_with('/') {
        return Some(text.to_owned());
    }
    item.wrong("an absolute path inside the container, as in /app", report)
}

fn restart_policy(item: &Item<'_>, report: &mut Report) -> Option<RestartPolicy> {
    let expected = "no, always, on-failure, on-failure:5 or unless-stopped";
    let text = item.word(expected, report)?;
    match text.split_once(':') {
        None => match text {
            "no" => Some(RestartPolicy::No),
            "always" => Some(RestartPolicy::Always),
            "on-failure" => Some(RestartPolicy::OnFailure(None)),
            "unless-stopped" => Some(RestartPolicy::UnlessStopped),
            _ => item.wrong(expected, report),
        },
        Some(("on-failure", times)) => match times.parse::<u32>() {
            Ok(times @ 1..) => Some(RestartPolicy::OnFailure(Some(times))),
            _ => item.wrong("on-failure:N with N at least 1", report),
        },
        Some(_) => item.wrong(expected, report),
    }
}

fn network(item: &Item<'_>, report: &mut Report) -> Option<String> {
    let text = item.text(report)?;
    if matches!(text, "host" | "none" | "default") || text.starts_with("container:") {
        let reason = "the proxy cannot reach the app there; write the name of a bridge network; no server setting allows it";
        return item.refuse(format!("{text} is refused: {reason}"), report);
    }
    let valid = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        && text.as_bytes()[0].is_ascii_alphanumeric();
    if valid { Some(text.to_owned()) } else { item.wrong("letters, digits, `_`, `.` and `-`", report) }
}
