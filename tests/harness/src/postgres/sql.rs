//! Asking a server.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio_postgres::{Config, NoTls, SimpleQueryMessage};

use super::{DATABASE, PORT, Postgres};
use crate::wait;

/// How long a question may take.
const DEADLINE: Duration = Duration::from_secs(40);

impl Postgres {
    /// Runs statements as the superuser and returns the first value of the first row; empty when there is none, or
    /// when it is NULL.
    ///
    /// It uses a connection of its own over the Unix socket, so it works whatever befalls the network.
    ///
    /// # Errors
    /// When the server does not accept it or refuses a statement, or after 40 s.
    pub async fn sql(&self, statements: &str) -> Result<String> {
        let rows = self.rows(statements).await?;
        Ok(rows.into_iter().flatten().next().unwrap_or_default())
    }

    /// As [`sql`](Self::sql), in another database than [`DATABASE`], such as `postgres`; the value is left.
    ///
    /// # Errors
    /// As [`sql`](Self::sql).
    pub async fn sql_in(&self, database: &str, statements: &str) -> Result<()> {
        let mut config = self.superuser();
        config.dbname(database);
        let what = format!("{} to answer {statements:?} in {database}", self.name());
        wait::within(&what, DEADLINE, ask(config, statements)).await?;
        Ok(())
    }

    /// As [`sql`](Self::sql), but returns all rows; NULL is the empty text.
    ///
    /// # Errors
    /// As [`sql`](Self::sql).
    pub async fn rows(&self, statements: &str) -> Result<Vec<Vec<String>>> {
        let what = format!("{} to answer {statements:?}", self.name());
        let rows = wait::within(&what, DEADLINE, ask(self.superuser(), statements)).await;
        rows.with_context(|| format!("{statements:?} on {}", self.name()))
    }

    /// Runs statements that take long, as the superuser, until they end or the future is dropped; it borrows nothing.
    ///
    /// # Errors
    /// When the server does not accept it, refuses a statement or ends.
    pub fn background_sql(&self, statements: &str) -> impl Future<Output = Result<()>> + Send + use<> {
        let (config, statements) = (self.superuser(), statements.to_owned());
        async move {
            let (client, connection) = config.connect(NoTls).await?;
            let asked = async move { client.batch_execute(&statements).await };
            let (answer, ()) = tokio::join!(asked, async { drop(connection.await) });
            Ok(answer?)
        }
    }

    /// The identifier that a cluster's servers share.
    ///
    /// # Errors
    /// As [`sql`](Self::sql).
    pub async fn system_identifier(&self) -> Result<String> {
        self.sql("select system_identifier from pg_control_system()")
            .await
    }

    /// Changes a role's password. Only a primary can.
    ///
    /// # Errors
    /// As [`sql`](Self::sql).
    pub async fn set_password(&self, user: &str, password: &str) -> Result<()> {
        self.sql(&format!("alter role {user} password '{password}'"))
            .await
            .map(drop)
    }

    fn superuser(&self) -> Config {
        let mut config = Config::new();
        config
            .host_path(&self.directory)
            .port(PORT)
            .user("postgres")
            .dbname(DATABASE);
        config
    }
}

pub(super) async fn ask(config: Config, statements: &str) -> Result<Vec<Vec<String>>> {
    let (client, connection) = config.connect(NoTls).await?;
    let asked = async move { client.simple_query(statements).await };
    let (answer, ()) = tokio::join!(asked, async { drop(connection.await) });
    Ok(answer?.iter().filter_map(row).collect())
}

fn row(message: &SimpleQueryMessage) -> Option<Vec<String>> {
    let SimpleQueryMessage::Row(row) = message else {
        return None;
    };
    Some(
        (0..row.len())
            .map(|column| row.get(column).unwrap_or_default().to_owned())
            .collect(),
    )
}
