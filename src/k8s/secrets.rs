//! Dereferencing: the Secrets that policies name. Their metadata is watched; only those named are read, once per
//! version.
//!
//! # Guarantees
//! - Of the Secrets of one namespace no more than 32 MiB are kept: those that come first. The others are [`SecretProblem::TooLarge`], and
//!   read again once they have room.

mod doubts;
mod named;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use doubts::Doubts;

use super::call;
use super::error::Error;
use distributary_api::validate::{SecretKeys, Secrets};
use distributary_core::ids::{EndpointId, PolicyKey};
use distributary_core::login::SecretProblem;
use distributary_core::moment::Moment;
pub use named::NamedWatches;

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

/// How often a Secret is read again at once, because it changed meanwhile.
const READS: usize = 4;

/// Of one namespace, in MiB.
const MOST: usize = 32;

/// What was read, and who asked for it.
#[derive(Default)]
pub struct SecretCache(Mutex<State>);

#[derive(Default)]
struct State {
    read: HashMap<SecretKey, Read>,
    /// The bytes of those, of each namespace.
    kept: BTreeMap<String, usize>,
    /// Those that are being read.
    reading: HashMap<SecretKey, Reading>,
    /// Which policies name a Secret, and which Secrets a policy names.
    users: BTreeMap<SecretKey, BTreeSet<PolicyKey>>,
    named: BTreeMap<PolicyKey, BTreeSet<String>>,
    /// Which Secrets the logins of a policy are made of.
    logins: BTreeMap<PolicyKey, BTreeMap<EndpointId, BTreeSet<String>>>,
    doubts: Doubts,
}

struct Read {
    version: String,
    keys: Result<SecretKeys, SecretProblem>,
    /// In bytes, also of what was too large to be kept.
    size: usize,
}

impl Read {
    fn new(version: String, keys: Result<SecretKeys, SecretProblem>) -> Self {
        let of_value = |(key, value): (&String, &Vec<u8>)| key.len() + value.len();
        let size = keys.as_ref().map(|keys| keys.0.iter().map(of_value).sum());
        Self {
            version,
            size: size.unwrap_or_default(),
            keys,
        }
    }
}

impl State {
    /// What is known of a Secret; `None`: it is to be read.
    fn known(&self, secret: &SecretKey) -> Option<Result<SecretKeys, SecretProblem>> {
        let read = self.read.get(secret)?;
        let has_room =
            matches!(read.keys, Err(SecretProblem::TooLarge(_))) && self.has_room(secret, read.size);
        (!has_room).then(|| read.keys.clone())
    }

    fn has_room(&self, (namespace, _): &SecretKey, size: usize) -> bool {
        let kept = self.kept.get(namespace).copied().unwrap_or_default();
        kept + size <= MOST << 20
    }

    /// Keeps what was read, if there is room for it; what was kept.
    fn keep(&mut self, secret: &SecretKey, mut read: Read) -> Result<SecretKeys, SecretProblem> {
        self.drop_read(secret);
        if read.keys.is_ok() {
            if self.has_room(secret, read.size) {
                *self.kept.entry(secret.0.clone()).or_default() += read.size;
            } else {
                read.keys = Err(SecretProblem::TooLarge(MOST));
            }
        }
        let keys = read.keys.clone();
        self.read.insert(secret.clone(), read);
        keys
    }

    fn drop_read(&mut self, secret: &SecretKey) {
        let Some(Read {
            keys: Ok(_), size, ..
        }) = self.read.remove(secret)
        else {
            return;
        };
        if let Some(kept) = self.kept.get_mut(&secret.0) {
            *kept -= size;
            if *kept == 0 {
                self.kept.remove(&secret.0);
            }
        }
    }
}

/// Reads that are under way at once, and what watches have shown meanwhile.
#[derive(Default)]
struct Reading {
    reads: usize,
    /// How often a watch has shown something, and what the last time.
    times: u64,
    shown: Option<Shown>,
}

/// What a watch shows of a Secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Shown {
    /// It exists at this version.
    At(String),
    /// It is gone: a watch tells at which version, a list does not.
    Gone(Option<String>),
}

