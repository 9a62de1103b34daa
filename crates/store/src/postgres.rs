//! Opening a PostgreSQL database the way dockswap needs it. It must not know what is in it.

use crate::error::ConnectError;
use crate::location::Location;
use crate::sqlite::Access;
use crate::{CONNECT_DEADLINE, DEADLINE};
use sea_orm::sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sea_orm::sqlx::{self, ConnectOptions, Connection};
use sea_orm::{DatabaseConnection, SqlxPostgresConnector};

/// How many connections write: one at work, one to look up what became of a commit whose
/// connection was lost.
const WRITERS: u32 = 2;

/// How many connections read at the same time.
const READERS: u32 = 4;

/// What every session is told. A statement ends before our own deadline does, so that the server
/// is not left working for nobody; a commit that was acknowledged survives a power loss, whatever
/// the server's default is.
const SETTINGS: &str = "
SELECT set_config('statement_timeout', '9s', false),
       set_config('lock_timeout', '5s', false),
       set_config('idle_in_transaction_session_timeout', '30s', false),
       set_config('application_name', 'dockswap', false),
       CASE current_setting('synchronous_commit')
           WHEN 'off' THEN set_config('synchronous_commit', 'on', false) END";

/// One connection outside any pool, within the deadline for connecting.
pub(crate) async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let options = options.clone().disable_statement_logging();
    let connecting = async {
        let mut connection = PgConnection::connect_with(&options).await?;
        settle(&mut connection).await?;
        Ok(connection)
    };
    tokio::time::timeout(CONNECT_DEADLINE, connecting).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// Opens a pool. The first connection is made outside it, so that its complaint is not lost in the
/// pool's retries.
pub(crate) async fn open(
    options: &PgConnectOptions,
    access: Access,
) -> Result<DatabaseConnection, ConnectError> {
    let failed = |source: sqlx::Error| ConnectError::Open {
        database: Location::Postgres(Box::new(options.clone())).to_string(),
        source: source.into(),
    };
    let probe = connect(options).await.map_err(failed)?;
    probe.close().await.map_err(failed)?;
    let pool = PgPoolOptions::new().acquire_timeout(DEADLINE);
    let pool = match access {
        Access::Write => {
            pool.max_connections(WRITERS).after_connect(|connection, _| Box::pin(settle(connection)))
        }
        Access::Read => {
            pool.max_connections(READERS).after_connect(|connection, _| Box::pin(settle_reader(connection)))
        }
    };
    let pool = pool.connect_lazy_with(options.clone().disable_statement_logging());
    Ok(SqlxPostgresConnector::from_sqlx_postgres_pool(pool))
}

async fn settle(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query(SETTINGS).execute(connection).await?;
    Ok(())
}

async fn settle_reader(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    settle(&mut *connection).await?;
    sqlx::query("SET default_transaction_read_only = on").execute(connection).await?;
    Ok(())
}
