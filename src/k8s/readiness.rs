//! What was listed, scope by scope: whether passes may begin, and what `/readyz` tells.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tokio::sync::watch;

use super::Scope;
use super::secrets::SecretAccess;
use crate::render::Kind;

/// What a watch is of.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Subject {
    Policies,
    /// Objects that the operator wrote.
    Written(Kind),
    /// EndpointSlices that others wrote.
    SlicesOfOthers,
    Services,
    Secrets,
    ServiceCidrs,
}

impl Subject {
    /// The kind of its objects.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Policies => "ReplicaSetPolicy",
            Self::Written(kind) => kind.name(),
            Self::SlicesOfOthers => Kind::EndpointSlice.name(),
            Self::Services => Kind::Service.name(),
            Self::Secrets => "Secret",
            Self::ServiceCidrs => "ServiceCIDR",
        }
    }

    /// Before these are listed nothing is known to be missing, and a `ClusterIP` could be taken for a server.
    const fn holds_passes_back(self) -> bool {
        matches!(self, Self::Written(_) | Self::ServiceCidrs)
    }
}

/// One watch of the operator.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Watched {
    pub subject: Subject,
    pub scope: Scope,
}

impl Watched {
    fn covers(&self, namespace: &str) -> bool {
        self.scope.as_ref().is_none_or(|scope| scope == namespace)
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.scope {
            Some(namespace) => write!(f, "namespace {namespace}: ")?,
            None => write!(f, "all namespaces: ")?,
        }
        f.write_str(self.subject.kind())?;
        f.write_str(match self.subject {
            Subject::Written(_) => " of the operator",
            Subject::SlicesOfOthers => " of others",
            Subject::Policies | Subject::Services | Subject::Secrets | Subject::ServiceCidrs => "",
        })
    }
}

/// What is not known yet, and which watches fail.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Readiness {
    /// They were not listed since the start.
    unlisted: BTreeSet<Watched>,
    /// They fail now, each with the category of its last failure.
    failing: BTreeMap<Watched, &'static str>,
    /// The line of the Lease, where the API server refuses it.
    refused_lease: Option<String>,
}

impl Readiness {
    /// Whether everything was listed once, and the API server does not refuse the Lease.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.unlisted.is_empty() && self.refused_lease.is_none()
    }

    /// Whether the process may lead: every first list has ended, or is refused, as without a right to it.
    #[must_use]
    pub fn lets_stand(&self) -> bool {
        let is_refused = |watched: &Watched| {
            let category = self.failing.get(watched);
            category.is_some_and(|category| matches!(*category, "Unauthorized" | "Forbidden" | "NotFound"))
        };
        self.unlisted.iter().all(is_refused)
    }

    /// Whether passes over the policies of a namespace may begin.
    #[must_use]
    pub fn lets_pass(&self, namespace: &str) -> bool {
        let concerns = |watched: &Watched| watched.subject.holds_passes_back() && watched.covers(namespace);
        !self.unlisted.iter().any(concerns)
    }

    /// Whether the policies of a namespace, or of all, were listed.
    #[must_use]
    pub fn knows_policies(&self, namespace: Option<&str>) -> bool {
        let concerns = |watched: &Watched| {
            watched.subject == Subject::Policies
                && namespace.is_none_or(|namespace| watched.covers(namespace))
        };
        !self.unlisted.iter().any(concerns)
    }

    /// Whether the slices that the operator wrote in a namespace were listed.
    #[must_use]
    pub fn knows_routes(&self, namespace: &str) -> bool {
        let concerns = |watched: &Watched| {
            watched.subject == Subject::Written(Kind::EndpointSlice) && watched.covers(namespace)
        };
        !self.unlisted.iter().any(concerns)
    }

    /// Whether the Services of a namespace and the slices behind them were listed.
    #[must_use]
    pub fn knows_services(&self, namespace: &str) -> bool {
        let concerns = |watched: &Watched| {
            matches!(watched.subject, Subject::Services | Subject::SlicesOfOthers)
                && watched.covers(namespace)
        };
        !self.unlisted.iter().any(concerns)
    }
}

impl fmt::Display for Readiness {
    /// A line for each watch that lags.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(refused) = &self.refused_lease {
            writeln!(f, "{refused}")?;
        }
        for watched in &self.unlisted {
            match self.failing.get(watched) {
                Some(category) => writeln!(f, "{watched}: not listed, {category}")?,
                None => writeln!(f, "{watched}: not listed")?,
            }
        }
        for (watched, category) in &self.failing {
            if !self.unlisted.contains(watched) {
                writeln!(f, "{watched}: watch fails, {category}")?;
            }
        }
        Ok(())
    }
}

/// Follows the watches. Whoever waits for a scope waits for no other one.
#[derive(Debug)]
pub struct FirstLists(watch::Sender<Readiness>);

impl FirstLists {
    #[must_use]
    pub fn new(scopes: &[Scope], access: SecretAccess) -> Self {
        let mut subjects = vec![Subject::Policies, Subject::SlicesOfOthers, Subject::Services];
        subjects.extend(Kind::ALL.iter().copied().map(Subject::Written));
        if access == SecretAccess::ClusterWide {
            subjects.push(Subject::Secrets);
        }
        let watched = |scope: &Scope| {
            let scope = scope.clone();
            subjects.iter().map(move |subject| Watched {
                subject: *subject,
                scope: scope.clone(),
            })
        };
        let unlisted = scopes.iter().flat_map(watched).chain([addresses()]).collect();
        Self(watch::Sender::new(Readiness {
            unlisted,
            failing: BTreeMap::new(),
            refused_lease: None,
        }))
    }

    /// The first list has ended. Whether it is new.
    pub(super) fn listed(&self, watched: &Watched) -> bool {
        self.0.send_if_modified(|now| now.unlisted.remove(watched))
    }

    #[cfg(test)]
    pub fn policies_listed(&self, scope: &Scope) {
        self.listed(&Watched {
            subject: Subject::Policies,
            scope: scope.clone(),
        });
    }

    /// Which addresses are refused is known, or will not be. Whether it was not before.
    pub(super) fn addresses_known(&self) -> bool {
        self.listed(&addresses())
    }

    /// The API server answers a watch.
    pub(super) fn heard(&self, watched: &Watched) {
        self.0
            .send_if_modified(|now| now.failing.remove(watched).is_some());
    }

    /// A watch failed.
    pub(super) fn failed(&self, watched: &Watched, category: &'static str) {
        self.0
            .send_if_modified(|now| now.failing.insert(watched.clone(), category) != Some(category));
    }

    /// The API server refuses the Lease, as this line says; `None`: it does not. Whether that is new.
    pub(super) fn lease_refused(&self, refused: Option<String>) -> bool {
        self.0.send_if_modified(|now| {
            let changed = now.refused_lease != refused;
            now.refused_lease = refused;
            changed
        })
    }

    /// Returns when passes over the policies of a namespace may begin.
    pub async fn wait(&self, namespace: &str) {
        // The sender lives as long as `self`.
        let _ = self.0.subscribe().wait_for(|now| now.lets_pass(namespace)).await;
    }

    /// Whether the Services of a namespace and the slices behind them were listed.
    #[must_use]
    pub fn knows_services(&self, namespace: &str) -> bool {
        self.0.borrow().knows_services(namespace)
    }

    /// How it is, and how it becomes.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Readiness> {
        self.0.subscribe()
    }
}

fn addresses() -> Watched {
    Watched {
        subject: Subject::ServiceCidrs,
        scope: None,
    }
}

#[cfg(test)]
mod tests;
