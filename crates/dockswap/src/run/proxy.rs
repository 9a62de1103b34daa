//! `dockswap proxy`: the data plane as a process of its own.

use super::signals::Signals;
use super::telemetry;
use crate::cli::ProxyArgs;
use crate::paths::Paths;
use anyhow::{Context, Result};
use dockswap_config::Settings;
use dockswap_proxy::{Limits, ProxyConfig};
use tokio_util::sync::CancellationToken;

/// Serves until SIGTERM or SIGINT, then finishes what is in flight.
///
/// # Errors
/// When it cannot start: the address is taken, or another proxy runs on the same data directory.
pub(crate) async fn proxy(paths: &Paths, args: &ProxyArgs, settings: &Settings) -> Result<()> {
    telemetry::init(&settings.log);
    super::make_private_dir(&paths.data_dir)?;
    let config = ProxyConfig {
        http: args.http.unwrap_or(settings.proxy.http),
        control_socket: paths.proxy_socket(),
        snapshot: paths.proxy_snapshot(),
        limits: Limits::default(),
    };
    let shutdown = CancellationToken::new();
    let mut signals = Signals::new().context("signals cannot be handled")?;
    let ended = shutdown.clone();
    tokio::spawn(async move {
        while !signals.next().await.is_end() {}
        ended.cancel();
    });
    dockswap_proxy::serve(config, shutdown).await.context("the proxy cannot serve")
}
