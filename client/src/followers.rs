//! Reads that see what the same tenant wrote before, for many tenants.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::Error;
use crate::follower::Follower;
use crate::query::Query;
use crate::router::Router;
use crate::session::Session;

/// A [`Follower`] for each tenant, or user, by the tenant of a request ([`Query::of_tenant`]). A request without one goes to the router.
///
/// Of the tenants that were not seen for longest nothing is kept but the newest token of all of them: one that returns reads what
/// is at least as new as that. Clones share what they know.
///
/// ```no_run
/// # async fn f(router: distributary_client::Router) -> Result<(), distributary_client::Error> {
/// use distributary_client::{Followers, Query, Session};
///
/// let tenants = Followers::new(router, 10_000);
/// let write = |session: Session| async move { session.execute("INSERT INTO orders DEFAULT VALUES", &[]).await };
/// tenants.write(Query::operation("create").of_tenant("acme"), write).await?;
/// let count = |session: Session| async move {
///     Ok(session.query_one("SELECT count(*) FROM orders", &[]).await?.get::<_, i64>(0))
/// };
/// let seen = tenants.read(Query::operation("findMany").of_tenant("acme"), count).await?;
/// # let _ = seen;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Followers {
    router: Router,
    known: Arc<Mutex<Known>>,
}

/// The tenants that are known: held for a look-up, never while anything is waited for.
struct Known {
    /// How many are in each of the two.
    half: usize,
    /// Seen lately.
    young: HashMap<String, Follower>,
    /// Seen before `young` was begun, and not since.
    old: HashMap<String, Follower>,
    /// What all that are forgotten wrote.
    forgotten: Follower,
}

impl Followers {
    /// Knows `most` tenants, at least 2; those of which a [`Follower`] is in use are kept beyond that.
    ///
    /// ```no_run
    /// # fn f(router: distributary_client::Router) {
    /// let tenants = distributary_client::Followers::new(router, 10_000);
    /// # let _ = tenants;
    /// # }
    /// ```
    #[must_use]
    pub fn new(router: Router, most: usize) -> Self {
        let known = Known {
            half: (most / 2).max(1),
            young: HashMap::new(),
            old: HashMap::new(),
            forgotten: Follower::new(router.clone()),
        };
        Self {
            router,
            known: Arc::new(Mutex::new(known)),
        }
    }

    /// The follower of a tenant: for a token that it brings, or is to be given.
    ///
    /// ```no_run
    /// # fn f(tenants: distributary_client::Followers, cookie: &str) {
    /// if let Ok(token) = cookie.parse() {
    ///     tenants.of("acme").note(token);
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn of(&self, tenant: &str) -> Follower {
        self.known.lock().of(tenant)
    }

    /// A read; see [`Router::read`].
    ///
    /// ```no_run
    /// # async fn f(tenants: distributary_client::Followers) -> Result<(), distributary_client::Error> {
    /// use distributary_client::{Query, Session};
    ///
    /// let query = Query::operation("list").of_tenant("acme");
    /// let rows = tenants
    ///     .read(query, |session: Session| async move { session.query("SELECT id FROM orders", &[]).await })
    ///     .await?;
    /// # let _ = rows;
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
        let query = query.into();
        match &query.tenant {
            Some(tenant) => self.of(tenant).read(query, run).await,
            None => self.router.read(query, run).await,
        }
    }

    /// A write; see [`Router::write`].
    ///
    /// ```no_run
    /// # async fn f(tenants: distributary_client::Followers) -> Result<(), distributary_client::Error> {
    /// use distributary_client::{Query, Session};
    ///
    /// let query = Query::operation("create").of_tenant("acme");
    /// let insert = |session: Session| async move { session.execute("INSERT INTO orders DEFAULT VALUES", &[]).await };
    /// tenants.write(query, insert).await?;
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
        let query = query.into();
        match &query.tenant {
            Some(tenant) => self.of(tenant).write(query, run).await,
            None => self.router.write(query, run).await,
        }
    }

    /// A transaction; see [`Router::transaction`].
    ///
    /// ```no_run
    /// # async fn f(tenants: distributary_client::Followers) -> Result<(), distributary_client::Error> {
    /// use distributary_client::{Query, Session};
    ///
    /// let query = Query::operation("create").of_tenant("acme");
    /// let insert = |session: Session| async move { session.execute("INSERT INTO orders DEFAULT VALUES", &[]).await };
    /// tenants.transaction(query, insert).await?;
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
        let query = query.into();
        match &query.tenant {
            Some(tenant) => self.of(tenant).transaction(query, run).await,
            None => self.router.transaction(query, run).await,
        }
    }
}

impl Known {
    fn of(&mut self, tenant: &str) -> Follower {
        if let Some(known) = self.young.get(tenant) {
            return known.clone();
        }
        let known = self.old.remove(tenant);
        let follower = known.unwrap_or_else(|| self.forgotten.copy());
        if self.young.len() >= self.half {
            self.age();
        }
        self.young.insert(tenant.to_owned(), follower.clone());
        follower
    }

    /// Forgets those that were not seen since this was done last.
    fn age(&mut self) {
        let mut leaving = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
        for (tenant, follower) in leaving.drain() {
            if follower.is_shared() {
                self.old.insert(tenant, follower);
            } else {
                self.forgotten.take_over(&follower);
            }
        }
    }
}

/// It shows no tenant.
impl std::fmt::Debug for Followers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Followers")
            .field("router", &self.router)
            .finish_non_exhaustive()
    }
}
