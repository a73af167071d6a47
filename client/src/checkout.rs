//! A connection that is used by one request, as the router has it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use deadpool::managed::Object;
use tokio_postgres::SimpleQueryMessage;

use crate::connection::{Connection, Opener};
use crate::error::Error;
use crate::held::{Busy, Held};
use crate::server::Server;
use crate::session::{Desk, Freshness, Session, failed};
use crate::token::{POSITION, Position};

/// A connection that is used by one request. Where it is dropped, no session keeps the connection.
pub(crate) struct Checkout {
    held: Arc<Held>,
    desk: Arc<Desk>,
}

impl Checkout {
    pub fn new(server: &Arc<Server>, object: Object<Opener>) -> Self {
        let held = Held::new(server, object);
        let desk = Arc::new(Desk::new(server, Arc::clone(&held)));
        Self { held, desk }
    }

    pub fn server(&self) -> &Arc<Server> {
        &self.desk.server
    }

    /// What the request will have seen, for who decides on another attempt. It keeps no connection.
    pub fn desk(&self) -> Arc<Desk> {
        Arc::clone(&self.desk)
    }

    /// The session of a closure. What was left in the connection by then is no doing of it.
    pub fn session(&self) -> Session {
        if let Some(connection) = self.connection() {
            connection.traffic.forget_state();
        }
        Session::at(Arc::clone(&self.desk))
    }

    pub fn connection(&self) -> Option<&Connection> {
        self.held.connection()
    }

    /// Statements of the closure that the server has carried out.
    pub fn answered(&self) -> u32 {
        self.desk.answered()
    }

    /// Statements of the closure that were begun. To prepare one is none.
    pub fn begun(&self) -> u32 {
        self.desk.begun()
    }

    /// Whether statements are under way, or were given up.
    pub fn is_busy(&self) -> bool {
        self.held.busy.load(Ordering::Acquire) > 0
    }

    /// Its sessions can do nothing any more.
    pub fn end(&self) {
        self.desk.end();
    }

    pub fn set_freshness(&self, freshness: Freshness) {
        self.desk.set_freshness(freshness);
    }

    /// The position of the server, in a statement of its own; `None`: it does not tell.
    ///
    /// # Errors
    /// What the server or the connection said.
    pub async fn position(&self) -> Result<Option<Position>, Error> {
        let connection = self.connection().ok_or(Error::SessionEnded)?;
        let busy = Busy::new(&self.held);
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
        self.held.busy.fetch_add(1, Ordering::AcqRel);
    }

    /// Statements of the router itself: they are not counted. A connection on which they fail is not used again.
    ///
    /// # Errors
    /// What the server or the connection said.
    pub async fn say(&self, statements: &str) -> Result<(), Error> {
        let connection = self.connection().ok_or(Error::SessionEnded)?;
        let busy = Busy::new(&self.held);
        let said = connection.client.batch_execute(statements).await;
        said.map_err(|source| self.failed(source))?;
        busy.end();
        Ok(())
    }

    /// The same for what a closure does not wait for: it is sent when this is polled first, and must then be before the statements of
    /// the closure.
    ///
    /// # Errors
    /// As [`say`](Self::say).
    pub async fn say_beside(&self, statements: &str) -> Result<(), Error> {
        if let Some(connection) = self.connection() {
            connection.traffic.expect_own();
        }
        self.say(statements).await
    }

    fn failed(&self, source: tokio_postgres::Error) -> Error {
        failed(self.server(), source)
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        self.end();
        if let Some(connection) = self.connection() {
            connection.traffic.watch(None);
            // Another task waits for an answer to a statement.
            if Arc::strong_count(&self.held) > 1 {
                self.spoil();
                self.held.cancelled.store(true, Ordering::Release);
                let token = connection.client.cancel_token();
                self.server().cancel(token, Arc::clone(&self.held));
            }
        }
    }
}
