//! Why an event changes nothing: a value, recorded, not an error.

use crate::name::DeploymentId;
use serde::Serialize;

/// An event that was not accepted, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The state has no arrow for it.
    #[error("{event} is not possible in state {state}")]
    NotNow {
        /// The event.
        event: &'static str,
        /// The state.
        state: &'static str,
    },
    /// Something is under way that has to end first.
    #[error("something else is under way (state {state})")]
    Busy {
        /// The state.
        state: &'static str,
    },
    /// A report about a phase that is over.
    #[error("{event} answers version {answers}, the app is at version {version}")]
    Stale {
        /// The event.
        event: &'static str,
        /// What it answers.
        answers: u64,
        /// What is in force.
        version: u64,
    },
    /// It is about containers that the state is not about.
    #[error("{event} is about the containers of deployment {about}; those of {release} matter now")]
    Elsewhere {
        /// The event.
        event: &'static str,
        /// Whose containers it is about.
        about: DeploymentId,
        /// Whose matter.
        release: DeploymentId,
    },
    /// A timer that rang before its time.
    #[error("{event} came before its time")]
    TooEarly {
        /// The event.
        event: &'static str,
    },
    /// No earlier version to give the traffic to.
    #[error("there is no previous version that could take the traffic back")]
    NothingToGoBackTo,
    /// No standby that runs.
    #[error("no standby is running that traffic could be moved to")]
    NoWarmStandby,
    /// Nothing of the app is healthy.
    #[error("nothing of this app is healthy: deploy a version that is")]
    NothingHealthy,
    /// The app has never been deployed.
    #[error("the app has never been deployed, so there is no traffic that could be kept from it")]
    NeverDeployed,
    /// Requests of an app in maintenance are answered, so that none can wait.
    #[error("the app is in maintenance: its requests are answered 503, none can wait")]
    InMaintenance,
    /// It is already so.
    #[error("{event} changes nothing: it is already so")]
    Already {
        /// The event.
        event: &'static str,
    },
}
