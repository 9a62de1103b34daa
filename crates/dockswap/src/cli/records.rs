//! What is on record, from whoever has it: the controller, or, when none answers, the database
//! itself, read only. It must not know who asks.

use super::client::ClientError;
use super::exit::{CliError, Exit};
use super::session::{Session, note};
use crate::api::wire;
use crate::api::with_causes;
use dockswap_core::records::StoreError;
use dockswap_core::{AppName, ConfigId, DeploymentId};
use dockswap_store::{AuditScope, EventScope, History, Page};
use std::fmt::Write;

/// Where the records come from.
#[derive(Debug)]
pub(crate) enum Records<'a> {
    Controller(&'a Session),
    Database(Box<History>),
}

/// A stored version of a file, with its bytes.
#[derive(Debug)]
pub(crate) struct StoredConfig {
    pub(crate) id: ConfigId,
    pub(crate) app: String,
    pub(crate) sha: String,
    pub(crate) bytes: Vec<u8>,
}

impl<'a> Records<'a> {
    /// The controller's, when it answers; else the database's, and a note says so.
    pub(crate) async fn open(session: &'a Session) -> Result<Self, CliError> {
        match session.client.get::<wire::Files>("/v1/files").await {
            Err(error @ ClientError::Unreachable { .. }) if !session.client.is_remote() => {
                let database = Self::database(session).await.map_err(|_| CliError::from(error))?;
                note("the controller does not answer: this is read from the database");
                Ok(database)
            }
            Err(error @ (ClientError::Unreachable { .. } | ClientError::Distrusted { .. })) => {
                Err(error.into())
            }
            _ => Ok(Self::Controller(session)),
        }
    }

    /// The database's.
    pub(crate) async fn database(session: &Session) -> Result<Self, CliError> {
        let url = session.paths.database_url(&session.settings()?);
        let history = dockswap_store::connect_read_only(&url).await;
        history
            .map(|history| Self::Database(Box::new(history)))
            .map_err(|error| CliError::new(Exit::Failed, with_causes(&error)))
    }

    pub(crate) async fn deployments(
        &self,
        app: &AppName,
        page: Page,
    ) -> Result<Vec<wire::Deployment>, CliError> {
        match self {
            Self::Controller(session) => {
                let path = format!("/v1/apps/{app}/deployments?{}", query(page));
                Ok(session.client.get::<wire::Deployments>(&path).await?.deployments)
            }
            Self::Database(history) => {
                known(history, app).await?;
                let rows = history.deployments(app, page).await.map_err(failed)?;
                Ok(rows.into_iter().map(wire::Deployment::from).collect())
            }
        }
    }

    pub(crate) async fn deployment(&self, id: DeploymentId) -> Result<wire::Deployment, CliError> {
        match self {
            Self::Controller(session) => Ok(session.client.get(&format!("/v1/deployments/{id}")).await?),
            Self::Database(history) => {
                let row = history.deployment(id).await.map_err(failed)?;
                row.map(wire::Deployment::from).ok_or_else(|| no_deployment(id))
            }
        }
    }

    /// Newest first.
    pub(crate) async fn events(&self, scope: &EventScope, page: Page) -> Result<Vec<wire::Event>, CliError> {
        match self {
            Self::Controller(session) => {
                let path = match scope {
                    EventScope::App(app) => format!("/v1/apps/{app}/events?{}", query(page)),
                    EventScope::Deployment(id) => format!("/v1/deployments/{id}/events?{}", query(page)),
                    EventScope::All => return Err(CliError::new(Exit::Usage, "name an app or a deployment")),
                };
                Ok(session.client.get::<wire::Events>(&path).await?.events)
            }
            Self::Database(history) => {
                match scope {
                    EventScope::App(app) => known(history, app).await?,
                    EventScope::Deployment(id) => {
                        history.deployment(*id).await.map_err(failed)?.ok_or_else(|| no_deployment(*id))?;
                    }
                    EventScope::All => {}
                }
                let rows = history.events(scope, page).await.map_err(failed)?;
                Ok(rows.into_iter().map(wire::Event::from).collect())
            }
        }
    }

