//! Projects: what one may see follows the app's file, what one may not see is nowhere, and a project goes whole.

use crate::stage::Stage;
use bytes::Bytes;
use http::Request;
use http::header::AUTHORIZATION;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::time::Duration;

/// How long what must happen may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn names(list: &Value, of: &str, name: &str) -> Vec<String> {
    let list = list[of].as_array().expect("a list").iter();
    list.filter_map(|one| one[name].as_str()).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_moves_takes_its_viewers_away() {
    let stage = Stage::new().await;
    let shop = stage.token("shop", "viewer", Some("shop")).await;
    let blog = stage.token("blog", "viewer", Some("blog")).await;
    let request =
        Request::get("/v1/apps/shop-web/events/stream").header(AUTHORIZATION, format!("Bearer {shop}"));
    let stream = stage.api.ask(request.body(Bytes::new()).expect("a request")).await;
    assert!(stream.status().is_success());
    let stream = tokio::spawn(stream.into_body().collect());
    assert_eq!(stage.ask(Some(&blog), "GET", "/v1/apps/shop-web", "").await.status.as_u16(), 404);
    stage.write("shop-web", "project: blog\n", "v1");
    stage.until("shop-web", |app| app["project"] == "blog").await;
    assert!(stage.ask(Some(&blog), "GET", "/v1/apps/shop-web", "").await.status.is_success());
    assert_eq!(stage.ask(Some(&shop), "GET", "/v1/apps/shop-web", "").await.status.as_u16(), 404);
    let ended = tokio::time::timeout(PATIENCE, stream).await;
    assert!(ended.is_ok_and(|ended| ended.is_ok_and(|body| body.is_ok())), "the stream goes on");
    stage.api.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clash_does_not_name_what_is_hidden() {
    let stage = Stage::new().await;
    let shop = stage.token("shop", "developer", Some("shop")).await;
    let file = stage.directory.path().join("apps").join("shop-web.yaml");
    let text =
        std::fs::read_to_string(&file).expect("an app file") + "routes: [{ host: blog-web.localhost }]\n";
    std::fs::write(&file, text).expect("an app file");
    stage.until("shop-web", |app| app["file"]["status"] == "invalid").await;
    let all = stage.ask(None, "GET", "/v1/apps/shop-web", "").await.document["file"].to_string();
    assert!(all.contains("blog-web"), "{all}");
    for path in ["/v1/apps", "/v1/apps/shop-web", "/v1/apps/shop-web/why"] {
        let seen = stage.ask(Some(&shop), "GET", path, "").await.document.to_string();
        // The route's own host is what the file says.
        let beside = seen.replace("blog-web.localhost", "");
        assert!(!beside.contains("blog-web") || beside.contains("(another app)"), "{path}: {seen}");
        assert!(!beside.contains("blog-web.yaml"), "{path}: {seen}");
    }
    let refused = stage.ask(Some(&shop), "POST", "/v1/apps/shop-web/deployments", "{}").await;
    assert_eq!(refused.code(), "invalid", "{refused:?}");
    assert!(!refused.detail().contains("blog-web.yaml"), "{refused:?}");
    stage.api.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_is_listed_to_those_who_see_it_and_goes_with_its_grants() {
    let stage = Stage::new().await;
    let admin = stage.token("shop-admin", "admin", Some("shop")).await;
    let list = stage.ask(None, "GET", "/v1/projects", "").await.document;
    assert_eq!(names(&list, "projects", "project"), ["blog", "shop"]);
    let list = stage.ask(Some(&admin), "GET", "/v1/projects", "").await.document;
    assert_eq!(list["projects"], json!([{ "project": "shop", "apps": ["shop-web"], "grants": 1 }]));
    let refused = stage.ask(Some(&admin), "DELETE", "/v1/projects/shop", "").await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "project_in_service"), "{refused:?}");

    let gone = stage.ask(Some(&admin), "DELETE", "/v1/apps/shop-web", "").await;
    assert!(gone.status.is_success(), "{gone:?}");
    stage.until("shop-web", |app| app["state"] == "retired").await;
    stage.token("shop-owner", "owner", Some("shop")).await;
    let above = stage.ask(Some(&admin), "DELETE", "/v1/projects/shop", "").await;
    assert_eq!((above.status.as_u16(), above.code()), (403, "forbidden"), "{above:?}");
    let removed = stage.ask(None, "DELETE", "/v1/projects/shop", "").await;
    assert_eq!(removed.document, json!({ "project": "shop", "grants": 2 }), "{removed:?}");
    let me = stage.ask(Some(&admin), "GET", "/v1/whoami", "").await.document;
    assert_eq!(me["grants"], json!([]));
    assert_eq!(stage.ask(Some(&admin), "GET", "/v1/apps/shop-web", "").await.status.as_u16(), 404);
    let none = stage.ask(None, "DELETE", "/v1/projects/shop", "").await;
    assert_eq!((none.status.as_u16(), none.code()), (404, "unknown_project"));
    stage.api.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_must_be_a_name_in_new_files() {
    let stage = Stage::new().await;
    stage.write("shop-web", "project: My Shop\n", "v2");
    stage.until("shop-web", |app| app["file"]["status"] == "invalid").await;
    let shown = stage.ask(None, "GET", "/v1/apps/shop-web", "").await.document;
    assert_eq!(
        (&shown["project"], &shown["image"]),
        (&json!("shop"), &json!("app:v1")),
        "what runs is untouched"
    );
    assert!(
        shown["file"]["problems"][0].as_str().is_some_and(|why| why.contains("is not a project's name")),
        "{shown}"
    );
    stage.api.shutdown().await;
}
