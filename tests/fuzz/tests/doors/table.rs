//! Every door, by a table of its own.

use crate::stage::{Answer, Stage};
use dockswap::memory::MemoryApi;
use serde_json::json;
use std::collections::BTreeSet;

/// The least first.
const ROLES: [&str; 4] = ["viewer", "developer", "admin", "owner"];

/// Whom a path must ask in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whom {
    Everyone,
    /// Whoever has a good token.
    Known,
    /// Whoever has this role for the app.
    Here(&'static str),
    /// Whoever has this role everywhere.
    Everywhere(&'static str),
}
use Whom::{Everyone, Everywhere, Here, Known};

const TABLE: &[(&str, &str, Whom)] = &[
    ("GET", "/healthz", Everyone),
    ("GET", "/readyz", Everyone),
    ("GET", "/metrics", Everywhere("viewer")),
    ("GET", "/v1/whoami", Known),
    ("GET", "/v1/apps", Known),
    ("GET", "/v1/events", Known),
    ("GET", "/v1/openapi.json", Known),
    ("GET", "/v1/drift", Known),
    ("GET", "/v1/facts", Everywhere("viewer")),
    ("GET", "/v1/files", Everywhere("viewer")),
    ("GET", "/v1/certificates", Everywhere("viewer")),
    ("GET", "/v1/backups", Everywhere("viewer")),
    ("GET", "/v1/apps/{app}", Here("viewer")),
    ("GET", "/v1/apps/{app}/why", Here("viewer")),
    ("GET", "/v1/apps/{app}/health", Here("viewer")),
    ("GET", "/v1/apps/{app}/docker-run", Here("viewer")),
    ("GET", "/v1/apps/{app}/drift", Here("viewer")),
    ("GET", "/v1/apps/{app}/deployments", Here("viewer")),
    ("GET", "/v1/apps/{app}/configs", Here("viewer")),
    ("GET", "/v1/apps/{app}/events", Here("viewer")),
    ("GET", "/v1/apps/{app}/events/stream", Here("viewer")),
    ("GET", "/v1/apps/{app}/logs", Here("viewer")),
    ("GET", "/v1/configs/{id}", Here("viewer")),
    ("GET", "/v1/deployments/{id}", Here("viewer")),
    ("GET", "/v1/deployments/{id}/events", Here("viewer")),
    ("GET", "/v1/deployments/{id}/events/stream", Here("viewer")),
    ("POST", "/v1/apps/{app}/pause", Here("developer")),
    ("POST", "/v1/apps/{app}/resume", Here("developer")),
    ("POST", "/v1/apps/{app}/maintenance", Here("developer")),
    ("DELETE", "/v1/apps/{app}/maintenance", Here("developer")),
    ("POST", "/v1/apps/{app}/promote", Here("developer")),
    ("POST", "/v1/apps/{app}/cancel", Here("developer")),
    ("POST", "/v1/apps/{app}/switch", Here("developer")),
    ("POST", "/v1/apps/{app}/rollback", Here("developer")),
    ("POST", "/v1/apps/{app}/deployments", Here("developer")),
    // While an app of it is in service, it stays: whoever is let in is told so.
    ("DELETE", "/v1/projects/{project}", Here("admin")),
    ("POST", "/v1/apps/{app}/recover", Here("admin")),
    ("DELETE", "/v1/apps/{app}", Here("admin")),
    ("POST", "/v1/reload", Everywhere("admin")),
    ("GET", "/v1/prune", Everywhere("viewer")),
    ("POST", "/v1/prune", Everywhere("admin")),
    ("GET", "/v1/projects", Known),
    ("GET", "/v1/audit", Everywhere("admin")),
    ("GET", "/v1/tokens", Everywhere("owner")),
    ("POST", "/v1/tokens", Everywhere("owner")),
    ("DELETE", "/v1/tokens/{token}", Everywhere("owner")),
];

/// A body that is understood.
fn body(method: &str, path: &str) -> String {
    match (method, path) {
        ("POST", "/v1/apps/{app}/switch") => json!({ "color": "blue" }).to_string(),
        // Nobody may do this: whoever is let in is told that it is no token.
        ("POST", "/v1/tokens") => json!({ "name": "", "grants": [] }).to_string(),
        ("POST", _) => "{}".to_owned(),
        _ => String::new(),
    }
}

/// What stands in a path that names something of the app `shop-web`, or of none.
struct Names {
    app: &'static str,
    config: String,
    deployment: String,
    project: &'static str,
}

impl Names {
    fn write(&self, path: &str) -> String {
        let id = if path.starts_with("/v1/configs") { &self.config } else { &self.deployment };
        path.replace("{app}", self.app)
            .replace("{id}", id)
            .replace("{token}", "nobody")
            .replace("{project}", self.project)
    }

    /// A text in which what these names are is not to be told from what `other` are.
    fn forget(&self, text: &str) -> String {
        text.replace(self.app, "?")
            .replace(&format!(" {}", self.project), " ?")
            .replace(&format!(" {}", self.config), " ?")
            .replace(&format!(" {}", self.deployment), " ?")
    }
}

fn was_let_in(answer: &Answer) -> bool {
    let shut = [
        "unauthenticated",
        "forbidden",
        "unknown_app",
        "unknown_deployment",
        "unknown_config",
        "unknown_project",
    ];
    !shut.contains(&answer.code())
}

#[test]
fn the_table_is_whole() {
    let here: BTreeSet<(String, String)> =
        TABLE.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    let doors: BTreeSet<(String, String)> =
        MemoryApi::doors().into_iter().map(|(method, path)| (method.to_string(), path.to_owned())).collect();
    assert_eq!(here, doors);
    assert_eq!(here.len(), TABLE.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_door_lets_in_whom_it_must_and_nobody_else() {
    let stage = Stage::new().await;
    let newest = |document: &serde_json::Value| document.as_array().expect("a list")[0]["id"].to_string();
    let configs = stage.ask(None, "GET", "/v1/apps/shop-web/configs", "").await.document;
    let deployments = stage.ask(None, "GET", "/v1/apps/shop-web/deployments", "").await.document;
    let shop = Names {
        app: "shop-web",
        config: newest(&configs["configs"]),
        deployment: newest(&deployments["deployments"]),
        project: "shop",
    };
    let nothing = Names {
        app: "nothing",
        config: "987654".to_owned(),
        deployment: "987654".to_owned(),
        project: "void",
    };

    let mut tokens = Vec::new();
    for (rank, role) in ROLES.into_iter().enumerate() {
        for project in [None, Some("shop"), Some("blog")] {
            let name = format!("{role}-{}", project.unwrap_or("everywhere"));
            tokens.push((rank, project, stage.token(&name, role, project).await));
        }
    }
    for (method, path, whom) in TABLE {
        let asked = shop.write(path);
        let body = body(method, path);
        let text = format!("{method} {path}");
        for bad in ["dsw_x", "nonsense", &tokens[0].2.replace("dsw_", "dsw_x"), &tokens[0].2[..60]] {
            let answer = stage.ask(Some(bad), method, &asked, &body).await;
            let is_open = *whom == Everyone;
            assert_eq!(answer.status.as_u16() == 401, !is_open, "{text} with {bad}: {answer:?}");
        }
        for (rank, project, token) in &tokens {
            let has = |needed: &str| ROLES[*rank] == needed || ROLES[..*rank].contains(&needed);
            let must = match whom {
                Everyone | Known => true,
                Here(needed) => has(needed) && *project != Some("blog"),
                Everywhere(needed) => has(needed) && project.is_none(),
            };
            let answer = stage.ask(Some(token), method, &asked, &body).await;
            let who = format!("{text} as {} of {project:?}", ROLES[*rank]);
            assert_eq!(was_let_in(&answer), must, "{who}: {answer:?}");
            if must {
                continue;
            }
            if let (Here(_), Some("blog")) = (whom, project) {
                // What is hidden is answered as what is not there.
                assert_eq!(answer.status.as_u16(), 404, "{who}");
                let of_nothing = stage.ask(Some(token), method, &nothing.write(path), &body).await;
                assert_eq!(of_nothing.status, answer.status, "{who}");
                let told = |names: &Names, answer: &Answer| names.forget(&answer.document.to_string());
                assert_eq!(told(&shop, &answer), told(&nothing, &of_nothing), "{who}");
            } else {
                assert_eq!(answer.status.as_u16(), 403, "{who}");
                let (Here(needed) | Everywhere(needed)) = whom else {
                    unreachable!("others let everybody in")
                };
                assert!(answer.detail().contains(needed) && answer.detail().contains("owner"), "{answer:?}");
            }
        }
    }
    stage.api.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_hold_what_one_may_see() {
    let stage = Stage::new().await;
    for (name, project, seen) in [
        ("all", None, vec!["blog-web", "hermit", "shop-web"]),
        ("shop", Some("shop"), vec!["shop-web"]),
        ("bank", Some("bank"), vec![]),
    ] {
        let token = stage.token(name, "viewer", project).await;
        let list = stage.ask(Some(&token), "GET", "/v1/apps", "").await.document;
        let apps: Vec<&str> =
            list["apps"].as_array().expect("apps").iter().filter_map(|app| app["app"].as_str()).collect();
        assert_eq!(apps, seen, "{name}");
        let drift = stage.ask(Some(&token), "GET", "/v1/drift", "").await.document;
        let containers = drift["containers"].as_array().expect("containers").iter();
        let of: BTreeSet<&str> = containers.filter_map(|container| container["app"].as_str()).collect();
        assert_eq!(of, seen.iter().copied().collect(), "{name}");
        let hidden = ["blog-web", "hermit", "shop-web"].into_iter().filter(|app| !seen.contains(app));
        let text = format!("{list} {drift}");
        for app in hidden {
            assert!(!text.contains(app), "{name} reads of {app}: {text}");
        }
    }
    stage.api.shutdown().await;
}
