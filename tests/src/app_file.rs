//! App files, as a person would write them.

use std::collections::BTreeMap;
use std::fmt;

/// An app file of the demo app. What is not said is short, so that tests are.
#[derive(Clone, Debug)]
pub struct AppFile {
    name: String,
    image: String,
    environment: BTreeMap<String, String>,
    docker: BTreeMap<String, String>,
    health_check: BTreeMap<String, String>,
    deployment: BTreeMap<String, String>,
    lines: Vec<String>,
}

impl AppFile {
    /// An app that runs `dockswap-demo:v1`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        Self {
            name: name.to_owned(),
            image: "dockswap-demo:v1".to_owned(),
            environment: BTreeMap::new(),
            docker: map(&[("expose_port", "8080")]),
            health_check: map(&[("endpoint", "/health"), ("interval", "200ms"), ("timeout", "2s")]),
            deployment: map(&[
                ("startup_timeout", "30s"),
                ("drain_timeout", "10s"),
                ("stop_timeout", "3s"),
                ("watch", "300ms"),
            ]),
            lines: Vec::new(),
        }
    }

    /// Another image of the demo app, by its tag; or any image, by its whole name.
    #[must_use]
    pub fn image(mut self, image: &str) -> Self {
        self.image =
            if image.contains([':', '/']) { image.to_owned() } else { format!("dockswap-demo:{image}") };
        self
    }

    /// What the app calls itself: every answer names it.
    #[must_use]
    pub fn version(self, version: &str) -> Self {
        self.env("VERSION", version)
    }

    /// A variable of the container.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A field of `docker`.
    #[must_use]
    pub fn docker(mut self, key: &str, value: &str) -> Self {
        self.docker.insert(key.to_owned(), value.to_owned());
        self
    }

    /// A field of `health_check`.
    #[must_use]
    pub fn health_check(mut self, key: &str, value: &str) -> Self {
        self.health_check.insert(key.to_owned(), value.to_owned());
        self
    }

    /// A field of `deployment`.
    #[must_use]
    pub fn deployment(mut self, key: &str, value: &str) -> Self {
        self.deployment.insert(key.to_owned(), value.to_owned());
        self
    }

    /// A line of its own at the end.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// Whose file it is.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for AppFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "name: {}\nimage: {}", self.name, self.image)?;
        let section = |f: &mut fmt::Formatter<'_>, name: &str, fields: &BTreeMap<String, String>| {
            writeln!(f, "{name}:")?;
            fields.iter().try_for_each(|(key, value)| writeln!(f, "  {key}: {value}"))
        };
        section(f, "docker", &self.docker)?;
        if !self.environment.is_empty() {
            writeln!(f, "  environment:")?;
            self.environment.iter().try_for_each(|(key, value)| writeln!(f, "    {key}: {value:?}"))?;
        }
        section(f, "health_check", &self.health_check)?;
        section(f, "deployment", &self.deployment)?;
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// The version that an app file gives the demo app; empty: the image's own.
pub(crate) fn version_in(yaml: &str) -> String {
    let line = yaml.lines().find_map(|line| line.trim().strip_prefix("VERSION: "));
    line.unwrap_or_default().trim_matches('"').to_owned()
}