impl Shown {
    /// Whether an answer to a read is at least as new as what was shown.
    fn is_in(&self, answer: Option<&str>) -> bool {
        match (self, answer) {
            (Self::At(shown) | Self::Gone(Some(shown)), Some(read)) => is_at_least(read, shown),
            (Self::Gone(_), None) => true,
            // A read that found it, though a list did not; or none, though it was shown.
            (Self::Gone(None), Some(_)) | (Self::At(_), None) => false,
        }
    }
}

/// Resource versions of one kind compare as numbers; a server of which they are none is not believed.
fn is_at_least(version: &str, other: &str) -> bool {
    let number = |text: &str| text.parse::<u64>().ok();
    version == other
        || number(version)
            .zip(number(other))
            .is_some_and(|(this, other)| this > other)
}

impl SecretCache {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what a watch shows. The policies that name the Secret, if it was read otherwise.
    pub fn changed(&self, secret: &SecretKey, shown: Shown) -> Vec<PolicyKey> {
        let mut state = self.state();
        if let Some(reading) = state.reading.get_mut(secret) {
            reading.times += 1;
            reading.shown = Some(shown.clone());
        }
        let Some(read) = state.read.get(secret) else {
            return Vec::new();
        };
        let stale = match &shown {
            Shown::At(version) => read.version != *version,
            Shown::Gone(_) => !matches!(read.keys, Err(SecretProblem::NotFound)),
        };
        if !stale {
            return Vec::new();
        }
        state.doubts.forget(secret);
        state.drop_read(secret);
        state.users.get(secret).into_iter().flatten().cloned().collect()
    }

    /// A server refused the login of a policy to an endpoint: which of the Secrets that it is made of are to be looked at now.
    pub(super) fn doubted(&self, policy: &PolicyKey, endpoint: &EndpointId, now: Moment) -> Vec<SecretKey> {
        let mut guard = self.state();
        let state = &mut *guard;
        let names = state.logins.get(policy).and_then(|logins| logins.get(endpoint));
        let mut due = Vec::new();
        for name in names.into_iter().flatten() {
            let secret = (policy.namespace.clone(), name.clone());
            // What was not read is read with the next pass.
            if state.read.contains_key(&secret) && state.doubts.look(&secret, now) {
                due.push(secret);
            }
        }
        due
    }

    /// Asks for the version of a Secret, and for none of its values. The policies that name it, if it was read otherwise; none where
    /// the API server does not tell.
    pub(super) async fn look(&self, client: &Client, secret: &SecretKey) -> Vec<PolicyKey> {
        let (namespace, name) = secret;
        let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let found = match call(api.get_metadata(name)).await {
            Ok(found) => Shown::At(found.metadata.resource_version.unwrap_or_default()),
            Err(error) if error.code() == 404 => Shown::Gone(None),
            Err(_) => return Vec::new(),
        };
        self.found(secret, &found)
    }

    /// Takes in what was found of a Secret beside the watches, which may have shown something newer meanwhile.
    fn found(&self, secret: &SecretKey, found: &Shown) -> Vec<PolicyKey> {
        let mut state = self.state();
        let Some(read) = state.read.get(secret) else {
            return Vec::new();
        };
        let is_missing = matches!(read.keys, Err(SecretProblem::NotFound));
        let is_known = match found {
            Shown::At(version) => !is_missing && is_at_least(&read.version, version),
            Shown::Gone(_) => is_missing,
        };
        if is_known {
            return Vec::new();
        }
        state.doubts.forget(secret);
        state.drop_read(secret);
        state.users.get(secret).into_iter().flatten().cloned().collect()
    }

    /// Those that were read, of these.
    pub fn read_of(&self, these: impl Fn(&SecretKey) -> bool) -> BTreeSet<SecretKey> {
        let state = self.state();
        state.read.keys().filter(|key| these(key)).cloned().collect()
    }

    /// Whether any policy names it.
    pub fn is_named(&self, secret: &SecretKey) -> bool {
        self.state().users.contains_key(secret)
    }

    /// Says which Secrets a policy names. Those that nobody names any more are forgotten, and returned.
    pub fn used_by(&self, policy: &PolicyKey, names: &BTreeSet<String>) -> Vec<SecretKey> {
        let mut state = self.state();
        let mut unused = Vec::new();
        let before = state.named.remove(policy).unwrap_or_default();
        for gone in before.difference(names) {
            let secret = (policy.namespace.clone(), gone.clone());
            if let Some(of_it) = state.users.get_mut(&secret) {
                of_it.remove(policy);
                if of_it.is_empty() {
                    state.users.remove(&secret);
                    state.doubts.forget(&secret);
                    state.drop_read(&secret);
                    unused.push(secret);
                }
            }
        }
        for name in names {
            let secret = (policy.namespace.clone(), name.clone());
            state.users.entry(secret).or_default().insert(policy.clone());
        }
        if names.is_empty() {
            state.logins.remove(policy);
        } else {
            state.named.insert(policy.clone(), names.clone());
        }
        unused
    }

