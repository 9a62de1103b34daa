//! What leads to a crash point: who does what to which app before, and what must have come of it
//! afterwards.

use crate::points::Point;
use crate::track::Track;
use dockswap_core::machine::Stage;
use dockswap_tests::{AppFile, Kind, once};

/// What leads to a crash point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scene {
    /// An edit of what serves.
    Edit,
    /// An edit of what serves to what may not run beside it.
    Recreation,
    /// Such a deployment is cancelled when it has the traffic.
    WayBack,
    /// An edit that waits for a promotion.
    Gated,
    /// The promotion.
    Promotion,
    /// A deployment is cancelled when it has the traffic.
    Cancel,
    /// An app is taken out of service.
    Removal,
    /// An app that was taken out of service is edited.
    Return,
    /// An app's only version turns unhealthy while it is watched.
    Failure,
    /// An app that has failed is edited.
    Mending,
    /// An app's first version exits at once.
    FirstTry,
    /// That is mended.
    SecondTry,
}

/// What must have become of the app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It serves this version and is stable.
    Serves(String),
    /// It is in this state.
    Is(&'static str),
}

impl Scene {
    pub(crate) const fn of(point: Point) -> Self {
        let on_entry = point.is_on_entry();
        match point.stage {
            Stage::Stable
            | Stage::Pulling
            | Stage::Starting
            | Stage::HealthCheck
            | Stage::Switching
            | Stage::Draining
            | Stage::Watching
            | Stage::Stopping => Self::Edit,
            Stage::HoldingRouting | Stage::HoldingDraining | Stage::HoldingStopping => Self::Recreation,
            Stage::RollingBackRestarting | Stage::RollingBackProving | Stage::RollingBackReleasing => {
                Self::WayBack
            }
            Stage::AwaitingPromotion if on_entry => Self::Gated,
            Stage::AwaitingPromotion => Self::Promotion,
            Stage::RollingBackRouting | Stage::RollingBackDraining | Stage::RollingBackRemoving => {
                Self::Cancel
            }
            Stage::RetiringUnrouting | Stage::RetiringDraining | Stage::RetiringRemoving => Self::Removal,
            Stage::Retired if on_entry => Self::Removal,
            Stage::Retired => Self::Return,
            Stage::Failed if on_entry => Self::Failure,
            Stage::Failed => Self::Mending,
            Stage::Pending if on_entry => Self::FirstTry,
            Stage::Pending => Self::SecondTry,
        }
    }

    /// Sees to it that the scene can be played at all.
    pub(crate) fn set(self, track: &mut Track) {
        match self {
            Self::Edit | Self::Gated | Self::Promotion | Self::Cancel => track.runs_beside(),
            Self::Recreation
            | Self::WayBack
            | Self::Removal
            | Self::Return
            | Self::Failure
            | Self::Mending
            | Self::FirstTry
            | Self::SecondTry => {}
        }
    }

    /// Brings an app to where the scene begins; its name.
    pub(crate) fn prepare(self, track: &mut Track) -> String {
        match self {
            Self::Edit | Self::Recreation | Self::Gated => track.web().to_owned(),
            Self::WayBack => {
                let web = track.web().to_owned();
                track.edit(&web, |file| recreated(file).deployment("watch", "60s"));
                track.site.reaches(&web, "watching");
                web
            }
            Self::Promotion => {
                let web = track.web().to_owned();
                track.edit(&web, gated);
                track.site.reaches(&web, "awaiting_promotion");
                web
            }
            Self::Cancel => {
                let web = track.web().to_owned();
                track.edit(&web, |file| file.deployment("watch", "60s"));
                track.site.reaches(&web, "watching");
                web
            }
            Self::Removal => {
                let guest = track.guest().to_owned();
                if track.state(&guest).as_deref() != Some("stable") {
                    track.edit(&guest, |file| file);
                    track.site.reaches(&guest, "stable");
                }
                guest
            }
            Self::Return => track.retired_guest(),
            Self::Failure => {
                let guest = track.retired_guest();
                track.edit(&guest, wearing_out);
                track.site.reaches(&guest, "watching");
                guest
            }
            Self::Mending => {
                let guest = Self::Failure.prepare(track);
                wear_out(track, &guest);
                track.site.reaches(&guest, "failed");
                guest
            }
            Self::FirstTry => track.fresh(),
            Self::SecondTry => {
                let fresh = track.fresh();
                track.edit(&fresh, exiting);
                track.site.reaches(&fresh, "pending");
                fresh
            }
        }
    }

    /// Does what leads to the crash point; what must come of it.
    pub(crate) fn act(self, track: &mut Track, app: &str) -> End {
        match self {
            Self::Edit | Self::Return | Self::Mending | Self::SecondTry => {
                track.edit(app, |file| file);
                End::Serves(track.edition())
            }
            Self::Recreation => {
                track.edit(app, recreated);
                track.goes_alone();
                End::Serves(track.edition())
            }
            Self::Gated => {
                track.edit(app, gated);
                End::Serves(track.edition())
            }
            Self::Promotion => {
                track.order(&["promote", app, "--no-wait"]);
                End::Serves(track.edition())
            }
            Self::Cancel | Self::WayBack => {
                track.order(&["cancel", app]);
                End::Serves(track.serving().to_owned())
            }
            Self::Removal => {
                track.order(&["remove", app, "--yes", "--no-wait"]);
                End::Is("retired")
            }
            Self::Failure => {
                wear_out(track, app);
                End::Is("failed")
            }
            Self::FirstTry => {
                track.edit(app, exiting);
                End::Is("pending")
            }
        }
    }

    /// What is done again in `state` by somebody whose order got no answer.
    pub(crate) const fn again(self, state: &str) -> Option<&'static [&'static str]> {
        match (self, state.as_bytes()) {
            (Self::Gated | Self::Promotion, b"awaiting_promotion") => Some(&["promote", "--no-wait"]),
            (Self::Cancel | Self::WayBack, b"watching") => Some(&["cancel"]),
            (Self::Removal, b"stable") => Some(&["remove", "--yes", "--no-wait"]),
            _ => None,
        }
    }
}

fn recreated(file: AppFile) -> AppFile {
    file.deployment("strategy", "recreate")
}

fn gated(file: AppFile) -> AppFile {
    file.deployment("promotion", "manual")
}

/// A version that serves well and says that it is not well as soon as somebody has asked it for something.
fn wearing_out(file: AppFile) -> AppFile {
    let file = file.env("UNHEALTHY_AFTER_REQUESTS", "1").deployment("watch", "60s");
    file.health_check("interval", "100ms").health_check("retries", "1")
}

fn wear_out(track: &Track, app: &str) {
    let answer = once(track.site.http(), &track.site.host_of(app), Kind::OneShot);
    answer.unwrap_or_else(|failure| panic!("{app} serves while it is watched: {failure:?}"));
}

fn exiting(file: AppFile) -> AppFile {
    file.env("EXIT_AFTER_MS", "0")
}
