//! The commands that a deployment runs besides the app, each once, in a container of its own: which there are,
//! and how long each may take. Values only.

use crate::time::millis;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// When a command is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hook {
    /// Before anything of the new version is started, and before what serves is touched.
    PreDeploy,
    /// Once the deployment is a success.
    PostDeploy,
}

impl Hook {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::PreDeploy, Self::PostDeploy];

    /// Its name, as app files, labels and events have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PreDeploy => "pre_deploy",
            Self::PostDeploy => "post_deploy",
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The commands of an app (`hooks`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Its failure ends the deployment.
    pub pre_deploy: Option<HookSpec>,
    /// Its failure is on record, and changes nothing.
    pub post_deploy: Option<HookSpec>,
}

impl Hooks {
    /// The command for `hook`, if the app has one.
    #[must_use]
    pub const fn of(&self, hook: Hook) -> Option<&HookSpec> {
        match hook {
            Hook::PreDeploy => self.pre_deploy.as_ref(),
            Hook::PostDeploy => self.post_deploy.as_ref(),
        }
    }
}

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookSpec {
    /// Replaces the image's `CMD`.
    pub command: Vec<String>,
    /// Replaces the app's entrypoint, which is otherwise kept.
    pub entrypoint: Option<Vec<String>>,
    /// How long it may take.
    pub timeout: Duration,
}

/// Which commands a deployment runs, and how long each may take: what deciding needs of [`Hooks`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HookLimits {
    /// Before the candidate is started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_deploy: Option<HookLimit>,
    /// After the success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_deploy: Option<HookLimit>,
}

/// How long one command may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HookLimit {
    /// From the moment that its container is made.
    #[serde(with = "millis", rename = "timeout_ms")]
    pub timeout: Duration,
}

impl HookLimits {
    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.pre_deploy.is_none() && self.post_deploy.is_none()
    }

    /// How long `hook` may take; no time at all where there is none.
    #[must_use]
    pub fn timeout(&self, hook: Hook) -> Duration {
        let limit = match hook {
            Hook::PreDeploy => self.pre_deploy,
            Hook::PostDeploy => self.post_deploy,
        };
        limit.map(|limit| limit.timeout).unwrap_or_default()
    }
}

impl From<&Hooks> for HookLimits {
    fn from(hooks: &Hooks) -> Self {
        let limit = |hook| hooks.of(hook).map(|spec| HookLimit { timeout: spec.timeout });
        Self { pre_deploy: limit(Hook::PreDeploy), post_deploy: limit(Hook::PostDeploy) }
    }
}
