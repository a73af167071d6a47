//! From what a program says to a router.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use distributary_api::ReplicaSetPolicySpec;

#[cfg(feature = "kube")]
use crate::config_map;
use crate::credentials::Credentials;
use crate::declared::{Declared, Secrets};
use crate::embedded;
use crate::environment;
use crate::error::SettingsError;
use crate::file;
use crate::memory::Memory;
use crate::policy_file;
use crate::router::Router;
use crate::snapshot::PoolSettings;
use crate::watched::Watched;

/// Where routes come from.
#[derive(Default)]
enum Source {
    #[default]
    None,
    File(PathBuf),
    Policy(Box<Declared>),
    PolicyFile(PathBuf),
    #[cfg(feature = "kube")]
    ConfigMap(Box<config_map::Watched>),
}

/// Settings of a [`Router`]. It shows no Secret.
pub struct RouterBuilder {
    source: Source,
    secrets: Secrets,
    memory: Option<Arc<dyn Memory>>,
    pools: PoolSettings,
    deadline: Duration,
    first_table: Duration,
}

impl Default for RouterBuilder {
    fn default() -> Self {
        Self {
            source: Source::None,
            secrets: BTreeMap::new(),
            memory: None,
            pools: PoolSettings {
                application_name: "distributary-client".to_owned(),
                credentials: None,
                ca: None,
                share: 1,
                age: Duration::from_mins(30),
                idle: Duration::from_mins(10),
            },
            deadline: Duration::from_secs(30),
            first_table: Duration::from_secs(30),
        }
    }
}

