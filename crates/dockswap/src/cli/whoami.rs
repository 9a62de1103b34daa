//! `dockswap whoami`.

use super::exit::{CliError, Exit};
use super::session::Session;
use super::text::escape;
use super::token::grants_of;
use crate::api::wire;
use clap::Args;

/// Say whom the controller takes you for, and what you may do
#[derive(Debug, Args)]
pub(crate) struct WhoamiArgs {}

pub(crate) async fn whoami(session: &Session, _: &WhoamiArgs) -> Result<Exit, CliError> {
    let me: wire::WhoAmI = session.client.get("/v1/whoami").await?;
    session.show(&me, || lines(&me))?;
    Ok(Exit::Done)
}

fn lines(me: &wire::WhoAmI) -> Vec<String> {
    let grants = if me.grants.0.is_empty() { "nothing any more".to_owned() } else { grants_of(&me.grants) };
    let mut lines = vec![format!("{}: {grants}", escape(&me.actor))];
    if let Some(expires_at) = me.token.as_ref().and_then(|token| token.expires_at) {
        lines.push(format!("the token expires at {expires_at}"));
    }
    if let Some(address) = me.address {
        lines.push(format!("from {address}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::lines;
    use crate::api::wire::WhoAmI;
    use dockswap_core::grants::{Grant, Grants, Role};

    #[test]
    fn one_is_told_who_one_is_and_what_one_may() {
        let shop = Grant { project: Some("shop".parse().expect("a name")), role: Role::Developer };
        let all = Grant { project: None, role: Role::Viewer };
        let me = WhoAmI {
            actor: "token:ci".to_owned(),
            token: None,
            address: None,
            grants: Grants(vec![shop, all]),
        };
        assert_eq!(lines(&me), ["token:ci: developer of shop, viewer everywhere"]);
    }
}
