//! Logs: to stderr, as text or JSON.

use dockswap_config::{LogFormat, LogSettings};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Sends logs to stderr as `settings` say. A level such as `debug` is dockswap's own; libraries stay
/// at `warn` unless `settings.level` is a full filter (`info,bollard=debug`).
pub(crate) fn init(settings: &LogSettings) {
    let level = &settings.level;
    let filter = if level.contains(['=', ',']) {
        EnvFilter::new(level)
    } else {
        EnvFilter::new(format!(
            "warn,dockswap={level},dockswap_config={level},dockswap_controller={level},dockswap_docker={level},dockswap_proxy={level},dockswap_store={level}"
        ))
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // Complaining on a stderr that is gone would end the process.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    match settings.format {
        LogFormat::Text => builder.with_target(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
