//! `dockswap token`.

use super::exit::{CliError, Exit};
use super::page::PageArgs;
use super::session::{Session, note, now};
use super::text::{Table, age, escape};
use crate::api::wire;
use clap::{Args, Subcommand};
use dockswap_core::grants::{Grant, Grants, Role};
use dockswap_core::token::{TokenId, TokenName, TokenText};
use dockswap_core::{ProjectName, Timestamp};
use std::time::Duration;

/// Make, list and revoke tokens: keys to the API for programs and people
///
/// On the controller's host none is needed: whoever can open its socket may do everything.
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    verb: TokenVerb,
}

#[derive(Debug, Subcommand)]
enum TokenVerb {
    /// Make a token, and show it this once
    ///
    /// The token is the only thing on stdout: `dockswap token create ci > ci.token`. Of it, only a hash is
    /// kept: whoever loses it makes another.
    Create(CreateArgs),
    /// List tokens, newest first, with those that were revoked
    List {
        #[command(flatten)]
        page: PageArgs,
    },
    /// Make a token good for nothing, at once
    ///
    /// What it follows ends. Its name is free again.
    Revoke {
        /// Its name, or its id
        token: String,
    },
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// Whose it is, or what for: 1 to 64 letters, digits, `.`, `-`, `_` and `@`
    #[arg(value_parser = token_name)]
    name: TokenName,
    /// What it is good for: `viewer` asks; `developer` also deploys, rolls back and keeps traffic out;
    /// `admin` also removes, recovers and reads the audit; `owner` also makes tokens
    #[arg(long, default_value = "viewer", value_parser = ["viewer", "developer", "admin", "owner"])]
    role: String,
    /// Only for the apps of this project, may be given several times [default: everywhere]
    #[arg(long = "project", value_name = "PROJECT")]
    projects: Vec<ProjectName>,
    /// For how long it is good, as in 12h or 90d [default: until it is revoked]
    #[arg(long, value_name = "TIME", value_parser = dockswap_config::parse_duration)]
    expires: Option<Duration>,
}

/// What was typed is not repeated: it may be a token.
fn token_name(text: &str) -> Result<TokenName, String> {
    text.parse().map_err(|invalid| format!("{invalid}"))
}

pub(crate) async fn token(session: &Session, args: &TokenArgs) -> Result<Exit, CliError> {
    match &args.verb {
        TokenVerb::Create(args) => create(session, args).await,
        TokenVerb::List { page } => {
            let page: dockswap_store::Page = (*page).into();
            let path = format!("/v1/tokens?limit={}&offset={}", page.limit, page.offset);
            let document: wire::Tokens = session.client.get(&path).await?;
            session.show(&document, || table(&document.tokens, now()))?;
            Ok(Exit::Done)
        }
        TokenVerb::Revoke { token } => {
            let path = format!("/v1/tokens/{}", which(token)?);
            let revoked: wire::Token = session.client.delete(&path).await?;
            session.show(&revoked, || vec![format!("revoked {} ({})", revoked.name, revoked.id)])?;
            Ok(Exit::Done)
        }
    }
}

async fn create(session: &Session, args: &CreateArgs) -> Result<Exit, CliError> {
    let role: Role = args.role.parse().map_err(|error| CliError::new(Exit::Usage, format!("{error}")))?;
    let grants = match args.projects.as_slice() {
        [] => vec![Grant { project: None, role }],
        some => some.iter().map(|project| Grant { project: Some(project.clone()), role }).collect(),
    };
    let order = wire::TokenOrder { name: args.name.to_string(), grants, expires_in: args.expires };
    let made: wire::NewToken = session.client.post("/v1/tokens", &order).await?;
    session.show(&made, || vec![made.token.clone()])?;
    let about = &made.about;
    let until = about.expires_at.map_or("until it is revoked".to_owned(), |at| format!("until {at}"));
    note(&format!(
        "{} is {}, {until}. This is the only time that it is shown.",
        about.name,
        grants_of(&about.grants)
    ));
    Ok(Exit::Done)
}

/// The name or id of a token. Of a whole one that was typed, only the id goes on.
fn which(text: &str) -> Result<String, CliError> {
    if let Ok(token) = TokenText::parse(text) {
        return Ok(token.id.to_string());
    }
    let is_one = text.parse::<TokenId>().is_ok() || text.parse::<TokenName>().is_ok();
    let no_name = || {
        CliError::new(Exit::Usage, "that is neither the name nor the id of a token")
            .next("dockswap token list")
    };
    if is_one { Ok(text.to_owned()) } else { Err(no_name()) }
}

pub(super) fn grants_of(grants: &Grants) -> String {
    grants.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn table(rows: &[wire::Token], now: Timestamp) -> Vec<String> {
    let mut table = Table::new(["NAME", "ID", "STATUS", "GRANTS", "MADE", "BY", "USED", "EXPIRES"]);
    for row in rows {
        let status = match row.status {
            wire::TokenStanding::Valid => "valid",
            wire::TokenStanding::Expired => "expired",
            wire::TokenStanding::Revoked => "revoked",
        };
        table.row([
            row.name.to_string(),
            row.id.to_string(),
            status.to_owned(),
            grants_of(&row.grants),
            format!("{} ago", age(row.created_at.0, now)),
            escape(&row.created_by),
            row.last_used_at.map(|at| format!("{} ago", age(at.0, now))).unwrap_or_default(),
            row.expires_at.map(|at| at.to_string()).unwrap_or_default(),
        ]);
    }
    table.lines()
}

#[cfg(test)]
mod tests {
    use super::which;
    use dockswap_core::token::TokenText;

    #[test]
    fn of_a_whole_token_only_the_id_goes_on() {
        let secret = "0aB1cD2eF3gH4iJ5kL6mN7oP8qR9sT0uV1wX2yZ3aB4";
        let whole = TokenText { id: "Ab1Cd2Ef3Gh4".parse().expect("an id"), secret }.write();
        assert_eq!(which(&whole).expect("a token"), "Ab1Cd2Ef3Gh4");
        assert_eq!(which("ci").expect("a name"), "ci");
        let cut = which(&whole[..30]).expect_err("cut").to_string();
        assert!(!cut.contains("Ab1"), "{cut}");
    }
}
