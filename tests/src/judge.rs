//! One app's switches as three witnesses saw them: the load, the records, and Docker. What is promised of
//! a switch is judged here, one request, one switch, one signal at a time.

use crate::app_file::version_in;
use crate::load::{Report, Sample};
use crate::site::Site;
use crate::time::{Micros, micros};
use crate::witness::{Seen, Witness};
use dockswap_proof::Proof;
use std::collections::BTreeMap;

/// Everything that was seen of one app, whose every edit had a version of its own.
#[derive(Debug)]
pub struct Judge {
    switches: Vec<Switch>,
    /// By deployment: when it first passed its gate.
    gates: BTreeMap<i64, Micros>,
    /// By deployment: when the drain of what it replaced ended.
    drains: BTreeMap<i64, Micros>,
    /// By deployment: the version that it brings.
    versions: BTreeMap<i64, String>,
    report: Report,
    seen: Vec<Seen>,
}

/// A switch that was confirmed.
#[derive(Debug)]
struct Switch {
    /// When it could first take effect: the event before its confirmation.
    begins: Micros,
    confirmed: Micros,
    deployment: i64,
    version: String,
}

impl Judge {
    /// What the records of `app` say, with what the load and Docker showed.
    #[must_use]
    pub fn of(site: &Site, app: &str, report: Report, witness: &Witness) -> Self {
        let sql = "SELECT e.id, e.deployment_id, e.event_type, e.created_at,
                          CAST(c.config_yaml AS TEXT) AS yaml
                   FROM deployment_events e
                   JOIN deployments d ON d.id = e.deployment_id JOIN app_configs c ON c.id = d.config_id
                   WHERE e.app_name = ?1 ORDER BY e.id";
        let mut judge = Self {
            switches: Vec::new(),
            gates: BTreeMap::new(),
            drains: BTreeMap::new(),
            versions: BTreeMap::new(),
            report,
            seen: witness.seen(),
        };
        let mut before = Micros::MIN;
        for row in site.database().rows(sql, &[app]) {
            let text = |column: &str| row[column].as_str().unwrap_or_default();
            let (at, deployment) = (micros(text("created_at")), row["deployment_id"].as_i64());
            let deployment = deployment.expect("a number");
            let version = version_in(text("yaml"));
            judge.versions.insert(deployment, version.clone());
            match text("event_type") {
                "traffic_switched" => {
                    judge.switches.push(Switch { begins: before, confirmed: at, deployment, version });
                }
                "health_check_passed" => drop(judge.gates.entry(deployment).or_insert(at)),
                "drain_complete" | "drain_timed_out" => drop(judge.drains.insert(deployment, at)),
                _ => {}
            }
            before = at;
        }
        judge
    }

    /// How many switches were confirmed.
    #[must_use]
    pub const fn switches(&self) -> usize {
        self.switches.len()
    }

    /// How many containers Docker started.
    #[must_use]
    pub fn starts(&self) -> usize {
        self.seen.iter().filter(|seen| seen.what == "start").count()
    }

    /// Counts every promise about switches, on what was seen. `setting`: see [`Proof::of`].
    pub fn proves(&self, setting: &str) {
        let mut verdicts = [
            ("P3", self.no_request_was_lost()),
            ("P1", self.who_answered_had_passed_its_gate()),
            ("P2", self.no_answer_of_the_old_after_the_switch()),
            ("scar-P03", self.never_two_versions_at_a_time()),
            ("P4", self.no_signal_before_its_drain_had_ended()),
        ];
        // What was kept is on record before what was broken ends the test.
        verdicts.sort_by_key(|(_, verdict)| !verdict.broken.is_empty());
        for (row, verdict) in verdicts {
            let mut proof = Proof::of(row, setting);
            proof.kept_times(verdict.kept);
            verdict.broken.iter().for_each(|why| proof.broken(why));
            proof.conclude();
        }
    }

