//! The life of a token: made, shown once, used, expired, revoked.

use crate::stage::Stage;
use bytes::Bytes;
use http::Request;
use http::header::AUTHORIZATION;
use http_body_util::BodyExt;
use serde_json::json;
use std::time::{Duration, Instant};

/// How long what must happen may take.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_shown_once_and_its_use_is_noted() {
    let stage = Stage::new().await;
    let token = stage.token("ci", "developer", Some("shop")).await;
    let me = stage.ask(Some(&token), "GET", "/v1/whoami", "").await.document;
    assert_eq!(me["actor"], "token:ci");
    assert_eq!(me["grants"], json!([{ "project": "shop", "role": "developer" }]));
    let secret = token.split('_').nth(2).expect("a secret");
    let began = Instant::now();
    loop {
        let list = stage.ask(None, "GET", "/v1/tokens", "").await.document;
        assert!(!list.to_string().contains(secret));
        assert_eq!(list["tokens"][0]["name"], "ci");
        assert_eq!(list["tokens"][0]["status"], "valid");
        if list["tokens"][0]["last_used_at"].is_string() {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "its use is not noted");
        tokio::task::yield_now().await;
    }
    stage.api.shutdown().await;
    for file in std::fs::read_dir(stage.directory.path()).expect("a directory").flatten() {
        let Ok(bytes) = std::fs::read(file.path()) else { continue };
        let holds = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!holds, "{} holds the secret", file.path().display());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_is_good_for_nothing_and_its_streams_end() {
    let stage = Stage::new().await;
    let token = stage.token("ci", "viewer", None).await;
    let again = json!({ "name": "ci", "grants": [{ "role": "viewer" }] }).to_string();
    let refused = stage.ask(None, "POST", "/v1/tokens", &again).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "name_taken"));
    let request = Request::get("/v1/events").header(AUTHORIZATION, format!("Bearer {token}"));
    let stream = stage.api.ask(request.body(Bytes::new()).expect("a request")).await;
    assert!(stream.status().is_success());
    let stream = tokio::spawn(stream.into_body().collect());

    let revoked = stage.ask(None, "DELETE", "/v1/tokens/ci", "").await;
    assert_eq!(revoked.document["status"], "revoked", "{revoked:?}");
    let ended = tokio::time::timeout(PATIENCE, stream).await;
    assert!(ended.is_ok_and(|ended| ended.is_ok_and(|body| body.is_ok())), "the stream goes on");
    let answer = stage.ask(Some(&token), "GET", "/v1/whoami", "").await;
    assert_eq!(answer.status.as_u16(), 401);
    assert!(answer.detail().contains("was revoked"), "{answer:?}");
    let again = stage.ask(None, "DELETE", "/v1/tokens/ci", "").await;
    assert_eq!((again.status.as_u16(), again.code()), (404, "unknown_token"));
    // The name is free again.
    stage.token("ci", "viewer", None).await;
    stage.api.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_ends_with_its_time() {
    let stage = Stage::new().await;
    let order = json!({ "name": "short", "grants": [{ "role": "viewer" }], "expires_in_s": 1 }).to_string();
    let made = stage.ask(None, "POST", "/v1/tokens", &order).await.document;
    let token = made["token"].as_str().expect("a token");
    let began = Instant::now();
    let refused = loop {
        let answer = stage.ask(Some(token), "GET", "/v1/whoami", "").await;
        // Asked so often, it is told to wait.
        if !answer.status.is_success() && answer.code() != "too_many_requests" {
            break answer;
        }
        assert!(began.elapsed() < PATIENCE, "it does not end");
        tokio::task::yield_now().await;
    };
    assert_eq!(refused.status.as_u16(), 401);
    assert!(refused.detail().contains("has expired"), "{refused:?}");
    stage.api.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_order_for_a_token_is_refused() {
    let stage = Stage::new().await;
    let token = stage.token("ci", "viewer", None).await;
    let grants = json!([{ "role": "viewer" }]);
    for order in [
        json!({ "name": token, "grants": grants }),
        json!({ "name": "a b", "grants": grants }),
        json!({ "name": "x", "grants": [] }),
        json!({ "name": "x", "grants": grants, "expires_in_s": 0 }),
        json!({ "name": "x", "grants": [{ "project": token, "role": "viewer" }] }),
        json!({ "name": "x", "grants": [{ "role": "root" }] }),
        json!({ "name": "x", "grants": grants, "more": 1 }),
    ] {
        let answer = stage.ask(None, "POST", "/v1/tokens", &order.to_string()).await;
        assert_eq!(answer.status.as_u16(), 422, "{order}: {answer:?}");
        assert!(!answer.document.to_string().contains(&token[20..]), "{answer:?}");
    }
    stage.api.shutdown().await;
}
