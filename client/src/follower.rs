//! Reads that see what the same user, or tenant, wrote before.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::error::Error;
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
}

impl Follower {
    /// Nothing was written yet.
    #[must_use]
    pub fn new(router: Router) -> Self {
        Self {
            router,
            newest: Arc::default(),
        }
    }

    /// What its reads see at least; `None`: nothing was written.
    #[must_use]
    pub fn token(&self) -> Option<Token> {
        self.newest.load().as_deref().copied()
    }

    /// Its reads see what this token stands for, too.
    pub fn note(&self, token: Token) {
        self.newest.rcu(|known| {
            let merged = known.as_deref().map_or(token, |known| known.merged(token));
            Some(Arc::new(merged))
        });
    }

    /// A read; see [`Router::read`].
    ///
    /// # Errors
    /// As there.
    pub async fn read<T, F, R>(&self, query: impl Into<Query>, run: F) -> Result<T, Error>
    where
        F: Fn(Session) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        let query = query.into();
        let query = match self.token() {
            Some(token) => query.at_least(token),
            None => query,
        };
        self.router.read(query, run).await
    }

    /// A write; see [`Router::write`].
    ///
    /// # Errors
    /// As there.
    pub async fn write<T, F, R>(&self, query: impl Into<Query>, run: F) -> Result<T, Error>
    where
        F: Fn(Session) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        let (value, token) = self.router.write_with_token(query, run).await?;
        if let Some(token) = token {
            self.note(token);
        }
        Ok(value)
    }

    /// A transaction; see [`Router::transaction`].
    ///
    /// # Errors
    /// As there.
    pub async fn transaction<T, F, R>(&self, query: impl Into<Query>, run: F) -> Result<T, Error>
    where
        F: Fn(Session) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        let (value, token) = self.router.transaction_with_token(query, run).await?;
        if let Some(token) = token {
            self.note(token);
        }
        Ok(value)
    }
}
