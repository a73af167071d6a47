//! Dereferencing: the Secrets that policies name. Their metadata is watched; only those named are read, once per
//! version.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::task::AbortHandle;

use super::call;
use super::error::Error;
use distributary_api::validate::{SecretKeys, Secrets};
use distributary_core::ids::PolicyKey;
use distributary_core::login::SecretProblem;

/// Namespace and name of a Secret.
pub type SecretKey = (String, String);

/// Which rights on Secrets the operator has.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum SecretAccess {
    /// One watch on the metadata of all Secrets in scope.
    ClusterWide,
    /// One watch per Secret that a policy names: Roles with resourceNames suffice.
    Named,
}

/// What was read, and who asked for it.
#[derive(Default)]
pub struct SecretCache(Mutex<State>);

#[derive(Default)]
struct State {
    read: HashMap<SecretKey, Read>,
    used: BTreeMap<SecretKey, BTreeSet<PolicyKey>>,
}

struct Read {
    version: String,
    keys: Result<SecretKeys, SecretProblem>,
}

impl SecretCache {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A watch shows a Secret at a version, or that it is gone. The policies that name it, if it was read otherwise.
    pub fn changed(&self, secret: &SecretKey, version: Option<&str>) -> Vec<PolicyKey> {
        let mut state = self.state();
        let known = state
            .read
            .get(secret)
            .map(|read| (read.version.as_str(), read.keys.is_err()));
        let stale = match (known, version) {
            (Some((read, _)), Some(now)) => read != now,
            (Some((_, failed)), None) => !failed,
            (None, _) => false,
        };
        if !stale {
            return Vec::new();
        }
        state.read.remove(secret);
        state.used.get(secret).into_iter().flatten().cloned().collect()
    }

    /// Those that were read, of these.
    pub fn read_of(&self, these: impl Fn(&SecretKey) -> bool) -> BTreeSet<SecretKey> {
        let state = self.state();
        state.read.keys().filter(|key| these(key)).cloned().collect()
    }

    /// Says which Secrets a policy names; those that nobody names are forgotten. Returns all that are named.
    pub fn used_by(&self, policy: &PolicyKey, names: &BTreeSet<String>) -> BTreeSet<SecretKey> {
        let mut state = self.state();
        for users in state.used.values_mut() {
            users.remove(policy);
        }
        for name in names {
            let secret = (policy.namespace.clone(), name.clone());
            state.used.entry(secret).or_default().insert(policy.clone());
        }
        state.used.retain(|_, users| !users.is_empty());
        let State { read, used } = &mut *state;
        read.retain(|secret, _| used.contains_key(secret));
        used.keys().cloned().collect()
    }

    /// Reads the Secrets of a policy, as far as they are not known at their present version.
    ///
    /// # Errors
    /// A request that failed for a reason that may pass.
    pub async fn dereference(
        &self,
        client: &Client,
        policy: &PolicyKey,
        names: &BTreeSet<String>,
    ) -> Result<Secrets, Error> {
        let mut secrets = Secrets::new();
        for name in names {
            let key = (policy.namespace.clone(), name.clone());
            let known = self.state().read.get(&key).map(|read| read.keys.clone());
            let keys = match known {
                Some(keys) => keys,
                None => self.read(client, key).await?,
            };
            secrets.insert(name.clone(), keys);
        }
        Ok(secrets)
    }

    async fn read(
        &self,
        client: &Client,
        key: SecretKey,
    ) -> Result<Result<SecretKeys, SecretProblem>, Error> {
        let api: Api<Secret> = Api::namespaced(client.clone(), &key.0);
        let (version, keys) = match call(api.get(&key.1)).await {
            Ok(secret) => (
                secret.metadata.resource_version.clone().unwrap_or_default(),
                Ok(values(secret)),
            ),
            Err(error) if error.code() == 404 => (String::new(), Err(SecretProblem::NotFound)),
            // Rights come without an event: it is asked again with the next pass.
            Err(error) if error.code() == 403 => return Ok(Err(SecretProblem::Forbidden)),
            Err(source) => return Err(Error::ReadSecret { name: key.1, source }),
        };
        self.state().read.insert(
            key,
            Read {
                version,
                keys: keys.clone(),
            },
        );
        Ok(keys)
    }
}

/// The watches of Secrets by name: one for each that a policy names.
#[derive(Debug, Default)]
pub struct NamedWatches(Mutex<BTreeMap<SecretKey, AbortHandle>>);

impl NamedWatches {
    fn watches(&self) -> MutexGuard<'_, BTreeMap<SecretKey, AbortHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the watches of all others.
    pub fn keep_only(&self, used: &BTreeSet<SecretKey>) {
        self.watches().retain(|secret, task| {
            let keep = used.contains(secret);
            if !keep {
                task.abort();
            }
            keep
        });
    }

    /// Starts those that are missing.
    pub fn start(&self, used: &BTreeSet<SecretKey>, watch: impl Fn(SecretKey) -> AbortHandle) {
        let mut watches = self.watches();
        for secret in used {
            watches
                .entry(secret.clone())
                .or_insert_with(|| watch(secret.clone()));
        }
    }
}

fn values(secret: Secret) -> SecretKeys {
    SecretKeys(
        secret
            .data
            .unwrap_or_default()
            .into_iter()
            .map(|(key, value)| (key, value.0))
            .collect(),
    )
}