    fn no_request_was_lost(&self) -> Verdict {
        let broken = self.report.failures.iter().map(|failure| format!("{failure:?}")).collect();
        Verdict { kept: self.report.samples.len() as u64, broken }
    }

    /// Each answer came from a container that Docker saw created, by a deployment whose gate had been passed.
    fn who_answered_had_passed_its_gate(&self) -> Verdict {
        let created = self.seen.iter().filter(|seen| seen.what == "create");
        // An answer names the container by the first twelve digits, as Docker sets its host name.
        let made_by: BTreeMap<&str, i64> =
            created.filter_map(|seen| Some((seen.container.get(..12)?, seen.deployment))).collect();
        let mut verdict = Verdict::default();
        for sample in &self.report.samples {
            let gate = made_by.get(sample.container.as_str()).and_then(|made_by| self.gates.get(made_by));
            verdict.add(gate.is_some_and(|gate| *gate <= sample.ended), || {
                format!("{sample:?}, whose gate was passed at {gate:?}")
            });
        }
        verdict
    }

    /// Each request that began after a switch was confirmed, and ended before the next one could have begun,
    /// was answered by the version switched to.
    fn no_answer_of_the_old_after_the_switch(&self) -> Verdict {
        let mut verdict = Verdict::default();
        for sample in &self.report.samples {
            let after = self.switches.partition_point(|switch| switch.confirmed < sample.began);
            let Some(switch) = after.checked_sub(1).and_then(|last| self.switches.get(last)) else {
                continue;
            };
            if self.switches.get(after).is_none_or(|next| next.begins > sample.ended) {
                verdict.add(sample.version == switch.version, || format!("{sample:?} after {switch:?}"));
            }
        }
        verdict
    }

    /// In each switch: once anybody has had an answer of the new version, no request that begins then is
    /// answered by the old one. By traffic alone: the records only say which switch is looked at.
    fn never_two_versions_at_a_time(&self) -> Verdict {
        let mut by_begin: Vec<&Sample> = self.report.samples.iter().collect();
        by_begin.sort_by_key(|sample| sample.began);
        let mut verdict = Verdict::default();
        for (at, switch) in self.switches.iter().enumerate().skip(1) {
            let next = self.switches.get(at + 1).map_or(Micros::MAX, |next| next.begins);
            let from = by_begin.partition_point(|sample| sample.began < switch.begins);
            let to = by_begin.partition_point(|sample| sample.began < next);
            let around = &by_begin[from..to];
            let new = around.iter().filter(|sample| sample.version == switch.version);
            let Some(first) = new.map(|sample| sample.ended).min() else { continue };
            // What was under way when the next switch began may have been sent on after it.
            let late = around.iter().find(|sample| {
                sample.began > first && sample.ended < next && sample.version != switch.version
            });
            verdict.add(late.is_none(), || format!("{late:?}, though {switch:?} answered at {first}"));
        }
        verdict
    }

    /// Each signal that Docker delivered to a container came after traffic had last left its version, and the
    /// drain that this began had ended.
    fn no_signal_before_its_drain_had_ended(&self) -> Verdict {
        let mut verdict = Verdict::default();
        for signal in self.seen.iter().filter(|seen| seen.what == "kill") {
            let version = self.versions.get(&signal.deployment);
            let until = self.switches.partition_point(|switch| switch.confirmed <= signal.at);
            let served = self.switches[..until].iter().rposition(|switch| Some(&switch.version) == version);
            let left = served.and_then(|last| self.switches[..until].get(last + 1));
            let drained = left.and_then(|left| self.drains.get(&left.deployment));
            verdict.add(served.is_none() || drained.is_some_and(|drained| *drained <= signal.at), || {
                format!("{signal:?}, though its drain ended at {drained:?}")
            });
        }
        verdict
    }
}

/// What came of judging one promise.
#[derive(Debug, Default)]
struct Verdict {
    kept: u64,
    broken: Vec<String>,
}

