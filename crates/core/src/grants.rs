//! Who may do what: roles, and where they hold. It must not know how somebody proves who they are.

use crate::name::ProjectName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What somebody may do; each role may do what the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Ask.
    Viewer,
    /// Deploy, roll back, switch, promote, cancel, and keep traffic out for a while.
    Developer,
    /// Take out of service, recover, read the audit, and what concerns the whole controller.
    Admin,
    /// Give and take away tokens.
    Owner,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Developer, Self::Admin, Self::Owner];

    /// As in commands, columns and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Developer => "developer",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is not a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("that is no role: write viewer, developer, admin or owner")]
pub struct InvalidRole;

impl FromStr for Role {
    type Err = InvalidRole;

    fn from_str(text: &str) -> Result<Self, InvalidRole> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(InvalidRole)
    }
}

/// A role, and where it holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// For the apps of this project; `None`: everywhere, also where an app belongs to no project, and for what
    /// concerns the whole controller.
    #[serde(default)]
    pub project: Option<ProjectName>,
    /// The role.
    pub role: Role,
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.project {
            Some(project) => write!(f, "{} of {project}", self.role),
            None => write!(f, "{} everywhere", self.role),
        }
    }
}

/// Everything that somebody was granted.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Grants(pub Vec<Grant>);

impl Grants {
    /// Every role, everywhere.
    #[must_use]
    pub fn all() -> Self {
        Self(vec![Grant { project: None, role: Role::Owner }])
    }

    /// The role that holds for the whole controller.
    #[must_use]
    pub fn everywhere(&self) -> Option<Role> {
        self.0.iter().filter(|grant| grant.project.is_none()).map(|grant| grant.role).max()
    }

    /// The role that holds for an app of `project`; `None`: for one of no known project.
    #[must_use]
    pub fn on(&self, project: Option<&ProjectName>) -> Option<Role> {
        let holds = |grant: &&Grant| grant.project.is_none() || grant.project.as_ref() == project;
        self.0.iter().filter(holds).map(|grant| grant.role).max()
    }

    /// The highest role that holds anywhere.
    #[must_use]
    pub fn anywhere(&self) -> Option<Role> {
        self.0.iter().map(|grant| grant.role).max()
    }
}

#[cfg(test)]
mod tests {
    use super::{Grant, Grants, Role};
    use crate::name::ProjectName;

    fn project(name: &str) -> ProjectName {
        name.parse().expect("a name")
    }

    #[test]
    fn a_role_holds_where_it_was_granted() {
        let grants = Grants(vec![
            Grant { project: Some(project("shop")), role: Role::Developer },
            Grant { project: Some(project("shop")), role: Role::Viewer },
            Grant { project: Some(project("blog")), role: Role::Admin },
        ]);
        assert_eq!(grants.on(Some(&project("shop"))), Some(Role::Developer));
        assert_eq!(grants.on(Some(&project("blog"))), Some(Role::Admin));
        assert_eq!(grants.on(Some(&project("bank"))), None);
        assert_eq!(grants.on(None), None, "an app of no project is nobody's but theirs who may everything");
        assert_eq!((grants.everywhere(), grants.anywhere()), (None, Some(Role::Admin)));
    }

    #[test]
    fn what_is_granted_everywhere_holds_for_every_app() {
        let mut grants = Grants(vec![Grant { project: None, role: Role::Viewer }]);
        for of in [None, Some(project("shop"))] {
            assert_eq!(grants.on(of.as_ref()), Some(Role::Viewer));
        }
        grants.0.push(Grant { project: Some(project("shop")), role: Role::Admin });
        assert_eq!(grants.on(Some(&project("shop"))), Some(Role::Admin));
        assert_eq!((grants.on(None), grants.everywhere()), (Some(Role::Viewer), Some(Role::Viewer)));
        assert_eq!(Grants::default().anywhere(), None);
    }

    #[test]
    fn roles_grow() {
        assert!(Role::ALL.is_sorted());
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        assert!("root".parse::<Role>().is_err());
    }
}