    pub(crate) async fn configs(&self, app: &AppName, page: Page) -> Result<Vec<wire::Config>, CliError> {
        match self {
            Self::Controller(session) => {
                let path = format!("/v1/apps/{app}/configs?{}", query(page));
                Ok(session.client.get::<wire::Configs>(&path).await?.configs)
            }
            Self::Database(history) => {
                known(history, app).await?;
                let rows = history.configs(app, page).await.map_err(failed)?;
                Ok(rows.into_iter().map(wire::Config::from).collect())
            }
        }
    }

    /// Who asked for what, newest first.
    pub(crate) async fn audit(
        &self,
        scope: &AuditScope,
        page: Page,
    ) -> Result<Vec<wire::AuditEntry>, CliError> {
        match self {
            Self::Controller(session) => {
                let app = scope.app.as_ref().map(|app| format!("&app={app}")).unwrap_or_default();
                let actor = scope.actor.as_ref().map(|actor| format!("&actor={}", percent(actor)));
                let path = format!("/v1/audit?{}{app}{}", query(page), actor.unwrap_or_default());
                Ok(session.client.get::<wire::AuditLog>(&path).await?.audit)
            }
            Self::Database(history) => {
                let rows = history.audit(scope, page).await.map_err(failed)?;
                Ok(rows.into_iter().map(wire::AuditEntry::from).collect())
            }
        }
    }

    pub(crate) async fn config(&self, id: ConfigId) -> Result<StoredConfig, CliError> {
        match self {
            Self::Controller(session) => {
                let document = session.client.document(&format!("/v1/configs/{id}")).await?;
                let header = |name: &str| {
                    let value = document.headers.get(name).and_then(|value| value.to_str().ok());
                    value.unwrap_or_default().to_owned()
                };
                let (app, sha) = (header("x-config-app"), header("x-config-sha"));
                Ok(StoredConfig { id, app, sha, bytes: document.bytes.to_vec() })
            }
            Self::Database(history) => {
                let row = history.config(id).await.map_err(failed)?;
                let row =
                    row.ok_or_else(|| CliError::new(Exit::NotFound, format!("there is no config {id}")))?;
                Ok(StoredConfig { id, app: row.app.to_string(), sha: row.sha.to_string(), bytes: row.bytes })
            }
        }
    }

    /// What serves an app: its color, and the deployment by which it serves or that is in flight.
    pub(crate) async fn standing(&self, app: &AppName) -> Result<Option<Standing>, CliError> {
        match self {
            Self::Controller(session) => match session.app(app).await {
                Ok(app) => Ok(Some(Standing {
                    color: app.view.active_color,
                    deployment: app.view.serving,
                    state: app.view.state,
                })),
                // Unknown, or new and with a file that cannot be used so far.
                Err(ClientError::Answered(problem)) if [404, 422].contains(&problem.status) => Ok(None),
                Err(error) => Err(error.into()),
            },
            Self::Database(history) => {
                let machines = history.machines().await.map_err(failed)?;
                let machine = machines.into_iter().find(|machine| machine.app() == app);
                Ok(machine.map(|machine| Standing {
                    color: machine.serving().map(|serving| serving.live.color),
                    deployment: machine.serving().map(|serving| serving.deployment),
                    state: machine.state().to_owned(),
                }))
            }
        }
    }
}

/// How an app stands, as far as a plan needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) color: Option<dockswap_core::Color>,
    pub(crate) deployment: Option<DeploymentId>,
    pub(crate) state: String,
}

/// A text as a value in a query: every byte that is not a letter or digit is escaped.
fn percent(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            safe.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            let _ = write!(safe, "%{byte:02X}");
        }
    }
    safe
}

fn query(page: Page) -> String {
    format!("limit={}&offset={}", page.limit, page.offset)
}

async fn known(history: &History, app: &AppName) -> Result<(), CliError> {
    let stored = history.configs(app, Page::first(1)).await.map_err(failed)?;
    if stored.is_empty() && history.current_state(app).await.map_err(failed)?.is_none() {
        return Err(CliError::new(Exit::NotFound, format!("there is no app {app}")));
    }
    Ok(())
}

fn no_deployment(id: DeploymentId) -> CliError {
    CliError::new(Exit::NotFound, format!("there is no deployment {id}"))
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
fn failed(error: StoreError) -> CliError {
    CliError::new(Exit::Failed, "the database cannot be read")
        .because(with_causes(&error))
        .next("dockswap db check")
}
