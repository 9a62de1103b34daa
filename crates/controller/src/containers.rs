//! The containers of an app as they were last seen, and what they are to a release.

use dockswap_core::machine::Release;
use dockswap_core::ports::{Container, ContainerState, DeploymentFilter, Engine, EngineError, Selector};
use dockswap_core::{AppName, Color, DeploymentId};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The containers of one app as they were last seen. Shared by the app's task, its upkeep and its
/// effects. An answer of Docker's may be long on its way: what may show the world as it was is not taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Containers(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    seen: Mutex<Seen>,
    /// One hand at a time starts what is live, or stops it so that something else may run alone.
    hand: tokio::sync::Mutex<()>,
    /// One looks at a time: of two looks that overlap nobody can say which shows the later world.
    turn: tokio::sync::Mutex<()>,
    /// Nothing of a hook is left.
    hooks_are_cleared: AtomicBool,
}

/// What is known of the containers of hooks, which nobody sees who looks at the app's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hooks {
    /// One was made, or could not be removed.
    Made,
    /// There is none that nobody waits for.
    Cleared,
}

#[derive(Debug, Default)]
struct Seen {
    containers: Vec<Container>,
    /// The question that they answer.
    by: u64,
    /// The last question that was asked.
    last: u64,
}

/// A question to Docker that is under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question(u64);

impl Containers {
    /// What was seen before anybody looked.
    pub(crate) fn new(containers: Vec<Container>) -> Self {
        let seen = Mutex::new(Seen { containers, by: 0, last: 0 });
        Self(Arc::new(Known { seen, ..Known::default() }))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hand that starts or stops what is live: whoever holds it knows that nobody else's call is under way.
    /// Docker may take its time to start something, and would do so after it was stopped.
    pub(crate) async fn hand(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.hand.lock().await
    }

    /// Whether something of a hook may be left. At first nobody knows.
    pub(crate) fn may_have_hooks(&self) -> bool {
        !self.0.hooks_are_cleared.load(Ordering::Acquire)
    }

    /// Takes note of it. Whoever says so holds the hand.
    pub(crate) fn have_hooks(&self, hooks: Hooks) {
        self.0.hooks_are_cleared.store(hooks == Hooks::Cleared, Ordering::Release);
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Container> {
        self.seen().containers.clone()
    }

    /// Those of one release.
    pub(crate) fn of(&self, release: &Release) -> Vec<Container> {
        self.all().into_iter().filter(|container| belongs(container, release)).collect()
    }

    /// Looks at Docker; returns what is known then.
    ///
    /// # Errors
    /// When Docker does not answer.
    pub(crate) async fn look(
        &self,
        engine: &dyn Engine,
        app: &AppName,
    ) -> Result<Vec<Container>, EngineError> {
        let _turn = self.0.turn.lock().await;
        let question = self.ask();
        let containers = engine.observe(Some(app)).await?;
        let mut seen = self.seen();
        // What an effect made known meanwhile is newer.
        if question.0 > seen.by {
            seen.by = question.0;
            seen.containers = containers;
        }
        Ok(seen.containers.clone())
    }

    /// Docker is asked something.
    pub(crate) fn ask(&self) -> Question {
        let mut seen = self.seen();
        seen.last += 1;
        Question(seen.last)
    }

    /// What Docker answered to `question`, of one release, replaces what was known of it, unless somebody
    /// has looked since the question was asked. Returns whether it did.
    pub(crate) fn answered(&self, question: Question, release: &Release, containers: Vec<Container>) -> bool {
        if self.seen().by > question.0 {
            return false;
        }
        self.replace_release(release, containers);
        true
    }

    /// Nothing is left of one release, and nothing of it ever comes back.
    pub(crate) fn gone(&self, release: &Release) {
        self.replace_release(release, Vec::new());
    }

    /// Nothing is left of the app.
    pub(crate) fn all_gone(&self) {
        let now = self.ask();
        let mut seen = self.seen();
        seen.by = now.0;
        seen.containers.clear();
    }

    fn replace_release(&self, release: &Release, containers: Vec<Container>) {
        let now = self.ask();
        let mut seen = self.seen();
        seen.by = now.0;
        seen.containers.retain(|container| !belongs(container, release));
        seen.containers.extend(containers);
    }
}

/// Whether `container` is one of `release`.
pub(crate) fn belongs(container: &Container, release: &Release) -> bool {
    release.owns(container)
}

/// The containers that one deployment of an app created in one color.
pub(crate) fn only(app: &AppName, color: Color, deployment: DeploymentId) -> Selector {
    Selector { app: app.clone(), color: Some(color), deployment: DeploymentFilter::Only(deployment) }
}

/// Why a container that should run does not, in words.
pub(crate) fn describe_end(container: &Container) -> Option<String> {
    why_not_running(&container.name, &container.state)
}

/// The same for any container of ours.
pub(crate) fn why_not_running(name: &str, state: &ContainerState) -> Option<String> {
    match state {
        ContainerState::Running => None,
        ContainerState::Created => Some(format!("container {name} was never started")),
        ContainerState::Paused => Some(format!("container {name} is paused")),
        ContainerState::Removing => Some(format!("container {name} is being removed")),
        ContainerState::Exited(exit) | ContainerState::Restarting(exit) => Some(if exit.oom_killed {
            let limit = exit.memory_limit.map_or_else(
                || "docker.memory_limit is not set: the machine's own".to_owned(),
                |bytes| format!("limit {}", bytes_for_people(bytes)),
            );
            format!("container {name} was killed: out of memory ({limit})")
        } else if let Some(error) = exit.error.as_deref().filter(|error| !error.is_empty()) {
            format!("container {name} could not run: {error}")
        } else {
            format!("container {name} exited with code {}", exit.code)
        }),
    }
}

/// A memory limit as it is written: in the largest unit that divides it.
fn bytes_for_people(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units.into_iter().find(|(shift, _)| bytes.is_multiple_of(1 << shift));
    unit.map_or_else(|| format!("{bytes} bytes"), |(shift, unit)| format!("{} {unit}", bytes >> shift))
}

#[cfg(test)]
mod tests {
    use super::bytes_for_people;

    #[test]
    fn a_memory_limit_is_written_in_its_largest_unit() {
        let written = [256 << 20, 1 << 30, 1_536 << 20, 64 << 10, 1_000].map(bytes_for_people);
        assert_eq!(written, ["256 MiB", "1 GiB", "1536 MiB", "64 KiB", "1000 bytes"]);
    }
}
