//! How often the containers of a live release have ended by themselves lately. Pure: what is seen and the time are
//! arguments. It must not know what is done about it.

use crate::containers::describe_end;
use dockswap_core::name::ContainerId;
use dockswap_core::ports::{Container, ContainerState, Exit};
use dockswap_core::spec::RestartPolicy;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// Deaths longer ago than this do not count.
pub(crate) const WINDOW: Duration = Duration::from_mins(10);

/// From so many on people are told that it is a loop.
pub(crate) const LOOP: usize = 5;

/// After so many it is not made to run again any more, where nothing else of it serves.
pub(crate) const LIMIT: usize = 8;

/// SIGKILL and SIGTERM from outside: somebody ended it.
const BY_A_SIGNAL: [i64; 2] = [137, 143];

/// The deaths of one release.
#[derive(Debug, Default)]
pub(crate) struct CrashLoop {
    /// By container: how often Docker had restarted it, and whether it had ended.
    known: BTreeMap<ContainerId, (u32, bool)>,
    deaths: VecDeque<Instant>,
    last: Option<String>,
    /// What was written last, of the last death that was looked into.
    pub(crate) lines: Vec<String>,
}

impl CrashLoop {
    /// Takes note of what is seen of the release. Returns the container that has ended by itself since, if one has.
    /// What somebody stops, kills or removes does not count.
    pub(crate) fn look<'a>(&mut self, seen: &[&'a Container], now: Instant) -> Option<&'a Container> {
        let mut died = None;
        for container in seen {
            let ended = matches!(container.state, ContainerState::Exited(_));
            let before = self.known.insert(container.id.clone(), (container.restarts, ended));
            // A start by hand begins to count anew.
            let restarted = before.map_or(0, |(restarts, _)| container.restarts.saturating_sub(restarts));
            let ended_now = before.is_some_and(|(_, ended)| !ended) && ended_by_itself(container);
            let deaths = usize::try_from(restarted).unwrap_or(LIMIT) + usize::from(ended_now);
            for _ in 0..deaths.min(LIMIT) {
                self.deaths.push_back(now);
                died = Some(*container);
            }
            if let ContainerState::Exited(exit) | ContainerState::Restarting(exit) = &container.state {
                self.last = Some(last_words(container, exit));
            }
        }
        self.known.retain(|id, _| seen.iter().any(|container| container.id == *id));
        while self.deaths.front().is_some_and(|death| now.saturating_duration_since(*death) > WINDOW) {
            self.deaths.pop_front();
        }
        died
    }

    /// Whether it has died too often to be made to run again.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.deaths.len() >= LIMIT
    }

    /// What people are told, once it is a loop.
    pub(crate) fn in_words(&self) -> Option<String> {
        let (first, last) = (self.deaths.front()?, self.deaths.back()?);
        if self.deaths.len() < LOOP {
            return None;
        }
        let span = in_minutes(last.saturating_duration_since(*first));
        let how = self.last.as_ref().map(|last| format!(", {last}")).unwrap_or_default();
        let lines = match self.lines.as_slice() {
            [] => String::new(),
            lines => format!(", last lines: {}", lines.join(" | ")),
        };
        Some(format!("crash loop: died {} times in {span}{how}{lines}", self.deaths.len()))
    }

    /// Nothing has happened.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}

/// Whether nobody but the app itself ended it. Docker starts again what it ends under a policy; what stays ended
/// under one was stopped by hand.
fn ended_by_itself(container: &Container) -> bool {
    let ContainerState::Exited(exit) = &container.state else { return false };
    let is_left = match container.restart {
        RestartPolicy::No | RestartPolicy::OnFailure(_) => true,
        RestartPolicy::Always | RestartPolicy::UnlessStopped => false,
    };
    is_left && (exit.oom_killed || !BY_A_SIGNAL.contains(&exit.code))
}

