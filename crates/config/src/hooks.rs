//! The `hooks` section: commands that a deployment runs once, in containers of their own.

use crate::container::words;
use crate::fields::{Field, Fields, Shape};
use crate::problem::Report;
use dockswap_core::hooks::{HookSpec, Hooks};
use std::time::Duration;

/// How long a command may take by default: a migration is seldom longer, and one that hangs is noticed.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Its fields.
pub(crate) const FIELDS: &[Field] = &[
    Field::new(
        "pre_deploy",
        Shape::Section(HOOK, &["command"]),
        "Run with the new image before anything of the new version is started, as for database migrations; its failure ends the deploy, the old version untouched.",
    ),
    Field::new(
        "post_deploy",
        Shape::Section(HOOK, &["command"]),
        "Run with the new image once the deploy is a success; its failure is on record, and changes nothing.",
    ),
];

/// The fields of one command.
const HOOK: &[Field] = &[
    Field::new("command", Shape::Command, "Replaces the image's CMD."),
    Field::new("entrypoint", Shape::Command, "Replaces the app's entrypoint; default the app's."),
    Field::new(
        "timeout",
        Shape::Duration { min: Duration::from_secs(1), max: Duration::from_secs(86_400) },
        "How long it may take; default 5m.",
    ),
];

/// Reads the section; `None`: it is absent.
pub(crate) fn decode(section: Option<&Fields<'_>>, report: &mut Report) -> Hooks {
    let Some(fields) = section else { return Hooks::default() };
    let mut hook = |key| {
        let section = fields.section(key, report)?;
        section.require("command", "bin/migrate", report);
        let command = section.take("command").and_then(|item| {
            let command = words(&item, report)?;
            if command.is_empty() {
                item.wrong("a command line, or a list of its words", report)
            } else {
                Some(command)
            }
        });
        let entrypoint = section.take("entrypoint").and_then(|item| words(&item, report));
        let timeout = section.duration("timeout", report).unwrap_or(TIMEOUT);
        Some(HookSpec { command: command?, entrypoint, timeout })
    };
    Hooks { pre_deploy: hook("pre_deploy"), post_deploy: hook("post_deploy") }
}
