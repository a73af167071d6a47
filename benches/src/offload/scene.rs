//! All of it started: control plane, servers, operator, HAProxy; and the way of each arm to the servers.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use distributary_client::{Credentials, Router};
use harness::postgres::{APP, PROBE};
use harness::{ControlPlane, Postgres, wait};
use serde_json::{Value, json};

use super::arm::Arm;
use super::ceilings::READERS;
use super::cgroups::Cgroups;
use super::front::{Addresses, Front, Hosts, Sizes};
use super::machine::Cores;
use super::servers::Servers;
use crate::contestants::{Distributary, Haproxy, Policy};
use crate::journal::Journal;

/// For a router to know all its servers, and for HAProxy to begin.
const KNOWN: Duration = Duration::from_secs(30);

/// What all arms share.
pub struct Scene {
    /// HAProxy.
    pub haproxy: Haproxy,
    /// What HAProxy and the operator said of servers, under the letters of their arms.
    pub journal: Journal,
    /// The operator.
    pub operator: Distributary,
    /// The cores.
    pub cores: Cores,
    policy: Policy,
    _plane: ControlPlane,
    /// The servers: they end last.
    pub servers: Servers,
}

impl Scene {
    /// Starts all of it; reads may be as old as `bound`.
    ///
    /// # Errors
    /// When a program is missing or does not start.
    pub async fn start(cgroups: Cgroups, cores: Cores, bound: Duration) -> Result<Self> {
        let servers = Servers::start(cgroups, cores).await?;
        let (plane, kubeconfig) = crate::control_plane().await?;
        let journal = Journal::default();
        let policy = Policy {
            // With the return of the defaults, which takes minutes, the next fault would come before the last one is over.
            lag: json!({"max": format!("{}s", bound.as_secs())}),
            dedicated: true,
            ..Policy::defaults()
        };
        let name = Arm::Services.letter();
        let operator =
            Distributary::start(name, &policy, &plane, &kubeconfig, &servers.cluster, &journal).await?;
        let haproxy = Haproxy::start(
            Arm::Haproxy.letter(),
            "haproxy-offload.cfg",
            &servers.cluster,
            &journal,
        )?;
        for front in [haproxy.front(), haproxy.writes()] {
            let asked = || async { harness::reader::ask(front).await };
            wait::eventually("HAProxy to answer", KNOWN, asked).await?;
        }
        Ok(Self {
            haproxy,
            journal,
            operator,
            cores,
            policy,
            _plane: plane,
            servers,
        })
    }

    /// The way of an arm, with all its connections open.
    ///
    /// # Errors
    /// When a connection cannot be opened.
    pub async fn front(&self, arm: Arm, sizes: &Sizes) -> Result<Arc<Front>> {
        let opened = async {
            if arm == Arm::Client {
                return self.client(self.router(sizes, |_| ()).await?, sizes).await;
            }
            Ok(Arc::new(Front::pools(&self.addresses(arm).await?, sizes).await?))
        };
        opened.await.with_context(|| format!("open the pools of {arm}"))
    }

    /// The way of a router, with the Service for writes beside it.
    ///
    /// # Errors
    /// When a connection cannot be opened.
    pub async fn client(&self, router: Router, sizes: &Sizes) -> Result<Arc<Front>> {
        let writes = Hosts::one(self.operator.address("rw").await?);
        Ok(Arc::new(Front::client(router, &writes, sizes).await?))
    }

    async fn addresses(&self, arm: Arm) -> Result<Addresses> {
        let cluster = &self.servers.cluster;
        let primary = Hosts {
            all: cluster.servers().map(Postgres::socket).collect(),
            random: false,
            writable: true,
        };
        let all = |hosts: &Hosts| Addresses {
            reads: hosts.clone(),
            writes: hosts.clone(),
            analytics: hosts.clone(),
        };
        Ok(match arm {
            Arm::Big => all(&Hosts::one(self.servers.big.primary().socket())),
            Arm::Random => Addresses {
                writes: primary,
                ..all(&Hosts {
                    all: cluster.replicas().iter().map(Postgres::socket).collect(),
                    random: true,
                    writable: false,
                })
            },
            Arm::Haproxy => Addresses {
                writes: Hosts::one(self.haproxy.writes()),
                ..all(&Hosts::one(self.haproxy.front()))
            },
            Arm::Services => Addresses {
                reads: Hosts::one(self.operator.front()),
                writes: Hosts::one(self.operator.address("rw").await?),
                analytics: Hosts::one(self.operator.address("analytics").await?),
            },
            Arm::Primary | Arm::Client => all(&Hosts::one(cluster.primary().socket())),
        })
    }

    /// An embedded router by the policy of the operator, changed by `change`, with as many connections in all as the other arms have. It
    /// knows all its replicas.
    ///
    /// # Errors
    /// When the policy is refused, or not all replicas are known after 30 s.
    pub async fn router(&self, sizes: &Sizes, change: impl FnOnce(&mut Value)) -> Result<Router> {
        let mut spec = self.policy.spec(&self.servers.cluster);
        let replicas = spec["replicas"].as_array_mut().context("replicas")?;
        for replica in replicas.iter_mut() {
            let dedicated = replica.get("dedicatedTo").is_some();
            let size = if dedicated {
                sizes.analytics
            } else {
                sizes.reads.div_ceil(READERS)
            };
            replica["maxConnections"] = json!(size);
        }
        change(&mut spec);
        let replicas = spec["replicas"].as_array().context("replicas")?;
        let readers = replicas
            .iter()
            .filter(|one| one.get("dedicatedTo").is_none())
            .count();
        let builder = Router::builder()
            .policy("orders", serde_json::from_value(spec)?)
            .secret("probe", [("username", PROBE.user), ("password", PROBE.password)])
            .credentials(Credentials::new(APP.user, APP.password));
        let router = builder.connect().await?;
        wait::eventually("the router to know its replicas", KNOWN, || async {
            let table = router.table();
            let route = table.routes.get("ro").context("no route ro")?;
            let replicas = route.targets.iter().filter(|target| target.endpoint != "primary");
            let known = replicas.count();
            ensure!(known == readers, "{known} of {readers}");
            Ok(())
        })
        .await?;
        Ok(router)
    }
}
