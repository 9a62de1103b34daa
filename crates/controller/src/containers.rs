//! The containers of an app as they were last seen, and what they are to a release.

use dockswap_core::machine::Release;
use dockswap_core::ports::{Container, ContainerState, DeploymentFilter, Selector};
use dockswap_core::{AppName, Color, DeploymentId};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The containers of one app as they were last seen. Shared by the app's task, its upkeep and its
/// effects. Several may look at Docker at once, and an answer may be long on its way: one that began
/// before what is known already is not taken, for it would show the world as it was.
#[derive(Clone, Debug, Default)]
pub(crate) struct Containers(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    containers: Vec<Container>,
    /// The look that showed them.
    by: u64,
    /// The last look that began.
    last: u64,
}

/// A look at Docker that is under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look(u64);

impl Containers {
    /// What was seen before anybody looked.
    pub(crate) fn new(containers: Vec<Container>) -> Self {
        Self(Arc::new(Mutex::new(Seen { containers, by: 0, last: 0 })))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Container> {
        self.seen().containers.clone()
    }

    /// Those of one release.
    pub(crate) fn of(&self, release: &Release) -> Vec<Container> {
        self.all().into_iter().filter(|container| belongs(container, release)).collect()
    }

    /// A look at Docker begins.
    pub(crate) fn look(&self) -> Look {
        let mut seen = self.seen();
        seen.last += 1;
        Look(seen.last)
    }

    /// What `look` showed replaces what was known, unless that is newer.
    pub(crate) fn replace(&self, look: Look, containers: Vec<Container>) {
        let mut seen = self.seen();
        if look.0 > seen.by {
            *seen = Seen { containers, by: look.0, last: seen.last };
        }
    }

    /// What an effect has just made of one release replaces what was known of it.
    pub(crate) fn replace_release(&self, release: &Release, containers: Vec<Container>) {
        let now = self.look();
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
    let name = &container.name;
    match &container.state {
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
