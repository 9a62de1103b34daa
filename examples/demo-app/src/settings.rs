//! How the app behaves, from its environment. It knows nothing of HTTP.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

/// What the environment asks of the app.
#[derive(Debug)]
pub(crate) struct Settings {
    /// `VERSION`: what it calls itself.
    pub(crate) version: String,
    /// `HOSTNAME`, as Docker sets it: which container this is.
    pub(crate) container: String,
    /// `PORT`.
    pub(crate) port: u16,
    /// `PRINT`: lines for the log, written at start.
    pub(crate) print: Option<String>,
    /// `BOOT_MS`: how long before it listens.
    pub(crate) boot: Duration,
    /// `EXIT_AFTER_MS`: when it gives up; 0 is at once.
    pub(crate) exit_after: Option<Duration>,
    /// `EXIT_CODE`: with what it gives up.
    pub(crate) exit_code: u8,
    /// `IGNORE_SIGTERM=1`: only SIGKILL ends it.
    pub(crate) ignores_sigterm: bool,
    /// What `/health` answers.
    pub(crate) health: HealthSettings,
}

/// When `/health` answers 200, and when not.
#[derive(Debug)]
pub(crate) struct HealthSettings {
    /// `HEALTH_STATUS`: what it answers while nothing below says otherwise.
    pub(crate) status: u16,
    /// `HEALTHY_AFTER_MS`: 503 until so long after the start.
    pub(crate) healthy_after: Duration,
    /// `UNHEALTHY_AFTER_MS`: 503 from so long after the start.
    pub(crate) unhealthy_after: Option<Duration>,
    /// `UNHEALTHY_AFTER_REQUESTS`: 503 once it has answered so many requests, probes not counted.
    pub(crate) unhealthy_after_requests: Option<u64>,
}

impl Settings {
    /// Reads the environment; a value that cannot be read is an error that names it.
    pub(crate) fn from_env() -> Result<Self, String> {
        Ok(Self {
            version: text("VERSION").unwrap_or_else(|| "unversioned".to_owned()),
            container: text("HOSTNAME").unwrap_or_else(|| "localhost".to_owned()),
            port: value("PORT")?.unwrap_or(8080),
            print: text("PRINT"),
            boot: millis("BOOT_MS")?.unwrap_or_default(),
            exit_after: millis("EXIT_AFTER_MS")?,
            exit_code: value("EXIT_CODE")?.unwrap_or(1),
            ignores_sigterm: text("IGNORE_SIGTERM").is_some_and(|text| text == "1"),
            health: HealthSettings {
                status: value("HEALTH_STATUS")?.unwrap_or(200),
                healthy_after: millis("HEALTHY_AFTER_MS")?.unwrap_or_default(),
                unhealthy_after: millis("UNHEALTHY_AFTER_MS")?,
                unhealthy_after_requests: value("UNHEALTHY_AFTER_REQUESTS")?,
            },
        })
    }
}

impl HealthSettings {
    /// What `/health` answers `uptime` after the start and `requests` requests.
    pub(crate) fn status(&self, uptime: Duration, requests: u64) -> u16 {
        let too_early = uptime < self.healthy_after;
        let too_late = self.unhealthy_after.is_some_and(|limit| uptime >= limit);
        let worn_out = self.unhealthy_after_requests.is_some_and(|limit| requests >= limit);
        if too_early || too_late || worn_out { 503 } else { self.status }
    }
}

fn text(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

fn value<T: FromStr<Err: Display>>(name: &str) -> Result<Option<T>, String> {
    text(name).map(|text| text.trim().parse().map_err(|error| format!("{name}={text}: {error}"))).transpose()
}

fn millis(name: &str) -> Result<Option<Duration>, String> {
    Ok(value(name)?.map(Duration::from_millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health() -> HealthSettings {
        HealthSettings {
            status: 200,
            healthy_after: Duration::ZERO,
            unhealthy_after: None,
            unhealthy_after_requests: None,
        }
    }

    #[test]
    fn health_is_good_between_its_limits() {
        let settings = HealthSettings {
            healthy_after: Duration::from_millis(10),
            unhealthy_after: Some(Duration::from_millis(20)),
            ..health()
        };
        let answers = [9, 10, 19, 20].map(|ms| settings.status(Duration::from_millis(ms), 0));
        assert_eq!(answers, [503, 200, 200, 503]);
    }

    #[test]
    fn health_wears_out_by_requests() {
        let settings = HealthSettings { unhealthy_after_requests: Some(2), ..health() };
        assert_eq!([1, 2].map(|requests| settings.status(Duration::ZERO, requests)), [200, 503]);
    }
}