impl Verdict {
    fn add(&mut self, kept: bool, why: impl FnOnce() -> String) {
        if kept {
            self.kept += 1;
        } else {
            self.broken.push(why());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Judge, Switch, Verdict};
    use crate::load::{Failure, Kind, Report, Sample};
    use crate::time::Micros;
    use crate::witness::Seen;
    use std::collections::BTreeMap;

    /// Deployment 1 ("one", container 111111111111) serves from 10; 2 ("two", 222222222222) passes its gate at
    /// 20, is switched to between 20 and 25, and the drain of 1 ends at 30.
    fn judge() -> Judge {
        let switch = |begins, confirmed, deployment, version: &str| Switch {
            begins,
            confirmed,
            deployment,
            version: version.to_owned(),
        };
        Judge {
            switches: vec![switch(5, 10, 1, "one"), switch(20, 25, 2, "two")],
            gates: BTreeMap::from([(1, 5), (2, 20)]),
            drains: BTreeMap::from([(1, 12), (2, 30)]),
            versions: BTreeMap::from([(1, "one".to_owned()), (2, "two".to_owned())]),
            report: Report::default(),
            seen: vec![event(1, "create", 1), event(15, "create", 2)],
        }
    }

    fn event(at: Micros, what: &str, deployment: i64) -> Seen {
        let container = deployment.to_string().repeat(64);
        Seen { at, what: what.to_owned(), container, deployment, signal: None }
    }

    fn sample(began: Micros, ended: Micros, deployment: i64) -> Sample {
        let version = if deployment == 1 { "one" } else { "two" }.to_owned();
        Sample { kind: Kind::OneShot, began, ended, version, container: deployment.to_string().repeat(12) }
    }

    fn counts(verdict: &Verdict) -> (u64, usize) {
        (verdict.kept, verdict.broken.len())
    }

    #[test]
    fn a_good_switch_breaks_nothing() {
        let mut judge = judge();
        judge.report.samples = vec![
            sample(11, 12, 1),
            sample(13, 24, 2),
            sample(21, 26, 1),
            sample(22, 23, 2),
            sample(26, 27, 2),
        ];
        judge.seen.push(event(31, "kill", 1));
        assert_eq!(counts(&judge.no_request_was_lost()), (5, 0));
        assert_eq!(counts(&judge.who_answered_had_passed_its_gate()), (5, 0));
        assert_eq!(counts(&judge.no_answer_of_the_old_after_the_switch()), (2, 0));
        assert_eq!(counts(&judge.never_two_versions_at_a_time()), (1, 0));
        assert_eq!(counts(&judge.no_signal_before_its_drain_had_ended()), (1, 0));
    }

    #[test]
    fn each_promise_can_be_broken() {
        let mut lost = judge();
        lost.report.failures =
            vec![Failure { kind: Kind::Post, began: 1, ended: 2, reason: "reset".to_owned() }];
        assert_eq!(counts(&lost.no_request_was_lost()), (0, 1));

        let mut early = judge();
        early.report.samples = vec![sample(17, 19, 2), sample(26, 27, 3)];
        assert_eq!(counts(&early.who_answered_had_passed_its_gate()), (0, 2));

        let mut old = judge();
        old.report.samples = vec![sample(26, 27, 1)];
        assert_eq!(counts(&old.no_answer_of_the_old_after_the_switch()), (0, 1));

        let mut both = judge();
        both.report.samples = vec![sample(21, 22, 2), sample(23, 24, 1)];
        assert_eq!(counts(&both.never_two_versions_at_a_time()), (0, 1));

        for at in [24, 26, 29] {
            let mut stopped = judge();
            stopped.seen.push(event(at, "kill", 1));
            assert_eq!(counts(&stopped.no_signal_before_its_drain_had_ended()), (0, 1), "at {at}");
        }
    }
}
