//! What a closure gets: a connection for one request, which goes back to its pool only when nothing is under way on it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Buf;
use futures::{SinkExt, Stream, StreamExt};
use parking_lot::Mutex;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, SimpleQueryMessage, Statement, ToStatement};

use crate::connection::Connection;
use crate::error::Error;
use crate::held::Held;
use crate::server::Server;
use crate::wire::seen;

/// Whether a read sees the write of its token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Freshness {
    /// It has no token.
    NotAsked,
    /// The server was at the token before the read began.
    Proven,
    /// The write primary is on a newer timeline than the token: whether the write was kept at the promotion is not known.
    Unproven,
}

/// What a request and the sessions of its closure share.
pub(crate) struct Desk {
    pub server: Arc<Server>,
    /// `None`: the request has ended.
    held: Mutex<Option<Arc<Held>>>,
    begun: AtomicU32,
    answered: AtomicU32,
    freshness: Mutex<Freshness>,
}

impl Desk {
    pub fn new(server: &Arc<Server>, held: Arc<Held>) -> Self {
        Self {
            server: Arc::clone(server),
            held: Mutex::new(Some(held)),
            begun: AtomicU32::new(0),
            answered: AtomicU32::new(0),
            freshness: Mutex::new(Freshness::NotAsked),
        }
    }

    /// Statements of the closure that the server has carried out.
    pub fn answered(&self) -> u32 {
        self.answered.load(Ordering::Acquire)
    }

    /// Statements of the closure that were begun. To prepare one is none.
    pub fn begun(&self) -> u32 {
        self.begun.load(Ordering::Acquire)
    }

    /// Its sessions can do nothing any more.
    pub fn end(&self) {
        // Dropped after the lock.
        let held = self.held.lock().take();
        drop(held);
    }

    pub fn set_freshness(&self, freshness: Freshness) {
        *self.freshness.lock() = freshness;
    }

    /// No statement of the closure was answered, not even by an error, and it has no transaction open.
    pub fn is_unanswered(&self) -> bool {
        let held = self.held.lock();
        let busy = held.as_ref().map_or(0, |held| held.busy.load(Ordering::Acquire));
        // Behind a pooler each read is in a transaction of the router.
        let connection = held.as_ref().and_then(|held| held.connection());
        let in_transaction = connection.is_some_and(|connection| {
            !connection.pooled && !connection.traffic.waits() && !connection.traffic.is_idle()
        });
        let (begun, answered) = (&self.begun, &self.answered);
        let is_answered = answered.load(Ordering::Acquire) > 0 || begun.load(Ordering::Acquire) > busy;
        !is_answered && !in_transaction
    }

    /// Whether the server owes an answer to a statement of the closure.
    pub fn owes(&self) -> bool {
        let held = self.held.lock();
        held.as_ref().is_some_and(|held| {
            let waits = held
                .connection()
                .is_some_and(|connection| connection.traffic.waits());
            waits && self.begun.load(Ordering::Acquire) > 0 && held.busy.load(Ordering::Acquire) > 0
        })
    }
}

pub(crate) fn failed(server: &Server, source: tokio_postgres::Error) -> Error {
    Error::Database {
        endpoint: server.id.clone(),
        source,
    }
}

/// A statement of a closure.
struct Running<'a> {
    desk: &'a Desk,
    held: Arc<Held>,
}

impl Running<'_> {
    fn connection(&self) -> Result<&Connection, Error> {
        self.held.connection().ok_or(Error::SessionEnded)
    }

    /// It was answered.
    fn end<T>(self, result: Result<T, tokio_postgres::Error>) -> Result<T, Error> {
        self.held.busy.fetch_sub(1, Ordering::AcqRel);
        if result.is_ok() {
            self.desk.answered.fetch_add(1, Ordering::AcqRel);
        }
        result.map_err(|source| failed(&self.desk.server, source))
    }
}

/// A connection to the server that a request was routed to, for the time of the request.
///
/// Dropping a future of it in the middle is safe: the statement is cancelled at the server (by a request of its own),
/// and the connection is closed and never used again. So is a connection on which a transaction was left open. A session that is
/// kept after its closure has returned keeps no connection.
pub struct Session(Arc<Desk>);

impl Session {
    pub(crate) fn at(desk: Arc<Desk>) -> Self {
        Self(desk)
    }

