//! The connection to one Docker daemon: which version of the API it speaks, what it is like, and a
//! deadline around every call. It knows nothing of containers.

use crate::failure::Failure;
use crate::room::Room;
use bollard::models::SystemInfo;
use bollard::{API_DEFAULT_VERSION, BollardRequest};
use dockswap_core::ports::EngineError;
use http::Uri;
use http::header::HeaderValue;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::timeout;

/// For any call that has no reason to take longer.
const DEADLINE: Duration = Duration::from_secs(30);

/// bollard's own limit covers only the head of an answer; ours covers all of it, so its must not
/// come first.
const NEVER_SECONDS: u64 = 24 * 60 * 60;

/// The oldest API that has what dockswap needs: that of Docker 20.10.
const OLDEST_MINOR: usize = 41;

/// One Docker daemon. Cheap to clone; clones share what was learnt about the daemon.
#[derive(Clone)]
pub struct Docker {
    pub(crate) client: bollard::Docker,
    pub(crate) deadline: Duration,
    /// The minor version of the API that requests are made in; 0: not negotiated.
    minor: Arc<AtomicUsize>,
    session: Arc<Mutex<Option<Arc<Session>>>>,
    /// Networks are made one at a time: two daemons' worth of races are enough.
    pub(crate) network_turn: Arc<Mutex<()>>,
    /// What has to stay free of its disk; `None`: nothing.
    pub(crate) room: Option<Room>,
}

/// What the daemon was like when it was last met. Forgotten when it falls silent: another one may
/// answer next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    /// The driver whose options can be set, if it is one that dockswap knows how to rotate.
    pub(crate) rotating_log_driver: Option<String>,
    /// How the proxy comes to a container.
    pub(crate) reach: Reach,
    /// How many processors containers may use.
    pub(crate) processors: i64,
}

/// How processes on the host come to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// By its own address.
    Direct,
    /// Only by a published port: the containers are in a machine or network namespace of their own.
    Loopback,
}

impl fmt::Debug for Docker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Docker").field("client", &self.client).finish_non_exhaustive()
    }
}

impl Docker {
    /// Takes the daemon at `host` (`unix:///path` or `tcp://host:port`), at `DOCKER_HOST`, or at the
    /// usual socket, whichever is given first. Asks it nothing yet: the first call negotiates the
    /// version of the API, and so does the first one after the daemon fell silent.
    ///
    /// # Errors
    /// When there is no such socket (`Unavailable`), or `host` is of a kind that is not spoken.
    pub fn connect(host: Option<&str>) -> Result<Self, EngineError> {
        let host = host
            .map(str::to_owned)
            .or_else(|| std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty()))
            .unwrap_or_else(usual_socket);
        let client = if host.starts_with("unix://") || host.starts_with('/') {
            bollard::Docker::connect_with_unix(&host, NEVER_SECONDS, API_DEFAULT_VERSION)
        } else if host.starts_with("tcp://") || host.starts_with("http://") {
            bollard::Docker::connect_with_http(&host, NEVER_SECONDS, API_DEFAULT_VERSION)
        } else {
            return Err(EngineError::Refused {
                operation: format!("connect to docker at {host}"),
                message: "write unix:///path/to/docker.sock or tcp://host:port".to_owned(),
            });
        }
        .map_err(|error| Failure::from(error).during(format!("connect to docker at {host}")))?;

        let minor = Arc::new(AtomicUsize::new(0));
        let version = Arc::clone(&minor);
        let client =
            client.with_request_modifier(move |request| prepare(request, version.load(Ordering::Relaxed)));
        Ok(Self {
            client,
            deadline: DEADLINE,
            minor,
            session: Arc::default(),
            network_turn: Arc::default(),
            room: None,
        })
    }

    /// The same daemon with another deadline for calls that have no reason to take longer (30 s).
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Makes `request` within the usual deadline.
    pub(crate) async fn call<T, F>(&self, request: impl Fn() -> F + Send) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, bollard::errors::Error>> + Send,
        T: Send,
    {
        self.call_within(self.deadline, request).await
    }

    /// Makes `request`, head and body of the answer within `limit`; again when the daemon turns out
    /// to have become one of another version.
    pub(crate) async fn call_within<T, F>(
        &self,
        limit: Duration,
        request: impl Fn() -> F + Send,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, bollard::errors::Error>> + Send,
        T: Send,
    {
        let attempt = async {
            self.session().await?;
            match request().await.map_err(Failure::from) {
                Err(failure) if failure.is_version_mismatch() => {
                    self.forget();
                    self.session().await?;
                    request().await.map_err(Failure::from)
                }
                answer => answer,
            }
        };
        let answer = timeout(limit, attempt).await.unwrap_or_else(|_| Err(Failure::late(limit)));
        if matches!(answer, Err(Failure::Silent(_))) {
            self.forget();
        }
        answer
    }

    /// What the daemon is like, asked once.
    pub(crate) async fn session(&self) -> Result<Arc<Session>, Failure> {
        let mut known = self.session.lock().await;
        if let Some(session) = &*known {
            return Ok(Arc::clone(session));
        }
        self.minor.store(0, Ordering::Relaxed);
        let (version, info) = tokio::join!(self.client.version(), self.client.info());
        let spoken = version.map_err(Failure::from)?.api_version.unwrap_or_default();
        self.minor.store(negotiate(&spoken)?, Ordering::Relaxed);
        let session = Arc::new(Session::of(&info.map_err(Failure::from)?));
        tracing::debug!(api = %spoken, ?session, "docker answers");
        *known = Some(Arc::clone(&session));
        Ok(session)
    }

    /// [`Docker::session`] within the usual deadline.
    pub(crate) async fn session_in_time(&self) -> Result<Arc<Session>, Failure> {
        let limit = self.deadline;
        timeout(limit, self.session()).await.unwrap_or_else(|_| Err(Failure::late(limit)))
    }

    /// Lets the next call ask again what the daemon is like. Where another call is asking already,
    /// that is enough.
    pub(crate) fn forget(&self) {
        if let Ok(mut known) = self.session.try_lock() {
            *known = None;
        }
    }
}

