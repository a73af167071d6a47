//! What a closure gets: a connection for one request, which goes back to its pool only when nothing is under way on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use deadpool::managed::Object;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, SimpleQueryMessage, Statement, ToStatement};

use crate::connection::{Connection, Opener};
use crate::error::Error;
use crate::server::{InFlight, Server};
use crate::token::{POSITION, Position};
use crate::wire::Encrypted;

/// A cancellation has so long, its connection included.
const CANCEL: Duration = Duration::from_secs(1);
/// Cancellations under way at once; a connection that finds no place is closed without.
const CANCELS: usize = 64;

/// Sends cancellations, some at a time.
#[derive(Clone)]
pub struct Cancels(Arc<Semaphore>);

impl Default for Cancels {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(CANCELS)))
    }
}

impl Cancels {
    /// Ends what is under way on a connection, and closes it.
    fn cancel(&self, connection: Connection, server: Arc<Server>) {
        let place = Arc::clone(&self.0).try_acquire_owned();
        let (Ok(place), Ok(runtime)) = (place, Handle::try_current()) else {
            return;
        };
        runtime.spawn(async move {
            let _place = place;
            let token = connection.client.cancel_token();
            let cancelled = async {
                let opener = server.opener();
                let stream = opener.dialer.open(&opener.host, opener.address, CANCEL).await;
                if let Ok(stream) = stream {
                    let _ = token.cancel_query_raw(stream, Encrypted).await;
                }
            };
            // The connection is closed in any case.
            let _ = timeout(CANCEL, cancelled).await;
            drop(connection);
        });
    }
}

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

/// A connection that is used by one request.
pub(crate) struct Checkout {
    pub server: Arc<Server>,
    /// Taken when it is dropped.
    object: Option<Object<Opener>>,
    cancels: Cancels,
    /// Statements that were begun and are not answered; one whose future was dropped stays.
    busy: AtomicU32,
    begun: AtomicU32,
    answered: AtomicU32,
    /// The request has ended.
    over: AtomicBool,
    freshness: Mutex<Freshness>,
    _in_flight: InFlight,
}

impl Checkout {
    pub fn new(server: &Arc<Server>, object: Object<Opener>, cancels: Cancels) -> Arc<Self> {
        Arc::new(Self {
            server: Arc::clone(server),
            object: Some(object),
            cancels,
            busy: AtomicU32::new(0),
            begun: AtomicU32::new(0),
            answered: AtomicU32::new(0),
            over: AtomicBool::new(false),
            freshness: Mutex::new(Freshness::NotAsked),
            _in_flight: server.begin(),
        })
    }

    /// The session of a closure.
    pub fn session(self: &Arc<Self>) -> Session {
        Session(Arc::clone(self))
    }

    pub fn connection(&self) -> Option<&Connection> {
        self.object.as_deref()
    }

    /// Statements of the closure that the server has carried out.
    pub fn answered(&self) -> u32 {
        self.answered.load(Ordering::Acquire)
    }

    /// Statements of the closure that were begun.
    pub fn begun(&self) -> u32 {
        self.begun.load(Ordering::Acquire)
    }

    /// Its sessions can do nothing any more.
    pub fn end(&self) {
        self.over.store(true, Ordering::Release);
    }

    pub fn set_freshness(&self, freshness: Freshness) {
        *self.freshness.lock() = freshness;
    }

    /// The position of the server, in a statement of its own; `None`: it does not tell.
    ///
    /// # Errors
    /// What the server or the connection said.
    pub async fn position(&self) -> Result<Option<Position>, Error> {
        let connection = self.connection().ok_or(Error::SessionEnded)?;
        let busy = Busy::new(&self.busy);
        let told = connection.client.simple_query(POSITION).await;
        let told = told.map_err(|source| self.failed(source))?;
        busy.end();
        Ok(told.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Position::read(std::array::from_fn(|at| row.get(at))),
            _ => None,
        }))
    }

    /// The connection is not used again.
    pub fn spoil(&self) {
        self.busy.fetch_add(1, Ordering::AcqRel);
    }

    /// Statements of the router itself: they are not counted. A connection on which they fail is not used again.
    ///
    /// # Errors
    /// What the server or the connection said.
    pub async fn say(&self, statements: &str) -> Result<(), Error> {
        let connection = self.connection().ok_or(Error::SessionEnded)?;
        let busy = Busy::new(&self.busy);
        let said = connection.client.batch_execute(statements).await;
        said.map_err(|source| self.failed(source))?;
        busy.end();
        Ok(())
    }

    fn failed(&self, source: tokio_postgres::Error) -> Error {
        Error::Database {
            endpoint: self.server.id.clone(),
            source,
        }
    }
}

