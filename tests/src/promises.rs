//! The promises, judged from outside after every fault: by the records, by what was asked of the
//! scripted Docker, and by what traffic saw. Each must tell the same story.

use crate::database::Row;
use crate::docker::Container;
use crate::load::{Report, Sample};
use crate::scripted::{Call, ScriptedDocker};
use crate::site::Site;
use crate::time::{Micros, micros};
use dockswap_proof::Proof;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long what is left over may take until it is gone.
const CLEAN_UP: Duration = Duration::from_secs(40);

/// The promises that hold whatever goes wrong, as counted by one test.
#[derive(Debug)]
pub struct Promises {
    proofs: BTreeMap<&'static str, Proof>,
}

/// What is judged, with what must be known of it.
struct Case<'a> {
    site: &'a Site,
    docker: &'a ScriptedDocker,
    app: &'a str,
    report: &'a Report,
    events: Vec<Row>,
}

impl Promises {
    /// `row` is the fault's: the counts of all rows add up.
    #[must_use]
    pub fn under(row: &str) -> Self {
        let rows = ["P1", "P2", "P4", "P5", "P9", "P10", "P16"];
        let proof = |id| (id, Proof::of(id, "after each fault on the scripted Docker").part(row));
        Self { proofs: rows.map(proof).into() }
    }

    /// Judges `app`, which must be settled. `report`: all that its load saw. What is left over by then
    /// is waited for.
    pub fn judge(&mut self, site: &Site, app: &str, report: &Report) {
        let events = site.database().rows(
            "SELECT deployment_id, event_type, payload, created_at FROM deployment_events
             WHERE app_name = ?1 ORDER BY id",
            &[app],
        );
        let case = Case { site, docker: site.docker(), app, report, events };
        self.count("P1", case.only_what_passed_got_traffic());
        self.count("P2", case.traffic_followed_the_switches());
        self.count("P4", case.nothing_was_stopped_that_served());
        match case.the_events_add_up() {
            Ok(()) => self.proof("P5").kept_times(case.events.len() as u64),
            Err(why) => self.count("P5", Err(why)),
        }
        self.count("P10", case.nothing_is_left_over());
    }

    /// Judges whether containers that served before a failed deploy are as they were.
    pub fn untouched(&mut self, site: &Site, app: &str, before: &[Container]) {
        let now = site.containers(app);
        let changed = before.iter().find(|container| !now.contains(container));
        let verdict = changed.map_or(Ok(()), |gone| Err(format!("{app}: {gone:?} is no longer so: {now:?}")));
        self.count("P9", verdict);
    }

    /// Judges whether a wait that began then ended in time.
    pub fn ended_in(&mut self, limit: Duration, what: &str, took: Duration) {
        let late = (took > limit).then(|| format!("{what} took {took:?}, not {limit:?}"));
        self.count("P16", late.map_or(Ok(()), Err));
    }

    /// Writes down what was counted.
    pub fn conclude(self) {
        for proof in self.proofs.into_values().filter(Proof::is_tried) {
            proof.conclude();
        }
    }

    fn proof(&mut self, id: &str) -> &mut Proof {
        self.proofs.get_mut(id).expect("a promise that is judged")
    }

    fn count(&mut self, id: &str, verdict: Result<(), String>) {
        match verdict {
            Ok(()) => self.proof(id).kept(),
            Err(why) => self.proof(id).broken(why),
        }
    }
}

