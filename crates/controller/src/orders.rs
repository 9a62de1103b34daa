//! What people may ask of an app, and what they are told.

use dockswap_core::machine::Refusal;
use dockswap_core::ports::{EngineError, RouterError};
use dockswap_core::records::StoreError;
use dockswap_core::{AppName, Color, DeploymentId};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Deploy the newest version of the app's file, also when it is what serves.
    Deploy,
    /// Give the traffic back to the previous success, or to an earlier deployment.
    Rollback {
        /// Which; absent: the previous success.
        to: Option<DeploymentId>,
    },
    /// Move the traffic to the standby of this color.
    Switch {
        /// The color.
        color: Color,
    },
    /// Let the candidate take the traffic.
    Promote,
    /// End the deployment in flight.
    Cancel,
    /// Settle on what Docker and the proxy show.
    Recover,
    /// Take the app out of service.
    Remove,
    /// Let new requests wait.
    Pause {
        /// For at most so long.
        #[serde(with = "dockswap_core::time::millis", rename = "limit_ms")]
        limit: Duration,
        /// And so many.
        queue: u32,
    },
    /// Let them go on.
    Resume,
    /// Have new requests answered 503.
    BeginMaintenance {
        /// The app's own page, HTML; absent: a plain one.
        page: Option<String>,
    },
    /// Open the app again.
    EndMaintenance,
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The deployment to follow.
    pub deployment: Option<DeploymentId>,
    /// Whether anything was begun; `false`: it is already so.
    pub begun: bool,
}

/// Why a command was not carried out. Nothing has changed, unless it says so.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// No app of this name is known.
    #[error("there is no app {0}")]
    UnknownApp(AppName),
    /// The app has no version that could be deployed.
    #[error("{0} has no valid app file to deploy")]
    NothingToDeploy(AppName),
    /// No such deployment.
    #[error("{app} has no deployment {deployment}")]
    UnknownDeployment {
        /// The app.
        app: AppName,
        /// What was asked for.
        deployment: DeploymentId,
    },
    /// A deployment that never had an image cannot be gone back to.
    #[error("deployment {0} never got as far as an image, so there is nothing to go back to")]
    NeverRan(DeploymentId),
    /// Its image was given up.
    #[error(
        "deployment {0} was pruned: its image is not kept any more, so it cannot be gone back to (retention.deployments says how many are)"
    )]
    Pruned(DeploymentId),
    /// Docker failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// No earlier success.
    #[error("{0} has no earlier successful deployment to go back to")]
    NoPrevious(AppName),
    /// No standby of that color runs.
    #[error("no {color} containers of {app} are running that traffic could be moved to")]
    NoStandby {
        /// The app.
        app: AppName,
        /// The color.
        color: Color,
    },
    /// Its versions never run side by side.
    #[error(
        "{0} is deployed with `strategy: recreate`: its versions never run side by side, so there is no standby to \
         switch to (`dockswap rollback {0}` starts the previous one again)"
    )]
    RunsAlone(AppName),
    /// Traffic cannot go back to what served before.
    #[error("the previous version of {app} ({color}) is not healthy, so traffic stays where it is")]
    StandbyUnfit {
        /// The app.
        app: AppName,
        /// Its color.
        color: Color,
    },
    /// Another app has taken a route of the version that was to come back, or serves its host by another certificate.
    #[error(
        "{holder} has the route {route}, or another certificate for its host, by now: change it there, or deploy a version without it"
    )]
    RouteTaken {
        /// Who has it.
        holder: AppName,
        /// Which.
        route: String,
    },
    /// A newer order took its place while it waited.
    #[error("a newer version took its place while it waited for its turn")]
    Superseded,
    /// The machine said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It is on record, and not in force yet.
    #[error("it is on record, and comes into force as soon as the proxy takes it: {0}")]
    NotInForce(RouterError),
    /// A stored config cannot be used.
    #[error("{0}")]
    Config(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The controller is shutting down.
    #[error("the controller is shutting down")]
    ShuttingDown,
}