fn last_words(container: &Container, exit: &Exit) -> String {
    if exit.oom_killed || exit.error.is_some() {
        return format!("last: {}", describe_end(container).unwrap_or_default());
    }
    format!("last exit {}", exit.code)
}

/// In whole seconds, or minutes from two on.
fn in_minutes(span: Duration) -> String {
    let seconds = span.as_secs().max(1);
    if seconds < 120 { format!("{seconds}s") } else { format!("{}m", seconds / 60) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use dockswap_core::DeploymentId;
    use dockswap_core::name::{Color, ImageId};
    use dockswap_core::ports::DockerHealth;

    fn container(restart: RestartPolicy, restarts: u32, state: ContainerState) -> Container {
        Container {
            id: ContainerId("c1".to_owned()),
            name: "web-blue-1".to_owned(),
            app: "web".parse().unwrap(),
            color: Color::Blue,
            deployment: DeploymentId(1),
            replica: 1,
            image: ImageId("sha256:1".to_owned()),
            state,
            health: DockerHealth::Absent,
            life: None,
            upstream: None,
            restart,
            restarts,
            drift: Vec::new(),
        }
    }

    fn exited(code: i64) -> ContainerState {
        ContainerState::Exited(Exit { code, ..Exit::default() })
    }

    #[tokio::test(start_paused = true)]
    async fn deaths_within_the_window_are_a_loop_and_then_hopeless() {
        let mut crash_loop = CrashLoop::default();
        for restarts in 0..=u32::try_from(LIMIT).unwrap() {
            let exit = Exit { code: 1, ..Exit::default() };
            let seen = container(RestartPolicy::UnlessStopped, restarts, ContainerState::Restarting(exit));
            let died = crash_loop.look(&[&seen], Instant::now());
            assert_eq!(died.is_some(), restarts > 0, "{restarts}");
            assert_eq!(crash_loop.in_words().is_some(), restarts >= 5, "{restarts}");
            assert_eq!(crash_loop.is_hopeless(), restarts >= 8, "{restarts}");
            tokio::time::advance(Duration::from_secs(30)).await;
        }
        crash_loop.lines = vec!["no route to db".to_owned(), "giving up".to_owned()];
        assert_eq!(
            crash_loop.in_words().unwrap(),
            "crash loop: died 8 times in 3m, last exit 1, last lines: no route to db | giving up"
        );
        tokio::time::advance(WINDOW).await;
        crash_loop.look(&[], Instant::now());
        assert_eq!(crash_loop.in_words(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn several_restarts_between_two_looks_count_each() {
        let mut crash_loop = CrashLoop::default();
        for restarts in [3, 11] {
            let seen = container(RestartPolicy::Always, restarts, ContainerState::Running);
            crash_loop.look(&[&seen], Instant::now());
        }
        assert!(crash_loop.is_hopeless());
    }

    #[tokio::test(start_paused = true)]
    async fn what_people_end_does_not_count_and_what_ends_itself_does() {
        let cases = [
            (RestartPolicy::UnlessStopped, exited(0), false),
            (RestartPolicy::UnlessStopped, exited(137), false),
            (RestartPolicy::No, exited(137), false),
            (RestartPolicy::No, exited(143), false),
            (RestartPolicy::No, exited(0), true),
            (RestartPolicy::OnFailure(Some(3)), exited(1), true),
            (
                RestartPolicy::No,
                ContainerState::Exited(Exit { code: 137, oom_killed: true, ..Exit::default() }),
                true,
            ),
        ];
        for (restart, state, counts) in cases {
            let mut crash_loop = CrashLoop::default();
            crash_loop.look(&[&container(restart, 0, ContainerState::Running)], Instant::now());
            let ended = container(restart, 0, state.clone());
            assert_eq!(crash_loop.look(&[&ended], Instant::now()).is_some(), counts, "{restart:?} {state:?}");
            assert!(crash_loop.look(&[&ended], Instant::now()).is_none(), "once");
        }
    }
}
