//! What a program says of a request.

use std::borrow::Cow;
use std::time::Duration;

use distributary_core::routing::Priority;
use distributary_core::table::Request;

use crate::token::Token;

/// Says what a request is. The default says nothing: it is then a write where the method does not say otherwise.
///
/// ```
/// use std::time::Duration;
/// use distributary_client::Query;
///
/// let report = Query::operation("dashboard").in_region("eu-west-1").within(Duration::from_secs(2));
/// # let _ = report;
/// ```
#[derive(Clone, Debug, Default)]
pub struct Query {
    pub(crate) operation: Option<Cow<'static, str>>,
    pub(crate) class: Option<Cow<'static, str>>,
    pub(crate) region: Option<Cow<'static, str>>,
    pub(crate) priority: Option<Priority>,
    pub(crate) read_only: bool,
    pub(crate) prefer_primary: bool,
    pub(crate) deadline: Option<Duration>,
    pub(crate) token: Option<Token>,
    pub(crate) max_lag: Option<Duration>,
    pub(crate) tenant: Option<Cow<'static, str>>,
    /// A read that the primary serves: something was written just now, and no token tells of it.
    pub(crate) newest: bool,
}

impl Query {
    /// A request that says nothing.
    ///
    /// ```
    /// let query = distributary_client::Query::new();
    /// assert_eq!(query.operation_name(), "");
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A request with the name of an operation, such as `findMany` or `create`: the class that has it decides the route. It is also
    /// a part of the `application_name` of the session.
    ///
    /// ```
    /// use distributary_client::Query;
    ///
    /// let query = Query::operation("findMany");
    /// assert_eq!(query.operation_name(), "findMany");
    /// ```
    #[must_use]
    pub fn operation(name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            operation: Some(name.into()),
            ..Self::default()
        }
    }

    /// Names a class of the policy in place of the one that has the operation.
    ///
    /// ```
    /// use distributary_client::Query;
    ///
    /// let export = Query::operation("findMany").of_class("analytics");
    /// # let _ = export;
    /// ```
    #[must_use]
    pub fn of_class(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.class = Some(name.into());
        self
    }

    /// Says where the program is: counts for reads that no class names.
    ///
    /// ```
    /// use distributary_client::Query;
    ///
    /// let near = Query::operation("findMany").in_region("eu-west-1");
    /// # let _ = near;
    /// ```
    #[must_use]
    pub fn in_region(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.region = Some(name.into());
        self
    }

    /// Chooses the route of a read by `routing.priorities` of the policy, and nothing else.
    ///
    /// ```
    /// use distributary_client::{Priority, Query};
    ///
    /// let checkout = Query::operation("findMany").with_priority(Priority::High);
    /// # let _ = checkout;
    /// ```
    #[must_use]
    pub const fn with_priority(mut self, priority: Priority) -> Self {
        self.priority = Some(priority);
        self
    }

    /// It writes nothing.
    ///
    /// ```
    /// use distributary_client::Query;
    ///
    /// // `Router::execute` takes it for a read, whatever its class prefers.
    /// let report = Query::operation("report").read_only();
    /// # let _ = report;
    /// ```
    #[must_use]
    pub const fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// A read that should see the newest data where it can.
    ///
    /// ```
    /// use distributary_client::Query;
    ///
    /// let balance = Query::operation("balance").prefer_primary();
    /// # let _ = balance;
    /// ```
    #[must_use]
    pub const fn prefer_primary(mut self) -> Self {
        self.prefer_primary = true;
        self
    }

    /// A read that sees at least the write of this token: on a replica of its route that has replayed it, which is waited for for up to
    /// 100 ms; otherwise on the primary. A replica proves on which timeline it is only to members of `pg_read_all_stats`; without that
    /// role the primary serves. [`Session::freshness`](crate::Session::freshness) says whether that is proven.
    ///
    /// ```
    /// use distributary_client::{Query, Token};
    ///
    /// // From the cookie of a user, say.
    /// let token: Token = "7351a9b0c2d4e6f8.1.16B374D848".parse()?;
    /// let own = Query::operation("list").at_least(token);
    /// # let _ = own;
    /// # Ok::<(), distributary_client::InvalidToken>(())
    /// ```
    #[must_use]
    pub const fn at_least(mut self, token: Token) -> Self {
        self.token = Some(token);
        self
    }

    /// A read that is at most so far behind the primary: on a replica of its route that has replayed what the primary had written so long
    /// ago, which is waited for for up to 100 ms; otherwise on the primary, unless the class of the read is `ReplicasOnly`. For
    /// that the primary is asked for its position, about twice in that time. While it cannot be asked nothing proves the bound: the
    /// read then fails once the last answer is older than that. A bound of 0 asks it for each read. The bounds of the policy hold
    /// beside it. A write has no lag.
    ///
    /// ```
    /// use std::time::Duration;
    /// use distributary_client::Query;
    ///
    /// let stock = Query::operation("stock").max_lag(Duration::from_millis(500));
    /// # let _ = stock;
    /// ```
    #[must_use]
    pub const fn max_lag(mut self, most: Duration) -> Self {
        self.max_lag = Some(most);
        self
    }

    /// Whom it serves: [`Followers`](crate::Followers) gives each tenant, or user, its own reads after writes. It chooses no route, and is
    /// no part of a log or a label.
    ///
    /// ```
    /// use distributary_client::Query;
    ///
    /// let orders = Query::operation("findMany").of_tenant("acme");
    /// # let _ = orders;
    /// ```
    #[must_use]
    pub fn of_tenant(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.tenant = Some(name.into());
        self
    }

    /// How long it may take, all attempts together. Default: that of the router, 30 s unless it was told otherwise.
    ///
    /// ```
    /// use std::time::Duration;
    /// use distributary_client::Query;
    ///
    /// let quick = Query::operation("search").within(Duration::from_millis(250));
    /// # let _ = quick;
    /// ```
    #[must_use]
    pub const fn within(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// The name of its operation; empty where it has none.
    ///
    /// ```
    /// use distributary_client::Query;
    ///
    /// assert_eq!(Query::from("search").operation_name(), "search");
    /// ```
    #[must_use]
    pub fn operation_name(&self) -> &str {
        self.operation.as_deref().unwrap_or_default()
    }

    pub(crate) fn request(&self) -> Request<'_> {
        Request {
            operation: self.operation.as_deref(),
            class: self.class.as_deref(),
            region: self.region.as_deref(),
            priority: self.priority,
            read_only: self.read_only,
            prefer_primary: self.prefer_primary,
        }
    }
}

impl From<&'static str> for Query {
    fn from(operation: &'static str) -> Self {
        Self::operation(operation)
    }
}