impl Session {
    fn of(info: &SystemInfo) -> Self {
        let driver = info.logging_driver.as_deref();
        let desktop = info.operating_system.as_deref().is_some_and(|name| name.contains("Docker Desktop"));
        let rootless = info.security_options.iter().flatten().any(|option| option.contains("rootless"));
        Self {
            rotating_log_driver: driver
                .filter(|driver| ["json-file", "local"].contains(driver))
                .map(str::to_owned),
            reach: if desktop || rootless { Reach::Loopback } else { Reach::Direct },
            processors: info.ncpu.filter(|processors| *processors > 0).unwrap_or(1),
        }
    }
}

/// The version for a daemon that speaks up to `spoken`: its own, or bollard's where that is older.
fn negotiate(spoken: &str) -> Result<usize, Failure> {
    let minor: usize = spoken
        .strip_prefix("1.")
        .and_then(|minor| minor.parse().ok())
        .ok_or_else(|| Failure::Broken(format!("version {spoken:?} of Docker's API is not understood")))?;
    if minor < OLDEST_MINOR {
        return Err(Failure::Broken(format!(
            "this Docker speaks version {spoken} of its API; dockswap needs 1.{OLDEST_MINOR} (Docker 20.10) or newer"
        )));
    }
    Ok(minor.min(API_DEFAULT_VERSION.minor_version))
}

/// bollard 0.21 names no version in its requests, which lets every daemon answer in its newest; and
/// it encodes credentials with the standard alphabet where Docker reads the URL-safe one.
fn prepare(mut request: BollardRequest, minor: usize) -> BollardRequest {
    if minor > 0
        && let Some(uri) = versioned(request.uri(), minor)
    {
        *request.uri_mut() = uri;
    }
    if let Some(credentials) = request.headers_mut().get_mut("x-registry-auth") {
        let text = String::from_utf8_lossy(credentials.as_bytes()).replace('+', "-").replace('/', "_");
        if let Ok(mut value) = HeaderValue::from_str(&text) {
            value.set_sensitive(true);
            *credentials = value;
        }
    }
    request
}

fn versioned(uri: &Uri, minor: usize) -> Option<Uri> {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(format!("/v1.{minor}{}", parts.path_and_query?).parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// The system's daemon, or the user's own (rootless) where only that one is there.
fn usual_socket() -> String {
    let system = "/var/run/docker.sock";
    let own = std::env::var("XDG_RUNTIME_DIR").map(|dir| format!("{dir}/docker.sock"));
    match own {
        Ok(own) if !Path::new(system).exists() && Path::new(&own).exists() => own,
        _ => system.to_owned(),
    }
}

// What bollard logs at debug holds environments in the clear: no such record may be compiled in.
const _: () = assert!(matches!(
    log::STATIC_MAX_LEVEL,
    log::LevelFilter::Off | log::LevelFilter::Error | log::LevelFilter::Warn | log::LevelFilter::Info
));

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn the_older_side_decides_the_version() {
        assert_eq!(negotiate("1.41"), Ok(41));
        assert_eq!(negotiate("1.99"), Ok(API_DEFAULT_VERSION.minor_version));
        assert!(negotiate("1.40").unwrap_err().message().contains("20.10"));
        assert!(negotiate("2.0").is_err());
    }

    #[test]
    fn requests_name_the_version() {
        let uri: Uri = "unix://2f76/containers/json?all=true".parse().unwrap();
        assert_eq!(versioned(&uri, 41).unwrap().to_string(), "unix://2f76/v1.41/containers/json?all=true");
    }

    #[test]
    fn a_host_of_another_kind_is_refused_with_advice() {
        let error = Docker::connect(Some("ssh://somewhere")).unwrap_err();
        assert!(error.to_string().contains("unix:///path"), "{error}");
    }

    #[test]
    fn containers_of_desktop_and_rootless_daemons_are_reached_by_loopback() {
        let desktop =
            SystemInfo { operating_system: Some("Docker Desktop".to_owned()), ..SystemInfo::default() };
        let rootless =
            SystemInfo { security_options: Some(vec!["name=rootless".to_owned()]), ..SystemInfo::default() };
        assert_eq!(Session::of(&desktop).reach, Reach::Loopback);
        assert_eq!(Session::of(&rootless).reach, Reach::Loopback);
        assert_eq!(Session::of(&SystemInfo::default()).reach, Reach::Direct);
    }

    #[test]
    fn only_drivers_that_rotate_get_options() {
        let driver = |name: &str| {
            let info = SystemInfo { logging_driver: Some(name.to_owned()), ..SystemInfo::default() };
            Session::of(&info).rotating_log_driver
        };
        assert_eq!(driver("json-file").as_deref(), Some("json-file"));
        assert_eq!(driver("local").as_deref(), Some("local"));
        assert_eq!(driver("journald"), None);
    }
}
