//! What a caller may not see does not stand in what they are told either: a sentence about their app may name another
//! one, whose route or host port it is. Those words are covered.

use super::access::Caller;
use super::error::Problem;
use super::wire;
use crate::run::state::State;
use dockswap_controller::{ContainerDrift, FileStatus};
use dockswap_core::ProjectName;
use serde_json::Value;
use std::collections::BTreeSet;

/// What stands where a name stood.
const COVER: &str = "(another app)";

/// The names that one caller must not read.
pub(super) struct Veil(BTreeSet<String>);

impl Caller {
    /// What is to be covered for this caller now.
    pub(super) fn veil(&self, state: &State) -> Veil {
        let mut hidden = BTreeSet::new();
        if self.sees_everything() {
            return Veil(hidden);
        }
        let sees = |project: Option<&ProjectName>| self.grants.on(project).is_some();
        for view in state.controller.views() {
            if !sees(view.project.as_ref()) {
                hidden.insert(view.app.to_string());
                hidden.extend(view.project.map(String::from));
            }
        }
        for file in state.intake.files() {
            if file.app.as_ref().is_none_or(|app| !self.sees(state, app)) {
                hidden.extend(file.path.file_stem().and_then(|stem| stem.to_str()).map(ToOwned::to_owned));
            }
        }
        let own = state.controller.views().into_iter().filter(|view| sees(view.project.as_ref()));
        for view in own {
            // What one may see is not covered for being called like what one may not.
            hidden.remove(view.app.as_str());
            if let Some(project) = view.project {
                hidden.remove(project.as_str());
            }
        }
        Veil(hidden)
    }
}

impl Veil {
    /// `text` without the names, as words and as those of containers.
    pub(super) fn over(&self, text: &str) -> String {
        if self.0.is_empty() {
            return text.to_owned();
        }
        let is_inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(|c: char| !is_inner(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            out.push_str(if self.hides(word) { COVER } else { word });
            let between = after.find(is_inner).unwrap_or(after.len());
            out.push_str(&after[..between]);
            rest = &after[between..];
        }
        out
    }

    fn hides(&self, word: &str) -> bool {
        let container = ["-blue-", "-green-"].into_iter().find_map(|color| word.split_once(color));
        self.0.contains(word) || container.is_some_and(|(app, _)| self.0.contains(app))
    }

    /// Covers what may name others in the description of an app.
    pub(super) fn over_app(&self, app: wire::App) -> wire::App {
        if self.0.is_empty() {
            return app;
        }
        let lines = |lines: Vec<String>| lines.iter().map(|line| self.over(line)).collect();
        let text = |text: Option<String>| text.map(|text| self.over(&text));
        let mut app = app;
        app.failure = text(app.failure);
        app.view.failed = text(app.view.failed);
        app.view.degraded = text(app.view.degraded);
        app.view.file = match app.view.file {
            FileStatus::Invalid { problems } => FileStatus::Invalid { problems: lines(problems) },
            FileStatus::Orphaned { reason } => FileStatus::Orphaned { reason: self.over(&reason) },
            FileStatus::Valid => FileStatus::Valid,
        };
        for file in &mut app.unused_files {
            file.problems = lines(std::mem::take(&mut file.problems));
        }
        app
    }

    /// Covers what may name others in what was found of a container: what it was given by hand may be another app's.
    pub(super) fn over_drift(&self, container: ContainerDrift) -> ContainerDrift {
        let mut container = container;
        for drift in &mut container.drift {
            drift.found = self.over(&drift.found);
        }
        container
    }

    /// Covers what may name others in an event.
    pub(super) fn over_event(&self, event: wire::Event) -> wire::Event {
        if self.0.is_empty() {
            return event;
        }
        let error = event.error.map(|error| self.over(&error));
        wire::Event { error, payload: self.over_prose(event.payload), ..event }
    }

    /// Covers names in sentences; a word alone is no sentence.
    fn over_prose(&self, value: Value) -> Value {
        match value {
            Value::String(text) if text.contains(' ') => Value::String(self.over(&text)),
            Value::Array(values) => values.into_iter().map(|value| self.over_prose(value)).collect(),
            Value::Object(fields) => {
                fields.into_iter().map(|(name, value)| (name, self.over_prose(value))).collect()
            }
            other => other,
        }
    }

    /// Covers what may name others in a refusal.
    pub(super) fn over_problem(&self, problem: Problem) -> Problem {
        if self.0.is_empty() { problem } else { problem.saying(|detail| self.over(detail)) }
    }
}

#[cfg(test)]
mod tests {
    use super::Veil;
    use dockswap_controller::ContainerDrift;
    use dockswap_core::ports::{Drift, Remedy};
    use dockswap_core::{Color, DeploymentId};
    use std::collections::BTreeSet;

    #[test]
    fn what_a_container_was_given_of_a_hidden_app_is_covered() {
        let veil = Veil(BTreeSet::from(["bank".to_owned()]));
        let drift = |found: &str| ContainerDrift {
            app: "shop".parse().expect("a name"),
            name: "shop-blue-1".to_owned(),
            color: Color::Blue,
            deployment: DeploymentId(1),
            replica: 1,
            live: true,
            drift: vec![Drift {
                field: "networks".to_owned(),
                asked: "dockswap".to_owned(),
                found: found.to_owned(),
                remedy: Remedy::Leave,
            }],
        };
        assert_eq!(veil.over_drift(drift("dockswap, bank")), drift("dockswap, (another app)"));
        assert_eq!(Veil(BTreeSet::new()).over_drift(drift("bank")), drift("bank"));
    }

    #[test]
    fn hidden_names_are_covered_wherever_they_are_words() {
        let veil = Veil(BTreeSet::from(["bank-web".to_owned(), "bank".to_owned()]));
        for (text, covered) in [
            ("bank-web has the route a.org", "(another app) has the route a.org"),
            ("apps/bank-web.yaml:3:1: taken", "apps/(another app).yaml:3:1: taken"),
            ("port 80 is bank-web-blue-12-1's", "port 80 is (another app)'s"),
            ("bank-webs, mybank and é-bank", "bank-webs, mybank and é-(another app)"),
            ("", ""),
        ] {
            assert_eq!(veil.over(text), covered.replace("é-(another app)", "é-bank"));
        }
    }
}
