//! The router: what a program has in place of its pool.

use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;

use distributary_api::{Endpoint, EndpointState, ReplicaSetPolicySpec};
use distributary_core::table::{NoRoute, RoutingTable};

use crate::embedded::Embedded;
use crate::error::{Error, SettingsError};
use crate::explanation::Explanation;
use crate::query::Query;
use crate::session::Session;
use crate::shared::{Shared, is_read};
use crate::stats::{Health, Stats};
use crate::token::Token;
use crate::writes::Scope;

/// The id of a primary that has none.
const PRIMARY: &str = "primary";

/// Routes requests to the servers of a policy. Clones are of the same router; the last one that is dropped ends its tasks.
///
/// A closure gets a [`Session`] for the time of its request. It may run more than once: a read on another target after the first
/// one was lost, or beside it while that is slow; a write only while no byte of it was sent.
#[derive(Clone)]
pub struct Router(Arc<Parts>);

/// What all clones of a router share.
struct Parts {
    shared: Arc<Shared>,
    /// Where its policy is changed; `None`: somewhere else.
    embedded: Option<Embedded>,
    _source: Vec<AbortOnDropHandle<()>>,
}

impl Router {
    /// `source`: the tasks that follow the routes.
    pub(crate) fn new(
        shared: Arc<Shared>,
        embedded: Option<Embedded>,
        source: Vec<AbortOnDropHandle<()>>,
    ) -> Self {
        Self(Arc::new(Parts {
            shared,
            embedded,
            _source: source,
        }))
    }

