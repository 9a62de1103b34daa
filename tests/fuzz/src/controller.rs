//! A controller in this process, on a directory of its own, with an outside in which all goes well. It
//! runs one app, `web`, and lives as long as the process.

use crate::nothing::Nothing;
use bytes::Bytes;
use dockswap::memory::MemoryApi;
use http::Request;
use http_body_util::BodyExt;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const APP: &str = "\
name: web
image: app:v1
docker: { expose_port: 8080 }
deployment: { watch: 0s, rollback_window: 1s, drain_timeout: 0s }
";

/// How long the first deployment may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Controller {
    pub(crate) runtime: Runtime,
    pub(crate) api: MemoryApi,
    directory: TempDir,
}

impl Controller {
    /// Starts one, and waits until `web` serves.
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let apps = directory.path().join("apps");
        std::fs::create_dir(&apps).expect("a directory for app files");
        std::fs::write(apps.join("web.yaml"), APP).expect("an app file");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let outside = Arc::new(Nothing::default());
        let api = MemoryApi::start(directory.path(), outside.clone(), outside.clone(), outside);
        let api = runtime.block_on(api).expect("a controller");
        let controller = Self { runtime, api, directory };
        let began = Instant::now();
        while controller.get("/v1/apps/web")["state"] != "stable" {
            assert!(began.elapsed() < PATIENCE, "the app does not come into service");
            std::thread::yield_now();
        }
        controller
    }

    /// The file of another app.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join("apps").join(name)
    }

    /// What the API says.
    pub(crate) fn get(&self, path: &str) -> Value {
        let request = Request::get(path).body(Bytes::new()).expect("a request");
        self.runtime.block_on(async {
            let body = self.api.ask(request).await.into_body().collect().await;
            serde_json::from_slice(&body.expect("an answer in memory").to_bytes()).expect("JSON")
        })
    }

    /// Has the directory read again.
    pub(crate) fn reload(&self) {
        let request = Request::post("/v1/reload").body(Bytes::new()).expect("a request");
        let status = self.runtime.block_on(self.api.ask(request)).status();
        assert!(status.is_success(), "{status}");
    }
}