impl Case<'_> {
    /// When events of this type were committed, and for which deployment.
    fn all(&self, event: &str) -> impl Iterator<Item = (Micros, i64, &Row)> {
        let of_type = move |row: &&Row| row["event_type"].as_str() == Some(event);
        self.events.iter().filter(of_type).filter(|row| !refused(row)).map(|row| {
            let at = micros(row["created_at"].as_str().unwrap_or_default());
            (at, row["deployment_id"].as_i64().unwrap_or_default(), row)
        })
    }

    fn only_what_passed_got_traffic(&self) -> Result<(), String> {
        let passed: BTreeMap<i64, Micros> =
            self.all("health_check_passed").map(|(at, deployment, _)| (deployment, at)).collect();
        for sample in &self.report.samples {
            let Some(origin) = self.docker.origin(&sample.container) else {
                return Err(format!("{}: a stranger answered: {sample:?}", self.app));
            };
            let allowed = passed.get(&origin.deployment).is_some_and(|at| *at <= sample.ended);
            if origin.app != self.app || !allowed {
                return Err(format!("{}: {origin:?} had not passed its gate: {sample:?}", self.app));
            }
        }
        Ok(())
    }

    fn traffic_followed_the_switches(&self) -> Result<(), String> {
        let switches: Vec<(Micros, &str)> = self
            .all("traffic_switched")
            .map(|(at, _, row)| {
                let payload = payload(row);
                let color = if payload["color"] == "blue" { ["blue", "green"] } else { ["green", "blue"] };
                // Of a rollback the payload names the color that traffic leaves.
                (at, color[usize::from(payload["from"] == "rolling_back")])
            })
            .collect();
        // A switch can take effect from the event before its confirmation on.
        let begins: Vec<Micros> = self.site.database().starts_of_switches(self.app);
        for (at, color) in &switches {
            let next = begins.iter().copied().find(|begin| begin > at).unwrap_or(Micros::MAX);
            let between = |sample: &&Sample| sample.began > *at && sample.ended < next;
            for sample in self.report.samples.iter().filter(between) {
                let origin = self.docker.origin(&sample.container);
                if origin.as_ref().is_none_or(|origin| origin.color != *color) {
                    return Err(format!(
                        "{}: traffic was switched to {color} at {at}, and {origin:?} answered: {sample:?}",
                        self.app
                    ));
                }
            }
        }
        Ok(())
    }

    fn nothing_was_stopped_that_served(&self) -> Result<(), String> {
        let asked = self.docker.asked();
        let ends = asked.iter().filter(|asked| {
            matches!(asked.call, Call::ContainerStop | Call::ContainerRemove)
                && asked.app.as_deref() == Some(self.app)
                && asked.running
                && asked.done()
        });
        let timed_out: Vec<Micros> = self.all("drain_timed_out").map(|(at, ..)| at).collect();
        for end in ends {
            let id = end.id.as_deref().unwrap_or_default();
            let later = |sample: &&Sample| id.starts_with(&sample.container) && sample.began > end.at;
            if let Some(sample) = self.report.samples.iter().find(later) {
                return Err(format!("{}: {end:?}, and yet it answered: {sample:?}", self.app));
            }
            if end.in_flight > 0 && !timed_out.iter().any(|at| *at <= end.at) {
                return Err(format!("{}: requests were in flight: {end:?}", self.app));
            }
        }
        Ok(())
    }

    /// `db check` replays the events; that the last one led to the present state is looked at here.
    fn the_events_add_up(&self) -> Result<(), String> {
        let state = self.site.database().state(self.app).unwrap_or_default();
        let last = self.events.iter().rev().find(|row| !refused(row));
        let to = last.map(payload).map(|payload| payload["to"].as_str().unwrap_or_default().to_owned());
        if to.as_deref() != Some(state.as_str()) {
            return Err(format!("{}: the last event led to {to:?}, current_state is {state}", self.app));
        }
        let done = self.site.command(&["db", "check"]);
        if done.code == 0 { Ok(()) } else { Err(format!("{}: {done}", self.app)) }
    }

    fn nothing_is_left_over(&self) -> Result<(), String> {
        let touched = self.docker.touched_strangers();
        if !touched.is_empty() {
            return Err(format!("strangers were touched: {touched:?}"));
        }
        let networks = self.docker.networks();
        if networks.len() > 2 {
            return Err(format!("networks: {networks:?}"));
        }
        let deadline = Instant::now() + CLEAN_UP;
        loop {
            let left = self.site.containers(self.app);
            // One that serves, one to go back to.
            if left.len() <= 2 {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("{}: too many containers: {left:?}", self.app));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn payload(row: &Row) -> serde_json::Value {
    let text = row["payload"].as_str().unwrap_or_default();
    serde_json::from_str(text).unwrap_or_else(|error| panic!("a payload is no JSON ({error}): {text}"))
}

fn refused(row: &Row) -> bool {
    payload(row).get("refused").is_some()
}
