//! The help of every command, as one text that is kept beside the code: a change of it is seen in
//! review. `UPDATE=1 cargo test -p dockswap help` writes it anew.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::Cli;
use clap::{Command, CommandFactory};
use std::fmt::Write;

#[test]
fn the_commands_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn the_help_of_every_command_is_the_reviewed_one() {
    let mut command = Cli::command().term_width(100);
    command.build();
    let mut text = String::new();
    write_help(&mut command, &mut text);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/help.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let reviewed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(text == reviewed, "the help has changed: review it, and run this test with UPDATE=1");
}

fn write_help(command: &mut Command, text: &mut String) {
    let help = command.render_long_help();
    write!(text, "{help}\n{}\n\n", "=".repeat(100)).unwrap();
    for verb in command.get_subcommands_mut().filter(|verb| verb.get_name() != "help") {
        write_help(verb, text);
    }
}
