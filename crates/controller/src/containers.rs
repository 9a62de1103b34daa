//! The containers of an app as they were last seen, and what they are to a release.

use dockswap_core::machine::Release;
use dockswap_core::ports::{Container, ContainerState, DeploymentFilter, Engine, EngineError, Selector};
use dockswap_core::routes::UpstreamId;
use dockswap_core::{AppName, Color, DeploymentId};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How often Docker is asked in one look. An app's effects follow each other at the database's pace, and few of them
/// make anything known: one that overtakes a second answer is rare, a third is not to be thought of.
const LOOKS: usize = 3;

/// The containers of one app as they were last seen. Shared by the app's task, its upkeep and its
/// effects. An answer of Docker's may be long on its way: what may show the world as it was is not taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Containers(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    seen: Mutex<Seen>,
    /// One hand at a time starts what ran before, or stops what may be wanted to run again.
    hand: tokio::sync::Mutex<()>,
    /// One looks at a time: of two looks that overlap nobody can say which shows the later world.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Seen {
    containers: Vec<Container>,
    /// The question that they answer.
    by: u64,
    /// The last question that was asked.
    last: u64,
    /// Whose new lives get no traffic before they have proven themselves.
    guard: Option<Guard>,
}

/// What stands between a release that serves and the lives of its containers.
#[derive(Debug)]
struct Guard {
    color: Color,
    deployment: DeploymentId,
    /// The lives that may have traffic.
    admitted: BTreeSet<UpstreamId>,
}

impl Guard {
    fn keeps_out(&self, container: &Container) -> bool {
        let is_whose = container.color == self.color && container.deployment == self.deployment;
        is_whose && container.upstream.as_ref().is_some_and(|upstream| !self.admitted.contains(&upstream.id))
    }
}

impl Seen {
    /// A container that is gone does not come back. One that is paused, or off its network, goes on with its life; one
    /// that is started again begins another.
    fn forget_ended(&mut self) {
        let Self { containers, guard, .. } = self;
        if let Some(guard) = guard {
            guard
                .admitted
                .retain(|life| containers.iter().any(|container| container.life.as_ref() == Some(life)));
        }
    }
}

/// A question to Docker that is under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question(u64);

