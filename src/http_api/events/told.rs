//! What the streams of a subject were told, and what is another one than that.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use super::hub::{Look, Whole};
use super::pending::Pending;
use crate::engine::Changed;
use crate::http_api::Shared;
use crate::http_api::answers::{PoliciesChange, PoliciesSnapshot, PolicyAnswer, PolicyItem, PolicyName};
use crate::http_api::problem::Problem;
use distributary_core::ids::PolicyKey;

/// What was told of the policies of an operator.
pub struct Told {
    api: Arc<Shared>,
    words: Words,
}

/// What was told, without figures.
enum Words {
    /// One policy as a whole; `None`: nothing was told yet.
    Policy(PolicyKey, Option<Box<PolicyAnswer>>),
    /// Those of a namespace, or all, in short.
    Policies(Option<String>, BTreeMap<PolicyKey, PolicyItem>),
}

impl Told {
    /// Nothing was told yet.
    pub fn nothing(api: &Arc<Shared>, of: &Changed) -> Self {
        let words = match of {
            Changed::Policy(key) => Words::Policy(key.clone(), None),
            Changed::Namespace(namespace) => Words::Policies(Some(namespace.clone()), BTreeMap::new()),
            Changed::Everything => Words::Policies(None, BTreeMap::new()),
        };
        Self {
            api: Arc::clone(api),
            words,
        }
    }
}

impl Look for Told {
    async fn whole(&mut self) -> Result<Whole, Problem> {
        let api = &*self.api;
        match &mut self.words {
            Words::Policy(key, told) => {
                let known = api.facts(key)?.policy(api.origin());
                Ok(Whole {
                    snapshot: event("snapshot", &known),
                    change: tell(told, &known).then(|| event("change", &known)),
                })
            }
            Words::Policies(scope, told) => {
                let found = find(api, scope.as_deref(), told, &Pending::everything()).await;
                let items = found.iter().filter_map(|(_, item)| item.clone()).collect();
                let snapshot = PoliciesSnapshot {
                    items,
                    origin: api.origin(),
                };
                Ok(Whole {
                    snapshot: event("snapshot", &snapshot),
                    change: tell_items(api, told, found),
                })
            }
        }
    }

    async fn changed(&mut self, pending: &Pending) -> Result<Option<Bytes>, Problem> {
        let api = &*self.api;
        match &mut self.words {
            Words::Policy(key, told) => {
                let known = api.facts(key)?.policy(api.origin());
                Ok(tell(told, &known).then(|| event("change", &known)))
            }
            Words::Policies(scope, told) => {
                let found = find(api, scope.as_deref(), told, pending).await;
                Ok(tell_items(api, told, found))
            }
        }
    }
}

/// Whether it is another one than was told.
fn tell(told: &mut Option<Box<PolicyAnswer>>, known: &PolicyAnswer) -> bool {
    let essence = known.essence();
    let is_other = told.as_deref() != Some(&essence);
    *told = Some(Box::new(essence));
    is_other
}

type Found = Vec<(PolicyKey, Option<PolicyItem>)>;

/// Those of `pending` as they are; `None`: one is gone.
async fn find(
    api: &Shared,
    scope: Option<&str>,
    told: &BTreeMap<PolicyKey, PolicyItem>,
    pending: &Pending,
) -> Found {
    let shown = |scope: Option<&str>| api.parts.context.shown_names(scope, None, usize::MAX);
    api.items(pending.keys(scope, told.keys(), shown)).await
}

fn tell_items(api: &Shared, told: &mut BTreeMap<PolicyKey, PolicyItem>, found: Found) -> Option<Bytes> {
    let (items, removed) = differences(told, found);
    let change = PoliciesChange {
        items,
        removed,
        origin: api.origin(),
    };
    let is_change = !change.items.is_empty() || !change.removed.is_empty();
    is_change.then(|| event("change", &change))
}

/// Takes in what was found. Those that are new or another one, and those that are gone.
fn differences(
    told: &mut BTreeMap<PolicyKey, PolicyItem>,
    found: Found,
) -> (Vec<PolicyItem>, Vec<PolicyName>) {
    let (mut items, mut removed) = (vec![], vec![]);
    for (key, item) in found {
        let Some(item) = item else {
            let PolicyKey { namespace, name } = key.clone();
            removed.extend(told.remove(&key).map(|_| PolicyName { namespace, name }));
            continue;
        };
        let essence = item.essence();
        if told.get(&key) != Some(&essence) {
            told.insert(key, essence);
            items.push(item);
        }
    }
    (items, removed)
}

/// JSON has no line break of its own.
pub fn event(name: &str, data: &impl Serialize) -> Bytes {
    let data = serde_json::to_string(data).unwrap_or_default();
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, healthy: bool, connections: u64) -> (PolicyKey, Option<PolicyItem>) {
        let key = PolicyKey::new("shop", name);
        let item = PolicyItem {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            healthy,
            connections: Some(connections),
            ..PolicyItem::default()
        };
        (key, Some(item))
    }

    #[test]
    fn told_are_those_that_are_new_or_another_one_beside_the_figures_and_those_that_are_gone() {
        let mut told = BTreeMap::new();
        let mut tell = |found: Found| {
            let (items, removed) = differences(&mut told, found);
            let items: Vec<_> = items
                .into_iter()
                .map(|item| (item.name, item.connections))
                .collect();
            let removed: Vec<_> = removed.into_iter().map(|policy| policy.name).collect();
            (items, removed)
        };
        let name = |name: &str| name.to_owned();
        assert_eq!(
            tell(vec![found("a", true, 1), found("b", true, 1)]),
            (vec![(name("a"), Some(1)), (name("b"), Some(1))], vec![])
        );
        assert_eq!(
            tell(vec![found("a", true, 2), found("b", false, 2)]),
            (vec![(name("b"), Some(2))], vec![])
        );
        let gone = |name| (PolicyKey::new("shop", name), None);
        assert_eq!(tell(vec![gone("a"), gone("c")]), (vec![], vec![name("a")]));
        assert_eq!(tell(vec![gone("a")]), (vec![], vec![]));
        assert_eq!(tell(vec![found("a", true, 1)]).0, [(name("a"), Some(1))]);
    }
}
