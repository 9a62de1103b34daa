//! Following a deployment: one line a step on stderr, and on a terminal a live line under them.
//! The controller may be restarted meanwhile; the follower waits for it.

use super::client::{Client, ClientError, Events};
use super::exit::{CliError, Exit};
use super::sentence;
use super::session::note;
use super::text::{block, duration, escape};
use crate::api::wire;
use dockswap_core::{AppName, DeploymentId, Timestamp};
use std::io::{IsTerminal, Write};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// How long a controller may be away before the follower gives up.
const ABSENCE: Duration = Duration::from_secs(60);

/// How soon it is asked again.
const RETRY: Duration = Duration::from_millis(500);

/// How often the live line is drawn.
const DRAW: Duration = Duration::from_millis(100);

/// When a follower has seen enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// The deployment has ended.
    Ended,
    /// It has the traffic (or has ended).
    Switched,
}

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Followed {
    /// It has ended, and how.
    Ended(wire::Deployment),
    /// It has the traffic, this long after it was asked for: by the order, or by the promotion.
    Switched(Duration),
}

/// Follows `deployment` of `app`.
///
/// # Errors
/// When the controller stays away, or says no.
pub(crate) async fn follow(
    client: &Client,
    app: &AppName,
    deployment: DeploymentId,
    until: Until,
) -> Result<Followed, CliError> {
    let mut follower = Follower { began: None, asked: None, after: None, screen: Screen::new(app) };
    let mut stream = None;
    let mut answered = Instant::now();
    loop {
        let mut events = match stream.take() {
            Some(events) => events,
            None => match open(client, deployment, follower.after).await {
                Ok(events) => events,
                Err(ClientError::Unreachable { .. }) if answered.elapsed() < ABSENCE => {
                    follower.screen.live("the controller does not answer: waiting for it");
                    sleep(RETRY).await;
                    continue;
                }
                Err(error) => return Err(CliError::from(error).next(format!("dockswap events {deployment}"))),
            },
        };
        answered = Instant::now();
        match follower.read(&mut events, until).await {
            Ok(Some(seen)) => return Ok(seen),
            Ok(None) | Err(ClientError::Unreachable { .. }) => sleep(RETRY).await,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits until a deployment newer than `before` begins: the one that was ordered and has to wait for
/// its turn.
///
/// # Errors
/// When the controller goes away.
pub(crate) async fn begun(
    client: &Client,
    app: &AppName,
    before: Option<DeploymentId>,
) -> Result<DeploymentId, CliError> {
    let mut screen = Screen::new(app);
    screen.live("waiting for its turn");
    // Listen first, then look: what begins in between is noticed.
    let mut events = client.events(&format!("/v1/apps/{app}/events/stream"), None).await?;
    loop {
        let shown: wire::App = client.get(&format!("/v1/apps/{app}")).await?;
        if let Some(last) = shown.last_deployment.filter(|last| Some(last.id) > before) {
            return Ok(last.id);
        }
        if !shown.view.waiting {
            return Err(CliError::new(
                Exit::Conflict,
                format!("{app}: the deployment was called off while it waited"),
            ));
        }
        if events.next().await.transpose()?.is_none() {
            events = client.events(&format!("/v1/apps/{app}/events/stream"), None).await?;
        }
    }
}

async fn open(client: &Client, deployment: DeploymentId, after: Option<i64>) -> Result<Events, ClientError> {
    client.events(&format!("/v1/deployments/{deployment}/events/stream"), after).await
}

struct Follower {
    began: Option<Timestamp>,
    /// When somebody last asked for the switch.
    asked: Option<Timestamp>,
    after: Option<i64>,
    screen: Screen,
}

impl Follower {
    /// `None`: the stream has ended before there was enough to see.
    async fn read(&mut self, events: &mut Events, until: Until) -> Result<Option<Followed>, ClientError> {
        let mut draw = interval(DRAW);
        draw.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let message = tokio::select! {
                message = events.next() => message,
                _ = draw.tick(), if self.screen.is_live() => {
                    self.screen.draw();
                    continue;
                }
            };
            let Some(message) = message.transpose()? else { return Ok(None) };
            match message.name.as_str() {
                "transition" => {
                    let event: wire::Event = message.json()?;
                    let began = *self.began.get_or_insert(event.at.0);
                    self.after = Some(event.id);
                    if self.asked.is_none() || event.name == "promote" {
                        self.asked = Some(event.at.0);
                    }
                    let asked = self.asked.unwrap_or(began);
                    let took = event.at.0.saturating_since(began);
                    self.screen.step(took, &event);
                    if until == Until::Switched && event.name == "traffic_switched" && !event.refused {
                        return Ok(Some(Followed::Switched(event.at.0.saturating_since(asked))));
                    }
                }
                "progress" => {
                    let notice: wire::ProgressNotice = message.json()?;
                    self.screen.live(&sentence::of_progress(&notice.progress));
                }
                "ended" => return Ok(Some(Followed::Ended(message.json()?))),
                _ => {}
            }
        }
    }
}

/// Stderr: lines that stay, and on a terminal one that changes.
struct Screen {
    app: AppName,
    live: Option<Live>,
}

struct Live {
    text: String,
    since: Instant,
    width: usize,
}

impl Screen {
    fn new(app: &AppName) -> Self {
        let live = std::io::stderr().is_terminal().then(|| Live {
            text: String::new(),
            since: Instant::now(),
            width: width(),
        });
        Self { app: app.clone(), live }
    }

    const fn is_live(&self) -> bool {
        self.live.is_some()
    }

    fn step(&mut self, took: Duration, event: &wire::Event) {
        self.clear();
        note(&step(&self.app, took, event));
        let state = event.to.as_deref().unwrap_or_default().replace('_', " ");
        if let Some(live) = &mut self.live {
            live.since = Instant::now();
        }
        self.live(&state);
    }

    /// Shows what is going on, where that can be taken back.
    fn live(&mut self, text: &str) {
        if let Some(live) = &mut self.live {
            live.text = escape(text);
        }
        self.draw();
    }

    fn draw(&self) {
        let Some(live) = &self.live else { return };
        let text = format!("          {} … {}", live.text, duration(live.since.elapsed()));
        let text: String = text.chars().take(live.width - 1).collect();
        let mut out = std::io::stderr().lock();
        let _ = write!(out, "\r\x1b[2K{text}");
        let _ = out.flush();
    }

    fn clear(&self) {
        if self.is_live() {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[2K");
        }
    }
}

/// The terminal's columns; 80 where it does not say.
fn width() -> usize {
    let columns = rustix::termios::tcgetwinsize(std::io::stderr()).map_or(0, |size| size.ws_col);
    if columns == 0 { 80 } else { usize::from(columns) }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A step that was made, as a line: `web  +1.2 s  health_check: the containers of green run`.
fn step(app: &AppName, took: Duration, event: &wire::Event) -> String {
    let state = event.to.as_deref().unwrap_or("?");
    format!("{app}  +{:<8} {state}: {}", duration(took), block(&sentence::of_event(event), "          "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::step;
    use serde_json::json;
    use std::time::Duration;

    #[test]
    fn a_step_is_a_line_and_its_evidence() {
        let event = serde_json::from_value(json!({
            "id": 4, "deployment": 7, "app": "web", "event": "health_check_failed", "from": "health_check",
            "to": "rolling_back", "color": "green", "refused": false, "error": "x",
            "at": "2026-11-21T07:38:26.123456Z",
            "payload": {"event": {"type": "health_check_failed", "summary": "web-green-7 exited with code 1",
                "evidence": ["panic: no DATABASE_URL"]}},
        }))
        .unwrap();
        assert_eq!(
            step(&"web".parse().unwrap(), Duration::from_millis(1_200), &event),
            "web  +1.2 s    rolling_back: web-green-7 exited with code 1\n            | panic: no DATABASE_URL"
        );
    }
}
