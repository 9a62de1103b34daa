//! A controller in this process with apps of two projects and of none, and questions to it by whoever shows a token.

use bytes::Bytes;
use dockswap::memory::MemoryApi;
use dockswap_fuzz::Nothing;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long what must happen may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Stage {
    pub(crate) api: MemoryApi,
    pub(crate) directory: TempDir,
}

/// An answer, as far as it is a document.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) document: Value,
}

impl Answer {
    pub(crate) fn code(&self) -> &str {
        self.document["code"].as_str().unwrap_or_default()
    }

    pub(crate) fn detail(&self) -> &str {
        self.document["detail"].as_str().unwrap_or_default()
    }
}

impl Stage {
    /// With `shop-web` of the project shop, `blog-web` of blog, and `hermit` of none, all serving.
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(directory.path().join("apps")).expect("a directory for app files");
        for (app, project) in
            [("shop-web", "project: shop\n"), ("blog-web", "project: blog\n"), ("hermit", "")]
        {
            write(&directory, app, project, "v1");
        }
        let outside = Arc::new(Nothing::default());
        let api = MemoryApi::start(directory.path(), outside.clone(), outside.clone(), outside).await;
        let stage = Self { api: api.expect("a controller"), directory };
        for app in ["shop-web", "blog-web", "hermit"] {
            stage.until(app, |app| app["state"] == "stable").await;
        }
        stage
    }

    /// Writes an app's file anew.
    pub(crate) fn write(&self, app: &str, project: &str, tag: &str) {
        write(&self.directory, app, project, tag);
    }

    /// Waits until an app is shown like that.
    pub(crate) async fn until(&self, app: &str, like: impl Fn(&Value) -> bool) {
        let began = Instant::now();
        loop {
            let shown = self.ask(None, "GET", &format!("/v1/apps/{app}"), "").await.document;
            if like(&shown) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{app} stays like that: {shown}");
            tokio::task::yield_now().await;
        }
    }

    /// Asks with a token, or as this user. The body of a stream is not read.
    pub(crate) async fn ask(&self, token: Option<&str>, method: &str, path: &str, body: &str) -> Answer {
        let mut request =
            Request::builder().method(method).uri(path).header(CONTENT_TYPE, "application/json");
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Bytes::copy_from_slice(body.as_bytes())).expect("a request");
        let answer = self.api.ask(request).await;
        let status = answer.status();
        let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let document = if kind.ends_with("json") {
            let body = answer.into_body().collect().await.expect("a body").to_bytes();
            serde_json::from_slice(&body).expect("JSON")
        } else {
            Value::Null
        };
        Answer { status, document }
    }

    /// A new token.
    pub(crate) async fn token(&self, name: &str, role: &str, project: Option<&str>) -> String {
        self.token_of(name, &json!([{ "project": project, "role": role }])).await
    }

    /// A new token with these grants.
    pub(crate) async fn token_of(&self, name: &str, grants: &Value) -> String {
        let order = json!({ "name": name, "grants": grants }).to_string();
        let made = self.ask(None, "POST", "/v1/tokens", &order).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        made.document["token"].as_str().expect("a token").to_owned()
    }
}

fn write(directory: &TempDir, app: &str, project: &str, tag: &str) {
    let file = directory.path().join("apps").join(format!("{app}.yaml"));
    let text = format!(
        "name: {app}\n{project}image: app:{tag}\ndocker: {{ expose_port: 8080 }}\n\
         deployment: {{ watch: 0s, rollback_window: 1m, drain_timeout: 0s }}\n"
    );
    std::fs::write(file, text).expect("an app file");
}