    /// Runs a request as what it is: a read where it says so or where its class reads from replicas, otherwise a write. A class that
    /// prefers the primary writes, unless the request is [`Query::read_only`].
    ///
    /// ```no_run
    /// # async fn f(router: distributary_client::Router) -> Result<(), distributary_client::Error> {
    /// use distributary_client::Session;
    ///
    /// // A read or a write, as its class says.
    /// let rows = router
    ///     .execute("search", |session: Session| async move {
    ///         session.query("SELECT id FROM item WHERE name LIKE 'a%'", &[]).await
    ///     })
    ///     .await?;
    /// # let _ = rows;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn execute<T, F, R>(&self, query: impl Into<Query>, run: F) -> Result<T, Error>
    where
        F: Fn(Session) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        let query = query.into();
        if is_read(&self.0.shared.snapshot().table, &query)? {
            self.0.shared.read(&query, &run).await
        } else {
            let written = self.0.shared.write(&query, Scope::Statements, false, &run).await;
            written.map(|(value, _)| value)
        }
    }

    /// Runs a read: on the route that the policy gives it, in a session whose transactions are read-only.
    ///
    /// ```no_run
    /// # async fn f(router: distributary_client::Router) -> Result<(), distributary_client::Error> {
    /// use distributary_client::{Query, Session};
    ///
    /// let query = Query::operation("dashboard").max_lag(std::time::Duration::from_secs(5));
    /// let orders: i64 = router
    ///     .read(query, |session: Session| async move {
    ///         Ok(session.query_one("SELECT count(*) FROM orders", &[]).await?.get(0))
    ///     })
    ///     .await?;
    /// # let _ = orders;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn read<T, F, R>(&self, query: impl Into<Query>, run: F) -> Result<T, Error>
    where
        F: Fn(Session) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        let query = query.into().read_only();
        self.0.shared.read(&query, &run).await
    }

    /// Runs a write on the primary, whatever its class. Each statement is a transaction of its own.
    ///
    /// ```no_run
    /// # async fn f(router: distributary_client::Router) -> Result<(), distributary_client::Error> {
    /// use distributary_client::{Session, WriteOutcome};
    ///
    /// let written = router
    ///     .write("create", |session: Session| async move {
    ///         session.execute("INSERT INTO orders (total) VALUES ($1)", &[&42_i64]).await
    ///     })
    ///     .await;
    /// if let Err(error) = written {
    ///     // Only what was certainly not done may be done again.
    ///     let again = error.write_outcome() == Some(WriteOutcome::NotDone);
    /// #   let _ = again;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Write`], which says whether it was done. Its source is [`Error::NoRoute`] where the request names a class that there is not.
    pub async fn write<T, F, R>(&self, query: impl Into<Query>, run: F) -> Result<T, Error>
    where
        F: Fn(Session) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        let (query, scope) = (query.into(), Scope::Statements);
        let written = self.0.shared.write(&query, scope, false, &run).await;
        written.map(|(value, _)| value)
    }

    /// A write, with the token of its end. `None`: it was done, and where the log was after it cannot be told.
    ///
    /// ```no_run
    /// # async fn f(router: distributary_client::Router) -> Result<(), distributary_client::Error> {
    /// use distributary_client::{Query, Session};
    ///
    /// let (_, token) = router
    ///     .write_with_token("create", |session: Session| async move {
    ///         session.execute("INSERT INTO orders (total) VALUES ($1)", &[&42_i64]).await
    ///     })
    ///     .await?;
    /// if let Some(token) = token {
    ///     let own = Query::operation("list").at_least(token);
    ///     let run = |session: Session| async move { session.query("SELECT * FROM orders", &[]).await };
    ///     router.read(own, run).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn write_with_token<T, F, R>(
        &self,
        query: impl Into<Query>,
        run: F,
    ) -> Result<(T, Option<Token>), Error>
    where
        F: Fn(Session) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        let (query, scope) = (query.into(), Scope::Statements);
        self.0.shared.write(&query, scope, true, &run).await
    }

    /// Runs a closure in one transaction on the primary: committed where the closure returns `Ok`, rolled back otherwise. With
    /// [`Query::read_only`] the transaction is read-only, and still on the primary.
    ///
    /// ```no_run
    /// # async fn f(router: distributary_client::Router) -> Result<(), distributary_client::Error> {
    /// use distributary_client::Session;
    ///
    /// router
    ///     .transaction("transfer", |session: Session| async move {
    ///         session.execute("UPDATE account SET balance = balance - 1 WHERE id = 1", &[]).await?;
    ///         session.execute("UPDATE account SET balance = balance + 1 WHERE id = 2", &[]).await
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Write`], which says whether it was done: `Unknown` where the answer to COMMIT did not come, and where the closure may
    /// have ended the transaction by itself.
    pub async fn transaction<T, F, R>(&self, query: impl Into<Query>, run: F) -> Result<T, Error>
    where
        F: Fn(Session) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        let (query, scope) = (query.into(), Scope::Transaction);
        let written = self.0.shared.write(&query, scope, false, &run).await;
        written.map(|(value, _)| value)
    }

    /// A transaction, with the token of its end; as [`write_with_token`](Self::write_with_token).
    ///
    /// ```no_run
    /// # async fn f(router: distributary_client::Router) -> Result<(), distributary_client::Error> {
    /// use distributary_client::Session;
    ///
    /// let (_, token) = router
    ///     .transaction_with_token("create", |session: Session| async move {
    ///         session.execute("INSERT INTO orders (total) VALUES ($1)", &[&42_i64]).await
    ///     })
    ///     .await?;
    /// # let _ = token;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`transaction`](Self::transaction).
    pub async fn transaction_with_token<T, F, R>(
        &self,
        query: impl Into<Query>,
        run: F,
    ) -> Result<(T, Option<Token>), Error>
    where
        F: Fn(Session) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        let (query, scope) = (query.into(), Scope::Transaction);
        self.0.shared.write(&query, scope, true, &run).await
    }

    /// The route that a request would take now, and who serves it. It asks no server.
    ///
    /// ```no_run
    /// # fn f(router: distributary_client::Router) -> Result<(), distributary_client::NoRoute> {
    /// println!("{}", router.explain("dashboard")?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The request names a class or a region that there is not.
    pub fn explain(&self, query: impl Into<Query>) -> Result<Explanation, NoRoute> {
        let (query, snapshot) = (query.into(), self.0.shared.snapshot());
        let read = is_read(&snapshot.table, &query)?;
        Explanation::of(&snapshot, &query.request(), read)
    }

    /// The routing table that is used now.
    ///
    /// ```no_run
    /// # fn f(router: distributary_client::Router) {
    /// println!("revision {}", router.table().revision);
    /// # }
    /// ```
    #[must_use]
    pub fn table(&self) -> RoutingTable {
        self.0.shared.snapshot().table.clone()
    }

    /// Returns when another table than at the time of the call is used.
    ///
    /// ```no_run
    /// # async fn f(router: distributary_client::Router) {
    /// router.changed().await;
    /// println!("revision {}", router.table().revision);
    /// # }
    /// ```
    pub async fn changed(&self) {
        // Its other end is kept by the router.
        let _ = self.0.shared.changes().changed().await;
    }

    /// How many of the replicas are in a route now.
    ///
    /// ```no_run
    /// # fn f(router: distributary_client::Router) {
    /// let health = router.health();
    /// println!("{} of {} replicas", health.healthy_replicas, health.total_replicas);
    /// # }
    /// ```
    #[must_use]
    pub fn health(&self) -> Health {
        Health::of(&self.0.shared)
    }

    /// What the program's own requests show, since the router was made.
    ///
    /// ```no_run
    /// # fn f(router: distributary_client::Router) {
    /// for target in router.stats().targets {
    ///     println!("{}: {} answers, {:?} on the mean", target.endpoint, target.answers, target.mean);
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::of(&self.0.shared)
    }

    /// Changes the policy of an embedded router: adds, removes, disables or re-weighs a server. Requests to the other servers notice
    /// nothing. It returns before the new routes are used.
    ///
    /// ```no_run
    /// # fn f(router: distributary_client::Router) -> Result<(), distributary_client::SettingsError> {
    /// router.change_policy(|spec| spec.replicas.retain(|replica| replica.region.as_deref() != Some("eu-west-1")))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The result is no valid policy, and the one before stays; the router is not embedded.
    pub fn change_policy(&self, change: impl FnOnce(&mut ReplicaSetPolicySpec)) -> Result<(), SettingsError> {
        let embedded = self.0.embedded.as_ref().ok_or(SettingsError::NotEmbedded)?;
        embedded.change(|spec, _| {
            change(spec);
            Ok(())
        })
    }

    /// Adds a replica to the policy of an embedded router.
    ///
    /// ```no_run
    /// # fn f(router: distributary_client::Router, replica: distributary_client::api::Endpoint) -> Result<(), distributary_client::SettingsError> {
    /// router.add_replica(replica)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`change_policy`](Self::change_policy), such as where its id is there already.
    pub fn add_replica(&self, replica: Endpoint) -> Result<(), SettingsError> {
        self.change_policy(|spec| spec.replicas.push(replica))
    }

    /// Takes a replica out of the policy of an embedded router.
    ///
    /// ```no_run
    /// # fn f(router: distributary_client::Router) -> Result<(), distributary_client::SettingsError> {
    /// router.remove_replica("replica-1")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The policy has no such replica; as [`change_policy`](Self::change_policy).
    pub fn remove_replica(&self, id: &str) -> Result<(), SettingsError> {
        self.changed_policy(
            |spec| {
                let before = spec.replicas.len();
                spec.replicas.retain(|replica| replica.id.as_deref() != Some(id));
                (spec.replicas.len() < before).then_some(())
            },
            id,
        )
    }

    /// Gives a server of an embedded router another weight, 0 to 1000; it counts under the strategy `Weighted`.
    ///
    /// ```no_run
    /// # fn f(router: distributary_client::Router) -> Result<(), distributary_client::SettingsError> {
    /// router.set_weight("replica-1", 50)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The policy has no such server; as [`change_policy`](Self::change_policy).
    pub fn set_weight(&self, id: &str, weight: u16) -> Result<(), SettingsError> {
        self.changed_policy(
            |spec| {
                endpoint(spec, id)?.weight = Some(weight);
                Some(())
            },
            id,
        )
    }

    /// Enables, drains or disables a server of an embedded router.
    ///
    /// ```no_run
    /// # fn f(router: distributary_client::Router) -> Result<(), distributary_client::SettingsError> {
    /// use distributary_client::api::EndpointState;
    ///
    /// router.set_state("replica-1", EndpointState::Draining)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The policy has no such server; as [`change_policy`](Self::change_policy).
    pub fn set_state(&self, id: &str, state: EndpointState) -> Result<(), SettingsError> {
        self.changed_policy(
            |spec| {
                endpoint(spec, id)?.state = Some(state);
                Some(())
            },
            id,
        )
    }

    /// Replaces the keys and values of a Secret that the policy of an embedded router names, such as after a password was changed. Open
    /// connections stay.
    ///
    /// ```no_run
    /// # fn f(router: distributary_client::Router) -> Result<(), distributary_client::SettingsError> {
    /// router.change_secret("login", [("username", "app"), ("password", "the new one")])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`change_policy`](Self::change_policy).
    pub fn change_secret<K: Into<String>, V: Into<Vec<u8>>>(
        &self,
        name: impl Into<String>,
        values: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(), SettingsError> {
        let embedded = self.0.embedded.as_ref().ok_or(SettingsError::NotEmbedded)?;
        let values = values.into_iter().map(|(key, value)| (key.into(), value.into()));
        embedded.change(|_, secrets| {
            secrets.insert(name.into(), values.collect());
            Ok(())
        })
    }

    /// Changes what is found of an endpoint.
    fn changed_policy(
        &self,
        change: impl FnOnce(&mut ReplicaSetPolicySpec) -> Option<()>,
        id: &str,
    ) -> Result<(), SettingsError> {
        let embedded = self.0.embedded.as_ref().ok_or(SettingsError::NotEmbedded)?;
        embedded.change(|spec, _| {
            change(spec).ok_or_else(|| SettingsError::UnknownEndpoint { id: id.to_owned() })
        })
    }

    /// Checks every server at once (embedded), or reads the routing table again (file); a ConfigMap is watched, and needs no second look. It
    /// returns before that is done.
    ///
    /// ```no_run
    /// # fn f(router: distributary_client::Router) {
    /// router.force_health_check();
    /// # }
    /// ```
    pub fn force_health_check(&self) {
        self.0.shared.ask_for_table();
    }
}

/// The declared server of this id.
fn endpoint<'a>(spec: &'a mut ReplicaSetPolicySpec, id: &str) -> Option<&'a mut Endpoint> {
    let is_primary = spec.primary.id.as_deref().unwrap_or(PRIMARY) == id;
    let mut replicas = spec.replicas.iter_mut();
    if is_primary {
        return Some(&mut spec.primary);
    }
    replicas.find(|replica| replica.id.as_deref() == Some(id))
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let snapshot = self.0.shared.snapshot();
        f.debug_struct("Router")
            .field("policy", &snapshot.table.policy)
            .field("revision", &snapshot.table.revision)
            .finish_non_exhaustive()
    }
}
