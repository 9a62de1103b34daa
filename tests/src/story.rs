//! The story of one app as its events tell it, put together without the product's own code: which
//! deployment was to have the traffic, and when. It knows the tables and nothing else.

use crate::app_file::version_in;
use crate::database::{Database, Row};
use crate::load::Sample;
use crate::time::{Micros, micros};
use serde_json::Value;
use std::collections::BTreeMap;

/// A committed transition.
#[derive(Clone, Debug)]
struct Event {
    deployment: i64,
    kind: String,
    at: Micros,
    payload: Value,
}

/// From when a deployment has the traffic; until the next reign.
#[derive(Clone, Copy, Debug)]
struct Reign {
    /// The route may have moved from then on.
    begins: Micros,
    /// It has moved: the proxy's confirmation was committed.
    confirmed: Micros,
    /// Whose; `None`: the app is taken out of service.
    deployment: Option<i64>,
}

/// The story of one app.
#[derive(Clone, Debug)]
pub struct Story {
    app: String,
    events: Vec<Event>,
    reigns: Vec<Reign>,
    /// Whom each deployment took the traffic from.
    taken_from: BTreeMap<i64, Option<i64>>,
    /// What each deployment's config calls the version.
    versions: BTreeMap<i64, String>,
}

impl Story {
    /// Reads it.
    #[must_use]
    pub fn of(app: &str, database: &Database) -> Self {
        let text = |row: &Row, column: &str| row[column].as_str().unwrap_or_default().to_owned();
        let sql = "SELECT deployment_id, event_type, payload, created_at FROM deployment_events
                   WHERE app_name = ?1 ORDER BY id";
        let events = database.rows(sql, &[app]).into_iter().map(|row| Event {
            deployment: row["deployment_id"].as_i64().unwrap_or_default(),
            kind: text(&row, "event_type"),
            at: micros(&text(&row, "created_at")),
            payload: serde_json::from_str(&text(&row, "payload")).expect("a payload of JSON"),
        });
        // What was refused has changed nothing.
        let events: Vec<Event> = events.filter(|event| event.payload.get("refused").is_none()).collect();
        let sql = "SELECT d.id, CAST(c.config_yaml AS TEXT) AS yaml FROM deployments d
                   JOIN app_configs c ON c.id = d.config_id WHERE d.app_name = ?1";
        let versions = database.rows(sql, &[app]).into_iter();
        let versions =
            versions.map(|row| (row["id"].as_i64().unwrap_or_default(), version_in(&text(&row, "yaml"))));
        let (reigns, taken_from) = reigns(&events);
        Self { app: app.to_owned(), events, reigns, taken_from, versions: versions.collect() }
    }

    /// The version that has the traffic at the end; `None`: none has.
    #[must_use]
    pub fn serves(&self) -> Option<&str> {
        let deployment = self.reigns.last()?.deployment?;
        self.versions.get(&deployment).map(String::as_str)
    }

    /// The deployments whose containers the app may still have a use for: the one that has the traffic, first,
    /// and the one that it took it from.
    #[must_use]
    pub fn kept(&self) -> Vec<i64> {
        let Some(live) = self.reigns.last().and_then(|reign| reign.deployment) else { return Vec::new() };
        let before = self.taken_from.get(&live).copied().flatten();
        std::iter::once(live).chain(before).collect()
    }

    /// Where events, `deployments` and `current_state` contradict each other. The app must be settled.
    #[must_use]
    pub fn contradictions(&self, database: &Database) -> Vec<String> {
        let mut found = Vec::new();
        let mut before = "pending".to_owned();
        for (at, event) in (1_u64..).zip(&self.events) {
            let (from, to) = (&event.payload["from"], &event.payload["to"]);
            if event.payload["version"].as_u64() != Some(at) {
                found.push(format!(
                    "transition {at} is recorded as {}: {}",
                    event.payload["version"], event.kind
                ));
            }
            if from != &before {
                found.push(format!("{} came from {from}, and the event before led to {before}", event.kind));
            }
            to.as_str().unwrap_or_default().clone_into(&mut before);
        }
        let app = self.app.as_str();
        let state = database.rows("SELECT * FROM current_state WHERE app_name = ?1", &[app]);
        match (state.first(), self.events.last()) {
            (Some(state), Some(last)) => {
                for (column, field) in
                    [("status", "to"), ("active_color", "active_color"), ("image", "image")]
                {
                    if state[column] != last.payload[field] {
                        found.push(format!(
                            "current_state says {state:?}, and the last event {}",
                            last.payload
                        ));
                    }
                }
            }
            (state, last) => found.push(format!("current_state says {state:?}, and the last event {last:?}")),
        }
        let begun = self.events.iter().filter(|event| event.kind == "deploy").count();
        let rows = database.rows("SELECT id, status FROM deployments WHERE app_name = ?1", &[app]);
        if begun != rows.len() {
            found.push(format!("{begun} deployments were begun, and {} have a row", rows.len()));
        }
        let open = rows.iter().filter(|row| row["status"] == "in_progress");
        found.extend(open.map(|row| format!("deployment {} is in progress, and nothing goes on", row["id"])));
        found
    }

