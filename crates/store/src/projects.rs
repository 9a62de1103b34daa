//! The records of projects: which app belongs to which, and taking one away with all that was granted in it.

use crate::audit;
use crate::database::Database;
use crate::entity::{app_project, current_state, token_grant};
use crate::history::History;
use crate::write::{Write, Written};
use dockswap_core::audit::AuditRecord;
use dockswap_core::grants::Role;
use dockswap_core::records::StoreError;
use dockswap_core::{AppName, ProjectName};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, Set};
use std::collections::BTreeMap;

/// The state of an app that is out of service.
const RETIRED: &str = "retired";

/// What became of the wish to take a project away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProjectOutcome {
    /// So many grants went with it.
    Removed(u64),
    /// These apps are in service; nothing was changed.
    InService(Vec<String>),
    /// These apps are in service, and to which project they belong is not known; nothing was changed.
    Unknown(Vec<String>),
    /// Somebody has a higher role in it than whoever asked; nothing was changed.
    Above(Role),
}

/// Taking a project away.
#[derive(Clone, Debug)]
pub(crate) struct ProjectRemoval {
    project: ProjectName,
    /// The role of whoever asks.
    role: Role,
    audit: Option<AuditRecord>,
}

/// Notes to which project an app belongs.
pub(crate) async fn note<C: ConnectionTrait>(
    app: &AppName,
    project: Option<&ProjectName>,
    db: &C,
) -> Result<(), DbErr> {
    use app_project::{ActiveModel, Column, Entity};
    let row = ActiveModel { app_name: Set(app.to_string()), project: Set(project.map(ToString::to_string)) };
    let replace = OnConflict::column(Column::AppName).update_column(Column::Project).to_owned();
    Entity::insert(row).on_conflict(replace).exec_without_returning(db).await?;
    Ok(())
}

impl ProjectRemoval {
    /// Looks who is in service and who was granted what, and takes the grants away, in one transaction: nobody comes
    /// in between.
    pub(crate) async fn apply<C: ConnectionTrait>(&self, db: &C) -> Result<Written, DbErr> {
        let states = current_state::Entity::find()
            .filter(current_state::Column::Status.ne(RETIRED))
            .order_by_asc(current_state::Column::AppName)
            .all(db)
            .await?;
        let known: BTreeMap<String, Option<String>> = app_project::Entity::find()
            .all(db)
            .await?
            .into_iter()
            .map(|row| (row.app_name, row.project))
            .collect();
        let of = |project: Option<Option<&str>>| -> Vec<String> {
            let belongs =
                |state: &&current_state::Model| known.get(&state.app_name).map(Option::as_deref) == project;
            states.iter().filter(belongs).map(|state| state.app_name.clone()).collect()
        };
        let refused = |outcome| Ok(Written::Project(outcome));
        let in_service = of(Some(Some(self.project.as_str())));
        if !in_service.is_empty() {
            return refused(ProjectOutcome::InService(in_service));
        }
        let unknown = of(None);
        if !unknown.is_empty() {
            return refused(ProjectOutcome::Unknown(unknown));
        }
        let granted = token_grant::Column::Project.eq(self.project.as_str());
        let grants = token_grant::Entity::find().filter(granted.clone()).all(db).await?;
        let highest = grants.iter().filter_map(|grant| grant.role.parse::<Role>().ok()).max();
        if let Some(highest) = highest.filter(|highest| *highest > self.role) {
            return refused(ProjectOutcome::Above(highest));
        }
        let removed = token_grant::Entity::delete_many().filter(granted).exec(db).await?;
        if let Some(record) = &self.audit {
            audit::write(record, db).await?;
        }
        Ok(Written::Project(ProjectOutcome::Removed(removed.rows_affected)))
    }

    /// What became of it, when the answer to the commit was lost.
    pub(crate) async fn find<C: ConnectionTrait>(&self, db: &C) -> Result<Option<Written>, DbErr> {
        let Some(record) = &self.audit else { return Ok(None) };
        let is_written = audit::is_written(record, db).await?;
        Ok(is_written.then_some(Written::Project(ProjectOutcome::Removed(0))))
    }
}

impl History {
    /// To which project each app belongs, as far as that is known.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn app_projects(&self) -> Result<BTreeMap<String, Option<String>>, StoreError> {
        let rows = self.read("read the projects", app_project::Entity::find().all(&self.db)).await?;
        Ok(rows.into_iter().map(|row| (row.app_name, row.project)).collect())
    }

    /// In which projects anything was granted, and to how many tokens, those that are no good any more among them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn granted_projects(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let granted = token_grant::Entity::find().filter(token_grant::Column::Project.is_not_null());
        let mut projects = BTreeMap::new();
        for grant in self.read("read the projects", granted.all(&self.db)).await? {
            *projects.entry(grant.project.unwrap_or_default()).or_insert(0) += 1;
        }
        Ok(projects)
    }
}

impl Database {
    /// Notes to which projects apps belong: those of whom that was not known, because an older version stored their
    /// files.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_projects(
        &self,
        projects: Vec<(AppName, Option<ProjectName>)>,
    ) -> Result<(), StoreError> {
        let known = self.history().app_projects().await?;
        let news = |(app, project): &(AppName, Option<ProjectName>)| {
            known.get(app.as_str()).map(Option::as_deref) != Some(project.as_ref().map(ProjectName::as_str))
        };
        let news: Vec<_> = projects.into_iter().filter(news).collect();
        if news.is_empty() {
            return Ok(());
        }
        self.write("note the projects of apps", Write::Projects(news)).await.map(drop)
    }

    /// Takes away everything that was granted in a project, where no app of it is in service and nobody has a higher
    /// role in it than `role`; `audit` is put on record with it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remove_project(
        &self,
        project: ProjectName,
        role: Role,
        audit: Option<AuditRecord>,
    ) -> Result<ProjectOutcome, StoreError> {
        let write = Write::RemoveProject(Box::new(ProjectRemoval { project, role, audit }));
        match self.write("remove a project", write).await? {
            Written::Project(outcome) => Ok(outcome),
            Written::Done
            | Written::Config(_)
            | Written::Conflict
            | Written::Pruned(_)
            | Written::Token(_) => Ok(ProjectOutcome::Removed(0)),
        }
    }
}
