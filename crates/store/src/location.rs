//! Where a database is: `database_url`, read. It must not know how to open it.

use crate::error::ConnectError;
use sea_orm::sqlx::postgres::PgConnectOptions;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A database, named. Its text never shows a password.
#[derive(Clone, Debug)]
pub(crate) enum Location {
    /// A file.
    Sqlite(PathBuf),
    /// A server.
    Postgres(Box<PgConnectOptions>),
}

impl FromStr for Location {
    type Err = ConnectError;

    fn from_str(url: &str) -> Result<Self, ConnectError> {
        let refused = |message: &str| ConnectError::Url { message: message.to_owned() };
        match url.split_once("://") {
            // The rest is the path as it stands: nothing in it is an escape.
            Some(("sqlite", "")) => Err(refused("it names no file")),
            Some(("sqlite", path)) if path.contains('?') => {
                Err(refused("a SQLite path takes no parameters and holds no question mark"))
            }
            Some(("sqlite", path)) => Ok(Self::Sqlite(PathBuf::from(path))),
            Some(("postgres" | "postgresql", _)) => match url.parse() {
                Ok(options) => Ok(Self::Postgres(Box::new(options))),
                Err(_) => Err(refused("PostgreSQL's part of it cannot be read")),
            },
            _ => Err(refused("it names neither SQLite nor PostgreSQL")),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Self::Postgres(options) => {
                let database = options.get_database().unwrap_or_default();
                write!(f, "postgres://{}:{}/{database}", options.get_host(), options.get_port())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::Location;

    #[test]
    fn a_path_is_taken_as_it_stands() {
        for path in ["/var/lib/dockswap/dockswap.db", "here.db", "/a dir/100% full#1.db"] {
            let url = format!("sqlite://{path}");
            let Location::Sqlite(parsed) = url.parse().unwrap() else { panic!("{url}") };
            assert_eq!(parsed.to_str(), Some(path));
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let location: Location = "postgres://deploy:hunter2@db.internal:6000/swap".parse().unwrap();
        assert_eq!(location.to_string(), "postgres://db.internal:6000/swap");
        let refused = "postgres://deploy:hunter2@db:notaport/swap".parse::<Location>().unwrap_err();
        assert!(!format!("{refused} {refused:?}").contains("hunter2"));
    }

    #[test]
    fn anything_else_is_refused() {
        for url in ["", "dockswap.db", "sqlite://", "sqlite:///a.db?mode=rwc", "mysql://host/db"] {
            assert!(url.parse::<Location>().is_err(), "{url}");
        }
    }
}
