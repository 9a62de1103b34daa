//! Logs: to stderr, as text or JSON.

use dockswap_config::{LogFormat, LogSettings};
use std::io::IsTerminal;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt};

/// Sends logs to stderr as `settings` say. A level such as `debug` is dockswap's own; libraries stay
/// at `warn` unless `settings.level` is a full filter (`info,hyper=debug`). What would show secrets is
/// never written, whatever the level.
pub(crate) fn init(settings: &LogSettings) {
    let level = &settings.level;
    let filter = if level.contains(['=', ',']) {
        EnvFilter::new(level)
    } else {
        EnvFilter::new(format!(
            "warn,dockswap={level},dockswap_config={level},dockswap_controller={level},dockswap_docker={level},dockswap_proxy={level},dockswap_store={level}"
        ))
    };
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        // Complaining on a stderr that is gone would end the process.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match settings.format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let lines = lines.with_filter(filter).with_filter(filter_fn(is_harmless));
    tracing_subscriber::registry().with(lines).init();
}

/// Docker's client writes whole requests at `debug`, with the environment of the container that is to be
/// made.
fn is_harmless(metadata: &Metadata<'_>) -> bool {
    let library = metadata.target().split("::").next().unwrap_or_default();
    library != "bollard" || *metadata.level() <= Level::INFO
}
