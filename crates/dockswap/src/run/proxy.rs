//! `dockswap proxy`: the data plane as a process of its own.

use super::signals::Signals;
use super::{privileges, service_manager, telemetry};
use crate::cli::ProxyArgs;
use crate::paths::Paths;
use anyhow::{Context, Result};
use dockswap_config::{AccessLogForm, ProxyProtocol, ProxySettings, Settings};
use dockswap_proxy::{AccessLog, Form, Front, Greeting, Limits, ProxyConfig, Start};
use listenfd::ListenFd;
use privileges::User;
use sd_notify::NotifyState;
use std::net::TcpListener;
use std::path::PathBuf;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// A proxy that is ready to start, and has given up all that it does not need.
#[derive(Debug)]
pub(crate) struct Proxy(ProxyConfig);

impl Proxy {
    /// Makes this process one that may carry traffic. To be called while it has one thread.
    ///
    /// # Errors
    /// When the data directory cannot be made, or the user that the settings name cannot be become.
    pub(crate) fn prepare(paths: &Paths, args: &ProxyArgs, settings: &Settings) -> Result<Self> {
        telemetry::init(&settings.log);
        let start = if args.takeover { Start::TakingOver } else { Start::Alone };
        super::keep_to_ourselves();
        super::make_private_dir(&paths.data_dir)?;
        privileges::take_all_files()?;
        privileges::gain_none()?;
        let (mut control_socket, mut snapshot) = (paths.proxy_socket(), paths.proxy_snapshot());
        let mut keyfile = paths.proxy_keyfile();
        if let Some(user) = args.user.as_ref().or(settings.proxy.user.as_ref()) {
            let user = User::find(user)?;
            match start {
                Start::Alone => privileges::move_in(paths, user)?,
                Start::TakingOver => privileges::join(paths, user)?,
            }
            privileges::become_user(user)?;
            // Another user's process may be dumped again.
            super::keep_to_ourselves();
            // The way there leads through a directory that is root's alone.
            control_socket = PathBuf::from(privileges::file_name(&control_socket)?);
            snapshot = PathBuf::from(privileges::file_name(&snapshot)?);
            keyfile = PathBuf::from(privileges::file_name(&keyfile)?);
        }
        let http = args.http.unwrap_or(settings.proxy.http);
        Ok(Self(ProxyConfig {
            http,
            https: args.https.unwrap_or(settings.proxy.https),
            public_https_port: settings.proxy.public_https_port,
            control_socket,
            snapshot,
            keyfile,
            limits: limits(&settings.proxy),
            front: front(&settings.proxy),
            access_log: access_log(&settings.proxy),
            sockets: activated()?,
            start,
            ready: None,
        }))
    }

    /// Serves until SIGTERM or SIGINT, or until another proxy has taken over; then finishes what is in flight.
    ///
    /// # Errors
    /// When it cannot start: the address is taken, another proxy runs on the same data directory, or the one that was
    /// to be replaced does not hand over.
    pub(crate) async fn serve(mut self) -> Result<()> {
        let _reassuring = service_manager::reassure();
        let shutdown = CancellationToken::new();
        let mut signals = Signals::new().context("signals cannot be handled")?;
        let ended = shutdown.clone();
        tokio::spawn(async move {
            while !signals.next().await.is_end() {}
            service_manager::tell(NotifyState::Stopping);
            ended.cancel();
        });
        let (ready, is_ready) = oneshot::channel();
        self.0.ready = Some(ready);
        tokio::spawn(async move {
            if is_ready.await.is_ok() {
                service_manager::tell(NotifyState::Ready);
            }
        });
        dockswap_proxy::serve(self.0, shutdown).await.context("the proxy cannot serve")
    }
}

/// What clients may take, as the settings have it.
fn limits(settings: &ProxySettings) -> Limits {
    let (own, all) = (&settings.limits, Limits::default());
    Limits {
        head_time: own.header_timeout.unwrap_or(all.head_time),
        idle_time: own.idle_timeout.unwrap_or(all.idle_time),
        stall_time: own.stall_timeout.unwrap_or(all.stall_time),
        connections: own.max_connections.unwrap_or(all.connections),
        connections_per_ip: own.max_connections_per_ip.unwrap_or(all.connections_per_ip),
        streams_per_ip: own.max_streams_per_ip.unwrap_or(all.streams_per_ip),
        handover_time: settings.handover_timeout.unwrap_or(all.handover_time),
        ..all
    }
}

/// Whether and where requests are written down, as the settings have it.
fn access_log(settings: &ProxySettings) -> Option<AccessLog> {
    let form = match settings.access_log {
        AccessLogForm::Off => return None,
        AccessLogForm::Text => Form::Text,
        AccessLogForm::Json => Form::Json,
    };
    Some(AccessLog { form, file: settings.access_log_file.clone() })
}

/// What stands in front, as the settings name it.
fn front(settings: &ProxySettings) -> Front {
    let greeting = match settings.proxy_protocol {
        ProxyProtocol::Off => Greeting::None,
        ProxyProtocol::Required => Greeting::ProxyProtocol,
    };
    Front { trusted: settings.trusted_proxies.clone(), greeting }
}

/// The sockets that a service manager has opened for this process (`sd_listen_fds(3)`); those that take no TCP
/// connections are an error.
fn activated() -> Result<Vec<TcpListener>> {
    let mut given = ListenFd::from_env();
    let sockets = (0..given.len()).map(|at| given.take_tcp_listener(at));
    let sockets: std::io::Result<Vec<_>> = sockets.filter_map(Result::transpose).collect();
    sockets.context("a socket from the service manager is no TCP socket: mend its unit (ListenStream=PORT)")
}
