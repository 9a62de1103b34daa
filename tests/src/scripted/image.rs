//! Images: those on the host, those in a registry, and what a registry says instead of giving one.

use std::time::Duration;

/// An image.
#[derive(Clone, Debug)]
pub(super) struct Image {
    /// `sha256:…`
    pub(super) id: String,
    /// Every `name:tag`.
    pub(super) tags: Vec<String>,
    /// Every `name@sha256:…`.
    pub(super) digests: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
}

impl Image {
    pub(super) fn is_named(&self, name: &str) -> bool {
        let full = if name.contains('@') || last(name).contains(':') {
            name.to_owned()
        } else {
            format!("{name}:latest")
        };
        self.id == name || self.tags.contains(&full) || self.digests.contains(&full)
    }
}

fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// What a pull of one image meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pull {
    /// The image, whose containers have this environment.
    Gives(Vec<(String, String)>),
    /// The image, a piece every so often, in so many pieces.
    Crawls(Vec<(String, String)>, Duration, u32),
    /// No answer but these words, with this status.
    Says(u16, String),
    /// It begins well, and then these words come.
    Breaks(String),
    /// It begins well, and then Docker's connection is cut.
    Cut,
    /// It begins well, and then nothing more comes.
    Stalls,
}

/// Names and values, owned.
#[must_use]
pub fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The images that `scripts/build-demo-images` makes, and a few that only a scripted Docker can have.
pub(super) const DEMO: &[(&str, &[(&str, &str)])] = &[
    ("v1", &[("VERSION", "v1")]),
    ("v2", &[("VERSION", "v2")]),
    ("v3", &[("VERSION", "v3")]),
    ("exits", &[("VERSION", "exits"), ("EXIT_AFTER_MS", "0"), ("EXIT_CODE", "3")]),
    ("exits-well", &[("VERSION", "exits-well"), ("EXIT_AFTER_MS", "0"), ("EXIT_CODE", "0")]),
    ("never-healthy", &[("VERSION", "never-healthy"), ("HEALTH_STATUS", "503")]),
    ("turns-unhealthy", &[("VERSION", "turns-unhealthy"), ("UNHEALTHY_AFTER_MS", "3000")]),
    ("flaps", &[("VERSION", "flaps"), ("UNHEALTHY_EVERY", "2")]),
    ("slow-boot", &[("VERSION", "slow-boot"), ("BOOT_MS", "3000")]),
    ("ignores-sigterm", &[("VERSION", "ignores-sigterm"), ("IGNORE_SIGTERM", "1")]),
    ("out-of-memory", &[("VERSION", "out-of-memory"), ("OUT_OF_MEMORY_AFTER_MS", "0")]),
];
