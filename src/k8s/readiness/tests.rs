use super::*;

fn scope(name: &str) -> Scope {
    Some(name.to_owned())
}

fn watched(subject: Subject, scope: &Scope) -> Watched {
    Watched {
        subject,
        scope: scope.clone(),
    }
}

/// Everything that passes over the policies of `scope` wait for is listed.
fn list_written(lists: &FirstLists, scope: &Scope) {
    for kind in Kind::ALL.iter().copied() {
        assert!(lists.listed(&watched(Subject::Written(kind), scope)));
    }
}

#[tokio::test]
async fn a_scope_whose_lists_are_complete_waits_for_no_other() {
    let (shop, crm) = (scope("shop"), scope("crm"));
    let lists = FirstLists::new(&[shop.clone(), crm], SecretAccess::Named);
    list_written(&lists, &shop);
    assert!(
        !lists.subscribe().borrow().lets_pass("shop"),
        "addresses are not known yet"
    );
    assert!(lists.addresses_known());
    assert!(!lists.addresses_known(), "it is told once");
    lists.wait("shop").await;
    assert!(!lists.subscribe().borrow().lets_pass("crm"));
    assert!(!lists.subscribe().borrow().is_ready());
}

#[test]
fn the_operator_is_ready_when_policies_too_were_listed() {
    let lists = FirstLists::new(&[None], SecretAccess::ClusterWide);
    list_written(&lists, &None);
    lists.addresses_known();
    for subject in [Subject::SlicesOfOthers, Subject::Services, Subject::Secrets] {
        lists.listed(&watched(subject, &None));
    }
    let now = lists.subscribe();
    assert!(!now.borrow().is_ready());
    assert_eq!(
        now.borrow().to_string(),
        "all namespaces: ReplicaSetPolicy: not listed\n"
    );
    lists.listed(&watched(Subject::Policies, &None));
    assert!(now.borrow().is_ready());
    assert_eq!(now.borrow().to_string(), "");
}

#[test]
fn a_watch_that_lags_is_told_with_its_scope_and_why() {
    let shop = scope("shop");
    let lists = FirstLists::new(std::slice::from_ref(&shop), SecretAccess::Named);
    list_written(&lists, &shop);
    lists.addresses_known();
    lists.listed(&watched(Subject::Services, &shop));
    lists.listed(&watched(Subject::Policies, &shop));
    lists.failed(&watched(Subject::SlicesOfOthers, &shop), "Forbidden");
    lists.failed(&watched(Subject::Policies, &shop), "Silent");
    let now = lists.subscribe();
    let lines = "namespace shop: EndpointSlice of others: not listed, Forbidden\n\
                 namespace shop: ReplicaSetPolicy: watch fails, Silent\n";
    assert_eq!(now.borrow().to_string(), lines);
    lists.heard(&watched(Subject::Policies, &shop));
    assert!(!now.borrow().to_string().contains("ReplicaSetPolicy"));
}

#[test]
fn nobody_stands_before_each_first_list_is_complete_or_refused() {
    let scopes = [Some("shop".to_owned()), Some("bank".to_owned())];
    let lists = FirstLists::new(&scopes, SecretAccess::Named);
    let stands = || lists.subscribe().borrow().lets_stand();
    let unlisted = lists.subscribe().borrow().unlisted.clone();
    for watched in &unlisted {
        assert!(!stands());
        if watched.covers("bank") {
            lists.failed(watched, "Unreachable");
            assert!(!stands(), "{watched} may succeed yet");
            lists.failed(watched, "Forbidden");
        } else {
            lists.listed(watched);
        }
    }
    assert!(stands());
    assert!(!lists.subscribe().borrow().is_ready());
}

#[test]
fn a_lease_that_is_refused_is_told() {
    let lists = FirstLists::new(&[], SecretAccess::Named);
    lists.addresses_known();
    let unlisted = lists.subscribe().borrow().unlisted.clone();
    for watched in &unlisted {
        lists.listed(watched);
    }
    assert!(lists.subscribe().borrow().is_ready());
    lists.lease_refused(Some("Lease a/b: cannot be read, Forbidden".to_owned()));
    let readiness = lists.subscribe().borrow().clone();
    assert_eq!(
        (readiness.is_ready(), readiness.to_string().as_str()),
        (false, "Lease a/b: cannot be read, Forbidden\n")
    );
    lists.lease_refused(None);
    assert!(lists.subscribe().borrow().is_ready());
}
