//! A Secret that is missing or wrong is said first, and a person must act.

use super::*;

/// The replica `a` cannot be checked, and the Secret of its login has this problem.
fn after(
    problem: SecretProblem,
    edit: impl FnOnce(&mut RoutingPlan, &mut Vec<EndpointView>),
) -> ReplicaSetPolicyStatus {
    let decision = decision(edit);
    let unresolved = [UnresolvedReference::Secret(UnresolvedSecret {
        secret: "probe".to_owned(),
        problem,
    })];
    let report = Report {
        unresolved: &unresolved,
        ..report(&decision)
    };
    status(&report, &first(), &at(2))
}

fn told<'a>(status: &'a ReplicaSetPolicyStatus, type_: &str) -> (&'a str, &'a str, &'a str) {
    let Condition {
        status,
        reason,
        message,
        ..
    } = condition(status, type_);
    (status, reason, message)
}

#[test]
fn a_secret_that_is_missing_is_the_first_thing_that_ready_says() {
    let lost = after(SecretProblem::NotFound, |plan, endpoints| {
        plan.rw = Route::default();
        endpoints[0].state.failure = Some(FailureKind::SecretUnresolved);
    });
    assert_eq!(
        told(&lost, "Ready"),
        (
            "False",
            "SecretUnresolved",
            "Secret probe does not exist. No server is proven to be the write primary: orders-rw leads nowhere."
        )
    );
    // That of a replica does not explain it.
    let other = after(SecretProblem::NotFound, |plan, endpoints| {
        plan.rw = Route::default();
        endpoints[1].state.failure = Some(FailureKind::SecretUnresolved);
    });
    assert_eq!(told(&other, "Ready").1, "NoPrimary");
    let held = after(
        SecretProblem::KeyMissing("password".to_owned()),
        |_, endpoints| {
            for view in endpoints {
                view.state.reason = Reason::ConfigurationHeld;
                view.state.failure = Some(FailureKind::SecretUnresolved);
            }
        },
    );
    let (status, reason, message) = told(&held, "Ready");
    assert_eq!((status, reason), ("True", "RoutableUnproven"));
    assert!(
        message.starts_with("Secret probe has no key password. "),
        "{message}"
    );
}

#[test]
fn a_secret_that_a_person_must_mend_stalls_the_policy() {
    let stalled = |problem| {
        let status = after(problem, |_, _| {});
        let (stalled, reason, message) = told(&status, "Stalled");
        (stalled.to_owned(), reason.to_owned(), message.to_owned())
    };
    let must = "must be a list of PEM certificates";
    let malformed = SecretProblem::Malformed {
        key: "ca.crt".to_owned(),
        must,
    };
    assert_eq!(
        stalled(malformed),
        (
            "True".to_owned(),
            "SecretUnresolved".to_owned(),
            format!("Secret probe has a value under ca.crt that {must}. Correct it, or the policy.")
        )
    );
    // Waiting helps, or nothing has to be done.
    for problem in [
        SecretProblem::Unavailable,
        SecretProblem::SameServer {
            first: "primary".into(),
            second: "a".into(),
        },
    ] {
        assert_eq!(stalled(problem).0, "False");
    }
}

#[test]
fn a_login_that_is_refused_stalls_the_policy() {
    let stalled = |edit: fn(&mut [EndpointView])| {
        let decision = decision(|_, endpoints| edit(endpoints));
        let status = status(&report(&decision), &first(), &at(2));
        let (stalled, reason, message) = told(&status, "Stalled");
        (stalled.to_owned(), reason.to_owned(), message.to_owned())
    };
    let refused = stalled(|endpoints| {
        for view in endpoints {
            view.state.reason = Reason::ConfigurationHeld;
            view.state.failure = Some(FailureKind::AuthenticationFailed);
        }
    });
    assert_eq!(
        refused,
        (
            "True".to_owned(),
            "ConfigurationFailed".to_owned(),
            "Some servers cannot be checked before a person acts. primary, a: AuthenticationFailed: the server refused the \
             login: check user and password in the Secret; the line of pg_hba.conf for the user, the database, the network of \
             the operator and TLS; and the role, which needs LOGIN and a password of scram-sha-256 that has not expired."
                .to_owned()
        )
    );
    let several = stalled(|endpoints| {
        endpoints[0].state.reason = Reason::ConfigurationFailed;
        endpoints[0].state.failure = Some(FailureKind::TlsNotOffered);
        endpoints[1].state.reason = Reason::ConfigurationFailed;
        endpoints[1].state.failure = Some(FailureKind::DatabaseMissing);
    });
    assert!(
        several.2.contains("read the network; a: DatabaseMissing: "),
        "{}",
        several.2
    );
    // The operator lacks a file; the server is down.
    for (reason, failure) in [
        (Reason::ConfigurationHeld, FailureKind::OutOfResources),
        (Reason::CircuitOpen, FailureKind::ConnectRefused),
    ] {
        let decision = decision(|_, endpoints| {
            (endpoints[1].state.reason, endpoints[1].state.failure) = (reason, Some(failure));
        });
        let status = status(&report(&decision), &first(), &at(2));
        assert_eq!(told(&status, "Stalled").0, "False", "{failure:?}");
    }
}

#[test]
fn servers_that_cannot_be_checked_are_not_counted_as_healthy() {
    let summary = |decision: &Decision| {
        let status = status(&report(decision), &first(), &at(2));
        status.summary.unwrap().display
    };
    assert_eq!(summary(&well()), "1/1");
    let unchecked = decision(|_, endpoints| endpoints[1].state.reason = Reason::ConfigurationHeld);
    assert_eq!(summary(&unchecked), "0/1");
    // A Service of which one pod can be checked.
    let pods = decision(|_, endpoints| {
        endpoints[1].state.reason = Reason::ConfigurationHeld;
        let mut unchecked = pod(20, true);
        unchecked.state.reason = Reason::ConfigurationHeld;
        endpoints[1].targets = vec![unchecked, pod(21, true)];
    });
    assert_eq!(summary(&pods), "1/1");
}