    /// Answers of a version whose gate had not been passed.
    #[must_use]
    pub fn answers_before_the_gate(&self, samples: &[Sample]) -> Vec<String> {
        let mut passed: BTreeMap<&str, Micros> = BTreeMap::new();
        for event in self.events.iter().filter(|event| event.kind == "health_check_passed") {
            if let Some(version) = self.versions.get(&event.deployment) {
                passed.entry(version).or_insert(event.at);
            }
        }
        let early =
            |sample: &&Sample| passed.get(sample.version.as_str()).is_none_or(|at| *at > sample.ended);
        samples
            .iter()
            .filter(early)
            .map(|sample| format!("{sample:?} came before its gate was passed"))
            .collect()
    }

    /// Answers of another version than the one that was switched to, to requests that were made after
    /// that switch was confirmed and before the next one could have begun.
    #[must_use]
    pub fn answers_after_the_switch(&self, samples: &[Sample]) -> Vec<String> {
        let mut found = Vec::new();
        for sample in samples {
            let next = self.reigns.partition_point(|reign| reign.confirmed < sample.began);
            let Some(reign) = next.checked_sub(1).and_then(|at| self.reigns.get(at)) else { continue };
            let is_over = self.reigns.get(next).is_some_and(|next| next.begins <= sample.ended);
            let expected = reign.deployment.and_then(|deployment| self.versions.get(&deployment));
            if !is_over && expected != Some(&sample.version) {
                found.push(format!("{sample:?} came when {expected:?} had the traffic"));
            }
        }
        found
    }

    /// Signals to containers that had the traffic, or had it and were not drained. `stops`: when, and to a
    /// container of which deployment.
    #[must_use]
    pub fn stops_too_early(&self, stops: &[(Micros, i64)]) -> Vec<String> {
        let mut found = Vec::new();
        for (at, deployment) in stops {
            let next = self.reigns.partition_point(|reign| reign.confirmed <= *at);
            let past = self.reigns.get(..next).unwrap_or_default();
            // The last reign of that deployment, and the one that followed.
            let Some(last) = past.iter().rposition(|reign| reign.deployment == Some(*deployment)) else {
                continue;
            };
            let Some(after) = past.get(last + 1) else {
                found.push(format!("deployment {deployment} had the traffic when it was stopped at {at}"));
                continue;
            };
            let mut drains = self.events.iter().filter(|event| event.kind.starts_with("drain_"));
            if !drains.any(|drain| (after.confirmed..=*at).contains(&drain.at)) {
                found.push(format!("deployment {deployment} was stopped at {at} before its drain had ended"));
            }
        }
        found
    }
}

