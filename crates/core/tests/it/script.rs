//! Line scripts: a machine is brought somewhere by the names of events.

use crate::world::fixture::{Manner, app, event};
use dockswap_core::Timestamp;
use dockswap_core::machine::{Effect, Event, Machine, Phase, Refusal, Transition, Warmth};
use dockswap_core::routes::Gate;
use std::time::Duration;

/// A machine, and how it came to be.
pub struct Scripted {
    pub machine: Machine,
    pub now: Timestamp,
    pub transitions: Vec<Transition>,
    /// How the next config wants to be deployed.
    manner: Manner,
    deployments: i64,
}

impl Scripted {
    /// Begins before the first deployment.
    pub fn new() -> Self {
        Self {
            machine: Machine::new(app()),
            now: Timestamp::default(),
            transitions: Vec::new(),
            manner: Manner::Auto,
            deployments: 0,
        }
    }

    /// Follows `script`: words of [`event`], divided by commas. `auto`, `manual`, `record`,
    /// `brief` and `recreate` say how the configs after them are deployed, `wait 5s` moves the clock, `@live` stands for a whole
    /// deployment, and `@again` for one that recreates. A word that the machine refuses ends the test.
    pub fn run(script: &str) -> Self {
        let mut scripted = Self::new();
        for word in script.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            scripted.follow(word).unwrap_or_else(|refusal| panic!("{word} in {script:?}: {refusal}"));
        }
        scripted
    }

    /// Does one word.
    pub fn follow(&mut self, word: &str) -> Result<(), Refusal> {
        match word {
            "auto" => self.manner = Manner::Auto,
            "brief" => self.manner = Manner::Brief,
            "manual" => self.manner = Manner::Manual,
            "recreate" => self.manner = Manner::Recreate,
            "record" => self.manner = Manner::Record,
            "@again" => {
                for word in [
                    "deploy",
                    "image_ready",
                    "traffic_switched",
                    "drain_complete",
                    "container_stopped",
                    "container_started",
                    "health_check_passed",
                    "traffic_switched",
                    "wait 10s",
                    "watch_passed",
                ] {
                    self.follow(word)?;
                }
            }
            "@live" => {
                for word in [
                    "deploy",
                    "image_ready",
                    "container_started",
                    "health_check_passed",
                    "traffic_switched",
                    "drain_complete",
                    "wait 10s",
                    "watch_passed",
                ] {
                    self.follow(word)?;
                }
            }
            _ => match word.strip_prefix("wait ").and_then(|wait| wait.strip_suffix('s')) {
                Some(seconds) => self.now = self.now + Duration::from_secs(seconds.parse().expect("seconds")),
                None => {
                    let event = self.event(word);
                    self.take(&event)?;
                }
            },
        }
        Ok(())
    }

    /// The event that `word` stands for here.
    pub fn event(&self, word: &str) -> Event {
        event(word, &self.machine, self.deployments + 1, self.manner)
    }

    fn take(&mut self, event: &Event) -> Result<(), Refusal> {
        let transition = self.machine.step(event, self.now)?;
        self.deployments += i64::from(matches!(event, Event::Deploy(_)));
        self.machine = transition.after().clone();
        self.transitions.push(transition);
        Ok(())
    }
}

/// A machine in a few words: its state, what has the traffic, what stands by.
pub fn tell(machine: &Machine) -> String {
    let mut words = vec![machine.state().to_owned()];
    if let Phase::RollingBack(_) = machine.phase() {
        words.push(match machine.owed().effect {
            Some(Effect::Route) => "(routing)".to_owned(),
            Some(Effect::Drain { .. }) => "(draining)".to_owned(),
            Some(Effect::Run(_)) => "(restarting)".to_owned(),
            Some(Effect::Probe { .. }) => "(proving)".to_owned(),
            _ => "(removing)".to_owned(),
        });
    }
    if let Some(serving) = machine.serving() {
        words.push(format!("{} {}", serving.live.color, serving.live.plan.image));
        if let Some(standby) = &serving.standby {
            let warmth = match standby.warmth {
                Warmth::Running { .. } => "warm",
                Warmth::Stopped => "cold",
            };
            words.push(format!("+ {} {} {warmth}", standby.release.color, standby.release.plan.image));
        }
    }
    match machine.gate() {
        Gate::Open => {}
        Gate::Held(_) => words.push("held".to_owned()),
        Gate::Closed { .. } => words.push("closed".to_owned()),
    }
    words.join(" ")
}
