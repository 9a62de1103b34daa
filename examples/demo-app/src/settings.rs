//! How the app behaves, from its environment. It knows nothing of HTTP.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

/// What the environment asks of the app.
#[derive(Debug)]
pub struct Settings {
    /// The environment itself, which `/env` shows.
    pub(crate) environment: Environment,
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
    /// `UNHEALTHY_EVERY`: 503 to every so many-th probe.
    pub(crate) unhealthy_every: Option<u64>,
    /// `HEALTH_LOCATION`: the `Location` that its answers name.
    pub(crate) location: Option<String>,
}

/// Names and values, as a process is given them.
#[derive(Debug, Default)]
pub(crate) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The value of `name`; one that is empty counts as absent.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).filter(|text| !text.is_empty()).cloned()
    }

    fn value<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, String> {
        self.text(name)
            .map(|text| text.trim().parse().map_err(|error| format!("{name}={text}: {error}")))
            .transpose()
    }

    fn millis(&self, name: &str) -> Result<Option<Duration>, String> {
        Ok(self.value(name)?.map(Duration::from_millis))
    }
}

impl Settings {
    /// Reads an environment.
    ///
    /// # Errors
    /// A value that cannot be read, by its name.
    pub fn read(environment: impl IntoIterator<Item = (String, String)>) -> Result<Self, String> {
        let environment = Environment(environment.into_iter().collect());
        Ok(Self {
            version: environment.text("VERSION").unwrap_or_else(|| "unversioned".to_owned()),
            container: environment.text("HOSTNAME").unwrap_or_else(|| "localhost".to_owned()),
            port: environment.value("PORT")?.unwrap_or(8080),
            print: environment.text("PRINT"),
            boot: environment.millis("BOOT_MS")?.unwrap_or_default(),
            exit_after: environment.millis("EXIT_AFTER_MS")?,
            exit_code: environment.value("EXIT_CODE")?.unwrap_or(1),
            ignores_sigterm: environment.text("IGNORE_SIGTERM").is_some_and(|text| text == "1"),
            health: HealthSettings {
                status: environment.value("HEALTH_STATUS")?.unwrap_or(200),
                healthy_after: environment.millis("HEALTHY_AFTER_MS")?.unwrap_or_default(),
                unhealthy_after: environment.millis("UNHEALTHY_AFTER_MS")?,
                unhealthy_after_requests: environment.value("UNHEALTHY_AFTER_REQUESTS")?,
                unhealthy_every: environment.value("UNHEALTHY_EVERY")?,
                location: environment.text("HEALTH_LOCATION"),
            },
            environment,
        })
    }
}

impl HealthSettings {
    /// What `/health` answers to its `probe`-th probe, `uptime` after the start and `requests` requests.
    pub(crate) fn status(&self, uptime: Duration, requests: u64, probe: u64) -> u16 {
        let too_early = uptime < self.healthy_after;
        let too_late = self.unhealthy_after.is_some_and(|limit| uptime >= limit);
        let worn_out = self.unhealthy_after_requests.is_some_and(|limit| requests >= limit);
        let flaps = self.unhealthy_every.is_some_and(|every| every > 0 && probe.is_multiple_of(every));
        if too_early || too_late || worn_out || flaps { 503 } else { self.status }
    }
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
            unhealthy_every: None,
            location: None,
        }
    }

    #[test]
    fn health_is_good_between_its_limits() {
        let settings = HealthSettings {
            healthy_after: Duration::from_millis(10),
            unhealthy_after: Some(Duration::from_millis(20)),
            ..health()
        };
        let answers = [9, 10, 19, 20].map(|ms| settings.status(Duration::from_millis(ms), 0, 1));
        assert_eq!(answers, [503, 200, 200, 503]);
    }

    #[test]
    fn health_wears_out_by_requests() {
        let settings = HealthSettings { unhealthy_after_requests: Some(2), ..health() };
        assert_eq!([1, 2].map(|requests| settings.status(Duration::ZERO, requests, 1)), [200, 503]);
    }

    #[test]
    fn health_flaps_by_probes() {
        let settings = HealthSettings { unhealthy_every: Some(2), ..health() };
        assert_eq!([1, 2, 3, 4].map(|probe| settings.status(Duration::ZERO, 0, probe)), [200, 503, 200, 503]);
    }

    #[test]
    fn a_value_that_cannot_be_read_is_named() {
        let error = Settings::read([("PORT".to_owned(), "eighty".to_owned())]).err();
        assert!(error.is_some_and(|error| error.contains("PORT=eighty")));
    }
}
