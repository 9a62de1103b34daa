//! `dockswap project`.

use super::exit::{CliError, Exit};
use super::session::Session;
use super::text::{Table, count};
use crate::api::wire;
use clap::{Args, Subcommand};
use dockswap_core::ProjectName;

/// List projects, and take them away
///
/// A project is a group of apps: those whose files name it in `project`. Tokens may be good for one alone.
#[derive(Debug, Args)]
pub(crate) struct ProjectArgs {
    #[command(subcommand)]
    verb: ProjectVerb,
}

#[derive(Debug, Subcommand)]
enum ProjectVerb {
    /// List the projects of apps in service, and those in which something was granted
    List,
    /// Take away everything that was granted in a project
    ///
    /// Refused while an app of it is in service, and where somebody has a higher role in it than you.
    Remove {
        /// The project
        project: ProjectName,
    },
}

pub(crate) async fn project(session: &Session, args: &ProjectArgs) -> Result<Exit, CliError> {
    match &args.verb {
        ProjectVerb::List => {
            let document: wire::Projects = session.client.get("/v1/projects").await?;
            session.show(&document, || table(&document.projects))?;
        }
        ProjectVerb::Remove { project } => {
            let removed: wire::ProjectRemoved =
                session.client.delete(&format!("/v1/projects/{project}")).await?;
            session.show(&removed, || {
                vec![format!("removed {project}, and {} with it", count(removed.grants, "grant"))]
            })?;
        }
    }
    Ok(Exit::Done)
}

fn table(rows: &[wire::ProjectEntry]) -> Vec<String> {
    let mut table = Table::new(["PROJECT", "GRANTS", "APPS"]);
    for row in rows {
        let apps: Vec<&str> = row.apps.iter().map(dockswap_core::AppName::as_str).collect();
        table.row([row.project.to_string(), row.grants.to_string(), apps.join(", ")]);
    }
    table.lines()
}

#[cfg(test)]
mod tests {
    use super::table;
    use crate::api::wire::ProjectEntry;

    #[test]
    fn a_row_a_project() {
        let shop = ProjectEntry {
            project: "shop".parse().expect("a name"),
            apps: vec!["api".parse().expect("a name"), "web".parse().expect("a name")],
            grants: 2,
        };
        assert_eq!(table(&[shop]), ["PROJECT  GRANTS  APPS", "shop     2       api, web"]);
    }
}