    /// Says which of the Secrets that a policy names its logins are made of.
    pub(super) fn logs_in_with(&self, policy: &PolicyKey, logins: BTreeMap<EndpointId, BTreeSet<String>>) {
        let mut state = self.state();
        if state.named.contains_key(policy) {
            state.logins.insert(policy.clone(), logins);
        }
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
            let known = self.state().known(&key);
            let keys = match known {
                Some(keys) => keys,
                None => self.read(client, key).await?,
            };
            secrets.insert(name.clone(), keys);
        }
        Ok(secrets)
    }

    /// Reads a Secret, again where it changed between the read and its answer.
    async fn read(
        &self,
        client: &Client,
        key: SecretKey,
    ) -> Result<Result<SecretKeys, SecretProblem>, Error> {
        let reading = self.begin(&key);
        for _ in 0..READS {
            let before = reading.times();
            let Some((version, keys)) = get(client, &key).await? else {
                // Rights come without an event: it is asked again with the next pass.
                return Ok(Err(SecretProblem::Forbidden));
            };
            if let Some(keys) = reading.answered(before, version, keys) {
                return Ok(keys);
            }
        }
        Err(Error::SecretChanges { name: key.1.clone() })
    }

    fn begin<'a>(&'a self, key: &'a SecretKey) -> Reads<'a> {
        self.state().reading.entry(key.clone()).or_default().reads += 1;
        Reads { cache: self, key }
    }
}

/// What the API server has of a Secret: its version, where it exists, and its keys. `None`: it may not be read.
async fn get(
    client: &Client,
    (namespace, name): &SecretKey,
) -> Result<Option<(Option<String>, Result<SecretKeys, SecretProblem>)>, Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    match call(api.get(name)).await {
        Ok(secret) => {
            let version = secret.metadata.resource_version.clone().unwrap_or_default();
            Ok(Some((Some(version), Ok(values(secret)))))
        }
        Err(error) if error.code() == 404 => Ok(Some((None, Err(SecretProblem::NotFound)))),
        Err(error) if error.code() == 403 => Ok(None),
        Err(source) => Err(Error::ReadSecret {
            name: name.clone(),
            source,
        }),
    }
}

/// Reads of a Secret by one pass.
struct Reads<'a> {
    cache: &'a SecretCache,
    key: &'a SecretKey,
}

impl Reads<'_> {
    /// How often a watch has shown something.
    fn times(&self) -> u64 {
        let state = self.cache.state();
        state.reading.get(self.key).map_or(0, |reading| reading.times)
    }

    /// Keeps an answer to a read that began when a watch had shown something `before` times; `None`: it has shown
    /// something newer since.
    fn answered(
        &self,
        before: u64,
        version: Option<String>,
        keys: Result<SecretKeys, SecretProblem>,
    ) -> Option<Result<SecretKeys, SecretProblem>> {
        let mut state = self.cache.state();
        let reading = state
            .reading
            .get(self.key)
            .filter(|reading| reading.times > before);
        let shown = reading.and_then(|reading| reading.shown.as_ref());
        if shown.is_some_and(|shown| !shown.is_in(version.as_deref())) {
            return None;
        }
        let read = Read::new(version.unwrap_or_default(), keys);
        Some(state.keep(self.key, read))
    }
}

impl Drop for Reads<'_> {
    fn drop(&mut self) {
        let mut state = self.cache.state();
        if let Some(reading) = state.reading.get_mut(self.key) {
            reading.reads -= 1;
            if reading.reads == 0 {
                state.reading.remove(self.key);
            }
        }
    }
}

fn values(secret: Secret) -> SecretKeys {
    let data = secret.data.unwrap_or_default().into_iter();
    let keys = data.map(|(key, value)| (key, value.0)).collect();
    SecretKeys::annotated(keys, secret.metadata.annotations.as_ref())
}

#[cfg(test)]
mod tests;