impl Containers {
    /// What was seen before anybody looked.
    pub(crate) fn new(containers: Vec<Container>) -> Self {
        let seen = Mutex::new(Seen { containers, by: 0, last: 0, guard: None });
        Self(Arc::new(Known { seen, ..Known::default() }))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hand that starts what ran before, or stops it: whoever holds it knows that nobody else's call is under way.
    /// Docker may take its time to start something, and would do so after it was stopped.
    pub(crate) async fn hand(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.hand.lock().await
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Container> {
        self.seen().containers.clone()
    }

    /// All of them, as far as traffic may go to them.
    pub(crate) fn routable(&self) -> Vec<Container> {
        let seen = self.seen();
        let mut containers = seen.containers.clone();
        if let Some(guard) = &seen.guard {
            for container in containers.iter_mut().filter(|container| guard.keeps_out(container)) {
                container.upstream = None;
            }
        }
        containers
    }

    /// Has every life that begins from now on in `release` prove itself before it gets traffic. What runs of it now
    /// has done so, if it was not guarded before.
    pub(crate) fn guard(&self, release: Option<&Release>) {
        let mut seen = self.seen();
        let is_guarded = |release: &Release, guard: &Guard| {
            (guard.color, guard.deployment) == (release.color, release.origin)
        };
        seen.guard = match (release, seen.guard.take()) {
            (None, _) => None,
            (Some(release), Some(guard)) if is_guarded(release, &guard) => Some(guard),
            (Some(release), _) => {
                let own = seen.containers.iter().filter(|container| belongs(container, release));
                let admitted = own.filter_map(|container| Some(container.upstream.as_ref()?.id.clone()));
                let admitted = admitted.collect();
                Some(Guard { color: release.color, deployment: release.origin, admitted })
            }
        };
    }

    /// Those whose present life has yet to prove itself.
    pub(crate) fn unproven(&self) -> Vec<Container> {
        let seen = self.seen();
        let kept_out = |container: &&Container| seen.guard.as_ref().is_some_and(|g| g.keeps_out(container));
        seen.containers.iter().filter(kept_out).cloned().collect()
    }

    /// Whether traffic goes to any container of what is guarded.
    pub(crate) fn admits_any(&self) -> bool {
        self.seen().guard.as_ref().is_some_and(|guard| !guard.admitted.is_empty())
    }

    /// A life has proven itself.
    pub(crate) fn admit(&self, life: &UpstreamId) {
        if let Some(guard) = &mut self.seen().guard {
            guard.admitted.insert(life.clone());
        }
    }

    /// Those of one release.
    pub(crate) fn of(&self, release: &Release) -> Vec<Container> {
        self.all().into_iter().filter(|container| belongs(container, release)).collect()
    }

    /// Looks at Docker; returns what is known then. An answer that an effect has overtaken is not taken, for of what
    /// the effect made it shows the world of before; and all else may have changed too: then Docker is asked once more.
    ///
    /// # Errors
    /// When Docker does not answer.
    pub(crate) async fn look(
        &self,
        engine: &dyn Engine,
        app: &AppName,
    ) -> Result<Vec<Container>, EngineError> {
        let _turn = self.0.turn.lock().await;
        for _ in 0..LOOKS {
            let question = self.ask();
            let containers = engine.observe(Some(app)).await?;
            let mut seen = self.seen();
            if question.0 > seen.by {
                seen.by = question.0;
                seen.containers = containers;
                seen.forget_ended();
                break;
            }
        }
        Ok(self.all())
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
        seen.forget_ended();
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
    use super::{Containers, LOOKS, bytes_for_people};
    use async_trait::async_trait;
    use dockswap_core::AppName;
    use dockswap_core::name::{ContainerId, ImageId};
    use dockswap_core::ports::{
        Container, ContainerGroup, ContainerState, DockerHealth, Engine, EngineError, Hint, Image,
        ImageError, ImageRequest, PullProgress, Selector,
    };
    use dockswap_core::spec::RestartPolicy;
    use dockswap_core::{Color, DeploymentId};
    use futures_util::stream::BoxStream;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    #[test]
    fn a_memory_limit_is_written_in_its_largest_unit() {
        let written = [256 << 20, 1 << 30, 1_536 << 20, 64 << 10, 1_000].map(bytes_for_people);
        assert_eq!(written, ["256 MiB", "1 GiB", "1536 MiB", "64 KiB", "1000 bytes"]);
    }

    /// A Docker that shows the container of the question's number, while effects make something known.
    struct Overtaken {
        containers: Containers,
        /// How many answers an effect overtakes.
        times: usize,
        asked: AtomicUsize,
    }

    fn container(number: usize) -> Container {
        Container {
            id: ContainerId(format!("c{number}")),
            name: format!("web-blue-{number}"),
            app: "web".parse().expect("a name"),
            color: Color::Blue,
            deployment: DeploymentId(1),
            replica: 1,
            image: ImageId("sha256:1".to_owned()),
            state: ContainerState::Running,
            health: DockerHealth::Absent,
            life: None,
            upstream: None,
            restart: RestartPolicy::No,
            restarts: 0,
            drift: Vec::new(),
        }
    }

    /// What one look makes known where effects overtake the first `times` answers, and how often Docker was asked.
    async fn looked(times: usize) -> (Vec<String>, usize) {
        let containers = Containers::new(vec![container(0)]);
        let engine = Overtaken { containers: containers.clone(), times, asked: AtomicUsize::new(0) };
        let seen = containers.look(&engine, &"web".parse().expect("a name")).await;
        let seen = seen.expect("Docker answers");
        (seen.into_iter().map(|container| container.id.0).collect(), engine.asked.into_inner())
    }

    #[tokio::test]
    async fn an_answer_that_was_overtaken_is_asked_for_again_at_once() {
        assert_eq!(looked(0).await, (vec!["c1".to_owned()], 1));
        assert_eq!(looked(1).await, (vec!["c2".to_owned()], 2));
        assert_eq!(looked(LOOKS).await, (vec![], LOOKS), "and not without end");
    }

    #[async_trait]
    impl Engine for Overtaken {
        async fn observe(&self, _: Option<&AppName>) -> Result<Vec<Container>, EngineError> {
            let asked = 1 + self.asked.fetch_add(1, Ordering::SeqCst);
            if asked <= self.times {
                self.containers.all_gone();
            }
            Ok(vec![container(asked)])
        }

        async fn ensure_image(&self, _: &ImageRequest, _: PullProgress<'_>) -> Result<Image, ImageError> {
            unreachable!("a look only looks")
        }

        async fn ensure_running(&self, _: &ContainerGroup) -> Result<Vec<Container>, EngineError> {
            unreachable!("a look only looks")
        }

        async fn ensure_unpinned(
            &self,
            _: &AppName,
            _: &[DeploymentId],
        ) -> Result<Vec<DeploymentId>, EngineError> {
            unreachable!("a look only looks")
        }

        async fn ensure_started(
            &self,
            _: &Selector,
            _: RestartPolicy,
        ) -> Result<Vec<Container>, EngineError> {
            unreachable!("a look only looks")
        }

        async fn ensure_as_asked(&self, _: &ContainerId) -> Result<(), EngineError> {
            unreachable!("a look only looks")
        }

        async fn ensure_stopped(&self, _: &Selector, _: Duration) -> Result<(), EngineError> {
            unreachable!("a look only looks")
        }

        async fn ensure_gone(&self, _: &Selector, _: Duration) -> Result<(), EngineError> {
            unreachable!("a look only looks")
        }

        async fn last_lines(&self, _: &ContainerId, _: usize) -> Result<Vec<String>, EngineError> {
            unreachable!("a look only looks")
        }

        fn hints(&self) -> BoxStream<'static, Hint> {
            unreachable!("a look only looks")
        }
    }
}