    /// The id of the endpoint of the server.
    ///
    /// ```no_run
    /// # fn f(session: distributary_client::Session) {
    /// println!("served by {}", session.endpoint());
    /// # }
    /// ```
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.0.server.id
    }

    /// Whether the session sees the write of the token of its request ([`Query::at_least`](crate::Query::at_least)).
    ///
    /// ```no_run
    /// # fn f(session: distributary_client::Session) -> bool {
    /// use distributary_client::Freshness;
    ///
    /// session.freshness() == Freshness::Proven
    /// # }
    /// ```
    #[must_use]
    pub fn freshness(&self) -> Freshness {
        *self.0.freshness.lock()
    }

    /// All rows of a statement. See [`tokio_postgres::Client::query`].
    ///
    /// ```no_run
    /// # async fn f(session: distributary_client::Session) -> Result<(), distributary_client::Error> {
    /// let rows = session.query("SELECT id FROM orders WHERE total > $1", &[&100_i64]).await?;
    /// let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    /// # let _ = ids;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What the server or the connection said; [`Error::SessionEnded`] after the closure has returned.
    pub async fn query<T>(&self, statement: &T, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Error>
    where
        T: ?Sized + ToStatement,
    {
        let running = self.begin(None)?;
        let result = running.connection()?.client.query(statement, parameters).await;
        running.end(result)
    }

    /// The one row of a statement. See [`tokio_postgres::Client::query_one`].
    ///
    /// ```no_run
    /// # async fn f(session: distributary_client::Session) -> Result<i64, distributary_client::Error> {
    /// let row = session.query_one("SELECT count(*) FROM orders", &[]).await?;
    /// Ok(row.get(0))
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`query`](Self::query), and where there is not exactly one row.
    pub async fn query_one<T>(&self, statement: &T, parameters: &[&(dyn ToSql + Sync)]) -> Result<Row, Error>
    where
        T: ?Sized + ToStatement,
    {
        let running = self.begin(None)?;
        let result = running
            .connection()?
            .client
            .query_one(statement, parameters)
            .await;
        running.end(result)
    }

    /// The row of a statement that has at most one. See [`tokio_postgres::Client::query_opt`].
    ///
    /// ```no_run
    /// # async fn f(session: distributary_client::Session) -> Result<Option<i64>, distributary_client::Error> {
    /// let row = session.query_opt("SELECT total FROM orders WHERE id = $1", &[&7_i64]).await?;
    /// Ok(row.map(|row| row.get(0)))
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`query`](Self::query), and where there is more than one row.
    pub async fn query_opt<T>(
        &self,
        statement: &T,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, Error>
    where
        T: ?Sized + ToStatement,
    {
        let running = self.begin(None)?;
        let result = running
            .connection()?
            .client
            .query_opt(statement, parameters)
            .await;
        running.end(result)
    }

    /// Carries a statement out, and returns how many rows it changed. See [`tokio_postgres::Client::execute`].
    ///
    /// ```no_run
    /// # async fn f(session: distributary_client::Session) -> Result<(), distributary_client::Error> {
    /// let paid = session.execute("UPDATE orders SET paid = true WHERE id = $1", &[&7_i64]).await?;
    /// # let _ = paid;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub async fn execute<T>(&self, statement: &T, parameters: &[&(dyn ToSql + Sync)]) -> Result<u64, Error>
    where
        T: ?Sized + ToStatement,
    {
        let running = self.begin(None)?;
        let result = running.connection()?.client.execute(statement, parameters).await;
        running.end(result)
    }

    /// Carries out statements that have no parameters. See [`tokio_postgres::Client::batch_execute`].
    ///
    /// ```no_run
    /// # async fn f(session: distributary_client::Session) -> Result<(), distributary_client::Error> {
    /// session.batch_execute("CREATE TABLE note (body text); CREATE INDEX ON note (body)").await
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub async fn batch_execute(&self, statements: &str) -> Result<(), Error> {
        let running = self.begin(Some(statements))?;
        let result = running.connection()?.client.batch_execute(statements).await;
        running.end(result)
    }

    /// Rows of statements without parameters, their values as text. See [`tokio_postgres::Client::simple_query`].
    ///
    /// ```no_run
    /// # async fn f(session: distributary_client::Session) -> Result<(), distributary_client::Error> {
    /// use distributary_client::tokio_postgres::SimpleQueryMessage;
    ///
    /// for message in session.simple_query("SELECT now()").await? {
    ///     if let SimpleQueryMessage::Row(row) = message {
    ///         println!("{:?}", row.get(0));
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub async fn simple_query(&self, statements: &str) -> Result<Vec<SimpleQueryMessage>, Error> {
        let running = self.begin(Some(statements))?;
        let result = running.connection()?.client.simple_query(statements).await;
        running.end(result)
    }

    /// Sends data by `COPY … FROM STDIN`, and returns how many rows it made. See [`tokio_postgres::Client::copy_in`]. Where `data`
    /// ends with an error, or the future is dropped, nothing of it is kept.
    ///
    /// ```no_run
    /// # async fn f(router: distributary_client::Router) -> Result<(), distributary_client::Error> {
    /// use distributary_client::Session;
    ///
    /// let rows = router
    ///     .write("createMany", |session: Session| async move {
    ///         let data = futures::stream::iter(["1\tone\n", "2\ttwo\n"].map(|line| Ok(line.as_bytes())));
    ///         session.copy_in("COPY item (id, name) FROM STDIN", data).await
    ///     })
    ///     .await?;
    /// # let _ = rows;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`query`](Self::query), and those of `data`.
    pub async fn copy_in<T, B>(
        &self,
        statement: &T,
        data: impl Stream<Item = Result<B, Error>>,
    ) -> Result<u64, Error>
    where
        T: ?Sized + ToStatement,
        B: Buf + Send + 'static,
    {
        let running = self.begin(None)?;
        let begun = running.connection()?.client.copy_in(statement).await;
        let sink = match begun {
            Ok(sink) => sink,
            Err(error) => return running.end(Err(error)),
        };
        let (mut sink, mut data) = (pin!(sink), pin!(data));
        while let Some(part) = data.next().await {
            // Where it ends here, the connection is closed, and the server takes back what it has.
            if let Err(error) = sink.send(part?).await {
                return running.end(Err(error));
            }
        }
        let result = sink.finish().await;
        running.end(result)
    }

    /// Gives each row of a statement to `each` as it comes, and returns how many there were: the rows need not fit into memory. An
    /// error of `each` ends it, and closes the connection. See [`tokio_postgres::Client::query_raw`].
    ///
    /// ```no_run
    /// # async fn f(session: distributary_client::Session) -> Result<(), distributary_client::Error> {
    /// let mut total = 0;
    /// let rows = session
    ///     .query_each("SELECT total FROM orders", &[], |row| {
    ///         total += row.get::<_, i64>(0);
    ///         Ok(())
    ///     })
    ///     .await?;
    /// println!("{total} in {rows} orders");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`query`](Self::query), and those of `each`.
    pub async fn query_each<T>(
        &self,
        statement: &T,
        parameters: &[&(dyn ToSql + Sync)],
        mut each: impl FnMut(Row) -> Result<(), Error>,
    ) -> Result<u64, Error>
    where
        T: ?Sized + ToStatement,
    {
        let running = self.begin(None)?;
        let rows = running
            .connection()?
            .client
            .query_raw(statement, parameters.iter().copied())
            .await;
        let rows = match rows {
            Ok(rows) => rows,
            Err(error) => return running.end(Err(error)),
        };
        let (mut rows, mut count) = (pin!(rows), 0);
        while let Some(row) = rows.next().await {
            match row {
                Ok(row) => {
                    // From here on no other attempt can change what the closure has seen.
                    running.desk.answered.fetch_max(1, Ordering::AcqRel);
                    count += 1;
                    each(row)?;
                }
                Err(error) => return running.end(Err(error)),
            }
        }
        running.end(Ok(count))
    }

    /// Prepares a statement on this connection, for this request. See [`tokio_postgres::Client::prepare`].
    ///
    /// ```no_run
    /// # async fn f(session: distributary_client::Session) -> Result<(), distributary_client::Error> {
    /// let insert = session.prepare("INSERT INTO orders (total) VALUES ($1)").await?;
    /// for total in [10_i64, 20] {
    ///     session.execute(&insert, &[&total]).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub async fn prepare(&self, statement: &str) -> Result<Statement, Error> {
        let running = self.prepares()?;
        let result = running.connection()?.client.prepare(statement).await;
        running.end(result)
    }

    /// A statement that does something; `batch`: its text may be several.
    fn begin(&self, batch: Option<&str>) -> Result<Running<'_>, Error> {
        let running = self.prepares()?;
        running.desk.begun.fetch_add(1, Ordering::AcqRel);
        let traffic = &running.connection()?.traffic;
        traffic.tell(|seen| {
            seen.mark(seen::BEGUN);
            if let Some(text) = batch {
                seen.batch(text);
            }
        });
        Ok(running)
    }

    fn prepares(&self) -> Result<Running<'_>, Error> {
        let held = self.0.held.lock().clone().ok_or(Error::SessionEnded)?;
        held.busy.fetch_add(1, Ordering::AcqRel);
        Ok(Running { desk: &self.0, held })
    }
}
