//! PURE. What a router that follows promotions must remember from one process to the next: who takes the writes, and what is known of this
//! database, in the words that a [`Memory`](crate::Memory) keeps.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use distributary_core::decision::Decision;
use distributary_core::ids::{EndpointId, TargetId};
use distributary_core::observation::Role;
use distributary_core::server::{Host, Location};
use distributary_core::world::{EndpointMemory, Memory, TargetMemory};
use distributary_core::write_primary::Holding;

/// The version of the form. A change that breaks a reader takes a new one.
const VERSION: u32 = 1;

/// What is remembered.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Remembered {
    version: u32,
    policy: String,
    holder: Option<Holder>,
    /// The highest timeline that a holder was seen on.
    timeline: Option<u32>,
    /// As text: JSON numbers are not exact beyond 2⁵³.
    system_identifier: Option<String>,
    accepted: Option<String>,
    #[serde(default)]
    contested: Vec<SocketAddr>,
    #[serde(default)]
    contested_endpoints: Vec<String>,
    endpoints: BTreeMap<String, Known>,
}

/// Who takes the writes, or took them last.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Holder {
    endpoint: String,
    server: Option<SocketAddr>,
}

/// Where an endpoint was, and whether it was seen as a standby of this database.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Known {
    host: String,
    port: u16,
    address: Option<IpAddr>,
    standby: bool,
}

/// A text that is not what is remembered of this policy. It shows nothing of the text.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotRemembered {
    #[error("it is none of what this crate writes: line {line}, column {column}")]
    Malformed { line: usize, column: usize },
    #[error("it is of version {0}, and this crate reads version {VERSION}")]
    Version(u64),
    #[error("it is of the policy {0}")]
    OtherPolicy(String),
}

impl Remembered {
    /// Of a decision; `None`: nothing was decided.
    pub fn of(decision: &Decision) -> Option<Self> {
        let decided = decision.state.decided()?;
        let holding = &decided.holding;
        let holder = holding.holder.as_ref().map(|holder| {
            let members = decided.plan.rw.members.iter();
            let member = members.clone().find(|member| member.target == *holder);
            Holder {
                endpoint: holder.endpoint.to_string(),
                server: member
                    .map(|member| SocketAddr::new(member.address, member.port))
                    .or(holding.server),
            }
        });
        let known = |view: &distributary_core::decision::EndpointView| {
            let location = view.location.as_ref()?;
            let host = match &location.host {
                Host::Name(name) => name.clone(),
                Host::Address(address) => address.to_string(),
            };
            let standby = view.state.seen_as_standby || view.state.role == Some(Role::Standby);
            let known = Known {
                host,
                port: location.port,
                address: view.address,
                standby,
            };
            Some((view.id.to_string(), known))
        };
        Some(Self {
            version: VERSION,
            policy: decision.policy.key.name.clone(),
            holder,
            timeline: holding.timeline,
            system_identifier: holding.identity.map(|identity| identity.to_string()),
            accepted: holding.accepted.as_ref().map(ToString::to_string),
            contested: holding.contested.iter().copied().collect(),
            contested_endpoints: holding
                .contested_endpoints
                .iter()
                .map(ToString::to_string)
                .collect(),
            endpoints: decided.endpoints.iter().filter_map(known).collect(),
        })
    }

    /// Of a text of the policy of this name.
    ///
    /// # Errors
    /// It is another text, of a version that is not known, or of another policy.
    pub fn read(text: &str, policy: &str) -> Result<Self, NotRemembered> {
        let malformed = |error: serde_json::Error| NotRemembered::Malformed {
            line: error.line(),
            column: error.column(),
        };
        let value: serde_json::Value = serde_json::from_str(text).map_err(malformed)?;
        let version = value["version"].as_u64();
        if let Some(version) = version.filter(|version| *version != u64::from(VERSION)) {
            return Err(NotRemembered::Version(version));
        }
        let read: Self = serde_json::from_str(text).map_err(malformed)?;
        if read.policy == policy {
            Ok(read)
        } else {
            Err(NotRemembered::OtherPolicy(read.policy))
        }
    }

