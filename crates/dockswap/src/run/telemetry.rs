//! Logs: to stderr, as text or JSON.

use crate::cli::escape;
use dockswap_config::{LogFormat, LogSettings};
use std::fmt::Debug;
use std::io::IsTerminal;
use tracing::Level;
use tracing::field::Field;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
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
        LogFormat::Text => lines.with_target(false).fmt_fields(debug_fn(write_field).delimited(" ")).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let lines =
        lines.with_filter(filter).with_filter(filter_fn(|event| is_harmless(event.target(), *event.level())));
    tracing_subscriber::registry().with(lines).init();
}

/// A field as people read it. Whoever names a file, or answers for Docker, can put anything into one: it
/// must not move the reader's cursor. Only a message of our own has several lines.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> std::fmt::Result {
    let text = format!("{value:?}");
    match field.name() {
        "message" => {
            let lines: Vec<String> = text.lines().map(escape).collect();
            write!(writer, "{}", lines.join("\n"))
        }
        // What the bridge from `log` adds about itself.
        name if name.starts_with("log.") => Ok(()),
        name => write!(writer, "{name}={}", escape(&text)),
    }
}

/// Docker's client writes whole requests at `debug`, with the environment of the container that is to be
/// made.
fn is_harmless(target: &str, level: Level) -> bool {
    target.split("::").next() != Some("bollard") || level <= Level::INFO
}

#[cfg(test)]
mod tests {
    use super::is_harmless;
    use tracing::Level;

    #[test]
    fn what_would_show_an_environment_is_never_written() {
        for target in ["bollard", "bollard::docker", "bollard::read"] {
            assert!(!is_harmless(target, Level::DEBUG) && !is_harmless(target, Level::TRACE), "{target}");
            assert!(is_harmless(target, Level::INFO) && is_harmless(target, Level::ERROR), "{target}");
        }
        assert!(is_harmless("hyper::proto", Level::TRACE) && is_harmless("bollardish", Level::TRACE));
    }
}
