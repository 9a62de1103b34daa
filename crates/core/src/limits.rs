//! What requests to one app may take of the proxy, as far as the app's file says so. Plain data: who keeps to it, and
//! what holds where nothing is said, is the proxy's business.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The limits of one app's traffic (the `limits` section of its file). `None`: as the proxy has it for all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct TrafficLimits {
    /// Bytes of a request's body; more is answered 413.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body_bytes: Option<u64>,
    /// How long a container may take to accept a connection.
    #[serde(rename = "connect_timeout_ms", with = "maybe_millis", skip_serializing_if = "Option::is_none")]
    pub connect_timeout: Option<Duration>,
    /// How long the app may take for the head of an answer, from the last byte of the request on.
    #[serde(rename = "response_timeout_ms", with = "maybe_millis", skip_serializing_if = "Option::is_none")]
    pub response_timeout: Option<Duration>,
    /// How long a body may stand still, whichever way it goes and whoever holds it up.
    #[serde(rename = "idle_timeout_ms", with = "maybe_millis", skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Duration>,
    /// The same for what may be silent for long by its nature: event streams, gRPC calls, upgraded connections.
    #[serde(
        rename = "stream_idle_timeout_ms",
        with = "maybe_millis",
        skip_serializing_if = "Option::is_none"
    )]
    pub stream_idle_timeout: Option<Duration>,
    /// Requests in flight at a time, over all replicas and both colors, upgraded connections not among them; one more
    /// is answered 503.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_requests: Option<u32>,
    /// The same of upgraded connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_websockets: Option<u32>,
}

impl TrafficLimits {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Serde for a [`Duration`] that may be absent, as whole milliseconds.
mod maybe_millis {
    use crate::time::millis;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::time::Duration;

    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct Millis(#[serde(with = "millis")] Duration);

    #[expect(clippy::ref_option, reason = "serde hands it over so")]
    pub(super) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        duration.map(Millis).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Millis>::deserialize(deserializer)?.map(|Millis(duration)| duration))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says so by failing")]

    use super::*;

    #[test]
    fn what_is_not_said_is_not_written_and_all_is_read_back() {
        assert_eq!(serde_json::to_string(&TrafficLimits::default()).unwrap(), "{}");
        let limits = TrafficLimits {
            max_body_bytes: Some(1024),
            connect_timeout: Some(Duration::from_millis(1)),
            response_timeout: Some(Duration::from_millis(2)),
            idle_timeout: Some(Duration::from_millis(3)),
            stream_idle_timeout: Some(Duration::from_millis(4)),
            max_requests: Some(5),
            max_websockets: Some(6),
        };
        let text = serde_json::to_string(&limits).unwrap();
        assert!(text.contains(r#""response_timeout_ms":2"#), "{text}");
        assert_eq!(serde_json::from_str::<TrafficLimits>(&text).unwrap(), limits);
    }
}