impl RouterBuilder {
    /// Takes the routes from a file with the contents of `routing.json`, such as the key of that name of a mounted ConfigMap, and
    /// follows its changes. Needs [`credentials`](Self::credentials). In a pod the writes go through the Service `NAME-rw`, which the
    /// operator moves before the kubelet brings the file.
    ///
    /// ```no_run
    /// # fn f() -> Result<(), distributary_client::SettingsError> {
    /// use distributary_client::{Credentials, Router};
    ///
    /// let builder = Router::builder()
    ///     .routing_file("/etc/routing/routing.json")
    ///     .credentials(Credentials::from_files("/etc/login/username", "/etc/login/password")?);
    /// # let _ = builder;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn routing_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.source = Source::File(path.into());
        self
    }

    /// Takes the routes from the ConfigMap `NAME-routing` that the operator writes, watched at the API server: changes arrive within
    /// milliseconds, promotions too. Needs the feature `kube`, [`credentials`](Self::credentials), and the rights to list and watch this
    /// ConfigMap. While the API server is not there, the last routes serve.
    ///
    /// ```no_run
    /// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
    /// use distributary_client::{Credentials, Router, kube};
    ///
    /// let router = Router::builder()
    ///     .routing_config_map(kube::Client::try_default().await?, "shop", "orders-routing")
    ///     .credentials(Credentials::from_files("/etc/login/username", "/etc/login/password")?)
    ///     .connect()
    ///     .await?;
    /// # let _ = router;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "kube")]
    #[must_use]
    pub fn routing_config_map(
        mut self,
        client: config_map::Client,
        namespace: impl Into<String>,
        name: impl Into<String>,
    ) -> Self {
        self.source = Source::ConfigMap(Box::new(config_map::Watched {
            client,
            namespace: namespace.into(),
            name: name.into(),
        }));
        self
    }

    /// Checks the servers of this policy and decides in the process, without an operator. The writes follow promotions with a
    /// [`memory`](Self::memory); without one they are Pinned, and a policy that says Follow is refused.
    ///
    /// ```no_run
    /// # async fn f(spec: distributary_client::api::ReplicaSetPolicySpec) -> Result<(), distributary_client::SettingsError> {
    /// use distributary_client::Router;
    ///
    /// let router = Router::builder()
    ///     .policy("orders", spec)
    ///     .secret("login", [("username", "app"), ("password", "correct horse")])
    ///     .connect()
    ///     .await?;
    /// # let _ = router;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn policy(mut self, name: impl Into<String>, spec: ReplicaSetPolicySpec) -> Self {
        self.source = Source::Policy(Box::new(Declared {
            name: name.into(),
            spec,
            secrets: Secrets::new(),
        }));
        self
    }

    /// Takes the policy from a file of YAML or JSON, and follows its changes: a `ReplicaSetPolicy` as `kubectl apply` takes it, and beside it
    /// the Secrets that it names, such as what `distributary import` prints. Fields that this version does not know are refused.
    /// [`secret`](Self::secret) goes before the Secrets of the file. Embedded, as [`policy`](Self::policy).
    ///
    /// ```no_run
    /// # async fn f() -> Result<(), distributary_client::SettingsError> {
    /// let router = distributary_client::Router::builder().policy_file("/etc/shop/policy.yaml").connect().await?;
    /// # let _ = router;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn policy_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.source = Source::PolicyFile(path.into());
        self
    }

    /// Takes the policy from variables as `distributary import` reads them (docs/cli.md lists them): `DATABASE_URL`,
    /// `DATABASE_READ_REPLICA_N_URL` and those that begin with `DB_`. Embedded, as [`policy`](Self::policy).
    ///
    /// ```no_run
    /// # fn f() -> Result<(), distributary_client::SettingsError> {
    /// let variables = [
    ///     ("DATABASE_URL", "postgresql://app:secret@primary.example.com/orders"),
    ///     ("DATABASE_READ_REPLICA_1_URL", "postgresql://app:secret@replica.example.com/orders"),
    /// ];
    /// let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    /// let builder = distributary_client::Router::builder().variables(variables)?;
    /// # let _ = builder;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Each variable whose value cannot be used, or that is of a replica without a URL, by its name; never a value. Variables that
    /// are not known are named in a warning, as they may be the program's own.
    pub fn variables(
        mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        self.source = Source::Policy(Box::new(environment::declared(variables)?));
        Ok(self)
    }

    /// A Secret that the policy names: its keys and values. Embedded only.
    ///
    /// ```no_run
    /// let builder = distributary_client::Router::builder()
    ///     .policy_file("/etc/shop/policy.yaml")
    ///     .secret("login", [("username", "app"), ("password", "correct horse")]);
    /// # let _ = builder;
    /// ```
    #[must_use]
    pub fn secret<K: Into<String>, V: Into<Vec<u8>>>(
        mut self,
        name: impl Into<String>,
        values: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let values = values.into_iter().map(|(key, value)| (key.into(), value.into()));
        self.secrets.insert(name.into(), values.collect());
        self
    }

    /// Remembers who takes the writes, so that they follow promotions (`primaryRole: Follow`) and never go back to an old primary by
    /// themselves, not even after a restart of the program. Embedded only; of no other router at the same time.
    ///
    /// ```no_run
    /// # fn f() -> std::io::Result<()> {
    /// use distributary_client::{FileMemory, Router};
    ///
    /// let builder = Router::builder().memory(FileMemory::open("/var/lib/shop/routes.json")?);
    /// # let _ = builder;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn memory(mut self, memory: impl Memory) -> Self {
        self.memory = Some(Arc::new(memory));
        self
    }

    /// User and password of the program. Default (embedded): those with which the servers are checked.
    ///
    /// ```
    /// use distributary_client::{Credentials, Router};
    ///
    /// let builder = Router::builder().credentials(Credentials::new("app", "correct horse"));
    /// # let _ = builder;
    /// ```
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.pools.credentials = Some(credentials);
        self
    }

    /// CA certificates (PEM) that sign the certificates of the servers. Default: those of the policy (embedded), or the system's.
    ///
    /// ```no_run
    /// # fn f() -> std::io::Result<()> {
    /// let pem = std::fs::read_to_string("/etc/tls/ca.crt")?;
    /// let builder = distributary_client::Router::builder().ca(pem);
    /// # let _ = builder;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn ca(mut self, pem: impl Into<String>) -> Self {
        self.pools.ca = Some(pem.into());
        self
    }

    /// What sessions are called in `application_name`, before a slash and the operation. Default: distributary-client.
    ///
    /// ```
    /// let builder = distributary_client::Router::builder().application_name("shop");
    /// # let _ = builder;
    /// ```
    #[must_use]
    pub fn application_name(mut self, name: impl Into<String>) -> Self {
        self.pools.application_name = name.into();
        self
    }

    /// So many processes share the pool sizes of the policy, `maxConnections`: each has that part of them, and at least one
    /// connection. Default: 1. Without it a server has up to processes × `maxConnections` sessions.
    ///
    /// ```
    /// // Four replicas of the program.
    /// let builder = distributary_client::Router::builder().share(4);
    /// # let _ = builder;
    /// ```
    #[must_use]
    pub const fn share(mut self, processes: u32) -> Self {
        self.pools.share = processes;
        self
    }

    /// How long a connection is used at most (90 to 100 % of it), and how long one stays that nobody uses. Default: 30 and 10
    /// minutes.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (longest, idle) = (Duration::from_secs(15 * 60), Duration::from_secs(60));
    /// let builder = distributary_client::Router::builder().lifetimes(longest, idle);
    /// # let _ = builder;
    /// ```
    #[must_use]
    pub const fn lifetimes(mut self, longest: Duration, idle: Duration) -> Self {
        self.pools.age = longest;
        self.pools.idle = idle;
        self
    }

    /// How long a request may take that says nothing of it. Default: 30 s.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let builder = distributary_client::Router::builder().deadline(Duration::from_secs(5));
    /// # let _ = builder;
    /// ```
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Makes the router, once there is a routing table; embedded, once every server was checked.
    ///
    /// ```no_run
    /// # async fn f() -> Result<(), distributary_client::SettingsError> {
    /// let router = distributary_client::Router::builder().policy_file("/etc/shop/policy.yaml").connect().await?;
    /// println!("{router:?}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What is wrong with the settings; no table within 30 s.
    pub async fn connect(self) -> Result<Router, SettingsError> {
        let (pools, deadline) = (self.pools, self.deadline);
        match self.source {
            Source::None => Err(SettingsError::NoSource),
            Source::File(path) => {
                let (shared, task) = file::follow(path, pools, deadline).await?;
                Ok(Router::new(shared, None, vec![task]))
            }
            Source::Policy(mut declared) => {
                declared.secrets.extend(self.secrets);
                let times = (deadline, self.first_table);
                let started = embedded::decide(*declared, self.memory, pools, times).await;
                let (shared, embedded, task) = started?;
                Ok(Router::new(shared, Some(embedded), vec![task]))
            }
            #[cfg(feature = "kube")]
            Source::ConfigMap(watched) => {
                let times = (deadline, self.first_table);
                let (shared, task) = config_map::follow(*watched, pools, times).await?;
                Ok(Router::new(shared, None, vec![task]))
            }
            Source::PolicyFile(path) => {
                let file = Watched::new(path)?;
                let mut declared = policy_file::read(file.text())?;
                declared.secrets.extend(self.secrets.clone());
                let times = (deadline, self.first_table);
                let started = embedded::decide(declared, self.memory, pools, times).await;
                let (shared, embedded, task) = started?;
                let following = file::follow_policy(file, embedded.clone(), self.secrets);
                Ok(Router::new(shared, Some(embedded), vec![task, following]))
            }
        }
    }
}

impl Router {
    /// Says where routes come from, and how to connect.
    ///
    /// ```
    /// let builder = distributary_client::Router::builder();
    /// # let _ = builder;
    /// ```
    #[must_use]
    pub fn builder() -> RouterBuilder {
        RouterBuilder::default()
    }

    /// A router by the environment variables of the process; see [`RouterBuilder::variables`].
    ///
    /// ```no_run
    /// # async fn f() -> Result<(), distributary_client::SettingsError> {
    /// let router = distributary_client::Router::from_env().await?;
    /// # let _ = router;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As there, and as [`RouterBuilder::connect`].
    pub async fn from_env() -> Result<Self, SettingsError> {
        // One that is not UTF-8 is none of ours.
        let all = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::builder().variables(all)?.connect().await
    }
}