impl Checkout {
    /// No statement of the closure was answered, not even by an error, and it has no transaction open.
    pub fn is_unanswered(&self) -> bool {
        let answered = self.answered() > 0 || self.begun() > self.busy.load(Ordering::Acquire);
        // Behind a pooler each read is in a transaction of the router.
        let in_transaction = self.connection().is_some_and(|connection| {
            !connection.pooled && !connection.traffic.waits() && !connection.traffic.is_idle()
        });
        !answered && !in_transaction
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        let Some(object) = self.object.take() else { return };
        let abandoned = *self.busy.get_mut() > 0;
        if !abandoned && object.is_clean() {
            return;
        }
        let connection = Object::take(object);
        if (abandoned || connection.traffic.waits()) && !connection.client.is_closed() {
            self.cancels.cancel(connection, Arc::clone(&self.server));
        }
    }
}

/// Counts a statement as under way; where its future is dropped, for ever.
struct Busy<'a>(&'a AtomicU32);

impl<'a> Busy<'a> {
    fn new(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }

    fn end(self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A connection to the server that a request was routed to, for the time of the request.
///
/// Dropping a future of it in the middle is safe: the statement is cancelled at the server (within 1 s, by a request of its own),
/// and the connection is closed and never used again. So is a connection on which a transaction was left open.
pub struct Session(Arc<Checkout>);

impl Session {
    /// The id of the endpoint of the server.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.0.server.id
    }

    /// Whether the session sees the write of the token of its request ([`Query::at_least`](crate::Query::at_least)).
    #[must_use]
    pub fn freshness(&self) -> Freshness {
        *self.0.freshness.lock()
    }

    /// All rows of a statement. See [`tokio_postgres::Client::query`].
    ///
    /// # Errors
    /// What the server or the connection said; [`Error::SessionEnded`] after the closure has returned.
    pub async fn query<T>(&self, statement: &T, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Error>
    where
        T: ?Sized + ToStatement,
    {
        self.run(|connection| connection.client.query(statement, parameters))
            .await
    }

    /// The one row of a statement. See [`tokio_postgres::Client::query_one`].
    ///
    /// # Errors
    /// As [`query`](Self::query), and where there is not exactly one row.
    pub async fn query_one<T>(&self, statement: &T, parameters: &[&(dyn ToSql + Sync)]) -> Result<Row, Error>
    where
        T: ?Sized + ToStatement,
    {
        self.run(|connection| connection.client.query_one(statement, parameters))
            .await
    }

    /// The row of a statement that has at most one. See [`tokio_postgres::Client::query_opt`].
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
        self.run(|connection| connection.client.query_opt(statement, parameters))
            .await
    }

    /// Carries a statement out, and returns how many rows it changed. See [`tokio_postgres::Client::execute`].
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub async fn execute<T>(&self, statement: &T, parameters: &[&(dyn ToSql + Sync)]) -> Result<u64, Error>
    where
        T: ?Sized + ToStatement,
    {
        self.run(|connection| connection.client.execute(statement, parameters))
            .await
    }

    /// Carries out statements that have no parameters. See [`tokio_postgres::Client::batch_execute`].
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub async fn batch_execute(&self, statements: &str) -> Result<(), Error> {
        self.run(|connection| connection.client.batch_execute(statements))
            .await
    }

    /// Rows of statements without parameters, their values as text. See [`tokio_postgres::Client::simple_query`].
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub async fn simple_query(&self, statements: &str) -> Result<Vec<SimpleQueryMessage>, Error> {
        self.run(|connection| connection.client.simple_query(statements))
            .await
    }

    /// Prepares a statement on this connection, for this request. See [`tokio_postgres::Client::prepare`].
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub async fn prepare(&self, statement: &str) -> Result<Statement, Error> {
        self.run(|connection| connection.client.prepare(statement)).await
    }

    async fn run<'a, T, F>(&'a self, statement: impl FnOnce(&'a Connection) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, tokio_postgres::Error>> + 'a,
    {
        let checkout = &*self.0;
        let connection = checkout
            .connection()
            .filter(|_| !checkout.over.load(Ordering::Acquire));
        let connection = connection.ok_or(Error::SessionEnded)?;
        checkout.begun.fetch_add(1, Ordering::AcqRel);
        let busy = Busy::new(&checkout.busy);
        let result = statement(connection).await;
        busy.end();
        if result.is_ok() {
            checkout.answered.fetch_add(1, Ordering::AcqRel);
        }
        result.map_err(|source| checkout.failed(source))
    }
}
