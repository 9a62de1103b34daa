//! How long effects take, for whoever watches: a switch, a drain, a pull. What they are for is not its business.

use dockswap_core::machine::Effect;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::time::Duration;

/// Upper bounds of the buckets, in seconds: a switch takes milliseconds, a drain or a pull minutes.
const BUCKETS: [f64; 13] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Kind {
    effect: &'static str,
}

/// Measures effects, by their kind.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    registry: Registry,
    seconds: Family<Kind, Histogram, fn() -> Histogram>,
}

impl Stopwatch {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("dockswap");
        let seconds =
            Family::<Kind, Histogram, fn() -> Histogram>::new_with_constructor(|| Histogram::new(BUCKETS));
        let about = "How long it took until an effect was done, or had failed";
        registry.register_with_unit("effect", about, Unit::Seconds, seconds.clone());
        Self { registry, seconds }
    }

    /// An effect of this kind took `time`.
    pub(crate) fn took(&self, effect: &'static str, time: Duration) {
        self.seconds.get_or_create(&Kind { effect }).observe(time.as_secs_f64());
    }

    /// All of it in the text format of `OpenMetrics`, without its last line.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = encode_registry(&mut text, &self.registry);
        text
    }
}

/// What `effect` is called.
pub(crate) const fn kind(effect: &Effect) -> &'static str {
    match effect {
        Effect::Pull { .. } => "pull",
        Effect::Run(_) => "run",
        Effect::Probe { .. } => "probe",
        Effect::Route => "switch",
        Effect::Drain { .. } => "drain",
        Effect::Stop(_) => "stop",
        Effect::Undo(_) => "undo",
        Effect::RemoveAll => "remove",
    }
}

#[cfg(test)]
mod tests {
    use super::Stopwatch;
    use std::time::Duration;

    #[test]
    fn what_took_time_is_in_its_bucket() {
        let stopwatch = Stopwatch::new();
        stopwatch.took("switch", Duration::from_millis(3));
        stopwatch.took("switch", Duration::from_secs(2));
        let text = stopwatch.text();
        for line in [
            r#"dockswap_effect_seconds_bucket{le="0.001",effect="switch"} 0"#,
            r#"dockswap_effect_seconds_bucket{le="0.005",effect="switch"} 1"#,
            r#"dockswap_effect_seconds_count{effect="switch"} 2"#,
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is missing in\n{text}");
        }
    }
}
