//! Reads that see what the same user, or tenant, wrote before.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use crate::error::{Error, WriteOutcome};
use crate::query::Query;
use crate::router::Router;
use crate::session::Session;
use crate::token::Token;

/// The requests of one user or tenant: each read sees what was written through it before. Clones share what was written.
///
/// To carry it from one process to the next, put [`token`](Self::token) into a cookie, and [`note`](Self::note) it there.
#[derive(Clone, Debug)]
pub struct Follower {
    router: Router,
    newest: Arc<ArcSwapOption<Token>>,
    untold: Arc<Untold>,
}

/// Writes that may be there and of which no token tells: the primary alone is known to have them.
#[derive(Debug, Default)]
struct Untold {
    /// How many there were.
    count: AtomicU64,
    /// Up to which of them a newer token covers.
    covered: AtomicU64,
}

impl Untold {
    fn is_any(&self) -> bool {
        self.count.load(Ordering::Acquire) > self.covered.load(Ordering::Acquire)
    }

    fn covers(&self, count: u64) {
        self.covered.fetch_max(count, Ordering::AcqRel);
    }
}

/// A write under way: where nobody takes its end in, it may be there.
struct Writing<'a> {
    untold: &'a Untold,
    /// How many there were when it began: its token covers these.
    before: u64,
    told: bool,
}

impl<'a> Writing<'a> {
    fn new(untold: &'a Untold) -> Self {
        Self {
            untold,
            before: untold.count.load(Ordering::Acquire),
            told: false,
        }
    }

    /// It has a token, or was not done.
    fn tell(mut self, covers: bool) {
        self.told = true;
        if covers {
            self.untold.covers(self.before);
        }
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if !self.told {
            self.untold.count.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl Follower {
    /// Of one user; [`Followers`](crate::Followers) has one for each. Nothing was written yet.
    ///
    /// ```no_run
    /// # fn f(router: distributary_client::Router) {
    /// let user = distributary_client::Follower::new(router);
    /// assert_eq!(user.token(), None);
    /// # }
    /// ```
    #[must_use]
    pub fn new(router: Router) -> Self {
        Self {
            router,
            newest: Arc::default(),
            untold: Arc::default(),
        }
    }

    /// What its reads see at least; `None`: nothing was written.
    ///
    /// ```no_run
    /// # fn f(user: distributary_client::Follower) -> String {
    /// // For a cookie.
    /// user.token().map(|token| token.to_string()).unwrap_or_default()
    /// # }
    /// ```
    #[must_use]
    pub fn token(&self) -> Option<Token> {
        self.newest.load().as_deref().copied()
    }

    /// Its reads see what this token stands for, too. One that is newer than what was known ends the reads on the primary after a
    /// write without a token.
    ///
    /// ```no_run
    /// # fn f(user: distributary_client::Follower, cookie: &str) {
    /// // A cookie that is no token says nothing.
    /// if let Ok(token) = cookie.parse() {
    ///     user.note(token);
    /// }
    /// # }
    /// ```
    pub fn note(&self, token: Token) {
        let untold = self.untold.count.load(Ordering::Acquire);
        if self.merge(token) {
            self.untold.covers(untold);
        }
    }

    /// One of its own that knows as much.
    pub(crate) fn copy(&self) -> Self {
        let untold = Untold {
            count: AtomicU64::new(self.untold.is_any().into()),
            covered: AtomicU64::new(0),
        };
        Self {
            router: self.router.clone(),
            newest: Arc::new(ArcSwapOption::new(self.newest.load_full())),
            untold: Arc::new(untold),
        }
    }

    /// Whether a clone of it is somewhere.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.newest) > 1
    }

    /// Knows what the other one knows, too.
    pub(crate) fn take_over(&self, other: &Self) {
        if let Some(token) = other.token() {
            self.merge(token);
        }
        if other.untold.is_any() {
            self.untold.count.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Whether it is newer than what was known.
    fn merge(&self, token: Token) -> bool {
        let before = self.newest.rcu(|known| {
            let merged = known.as_deref().map_or(token, |known| known.merged(token));
            Some(Arc::new(merged))
        });
        before
            .as_deref()
            .is_none_or(|known| known.merged(token) != *known)
    }

    /// Takes in how a write ended.
    fn written<T>(
        &self,
        writing: Writing<'_>,
        written: Result<(T, Option<Token>), Error>,
    ) -> Result<T, Error> {
        match written {
            Ok((value, Some(token))) => {
                self.merge(token);
                writing.tell(true);
                Ok(value)
            }
            Ok((value, None)) => Ok(value),
            Err(error) => {
                if error.write_outcome() != Some(WriteOutcome::Unknown) {
                    writing.tell(false);
                }
                Err(error)
            }
        }
    }

    /// A read; see [`Router::read`]. After a write of which no token tells (its outcome is unknown, or it went through a pooler) the
    /// primary serves, until a newer token is noted.
    ///
    /// ```no_run
    /// # async fn f(user: distributary_client::Follower) -> Result<(), distributary_client::Error> {
    /// use distributary_client::Session;
    ///
    /// let orders: i64 = user
    ///     .read("list", |session: Session| async move {
    ///         Ok(session.query_one("SELECT count(*) FROM orders", &[]).await?.get(0))
    ///     })
    ///     .await?;
    /// # let _ = orders;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As there.
    pub async fn read<T, F, R>(&self, query: impl Into<Query>, run: F) -> Result<T, Error>
    where
        F: Fn(Session) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        let mut query = query.into();
        // It may have a token of its own.
        query.token = match (self.token(), query.token) {
            (Some(known), Some(asked)) => Some(known.merged(asked)),
            (known, asked) => known.or(asked),
        };
        if self.untold.is_any() {
            query.newest = true;
        }
        self.router.read(query, run).await
    }

    /// A write; see [`Router::write`].
    ///
    /// ```no_run
    /// # async fn f(user: distributary_client::Follower) -> Result<(), distributary_client::Error> {
    /// use distributary_client::Session;
    ///
    /// user.write("create", |session: Session| async move {
    ///     session.execute("INSERT INTO orders (total) VALUES ($1)", &[&42_i64]).await
    /// })
    /// .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As there.
    pub async fn write<T, F, R>(&self, query: impl Into<Query>, run: F) -> Result<T, Error>
    where
        F: Fn(Session) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        let writing = Writing::new(&self.untold);
        let written = self.router.write_with_token(query, run).await;
        self.written(writing, written)
    }

    /// A transaction; see [`Router::transaction`].
    ///
    /// ```no_run
    /// # async fn f(user: distributary_client::Follower) -> Result<(), distributary_client::Error> {
    /// use distributary_client::Session;
    ///
    /// user.transaction("pay", |session: Session| async move {
    ///     session.execute("UPDATE orders SET paid = true WHERE id = 1", &[]).await?;
    ///     session.execute("INSERT INTO payment (id) VALUES (1)", &[]).await
    /// })
    /// .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As there.
    pub async fn transaction<T, F, R>(&self, query: impl Into<Query>, run: F) -> Result<T, Error>
    where
        F: Fn(Session) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        let writing = Writing::new(&self.untold);
        let written = self.router.transaction_with_token(query, run).await;
        self.written(writing, written)
    }
}
