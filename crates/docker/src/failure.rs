//! What went wrong in one call, and how it is told to the rest of dockswap. Pure: no call is made
//! here.

use bollard::errors::Error;
use dockswap_core::ports::EngineError;
use std::error::Error as _;
use std::time::Duration;

/// What came of a call that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No answer, or not in time.
    Silent(String),
    /// An answer that says no.
    Answered {
        /// The HTTP status.
        status: u16,
        /// Docker's own words.
        message: String,
    },
    /// An answer that cannot be read, or a request that cannot be made.
    Broken(String),
}

impl Failure {
    /// Nothing came within `limit`.
    pub(crate) fn late(limit: Duration) -> Self {
        Self::Silent(format!("no answer within {} s", limit.as_secs_f32()))
    }

    /// The HTTP status, when Docker answered.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Answered { status, .. } => Some(*status),
            Self::Silent(_) | Self::Broken(_) => None,
        }
    }

    /// Docker's words, or what was seen in their place.
    pub(crate) fn message(&self) -> &str {
        match self {
            Self::Silent(message) | Self::Broken(message) | Self::Answered { message, .. } => message,
        }
    }

    /// Whether nobody answered, or somebody who says that Docker is not there: asking again may help.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(self, Self::Silent(_) | Self::Answered { status: 502..=504, .. })
    }

    /// The same, with a way out where Docker's network has run dry.
    pub(crate) fn with_network_advice(self) -> Self {
        match self {
            Self::Answered { status, message } => {
                let message = match network_advice(&message) {
                    Some(advice) => format!("{message} ({advice})"),
                    None => message,
                };
                Self::Answered { status, message }
            }
            other => other,
        }
    }

    /// The error of the port; `operation` names the object: `start container web-blue-3`.
    pub(crate) fn during(self, operation: impl Into<String>) -> EngineError {
        let silence = self.is_silence();
        match self {
            Self::Silent(message) | Self::Answered { message, .. } if silence => {
                EngineError::Unavailable { message }
            }
            Self::Silent(message) | Self::Answered { message, .. } | Self::Broken(message) => {
                EngineError::Refused { operation: operation.into(), message }
            }
        }
    }

    /// Whether the daemon does not speak the version of the API that was asked for.
    pub(crate) fn is_version_mismatch(&self) -> bool {
        matches!(self, Self::Answered { status: 400, message } if message.contains("client version")
            && message.contains("too "))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::DockerResponseServerError { status_code, message } => {
                Self::Answered { status: status_code, message: message.trim().to_owned() }
            }
            Error::DockerStreamError { error } => Self::Answered { status: 500, message: error },
            Error::RequestTimeoutError => Self::Silent("no answer in time".to_owned()),
            Error::IOError { .. }
            | Error::HyperResponseError { .. }
            | Error::HyperLegacyError { .. }
            | Error::SocketNotFoundError(_) => Self::Silent(with_causes(&error)),
            other => Self::Broken(with_causes(&other)),
        }
    }
}

/// The error and its causes: hyper says "client error (Connect)", only its source says why.
fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

/// Whether a start failed because its host port is taken.
pub(crate) fn is_port_clash(message: &str) -> bool {
    message.contains("port is already allocated")
        || message.contains("address already in use")
        || message.contains("ports are not available")
}

/// Whether a start failed because its network is absent, or there twice for a moment.
pub(crate) fn is_network_trouble(message: &str) -> bool {
    message.contains("network") && (message.contains("not found") || message.contains("ambiguous"))
}

/// What helps when a container cannot join its network.
fn network_advice(message: &str) -> Option<&'static str> {
    if message.contains("non-overlapping IPv4 address pool") {
        return Some(
            "every address pool has its network: `docker network prune` removes those that nobody uses",
        );
    }
    if message.contains("no available IPv4 addresses") {
        return Some("every address of the network is taken: `docker network inspect` shows by whom");
    }
    (message.contains("endpoint with name") && message.contains("already exists in network")).then_some(
        "Docker still holds the place of a container that is gone: `docker network disconnect --force NETWORK NAME` frees it",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, message: &str) -> Failure {
        Failure::from(Error::DockerResponseServerError { status_code: status, message: message.to_owned() })
    }

    #[test]
    fn an_answer_is_refused_and_silence_is_unavailable() {
        let refused = answered(500, "boom\n").during("start container web-blue-1");
        assert_eq!(refused.to_string(), "start container web-blue-1: boom");
        let silent = Failure::from(Error::RequestTimeoutError).during("list containers");
        assert!(matches!(silent, EngineError::Unavailable { .. }));
        assert!(matches!(answered(503, "busy").during("x"), EngineError::Unavailable { .. }));
    }

    #[test]
    fn a_version_that_is_not_spoken_is_recognized() {
        for words in [
            "client version 1.53 is too new. Maximum supported API version is 1.41",
            "client version 1.41 is too old. Minimum supported API version is 1.44, please upgrade",
        ] {
            assert!(answered(400, words).is_version_mismatch(), "{words}");
        }
        assert!(!answered(400, "invalid reference format").is_version_mismatch());
    }

    #[test]
    fn the_texts_of_a_port_clash_are_known() {
        for words in [
            "driver failed programming external connectivity on endpoint web-blue-1 (49d0): Bind for \
             127.0.0.1:8081 failed: port is already allocated",
            "driver failed programming external connectivity on endpoint web-blue-1 (49d0): Error starting \
             userland proxy: listen tcp4 127.0.0.1:8081: bind: address already in use",
            "Ports are not available: exposing port TCP 127.0.0.1:80 -> 0.0.0.0:0: ports are not available",
        ] {
            assert!(is_port_clash(words), "{words}");
        }
    }

    #[test]
    fn the_texts_of_network_trouble_are_known() {
        assert!(is_network_trouble("network dockswap not found"));
        assert!(is_network_trouble("network dockswap is ambiguous (2 matches found on name)"));
        assert!(!is_network_trouble("No such image: sha256:1"));
    }

    #[test]
    fn a_network_that_has_run_dry_is_told_with_a_way_out() {
        for (words, way_out) in [
            (
                "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network",
                "docker network prune",
            ),
            (
                "no available IPv4 addresses on this network's address pools: dockswap (6f1c)",
                "network inspect",
            ),
            ("endpoint with name web-blue-1 already exists in network dockswap", "network disconnect"),
        ] {
            let message = answered(403, words).with_network_advice();
            assert!(
                message.message().starts_with(words) && message.message().contains(way_out),
                "{message:?}"
            );
        }
        assert_eq!(answered(500, "boom").with_network_advice(), answered(500, "boom"));
    }
}
