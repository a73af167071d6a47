use futures::channel::mpsc;
use serde_json::json;

use super::*;
use crate::k8s::policy_resource;

/// More than two pages of a list.
const MANY: usize = 1200;

/// One whose status was written at this version.
fn policy(number: usize, version: usize) -> StoredPolicy {
    of_generation(1, number, version)
}

/// One that was edited at this version.
fn edited(number: usize, version: usize) -> StoredPolicy {
    of_generation(version, number, version)
}

fn of_generation(generation: usize, number: usize, version: usize) -> StoredPolicy {
    serde_json::from_value(json!({
        "apiVersion": "distributary.dev/v1alpha1", "kind": "ReplicaSetPolicy",
        "metadata": {
            "name": format!("policy-{number:04}"), "namespace": "shop", "generation": generation,
            "uid": format!("uid-{number}"), "resourceVersion": version.to_string(),
        },
        "status": {"observedGeneration": version},
    }))
    .unwrap()
}

/// A watch that shows what the test says, and the store that it fills.
struct Watched {
    events: mpsc::UnboundedSender<Event<StoredPolicy>>,
    changes: std::pin::Pin<Box<dyn Stream<Item = PolicyChange> + Send>>,
    store: Store<StoredPolicy>,
}

impl Watched {
    fn new() -> Self {
        let writer = Writer::new(policy_resource());
        let (events, shown) = mpsc::unbounded();
        Self {
            store: writer.as_reader(),
            changes: Box::pin(changes(writer, shown)),
            events,
        }
    }

    /// Shows these events; each key that goes out, with the version that the store has of it at that moment.
    fn show(&mut self, events: impl IntoIterator<Item = Event<StoredPolicy>>) -> Vec<(String, String)> {
        let mut out = Vec::new();
        for event in events {
            self.events.unbounded_send(event).unwrap();
            while let Some(Some(change)) = futures::FutureExt::now_or_never(self.changes.next()) {
                if let PolicyChange::Changed(key) = change {
                    let known = self.store.get(&reference(&key));
                    let version = known.and_then(|known| known.meta().resource_version.clone());
                    out.push((key.name, version.unwrap_or_else(|| "not in the store".to_owned())));
                }
            }
        }
        out
    }

    fn list(&mut self, policies: Vec<StoredPolicy>) -> Vec<(String, String)> {
        let shown = policies.into_iter().map(Event::InitApply);
        let events = std::iter::once(Event::Init).chain(shown).chain([Event::InitDone]);
        self.show(events)
    }
}

fn out(policies: &[(usize, usize)]) -> Vec<(String, String)> {
    let each = |(number, version): &(usize, usize)| (format!("policy-{number:04}"), version.to_string());
    policies.iter().map(each).collect()
}

#[test]
fn a_key_goes_out_when_the_store_has_what_it_goes_out_for() {
    let mut watch = Watched::new();
    let first = watch.list((0..MANY).map(|number| policy(number, 1)).collect());
    let all: Vec<_> = (0..MANY).map(|number| (number, 1)).collect();
    assert_eq!(first, out(&all));
    // While nobody watched one was edited, one came, one was made anew, and one went.
    let mut again: Vec<_> = (0..MANY - 1).map(|number| policy(number, 1)).collect();
    again[3] = policy(3, 7);
    again[4] = serde_json::from_value(json!({
        "apiVersion": "distributary.dev/v1alpha1", "kind": "ReplicaSetPolicy",
        "metadata": {"name": "policy-0004", "namespace": "shop", "uid": "other", "resourceVersion": "8"},
    }))
    .unwrap();
    again.push(policy(MANY, 9));
    assert_eq!(watch.list(again), out(&[(3, 7), (4, 8), (MANY, 9)]));
}

#[test]
fn a_list_that_begins_anew_is_told_as_a_whole() {
    let mut watch = Watched::new();
    let broken_off = [Event::Init, Event::InitApply(policy(0, 1))];
    assert_eq!(watch.show(broken_off), []);
    assert_eq!(watch.list(vec![policy(1, 2)]), out(&[(1, 2)]));
    let listed = BTreeSet::from([policy(1, 2).key()]);
    assert_eq!(watch.store.len(), listed.len());
}

#[test]
fn what_does_not_differ_needs_no_pass() {
    let mut watch = Watched::new();
    let same = || (0..MANY).map(|number| policy(number, 1)).collect();
    watch.list(same());
    assert_eq!(watch.list(same()), []);
    assert_eq!(watch.show([Event::Apply(edited(2, 3))]), out(&[(2, 3)]));
    assert_eq!(watch.show([Event::Delete(edited(2, 3))]), []);
}

#[test]
fn a_status_alone_needs_no_pass_and_is_told() {
    let mut watch = Watched::new();
    watch.list(vec![policy(1, 1)]);
    watch.events.unbounded_send(Event::Apply(policy(1, 2))).unwrap();
    let change = futures::FutureExt::now_or_never(watch.changes.next());
    let Some(Some(PolicyChange::StatusChanged(policy))) = change else {
        panic!("{change:?}");
    };
    assert_eq!(policy.status(), json!({"observedGeneration": 2}));
    // What a later pass reads is the newest all the same.
    let known = watch.store.get(&reference(&policy.key())).unwrap();
    assert_eq!(known.status(), policy.status());
}
