//! A container that somebody made by hand, as Docker shows it.

use super::{Draft, Imported, literal};
use serde_yaml::{Mapping, Value};
use std::collections::BTreeMap;

/// A container as Docker shows it, without what its image says anyway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    /// Its name.
    pub name: String,
    /// The image as it was asked for.
    pub image: String,
    /// Variables that are not the image's.
    pub environment: BTreeMap<String, String>,
    /// Where they are not the image's.
    pub command: Option<Vec<String>>,
    /// Ditto.
    pub entrypoint: Option<Vec<String>>,
    /// Ditto.
    pub user: Option<String>,
    /// Ditto.
    pub working_dir: Option<String>,
    /// Labels that are not the image's.
    pub labels: BTreeMap<String, String>,
    /// The ports that it listens on, as far as its image or whoever made it says.
    pub ports: Vec<DescribedPort>,
    /// `src:dst`, or `src:dst:ro`.
    pub volumes: Vec<String>,
    /// The network that it is in; `None`: Docker's default one.
    pub network: Option<String>,
    /// In bytes.
    pub memory: Option<u64>,
    /// In billionths of a CPU.
    pub nano_cpus: Option<u64>,
    /// As an app file says it.
    pub restart_policy: Option<String>,
    /// Whether its root file system is read-only.
    pub read_only: bool,
    /// What it has that an app file does not say, by name.
    pub others: Vec<String>,
}

/// A port of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DescribedPort {
    /// Inside.
    pub container: u16,
    /// Of the host; `None`: it is not published.
    pub host: Option<u16>,
}

/// Makes an app file of `described`. The file does not say more than the container does: what it cannot say is noted.
#[must_use]
pub fn import_container(described: &Described) -> Imported {
    let mut draft = Draft::new(&described.name);
    draft.image.clone_from(&described.image);
    let published = described.ports.iter().filter(|port| port.host.is_some());
    let mut ports = published.chain(&described.ports);
    match ports.next() {
        Some(port) => {
            draft.docker("expose_port", port.container);
            draft.published = port.host;
        }
        None => {
            draft.docker("expose_port", 8080);
            draft.note("no port is exposed: write the one that the app listens on at docker.expose_port");
        }
    }
    for other in described.ports.iter().filter(|port| port.host.is_some()).skip(1) {
        draft.note(format!("port {} is not taken over: an app is served on one port", other.container));
    }
    if !described.environment.is_empty() {
        draft.note("its environment was copied: put what is secret into a file, and write ${file:PATH}");
        let pairs = described.environment.iter().map(|(name, value)| (name.as_str(), literal(value)));
        draft.docker(
            "environment",
            Value::Mapping(pairs.map(|(name, value)| (name.into(), value.into())).collect()),
        );
    }
    for (field, words) in [("command", &described.command), ("entrypoint", &described.entrypoint)] {
        if let Some(words) = words {
            draft.docker(field, words.iter().map(|word| Value::from(word.as_str())).collect::<Vec<_>>());
        }
    }
    for (field, text) in [
        ("user", &described.user),
        ("working_dir", &described.working_dir),
        ("network", &described.network),
        ("restart_policy", &described.restart_policy),
    ] {
        if let Some(text) = text {
            draft.docker(field, text.as_str());
        }
    }
    if !described.labels.is_empty() {
        let labels =
            described.labels.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into()));
        draft.docker("labels", Value::Mapping(labels.collect::<Mapping>()));
    }
    if !described.volumes.is_empty() {
        draft.note("its volumes are shared by both colors: for data that two versions cannot share, write deployment.strategy: recreate");
        draft.docker(
            "volumes",
            described.volumes.iter().map(|line| Value::from(line.as_str())).collect::<Vec<_>>(),
        );
    }
    if let Some(bytes) = described.memory {
        draft.docker("memory_limit", format!("{}k", bytes.div_ceil(1024)));
    }
    if let Some(nanos) = described.nano_cpus {
        draft.docker("cpu_limit", decimal(nanos));
    }
    if described.read_only {
        draft.docker("read_only", true);
    }
    for other in &described.others {
        draft.note(format!("{other} is not taken over: an app file does not say it"));
    }
    draft.finish()
}

/// Billionths as a decimal.
fn decimal(nanos: u64) -> String {
    let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Policy, parse_app};
    use std::path::Path;

    #[test]
    fn what_is_made_of_a_container_is_an_app_file() {
        let made = import_container(&Described {
            name: "my_web".to_owned(),
            image: "web:v1".to_owned(),
            environment: BTreeMap::from([("A".to_owned(), "x$y: #z".to_owned())]),
            command: Some(vec!["serve".to_owned(), "--all".to_owned()]),
            ports: vec![
                DescribedPort { container: 9000, host: None },
                DescribedPort { container: 8080, host: Some(8081) },
            ],
            volumes: vec!["data:/data:ro".to_owned()],
            memory: Some(1 << 28),
            nano_cpus: Some(1_500_000_000),
            restart_policy: Some("on-failure:3".to_owned()),
            others: vec!["privileged".to_owned()],
            ..Described::default()
        });
        assert_eq!(made.name, "my-web");
        assert!(made.text.contains("# privileged is not taken over"), "{}", made.text);
        let spec = parse_app(Path::new("x"), made.text.as_bytes(), Path::new("/"), &Policy::default());
        let spec = spec.unwrap_or_else(|problems| panic!("{problems:?}\n{}", made.text));
        assert_eq!(spec.image, "web:v1");
        assert_eq!(decimal(1_500_000_000), "1.5");
        assert_eq!(decimal(2_000_000_000), "2");
    }
}
