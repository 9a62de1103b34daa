//! `dockswap audit`.

use super::exit::{CliError, Exit};
use super::page::PageArgs;
use super::records::Records;
use super::session::{Session, now};
use super::text::{Table, age, escape};
use crate::api::wire;
use clap::Args;
use dockswap_core::{AppName, Timestamp};
use dockswap_store::AuditScope;
use serde_json::Value;

/// Say who asked for what, and what became of it, newest first
///
/// Every order is here, refused ones too; questions are not. Takes an admin. Read from the database when
/// the controller does not answer.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// Only orders about this app
    #[arg(long)]
    app: Option<AppName>,
    /// Only orders of whom is called so, as in `token:ci` or `uid:1000(ada)`
    #[arg(long)]
    actor: Option<String>,
    #[command(flatten)]
    page: PageArgs,
}

pub(crate) async fn audit(session: &Session, args: &AuditArgs) -> Result<Exit, CliError> {
    let records = Records::open(session).await?;
    let scope = AuditScope { app: args.app.clone(), actor: args.actor.clone() };
    let document = wire::AuditLog { audit: records.audit(&scope, args.page.into()).await? };
    session.show(&document, || table(&document.audit, now()))?;
    Ok(Exit::Done)
}

fn table(rows: &[wire::AuditEntry], now: Timestamp) -> Vec<String> {
    let mut table = Table::new(["ID", "WHEN", "WHO", "FROM", "DID", "TO", "RESULT", "DEPLOYMENT", "DETAIL"]);
    for row in rows {
        table.row([
            row.id.to_string(),
            format!("{} ago", age(row.at.0, now)),
            escape(&row.actor),
            row.address.as_deref().map(escape).unwrap_or_default(),
            row.verb.clone(),
            escape(&row.target),
            row.result.to_string(),
            row.deployment.map(|id| id.to_string()).unwrap_or_default(),
            escape(&detail(&row.detail)),
        ]);
    }
    table.lines()
}

/// `name: value` for each, and the error last.
fn detail(detail: &Value) -> String {
    let Some(fields) = detail.as_object() else { return String::new() };
    let value = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let said = fields.iter().filter(|(name, _)| !["code", "error"].contains(&name.as_str()));
    let mut parts: Vec<String> = said.map(|(name, said)| format!("{name}: {}", value(said))).collect();
    parts.extend(fields.get("error").map(value));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::detail;
    use serde_json::json;

    #[test]
    fn what_was_said_comes_before_why_not() {
        let said = json!({ "code": "invalid_image", "error": "no image", "image": "a b", "to": 3 });
        assert_eq!(detail(&said), "image: a b, to: 3, no image");
        assert_eq!(detail(&json!({})), "");
    }
}
