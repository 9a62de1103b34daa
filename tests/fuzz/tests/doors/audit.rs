//! Every order leaves one row in the audit, and no question does.

use crate::stage::{Answer, Stage};
use dockswap::memory::MemoryApi;
use serde_json::{Value, json};

/// The newest rows first.
async fn rows(stage: &Stage) -> Vec<Value> {
    let log = stage.ask(None, "GET", "/v1/audit?limit=500", "").await.document;
    log["audit"].as_array().expect("a list").clone()
}

/// Asks, and gives the answer with the rows that came of it. A row that follows the answer is waited for.
async fn asked(
    stage: &Stage,
    token: Option<&str>,
    method: &str,
    path: &str,
    body: &str,
) -> (Answer, Vec<Value>) {
    let before = rows(stage).await.len();
    let answer = stage.ask(token, method, path, body).await;
    let after = rows(stage).await;
    (answer, after[..after.len() - before].to_vec())
}

/// A body by which an order is carried out where that is possible.
fn body(path: &str) -> String {
    match path {
        "/v1/apps/{app}/switch" => json!({ "color": "green" }).to_string(),
        "/v1/apps/{app}/deployments" => json!({ "image": "app:v2" }).to_string(),
        "/v1/tokens" => json!({ "name": "another", "grants": [{ "role": "viewer" }] }).to_string(),
        _ => "{}".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_order_leaves_one_row_carried_out_or_refused() {
    let stage = Stage::new().await;
    let viewer = stage.token("viewer", "viewer", None).await;
    for (method, path) in MemoryApi::doors() {
        let written = path
            .replace("{app}", "shop-web")
            .replace("{token}", "nobody")
            .replace("{project}", "shop")
            .replace("{id}", "1");
        let text = format!("{method} {path}");
        if method == "GET" {
            let (_, left) = asked(&stage, None, "GET", &written, "").await;
            assert_eq!(left, Vec::<Value>::new(), "{text}");
            continue;
        }
        let (refused, left) = asked(&stage, Some(&viewer), method.as_str(), &written, "{}").await;
        assert_eq!(refused.status.as_u16(), 403, "{text}");
        assert_eq!(left.len(), 1, "{text}: {left:?}");
        assert_eq!(
            (&left[0]["actor"], &left[0]["result"]),
            (&json!("token:viewer"), &json!("refused")),
            "{text}"
        );
        assert_eq!(left[0]["detail"]["code"], "forbidden", "{text}");
        let (unknown, left) = asked(&stage, Some("dsw_x"), method.as_str(), &written, "{}").await;
        assert_eq!(unknown.status.as_u16(), 401, "{text}");
        assert_eq!((left.len(), &left[0]["actor"]), (1, &json!("unknown")), "{text}: {left:?}");
        let (answer, left) = asked(&stage, None, method.as_str(), &written, &body(path)).await;
        assert_eq!(left.len(), 1, "{text}: {answer:?} {left:?}");
        let result = if answer.status.is_success() { "done" } else { "refused" };
        assert_eq!(left[0]["result"], result, "{text}: {answer:?} {left:?}");
        if !answer.status.is_success() {
            assert_eq!(left[0]["detail"]["code"], answer.code(), "{text}");
        }
    }
    stage.api.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_that_are_carried_out_say_by_whom_and_what_came_of_it() {
    let stage = Stage::new().await;
    let token = stage.token("ci", "owner", None).await;
    let (answer, left) = asked(
        &stage,
        Some(&token),
        "POST",
        "/v1/apps/shop-web/deployments",
        &json!({ "image": "app:v2" }).to_string(),
    )
    .await;
    assert!(answer.status.is_success(), "{answer:?}");
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!((&left[0]["verb"], &left[0]["target"]), (&json!("deploy"), &json!("app/shop-web")));
    assert_eq!((&left[0]["actor"], &left[0]["detail"]["image"]), (&json!("token:ci"), &json!("app:v2")));
    assert!(left[0]["address"].as_str().is_some_and(|from| from.starts_with("uid:")), "{left:?}");
    stage.until("shop-web", |app| app["image"] == "app:v2" && app["in_flight"].is_null()).await;
    let (answer, left) = asked(&stage, Some(&token), "POST", "/v1/apps/shop-web/deployments", "{}").await;
    assert_eq!((left.len(), &left[0]["result"]), (1, &json!("done")), "{answer:?}");
    assert_eq!(left[0]["deployment"], answer.document["deployment"]);
    stage.until("shop-web", |app| app["in_flight"].is_null()).await;
    let (answer, left) = asked(&stage, Some(&token), "POST", "/v1/apps/shop-web/rollback", "{}").await;
    assert!(answer.status.is_success(), "{answer:?}");
    assert_eq!((left.len(), &left[0]["deployment"]), (1, &answer.document["deployment"]), "{left:?}");
    stage.until("shop-web", |app| app["in_flight"].is_null()).await;
    let (answer, left) =
        asked(&stage, Some(&token), "POST", "/v1/apps/shop-web/rollback", "{\"to\":99}").await;
    assert_eq!(answer.code(), "unknown_deployment");
    assert_eq!((left.len(), &left[0]["detail"]["to"]), (1, &json!(99)), "{left:?}");
    assert_eq!(left[0]["detail"]["code"], "unknown_deployment");
    stage.api.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_refusals_fills_no_disk() {
    let stage = Stage::new().await;
    let viewer = stage.token("viewer", "viewer", None).await;
    let before = rows(&stage).await.len();
    for _ in 0..100 {
        let refused = stage.ask(Some(&viewer), "POST", "/v1/apps/shop-web/promote", "").await;
        assert_eq!(refused.status.as_u16(), 403);
    }
    assert_eq!(rows(&stage).await.len() - before, 30);
    // Somebody else has room of their own.
    let other = stage.token("other", "viewer", None).await;
    let (_, left) = asked(&stage, Some(&other), "POST", "/v1/apps/shop-web/promote", "").await;
    assert_eq!(left.len(), 1);
    let Stage { api, directory } = stage;
    api.shutdown().await;
    let log = dockswap::memory::audit(directory.path()).await.expect("the audit");
    assert_eq!((log[0].0.as_str(), &log[0].1), ("refused_more", &json!({ "orders": 70 })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_piece_of_a_token_is_stored() {
    let stage = Stage::new().await;
    let token = stage.token("canary", "owner", None).await;
    let secret = token.split('_').nth(2).expect("a secret").to_owned();
    let (cut, tail) = (&token[..50], &token[30..]);
    for text in [token.as_str(), cut, tail] {
        let plain = json!({ "image": text }).to_string();
        for (method, path, body) in [
            ("POST", format!("/v1/apps/{text}/deployments"), String::new()),
            ("POST", "/v1/apps/shop-web/deployments".to_owned(), json!({ "image": text }).to_string()),
            (
                "POST",
                "/v1/apps/shop-web/deployments".to_owned(),
                json!({ "image": format!("{text} x") }).to_string(),
            ),
            ("POST", "/v1/apps/shop-web/switch".to_owned(), json!({ "color": text }).to_string()),
            ("DELETE", format!("/v1/tokens/{text}"), String::new()),
            ("DELETE", format!("/v1/projects/{text}"), String::new()),
            (
                "POST",
                "/v1/tokens".to_owned(),
                json!({ "name": text, "grants": [{ "role": "viewer" }] }).to_string(),
            ),
        ] {
            if path.ends_with("/deployments") && body == plain {
                // Who writes a token into an app file has written it into an app file.
                continue;
            }
            stage.ask(Some(&token), method, &path, &body).await;
            stage.ask(Some(text), method, &path, &body).await;
        }
    }
    let Stage { api, directory } = stage;
    api.shutdown().await;
    let mut looked = 0;
    for file in std::fs::read_dir(directory.path()).expect("a directory").flatten() {
        let Ok(bytes) = std::fs::read(file.path()) else { continue };
        looked += 1;
        for piece in [&secret[..20], &secret[23..]] {
            let holds = bytes.windows(piece.len()).any(|window| window == piece.as_bytes());
            assert!(!holds, "{} holds a piece of the secret", file.path().display());
        }
    }
    assert!(looked > 0);
}
