//! App files for what is described elsewhere: in a Compose file. What dockswap does not do is said, never dropped in
//! silence. Reads nothing itself: texts come in, texts go out.

mod compose;
mod interpolate;

pub use compose::{ComposeError, import_compose};

use serde_yaml::{Mapping, Value};

/// An app file that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The app's name: what it was called, as far as that is a DNS label.
    pub name: String,
    /// The file, with `notes` as comments at its head.
    pub text: String,
    /// What a person should know or do.
    pub notes: Vec<String>,
}

/// What was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Import {
    /// By name.
    pub apps: Vec<Imported>,
    /// What was left where it is, with the reason.
    pub left: Vec<String>,
}

/// An app file in the making.
#[derive(Debug, Default)]
struct Draft {
    name: String,
    image: String,
    replicas: Option<u64>,
    docker: Mapping,
    health_check: Mapping,
    deployment: Mapping,
    /// The port that whoever asked it has asked so far; `None`: none is published.
    published: Option<u16>,
    notes: Vec<String>,
}

impl Draft {
    fn new(called: &str) -> Self {
        let mut draft = Self { name: label(called), ..Self::default() };
        if draft.name != called {
            draft.note(format!("`{called}` is no DNS label, so the app is called {}", draft.name));
        }
        draft
    }

    fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Sets a field of `docker`.
    fn docker(&mut self, field: &str, value: impl Into<Value>) {
        self.docker.insert(field.into(), value.into());
    }

    fn finish(mut self) -> Imported {
        let mut file = Mapping::new();
        file.insert("name".into(), self.name.clone().into());
        file.insert("image".into(), self.image.clone().into());
        if let Some(replicas) = self.replicas.filter(|&replicas| replicas != 1) {
            file.insert("replicas".into(), replicas.into());
        }
        file.insert("docker".into(), Value::Mapping(self.docker.clone()));
        for (field, section) in [("health_check", &self.health_check), ("deployment", &self.deployment)] {
            if !section.is_empty() {
                file.insert(field.into(), Value::Mapping(section.clone()));
            }
        }
        if let Some(port) = self.published {
            file.insert("routes".into(), Value::Sequence(vec![Value::Mapping(self.route(port))]));
        }
        // Nothing in it that has no text: mappings of texts, numbers and truth values.
        let body = serde_yaml::to_string(&file).unwrap_or_default();
        let notes = self.notes.iter().map(|note| note.replace('\n', "\n# "));
        let head = notes.fold(String::new(), |head, note| head + "# " + &note + "\n");
        let gap = if head.is_empty() { "" } else { "\n" };
        Imported { name: self.name, text: format!("{head}{gap}{body}"), notes: self.notes }
    }

    /// Where the traffic came in.
    fn route(&mut self, port: u16) -> Mapping {
        let mut route = Mapping::new();
        if port == 80 || port == 443 {
            self.note(format!(
                "it was published on port {port}, the proxy's own: this route takes every host there; write `host:` to share it"
            ));
            route.insert("path_prefix".into(), "/".into());
        } else {
            self.note(format!(
                "the proxy will listen on port {port} for it: whatever publishes that port now has to be stopped before"
            ));
            route.insert("listen_port".into(), port.into());
        }
        route
    }
}

/// `text` as a DNS label; what cannot be in one becomes a hyphen.
fn label(text: &str) -> String {
    let known = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let label: String = text.chars().map(known).take(63).collect();
    match label.trim_matches('-') {
        "" => "app".to_owned(),
        label => label.to_owned(),
    }
}

/// `text` as a value of an app file in which nothing is a reference.
fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

#[cfg(test)]
mod tests {
    use super::{label, literal};

    #[test]
    fn names_become_labels() {
        assert_eq!(label("My_App.web"), "my-app-web");
        assert_eq!(label("--"), "app");
        assert_eq!(label(&format!("{}-x", "a".repeat(62))), "a".repeat(62));
        assert_eq!(literal("a$b${c}"), "a$$b$${c}");
    }
}
