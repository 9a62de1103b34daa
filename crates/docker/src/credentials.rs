//! What `docker login` left behind for a registry: the user's own files and helpers, read at every
//! pull and kept nowhere.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bollard::auth::DockerCredentials;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

/// A helper that asks its user something would wait for ever.
const HELPER_DEADLINE: Duration = Duration::from_secs(10);
/// What a helper calls the user when its secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// `config.json`, as far as it is about credentials.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LoginFile {
    auths: BTreeMap<String, Login>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Login {
    auth: Option<String>,
    identitytoken: Option<String>,
}

/// The answer of a `docker-credential-…` program.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

/// The credentials for `registry`; `None`: the pull is anonymous, and the registry will say whether
/// it minds.
pub(crate) async fn of(registry: &str) -> Option<DockerCredentials> {
    let text = tokio::fs::read_to_string(login_file()?).await.ok()?;
    let file: LoginFile = serde_json::from_str(&text)
        .inspect_err(|error| tracing::warn!(%error, "docker's config.json cannot be read"))
        .ok()?;
    match file.cred_helpers.get(registry).or(file.creds_store.as_ref()) {
        Some(helper) => ask(helper, registry).await,
        None => file.login(registry),
    }
}

fn login_file() -> Option<PathBuf> {
    let dir = std::env::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker")))?;
    Some(dir.join("config.json"))
}

impl LoginFile {
    fn login(&self, registry: &str) -> Option<DockerCredentials> {
        let keys = [registry.to_owned(), format!("https://{registry}"), format!("https://{registry}/v1/")];
        let login = keys.iter().find_map(|key| self.auths.get(key))?;
        let decoded = login.auth.as_deref().and_then(|auth| BASE64_STANDARD.decode(auth).ok());
        let pair = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
        let (username, password) = pair.as_deref().and_then(|pair| pair.split_once(':')).unzip();
        let identitytoken = login.identitytoken.clone().filter(|token| !token.is_empty());
        (username.is_some() || identitytoken.is_some()).then(|| DockerCredentials {
            username: username.map(str::to_owned),
            password: password.map(|password| password.trim_end_matches('\0').to_owned()),
            identitytoken,
            serveraddress: Some(registry.to_owned()),
            ..DockerCredentials::default()
        })
    }
}

async fn ask(helper: &str, registry: &str) -> Option<DockerCredentials> {
    let answer = timeout(HELPER_DEADLINE, run(helper, registry)).await;
    let answer = answer.map_err(std::io::Error::from).flatten();
    answer.inspect_err(|error| tracing::warn!(helper, registry, %error, "credential helper failed")).ok()?
}

async fn run(helper: &str, registry: &str) -> std::io::Result<Option<DockerCredentials>> {
    let mut process = Command::new(format!("docker-credential-{helper}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = process.stdin.take() {
        stdin.write_all(registry.as_bytes()).await?;
    }
    let output = process.wait_with_output().await?;
    if !output.status.success() {
        // That it knows none is told the same way.
        return Ok(None);
    }
    let answer: HelperAnswer = serde_json::from_slice(&output.stdout)?;
    let token = answer.username == TOKEN_USER;
    let (password, identitytoken) =
        if token { (None, Some(answer.secret)) } else { (Some(answer.secret), None) };
    Ok(Some(DockerCredentials {
        username: (!token).then_some(answer.username),
        password,
        identitytoken,
        serveraddress: Some(registry.to_owned()),
        ..DockerCredentials::default()
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_login_is_found_under_any_spelling_of_its_registry() {
        let file: LoginFile = serde_json::from_str(
            r#"{"auths": {"https://hub.example": {"auth": "bWU6cGE6c3M="}, "token.example": {"identitytoken": "t"}}}"#,
        )
        .unwrap();
        let login = file.login("hub.example").unwrap();
        assert_eq!((login.username.as_deref(), login.password.as_deref()), (Some("me"), Some("pa:ss")));
        assert_eq!(file.login("token.example").unwrap().identitytoken.as_deref(), Some("t"));
        assert!(file.login("other.example").is_none());
    }
}