/// Who had the traffic when, by the confirmed switches, and whom each took it from.
fn reigns(events: &[Event]) -> (Vec<Reign>, BTreeMap<i64, Option<i64>>) {
    let mut reigns: Vec<Reign> = Vec::new();
    let mut taken_from: BTreeMap<i64, Option<i64>> = BTreeMap::new();
    let mut entered = 0;
    for event in events {
        let (from, to) = (event.payload["from"].as_str(), event.payload["to"].as_str());
        if event.kind == "traffic_switched" {
            // Also of what had it before requests were held.
            let last = reigns.iter().rev().find_map(|reign| reign.deployment);
            let nobody = event.payload.get("active_color").is_some_and(Value::is_null);
            let next = match from {
                _ if nobody => None,
                Some("switching") => {
                    taken_from.insert(event.deployment, last);
                    Some(event.deployment)
                }
                Some("rolling_back") if last == Some(event.deployment) => {
                    taken_from.get(&event.deployment).copied().flatten()
                }
                // It had never been switched to.
                Some("rolling_back") => last,
                _ => None,
            };
            reigns.push(Reign { begins: entered, confirmed: event.at, deployment: next });
        }
        if from != to {
            entered = event.at;
        }
    }
    (reigns, taken_from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Kind;
    use serde_json::json;

    fn event(at: Micros, deployment: i64, kind: &str, from: &str, to: &str) -> Event {
        Event { deployment, kind: kind.to_owned(), at, payload: json!({ "from": from, "to": to }) }
    }

    /// One serves; two takes over at 25, and at 40 the traffic goes back.
    fn story() -> Story {
        let events = vec![
            event(5, 1, "health_check_passed", "health_check", "switching"),
            event(10, 1, "traffic_switched", "switching", "draining"),
            event(20, 2, "health_check_passed", "health_check", "switching"),
            event(22, 2, "resumed", "switching", "switching"),
            event(25, 2, "traffic_switched", "switching", "draining"),
            event(30, 2, "drain_complete", "draining", "watching"),
            event(35, 2, "cancel", "watching", "rolling_back"),
            event(40, 2, "traffic_switched", "rolling_back", "rolling_back"),
            event(45, 2, "drain_complete", "rolling_back", "rolling_back"),
        ];
        let versions = BTreeMap::from([(1, "one".to_owned()), (2, "two".to_owned())]);
        let (reigns, taken_from) = reigns(&events);
        Story { app: "web".to_owned(), events, reigns, taken_from, versions }
    }

    /// Nobody has the traffic while requests are held, and whoever had it before gets it back.
    #[test]
    fn a_hold_is_nobodys_reign() {
        let switched = |at, deployment, from: &str, to: &str, color: Option<&str>| {
            let mut event = event(at, deployment, "traffic_switched", from, to);
            event.payload["active_color"] = json!(color);
            event
        };
        let reigned = |events: &[Event]| -> Vec<Option<i64>> {
            reigns(events).0.iter().map(|reign| reign.deployment).collect()
        };
        let first = switched(10, 1, "switching", "draining", Some("blue"));
        let held = switched(20, 2, "holding", "holding", None);
        let taken = switched(30, 2, "switching", "watching", Some("green"));
        let held_again = switched(40, 2, "rolling_back", "rolling_back", None);
        let back = switched(50, 2, "rolling_back", "stable", Some("blue"));
        let all = [first.clone(), held.clone(), taken, held_again, back.clone()];
        assert_eq!(reigned(&all), [Some(1), None, Some(2), None, Some(1)]);
        assert_eq!(reigned(&[first, held, back]), [Some(1), None, Some(1)]);
    }

    fn sample(began: Micros, ended: Micros, version: &str) -> Sample {
        Sample { kind: Kind::OneShot, began, ended, version: version.to_owned(), container: String::new() }
    }

    #[test]
    fn the_traffic_follows_the_events() {
        let story = story();
        let fine = [
            sample(11, 12, "one"),
            sample(21, 21, "two"),
            sample(21, 21, "one"),
            sample(26, 27, "two"),
            sample(34, 36, "one"),
            sample(41, 42, "one"),
        ];
        assert!(story.answers_after_the_switch(&fine).is_empty());
        assert!(story.answers_before_the_gate(&fine).is_empty());
        assert_eq!(story.serves(), Some("one"));
        for wrong in [sample(11, 12, "two"), sample(26, 27, "one"), sample(41, 42, "two")] {
            assert_eq!(story.answers_after_the_switch(&[wrong]).len(), 1);
        }
        for early in [sample(18, 19, "two"), sample(41, 42, "three")] {
            assert_eq!(story.answers_before_the_gate(&[early]).len(), 1);
        }
    }

    #[test]
    fn what_has_the_traffic_is_not_stopped() {
        let story = story();
        assert!(story.stops_too_early(&[(31, 1), (46, 2), (46, 3)]).is_empty());
        for early in [(11, 1), (26, 2), (26, 1), (44, 2), (41, 1)] {
            assert_eq!(story.stops_too_early(&[early]).len(), 1, "{early:?}");
        }
    }

    /// Records as the product writes them, but for what `change` does to them.
    fn contradictions(change: &str) -> Vec<String> {
        let home = tempfile::tempdir().expect("a directory for temporary files");
        let path = home.path().join("records.db");
        let records = rusqlite::Connection::open(&path).expect("a database");
        let sql = r#"
            CREATE TABLE app_configs (id INTEGER, config_yaml BLOB);
            CREATE TABLE deployments (id INTEGER, app_name TEXT, config_id INTEGER, status TEXT);
            CREATE TABLE current_state (app_name TEXT, status TEXT, active_color TEXT, image TEXT);
            CREATE TABLE deployment_events (id INTEGER, deployment_id INTEGER, app_name TEXT, event_type TEXT,
                                            payload TEXT, created_at TEXT);
            INSERT INTO app_configs VALUES (1, 'VERSION: "one"');
            INSERT INTO deployments VALUES (1, 'web', 1, 'success');
            INSERT INTO current_state VALUES ('web', 'stable', 'blue', 'app:v1');
            INSERT INTO deployment_events VALUES
                (1, 1, 'web', 'deploy', '{"version": 1, "from": "pending", "to": "pulling"}', '2026-11-21T07:00:00Z'),
                (2, 1, 'web', 'cancel', '{"refused": "not now"}', '2026-11-21T07:00:01Z'),
                (3, 1, 'web', 'watch_passed', '{"version": 2, "from": "pulling", "to": "stable",
                 "active_color": "blue", "image": "app:v1"}', '2026-11-21T07:00:02Z');"#;
        records.execute_batch(sql).and_then(|()| records.execute_batch(change)).expect("records");
        let database = Database::at(path);
        Story::of("web", &database).contradictions(&database)
    }

    #[test]
    fn records_that_contradict_each_other_are_found() {
        assert_eq!(contradictions(""), Vec::<String>::new());
        for change in [
            "DELETE FROM deployment_events WHERE id = 1",
            "INSERT INTO deployment_events SELECT * FROM deployment_events WHERE id = 3",
            "UPDATE current_state SET status = 'failed'",
            "UPDATE current_state SET active_color = 'green'",
            "UPDATE current_state SET image = 'app:v2'",
            "DELETE FROM current_state",
            "UPDATE deployments SET status = 'in_progress'",
            "DELETE FROM deployments",
        ] {
            assert!(!contradictions(change).is_empty(), "{change}");
        }
    }
}
