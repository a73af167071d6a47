//! The names of the cluster that the operator runs in, and whether a name from outside may lead to one.

use std::collections::BTreeSet;

/// The DNS domain of the cluster, and the namespaces to whose Services and pods an alias (CNAME) may lead.
///
/// Whose a name is, a policy shows as it is declared: a name of the cluster is refused where it is of another namespace. An alias would
/// get around that, as its owner, who may be the author of the policy, leads it where he likes.
#[derive(Clone, Debug)]
pub struct ClusterZone {
    domain: String,
    /// `None`: all, as whoever asks is the only one.
    namespaces: Option<BTreeSet<String>>,
}

/// The domain that a cluster of another one may answer for, too, and that of Services that clusters share (KEP-1645).
const USUAL: [&str; 2] = ["cluster.local", "clusterset.local"];

impl ClusterZone {
    /// Of a cluster with this domain, such as `cluster.local`. An alias leads to names of these namespaces alone.
    #[must_use]
    pub fn new(domain: &str, namespaces: impl IntoIterator<Item = String>) -> Self {
        Self {
            domain: plain(domain),
            namespaces: Some(namespaces.into_iter().collect()),
        }
    }

    /// Of a cluster with this domain, where there is nobody else to be kept apart: an alias leads anywhere.
    #[must_use]
    pub fn of_one_owner(domain: &str) -> Self {
        Self {
            domain: plain(domain),
            namespaces: None,
        }
    }

    pub(crate) fn domain(&self) -> &str {
        &self.domain
    }

    /// Whether a question about the name `asked` may be answered by what the name `owner` has.
    pub(crate) fn may_lead(&self, asked: &str, owner: &str) -> bool {
        let (asked, owner) = (plain(asked), plain(owner));
        let (Some(namespaces), Some(of)) = (&self.namespaces, self.namespace(&owner)) else {
            return true;
        };
        self.namespace(&asked) == Some(of) || namespaces.contains(of)
    }

    /// The namespace of the Service or pod of this name.
    fn namespace<'a>(&self, name: &'a str) -> Option<&'a str> {
        let within = |domain: &str| {
            let mut labels = name.strip_suffix(domain)?.strip_suffix('.')?.rsplit('.');
            let (kind, namespace) = (labels.next()?, labels.next()?);
            ["svc", "pod"].contains(&kind).then_some(namespace)
        };
        // One domain may be below another one.
        let [usual, shared] = USUAL;
        [&*self.domain, usual, shared].into_iter().find_map(within)
    }
}

/// In lower case, without the dot at its end.
fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_leads_to_no_service_and_no_pod_of_another_namespace() {
        let zone = ClusterZone::new("cluster.test.", ["infra".to_owned()]);
        let one_owner = ClusterZone::of_one_owner("cluster.test");
        for (asked, owner, may) in [
            ("db.example.com.", "db.example.com.", true),
            ("db.example.com.", "other.example.net.", true),
            ("db.example.com.", "pg.shop.svc.cluster.test.", false),
            ("db.example.com.", "PG.Shop.SVC.Cluster.Test.", false),
            ("db.example.com.", "pg-0.pg.shop.svc.cluster.local.", false),
            ("db.example.com.", "pg.shop.svc.clusterset.local.", false),
            ("db.example.com.", "10-0-0-1.shop.pod.cluster.test.", false),
            ("db.example.com.", "pg.infra.svc.cluster.test.", true),
            // No name of a Service or pod.
            ("db.example.com.", "shop.svc.othercluster.test.", true),
            ("db.example.com.", "cluster.test.", true),
            // Within a namespace, which the policy was allowed to name.
            (
                "pg-0.pg.shop.svc.cluster.test.",
                "pg-0.pg.shop.svc.cluster.test.",
                true,
            ),
            (
                "pg-0.pg.shop.svc.cluster.test.",
                "pg-1.pg.shop.svc.cluster.test.",
                true,
            ),
            ("pg.infra.svc.cluster.test.", "pg.bank.svc.cluster.test.", false),
        ] {
            assert_eq!(zone.may_lead(asked, owner), may, "{asked} {owner}");
            assert!(one_owner.may_lead(asked, owner), "{asked} {owner}");
        }
        for domain in ["eu.cluster.local", "local"] {
            let zone = ClusterZone::new(domain, []);
            for owner in [
                format!("pg.shop.svc.{domain}."),
                "pg.shop.svc.cluster.local.".to_owned(),
            ] {
                assert!(!zone.may_lead("db.example.com.", &owner), "{domain}: {owner}");
            }
        }
    }
}
