//! What the controller shows of itself: values for people and programs, no handles.

use dockswap_core::machine::{Access, Machine, Phase, Warmth};
use dockswap_core::routes::{AppRoutes, Hold, InFlight};
use dockswap_core::{AppName, AppSpec, Color, DeploymentId, ProjectName, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// An app as it stands now.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct AppView {
    /// The app.
    pub app: AppName,
    /// The project that its newest file names; `None`: none, or it cannot be read.
    #[serde(default)]
    pub project: Option<ProjectName>,
    /// The machine's state.
    pub state: String,
    /// How many transitions it has made.
    pub version: u64,
    /// The color that the proxy has confirmed.
    pub active_color: Option<Color>,
    /// The image that serves, as written.
    pub image: Option<String>,
    /// The deployment by which it serves.
    pub serving: Option<DeploymentId>,
    /// The deployment whose containers serve.
    pub origin: Option<DeploymentId>,
    /// The deployment in flight.
    pub in_flight: Option<DeploymentId>,
    /// The deployment that the state is about.
    pub deployment: Option<DeploymentId>,
    /// The version out of traffic, if there is one.
    pub standby: Option<StandbyView>,
    /// Where its traffic comes in, as `host[:port]/path`.
    pub routes: Vec<String>,
    /// Where it goes: addresses of the live containers.
    pub upstreams: Vec<String>,
    /// How the effect in flight comes along.
    pub progress: Option<Progress>,
    /// The app's file.
    pub file: FileStatus,
    /// Why the live color is not whole; `None`: it is.
    pub degraded: Option<String>,
    /// Why the app is in state `failed`.
    pub failed: Option<String>,
    /// What has the traffic ended too often, was stopped, and is not started again by itself.
    #[serde(default)]
    pub given_up: bool,
    /// A newer version is waiting for its turn.
    pub waiting: bool,
    /// Whether new requests pass.
    #[serde(default)]
    pub gate: GateView,
    /// A version of it must run alone: nothing is started beside it.
    #[serde(default)]
    pub runs_alone: bool,
}

/// Whether an app's new requests pass, and who keeps them.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum GateView {
    /// They do.
    #[default]
    Open,
    /// They wait, by order of an operator.
    Paused(Hold),
    /// They wait for the deployment in flight.
    Held(Hold),
    /// They are answered 503, by order of an operator.
    Maintenance {
        /// How long the app's own page is; `None`: it has none.
        page_bytes: Option<usize>,
    },
}

impl GateView {
    fn of(machine: &Machine) -> Self {
        match (machine.access(), machine.route().hold) {
            (Access::Maintenance { page }, _) => {
                Self::Maintenance { page_bytes: page.as_ref().map(String::len) }
            }
            (Access::Paused(hold), _) => Self::Paused(*hold),
            (Access::Open, Some(hold)) => Self::Held(hold),
            (Access::Open, None) => Self::Open,
        }
    }

    /// Whether requests may wait.
    #[must_use]
    pub const fn holds(&self) -> bool {
        matches!(self, Self::Paused(_) | Self::Held(_))
    }
}

/// A version out of traffic.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct StandbyView {
    /// Its slot.
    pub color: Color,
    /// Its image, as written.
    pub image: String,
    /// The deployment by which it served.
    pub deployment: DeploymentId,
    /// It runs until then, for an instant rollback; `None`: it is stopped.
    pub warm_until_us: Option<Timestamp>,
}

/// The app's file.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum FileStatus {
    /// It is there and valid.
    #[default]
    Valid,
    /// It is there and cannot be used; what runs is untouched.
    Invalid {
        /// Every problem, one a line, with file, line and column.
        problems: Vec<String>,
    },
    /// It is gone, or cannot be read; the app serves on.
    Orphaned {
        /// What was seen.
        reason: String,
    },
}

/// How the effect in flight comes along.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(tag = "doing", rename_all = "snake_case")]
pub enum Progress {
    /// Fetching the image.
    Pulling {
        /// Bytes that are here.
        done_bytes: u64,
        /// Bytes in all, as far as is known.
        total_bytes: u64,
    },
    /// At the gate.
    Probing {
        /// Probes so far.
        probes: u32,
        /// What the last one saw, when it was not healthy.
        last: Option<String>,
    },
    /// Waiting for requests in flight.
    Draining {
        /// What is left.
        #[serde(flatten)]
        left: InFlight,
        /// How long it has until it is closed.
        #[serde(with = "dockswap_core::time::millis", rename = "closed_in_ms")]
        #[schemars(with = "u64")]
        closed_in: Duration,
    },
    /// Trying again what did not work.
    Retrying {
        /// What was seen.
        reason: String,
    },
}

/// Something that followers want to hear of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "notice", rename_all = "snake_case")]
pub enum Notice {
    /// A transition was committed; the event is in the database.
    Committed {
        /// Whose.
        app: AppName,
        /// The deployment that the event belongs to.
        deployment: DeploymentId,
    },
    /// The effect in flight came along.
    Progress {
        /// Whose.
        app: AppName,
        /// How.
        progress: Progress,
    },
}

impl AppView {
    pub(crate) fn of(machine: &Machine, newest: Option<&AppSpec>, routes: Option<&AppRoutes>) -> Self {
        let serving = machine.serving();
        let failed = match machine.phase() {
            Phase::Settled(dockswap_core::machine::Ground::Failed(failed)) => Some(failed.reason.to_string()),
            _ => None,
        };
        Self {
            app: machine.app().clone(),
            project: newest.and_then(project_of),
            state: machine.state().to_owned(),
            version: machine.version().0,
            active_color: serving.map(|serving| serving.live.color),
            image: serving.map(|serving| serving.live.plan.image.clone()),
            serving: serving.map(|serving| serving.deployment),
            origin: serving.map(|serving| serving.live.origin),
            in_flight: machine.in_flight(),
            deployment: machine.deployment(),
            standby: serving.and_then(|serving| serving.standby.as_ref()).map(|standby| StandbyView {
                color: standby.release.color,
                image: standby.release.plan.image.clone(),
                deployment: standby.deployment,
                warm_until_us: match standby.warmth {
                    Warmth::Running { until } => Some(until),
                    Warmth::Stopped => None,
                },
            }),
            routes: machine.route().routes.iter().map(ToString::to_string).collect(),
            upstreams: routes
                .and_then(|routes| routes.target.as_ref())
                .map(|target| target.upstreams.iter().map(|upstream| upstream.addr.to_string()).collect())
                .unwrap_or_default(),
            progress: None,
            file: FileStatus::Valid,
            degraded: None,
            failed,
            given_up: machine.given_up().is_some(),
            waiting: false,
            gate: GateView::of(machine),
            runs_alone: machine.releases().iter().any(|release| release.runs_alone()),
        }
    }
}

/// The project that a file names. One that was stored before names had a form is none.
pub(crate) fn project_of(spec: &AppSpec) -> Option<ProjectName> {
    spec.project.as_ref()?.parse().ok()
}
