//! The certificate that the operator makes: kept in a Secret, its CA in a ConfigMap of the same name, both of which the chart
//! made empty. Whoever writes, writes them; others wait, and read. The operator may get and update both, and nothing else of the
//! kind.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};

use super::made::{self, AUTHORITY, CERTIFICATE, KEY, Kept, NEXT_KEY};
use super::{Newest, configuration, is_accepted};
use crate::clock::{Clock, timestamp};
use crate::k8s::call;
use crate::k8s::error::CallError;
use crate::render::reading::FIELD_MANAGER;

/// Where somebody else has to write, or a request failed.
const AGAIN: Duration = Duration::from_secs(5);
/// What is there is read at least so often: somebody may have put another one in its place.
const LONGEST: Duration = Duration::from_secs(3600);

/// Where the certificate is kept.
#[derive(Clone, Debug)]
pub struct KeptCertificate {
    pub namespace: String,
    /// The name of the Secret and of the ConfigMap.
    pub name: String,
    /// The names that the certificate is for.
    pub hosts: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the Secret with the certificate of the API cannot be read or written")]
    Secret(#[source] CallError),
    #[error("the ConfigMap with the CA of the API cannot be read or written")]
    ConfigMap(#[source] CallError),
    #[error("no certificate can be made")]
    Make(#[from] rcgen::Error),
    #[error("the certificate in the Secret cannot be used")]
    Use(#[from] super::Error),
}

/// Keeps a certificate until the process ends. `writes`: whether this process writes, at any time.
pub async fn keep(kept: KeptCertificate, client: Client, writes: impl Fn() -> bool, newest: &Newest) {
    let keeper = Keeper {
        secrets: Api::namespaced(client.clone(), &kept.namespace),
        config_maps: Api::namespaced(client, &kept.namespace),
        kept,
    };
    let mut told = None;
    loop {
        let pause = match keeper.pass(writes(), newest).await {
            Ok(pause) => {
                told = None;
                pause
            }
            Err(error) => {
                let error = crate::telemetry::chain(&error);
                if told.as_ref() != Some(&error) {
                    tracing::warn!(secret = %keeper.kept.name, namespace = %keeper.kept.namespace, %error, "the API has no new certificate, which is tried again");
                    told = Some(error);
                }
                AGAIN
            }
        };
        Clock::sleep(pause).await;
    }
}

struct Keeper {
    secrets: Api<Secret>,
    config_maps: Api<ConfigMap>,
    kept: KeptCertificate,
}

impl Keeper {
    /// Reads, and renews what is due; the time until the next pass.
    async fn pass(&self, writes: bool, newest: &Newest) -> Result<Duration, Error> {
        let secret = call(self.secrets.get(&self.kept.name))
            .await
            .map_err(Error::Secret)?;
        let data = secret.data.clone().unwrap_or_default();
        let mut kept: Kept = data.into_iter().map(|(key, value)| (key, value.0)).collect();
        let now = timestamp();
        if writes && is_due(&kept, &self.kept.hosts, now) {
            kept = self.replaced(secret, &kept, now).await?;
        }
        let (Some(chain), Some(key)) = (kept.get(CERTIFICATE), kept.get(KEY)) else {
            // Nobody has written one yet.
            return Ok(AGAIN);
        };
        newest.send_replace(Some(configuration(chain, key)?));
        if writes {
            // A client that trusts what was published before goes on meanwhile.
            self.publish(&kept).await?;
        }
        Ok(made::due(&kept).map_or(AGAIN, |due| until(due, timestamp())))
    }

    /// Writes what follows. No authority begins to sign before the list with it is published.
    async fn replaced(&self, secret: Secret, kept: &Kept, now: Timestamp) -> Result<Kept, Error> {
        if kept.contains_key(NEXT_KEY) {
            self.publish(kept).await?;
        }
        let new = successor(kept, &self.kept.hosts, now)?;
        self.write(secret, &new).await?;
        Ok(new)
    }

    /// Where another process wrote meanwhile, the API server refuses it, and what that one wrote is read.
    async fn write(&self, mut secret: Secret, kept: &Kept) -> Result<(), Error> {
        let data = kept
            .iter()
            .map(|(key, value)| (key.clone(), ByteString(value.clone())));
        secret.data = Some(data.collect());
        secret.metadata.managed_fields = None;
        let parameters = parameters();
        let put = self.secrets.replace(&self.kept.name, &parameters, &secret);
        call(put).await.map_err(Error::Secret)?;
        tracing::info!(secret = %self.kept.name, namespace = %self.kept.namespace, "the API has a new certificate");
        Ok(())
    }

    async fn publish(&self, kept: &Kept) -> Result<(), Error> {
        let get = self.config_maps.get(&self.kept.name);
        let mut map = call(get).await.map_err(Error::ConfigMap)?;
        let authority = kept
            .get(AUTHORITY)
            .map(|pem| String::from_utf8_lossy(pem).into_owned());
        let data = BTreeMap::from([(AUTHORITY.to_owned(), authority.unwrap_or_default())]);
        if map.data.as_ref() == Some(&data) {
            return Ok(());
        }
        map.data = Some(data);
        map.metadata.managed_fields = None;
        let parameters = parameters();
        let put = self.config_maps.replace(&self.kept.name, &parameters, &map);
        call(put).await.map(drop).map_err(Error::ConfigMap)
    }
}

/// Whether something is to be replaced: it is time, or what is kept cannot be served to those who trust what is published.
fn is_due(kept: &Kept, hosts: &[String], now: Timestamp) -> bool {
    made::due(kept).is_none_or(|due| due <= now) || !is_usable(kept, hosts, now)
}

fn is_usable(kept: &Kept, hosts: &[String], now: Timestamp) -> bool {
    let of = |key| kept.get(key).map_or(&[][..], Vec::as_slice);
    configuration(of(CERTIFICATE), of(KEY)).is_ok() && is_accepted(of(CERTIFICATE), of(AUTHORITY), hosts, now)
}

/// What follows; of a new authority where the one that is kept makes nothing that can be used.
fn successor(kept: &Kept, hosts: &[String], now: Timestamp) -> Result<Kept, rcgen::Error> {
    let new = made::renewed(kept, hosts, now)?;
    if is_usable(&new, hosts, now) {
        return Ok(new);
    }
    let list = kept.get(AUTHORITY).cloned().unwrap_or_default();
    made::renewed(&Kept::from([(AUTHORITY.to_owned(), list)]), hosts, now)
}

fn parameters() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

/// A process that does not write looks a little later than the one that does.
fn until(due: Timestamp, now: Timestamp) -> Duration {
    let left = Duration::try_from(due.duration_since(now)).unwrap_or_default();
    left.clamp(AGAIN, LONGEST)
}

#[cfg(test)]
mod tests;