    /// What [`read`](Self::read) reads.
    pub fn text(&self) -> String {
        // Names, numbers and addresses alone: all of them are JSON.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// In the words of the core.
    pub fn memory(&self) -> Memory {
        let endpoint = |(id, known): (&String, &Known)| {
            let host = known
                .host
                .parse()
                .map_or_else(|_| Host::Name(known.host.clone()), Host::Address);
            let target = TargetMemory {
                address: known.address,
                seen_as_standby: known.standby,
                ..TargetMemory::default()
            };
            let memory = EndpointMemory {
                location: Some(Location {
                    host,
                    port: known.port,
                }),
                reason: None,
                classes: BTreeMap::new(),
                seen_as_standby: known.standby,
                targets: vec![target],
            };
            (EndpointId::from(id.as_str()), memory)
        };
        let id = |text: &String| EndpointId::from(text.as_str());
        Memory {
            endpoints: self.endpoints.iter().map(endpoint).collect(),
            holding: Holding {
                identity: self.system_identifier.as_ref().and_then(|text| text.parse().ok()),
                holder: self.holder.as_ref().map(|holder| TargetId {
                    endpoint: id(&holder.endpoint),
                    pod: None,
                }),
                server: self.holder.as_ref().and_then(|holder| holder.server),
                timeline: self.timeline,
                accepted: self.accepted.as_ref().map(id),
                contested: self.contested.iter().copied().collect(),
                contested_endpoints: self.contested_endpoints.iter().map(id).collect(),
            },
            answered: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remembered() -> Remembered {
        let known = Known {
            host: "replica.example.com".to_owned(),
            port: 5432,
            address: Some([192, 0, 2, 7].into()),
            standby: true,
        };
        Remembered {
            version: VERSION,
            policy: "orders".to_owned(),
            holder: Some(Holder {
                endpoint: "replica-0".to_owned(),
                server: Some(([192, 0, 2, 7], 5432).into()),
            }),
            timeline: Some(3),
            system_identifier: Some(u64::MAX.to_string()),
            accepted: None,
            contested: vec![([192, 0, 2, 8], 5432).into()],
            contested_endpoints: vec!["replica-1".to_owned()],
            endpoints: BTreeMap::from([("replica-0".to_owned(), known)]),
        }
    }

    #[test]
    fn what_is_remembered_is_read_back() {
        let remembered = remembered();
        assert_eq!(
            Remembered::read(&remembered.text(), "orders"),
            Ok(remembered.clone())
        );
        let memory = remembered.memory();
        assert_eq!(memory.holding.identity, Some(u64::MAX));
        assert_eq!(memory.holding.timeline, Some(3));
        assert_eq!(memory.holding.contested.len(), 1);
        let replica = &memory.endpoints[&EndpointId::from("replica-0")];
        assert!(replica.seen_as_standby && replica.targets[0].seen_as_standby);
    }

    #[test]
    fn what_cannot_be_gone_by_is_refused_in_words() {
        let text = remembered().text();
        let said = |text: &str, policy| {
            Remembered::read(text, policy)
                .err()
                .map(|error| error.to_string())
        };
        let newer = text.replace("\"version\": 1", "\"version\": 2");
        for (text, policy, expected) in [
            ("", "orders", "line 1"),
            ("{}", "orders", "none of what this crate writes"),
            (
                &newer,
                "orders",
                "it is of version 2, and this crate reads version 1",
            ),
            (&text, "users", "it is of the policy orders"),
        ] {
            let said = said(text, policy).unwrap_or_default();
            assert!(said.contains(expected), "{said}");
        }
    }

    #[test]
    fn a_field_of_a_newer_version_is_passed_over() {
        let newer = remembered().text().replacen('{', "{\"mood\": [1],", 1);
        assert_eq!(Remembered::read(&newer, "orders"), Ok(remembered()));
    }
}
