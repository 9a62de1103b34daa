//! Any bytes as a request to the controller's API: an answer, and where it says no, a problem as JSON
//! with the answer's own status. Never a panic, here or in the controller behind it.
//!
//! An input is `METHOD TARGET`, a line with the content type (empty: none), and the body. The
//! controller lives as long as the process, with one app `web` and a history of what was asked before.

use crate::controller::Controller;
use bytes::Bytes;
use dockswap::memory::MemoryApi;
use dockswap_core::AppName;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::BodyExt;
use serde_json::Value;
use std::sync::OnceLock;

const PROBLEM: &str = "application/problem+json";

/// Asks the API for what `bytes` say.
pub fn api_bodies(bytes: &[u8]) {
    static CONTROLLER: OnceLock<Controller> = OnceLock::new();
    let Some(request) = request(bytes) else { return };
    let controller = CONTROLLER.get_or_init(Controller::start);
    controller.runtime.block_on(ask(&controller.api, request));
}

/// `None`: no such request can be made of HTTP.
fn request(bytes: &[u8]) -> Option<Request<Bytes>> {
    let mut parts = bytes.splitn(3, |&byte| byte == b'\n');
    let (line, kind, body) =
        (parts.next()?, parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let (method, target) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    let method = Method::from_bytes(method.as_bytes()).ok()?;
    let target: Uri = known(&method, target).parse().ok()?;
    let mut request =
        Request::builder().method(method).uri(target).body(Bytes::copy_from_slice(body)).ok()?;
    if !kind.is_empty() {
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_bytes(kind).ok()?);
    }
    Some(request)
}

/// Orders about apps that may have a file since a moment ago look for it, for half a second: those are
/// about `web` here.
fn known(method: &Method, target: &str) -> String {
    let app = target.strip_prefix("/v1/apps/").map(|rest| rest.split(['/', '?']).next().unwrap_or_default());
    match app {
        Some(app) if method != Method::GET && app.parse::<AppName>().is_ok() => {
            target.replacen(&format!("/v1/apps/{app}"), "/v1/apps/web", 1)
        }
        _ => target.to_owned(),
    }
}

async fn ask(api: &MemoryApi, request: Request<Bytes>) {
    let asked = format!("{} {}", request.method(), request.uri());
    let is_head = request.method() == Method::HEAD;
    let answer = api.ask(request).await;
    let status = answer.status();
    let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.to_owned();
    if status.is_success() && !kind.starts_with("application/json") {
        // Text for people and machines, and streams, which do not end.
        return;
    }
    let body = answer.into_body().collect().await.expect("an answer in memory").to_bytes();
    if status.is_success() {
        assert!(is_head || serde_json::from_slice::<Value>(&body).is_ok(), "{asked}: {body:?}");
        return;
    }
    assert!(
        status.is_client_error() || status == StatusCode::SERVICE_UNAVAILABLE,
        "{asked}: {status} {body:?}"
    );
    assert_eq!(kind, PROBLEM, "{asked}: {status} {body:?}");
    if is_head {
        return;
    }
    let problem: Value =
        serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{asked}: {error}: {body:?}"));
    assert_eq!(problem["status"], status.as_u16(), "{asked}");
    let (code, detail) = (problem["code"].as_str(), problem["detail"].as_str());
    assert!(code.is_some_and(|code| !code.is_empty()), "{asked}: {problem}");
    assert!(detail.is_some_and(|detail| !detail.is_empty()), "{asked}: {problem}");
    // Only a task of the controller that panicked is not there any more.
    assert_ne!(code, Some("shutting_down"), "{asked}");
}
