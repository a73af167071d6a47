//! What is written, whatever others did to the objects.

use distributary::render::Kind;
use distributary::writing::diff::{Observed, Write, diff};
use distributary_core::fixture::outputs;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::support::arbitrary::{Meddling, healths, meddlings, replays, situations};
use super::support::rendered;
use super::{cases, judge};

fn meddle(kind: Kind, body: &mut Value, by: &Meddling) {
    let metadata = &mut body["metadata"];
    if by.label {
        metadata["labels"]["team"] = json!("shop");
    }
    if by.annotation {
        metadata["annotations"]["note"] = json!("keep");
    }
    if by.dropped_label {
        metadata["labels"]["distributary.dev/old"] = json!("x");
    }
    match kind {
        Kind::Service => {
            if by.selector {
                body["spec"]["selector"] = json!({"app": "other"});
            }
            if by.external {
                body["spec"]["externalIPs"] = json!(["203.0.113.9"]);
            }
            if by.allocated {
                body["spec"]["clusterIP"] = json!("198.19.0.7");
            }
        }
        Kind::ConfigMap if by.data => body["data"]["extra"] = json!("theirs"),
        Kind::EndpointSlice if by.data => body["endpoints"] = json!([]),
        Kind::ConfigMap | Kind::EndpointSlice => {}
    }
}

/// What the API server does with the writes.
fn apply(observed: &mut Observed, writes: Vec<Write>) {
    for write in writes {
        match write {
            Write::Create(manifest) => assert!(observed.insert(manifest.id, manifest.body).is_none(), "409"),
            Write::Update(manifest) => assert!(observed.insert(manifest.id, manifest.body).is_some(), "404"),
            Write::Delete { id, .. } => assert!(observed.remove(&id).is_some(), "404"),
        }
    }
}

proptest! {
    #![proptest_config(cases(500))]

    /// L1: from any earlier plan, whatever others did, one round of writes leads to the desired state, and keeps what
    /// is not ours.
    #[test]
    fn one_round_of_writes_converges_and_keeps_what_is_foreign(
        situation in situations(),
        earlier in vec((healths(), replays()), 5),
        meddlings in vec(meddlings(), 12),
        services in any::<bool>(),
    ) {
        let mut was = situation.clone();
        was.known = earlier;
        was.known.truncate(situation.known.len());
        let before = rendered(&was.policy, &outputs(), &judge(&was).plan);
        let mut observed = Observed::new();
        for (object, by) in before.objects.iter().zip(meddlings.iter().cycle()) {
            if !by.lost {
                let mut body = object.body.clone();
                meddle(object.id.kind, &mut body, by);
                observed.insert(object.id.clone(), body);
            }
        }
        let policy = &situation.policy;
        let mut outputs = outputs();
        if !services {
            outputs.services = None;
        }
        let desired = rendered(policy, &outputs, &judge(&situation).plan).objects;
        let met = observed.clone();
        let first = diff(&desired, &observed, &policy.uid);
        prop_assert!(first.conflicts.is_empty());
        apply(&mut observed, first.writes);
        let second = diff(&desired, &observed, &policy.uid);
        prop_assert!(second.writes.is_empty(), "{:#?}", second.writes);
        prop_assert_eq!(observed.keys().cloned().collect::<Vec<_>>(), {
            let mut ids: Vec<_> = desired.iter().map(|object| object.id.clone()).collect();
            ids.sort();
            ids
        });
        for (id, body) in &observed {
            let Some(was) = met.get(id) else { continue };
            for (part, key) in [("labels", "team"), ("annotations", "note")] {
                prop_assert_eq!(&body["metadata"][part][key], &was["metadata"][part][key]);
            }
            prop_assert_eq!(&body["data"]["extra"], &was["data"]["extra"]);
            prop_assert_eq!(&body["spec"]["clusterIP"], &was["spec"]["clusterIP"]);
            prop_assert!(body["metadata"]["labels"]["distributary.dev/old"].is_null());
            prop_assert!(body["spec"]["selector"].is_null() && body["spec"]["externalIPs"].is_null());
        }
    }

    /// S5.
    #[test]
    fn nothing_is_written_to_an_object_that_is_not_ours(situation in situations(), other_database in vec(any::<bool>(), 12)) {
        let policy = &situation.policy;
        let desired = rendered(policy, &outputs(), &judge(&situation).plan).objects;
        let mut observed = Observed::new();
        for (object, other_database) in desired.iter().zip(other_database) {
            if other_database {
                let mut body = object.body.clone();
                body["metadata"]["ownerReferences"][0]["uid"] = json!("another");
                body["data"] = json!({"changed": "yes"});
                observed.insert(object.id.clone(), body);
            }
        }
        let diff = diff(&desired, &observed, &policy.uid);
        for write in &diff.writes {
            prop_assert!(!observed.contains_key(write.id()));
        }
        prop_assert_eq!(diff.conflicts.len(), observed.len());
    }
}
