//! Which database it is, and the first holder.

use super::*;

fn of_database(identity: u64, claim: Claim) -> Claim {
    Claim {
        identity: Some(identity),
        ..claim
    }
}

#[test]
fn the_identity_is_learned_once_from_the_declared_primary_in_whatever_role() {
    let mut setting = Setting::follow();
    let identity = |setting: &Setting, claims: &[Claim]| {
        let choice = setting.choose_write_primary(&Holding::default(), claims, 1);
        choice.holding.identity
    };
    assert_eq!(identity(&setting, &[writable(1, 1)]), Some(SYSTEM));
    assert_eq!(identity(&setting, &[standby(1)]), Some(SYSTEM));
    assert_eq!(identity(&setting, &[silent(1, 0)]), None);
    assert_eq!(identity(&setting, &[writable(2, 1)]), None, "nor a replica");
    // One other that takes no writes contradicts nobody, nor does one where the declared primary takes them.
    let of_8 = of_database(8, standby(2));
    assert_eq!(identity(&setting, &[standby(1), of_8.clone()]), Some(SYSTEM));
    let writes = of_database(8, writable(2, 1));
    assert_eq!(identity(&setting, &[writable(1, 1), writes]), Some(SYSTEM));
    let later = setting.choose_write_primary(&holding(), &[of_database(8, writable(1, 1))], 100);
    assert_eq!(later.holding.identity, Some(SYSTEM), "once");
    assert_eq!(later.changed, changed(8));
    assert!(
        !later.proven,
        "writes that led nowhere do not lead to another database"
    );
    setting.warm = false;
    assert_eq!(
        identity(&setting, &[writable(1, 1)]),
        None,
        "not before all were checked"
    );
}

#[test]
fn where_others_contradict_the_declared_primary_nothing_is_learned_until_a_person_says() {
    let mut setting = Setting::follow();
    let two = [
        writable(1, 1),
        of_database(8, standby(2)),
        of_database(8, standby(3)),
    ];
    let one = [standby(1), of_database(8, writable(2, 1))];
    let asked = Some(IdentityChange {
        known: 8,
        disputed: true,
        shown: Some(SYSTEM),
    });
    for claims in [&two[..], &one[..]] {
        let choice = setting.choose_write_primary(&Holding::default(), claims, 100);
        assert_eq!((choice.holding.identity, choice.changed), (None, asked));
        assert_eq!(words(&choice), "Withdrawn nobody");
    }
    setting.failover.accept_primary = Some("r2".into());
    let said = setting.choose_write_primary(&Holding::default(), &one, 100);
    assert_eq!((words(&said).as_str(), said.changed), ("Served r2", None));
    assert_eq!(said.holding.identity, Some(8));
    setting.failover.accept_primary = Some("primary".into());
    let said = setting.choose_write_primary(&Holding::default(), &two, 100);
    assert_eq!((words(&said).as_str(), said.changed), ("Served primary", None));
    setting.failover.accept_primary = None;
    setting.identity = IdentityRule::Declared(SYSTEM);
    let said = setting.choose_write_primary(&Holding::default(), &two, 100);
    assert_eq!((words(&said).as_str(), said.changed), ("Served primary", None));
}

#[test]
fn a_declared_identity_is_the_one_and_forgets_another_database() {
    let mut setting = Setting::follow();
    setting.identity = IdentityRule::Declared(8);
    let of_8 = Claim {
        identity: Some(8),
        ..writable(1, 1)
    };
    let high = Holding {
        timeline: Some(9),
        ..holding()
    };
    let choice = setting.choose_write_primary(&high, &[of_8], 100);
    assert_eq!(words(&choice), "Served primary");
    assert_eq!(
        (choice.holding.identity, choice.holding.timeline),
        (Some(8), Some(1))
    );
    assert_eq!(choice.changed, None);
    let wrong = setting.choose_write_primary(&Holding::default(), &[writable(1, 1)], 100);
    assert_eq!(wrong.changed.and_then(|change| change.shown), Some(SYSTEM));
    assert_eq!(
        wrong.writes,
        Writes::Withdrawn,
        "nothing is served that was never proven"
    );
}

#[test]
fn an_unchecked_identity_is_none_and_stops_nobody() {
    let mut setting = Setting::follow();
    setting.identity = IdentityRule::Unchecked;
    let other = Claim {
        identity: Some(8),
        ..writable(1, 1)
    };
    let choice = setting.choose_write_primary(&holding(), &[other], 100);
    assert_eq!(words(&choice), "Served primary");
    assert_eq!((choice.holding.identity, choice.changed), (None, None));
}

/// A blue/green switch to another database behind the same name.
#[test]
fn timelines_of_databases_that_may_be_others_are_not_compared() {
    let mut setting = Setting::follow();
    setting.identity = IdentityRule::Unchecked;
    setting.failover.primary_role = PrimaryRole::Pinned;
    let blue = Holding {
        timeline: Some(7),
        ..holding()
    };
    let choice = setting.choose_write_primary(&blue, &[writable(1, 1)], 100);
    assert_eq!(words(&choice), "Served primary");
    assert_eq!(choice.holding.timeline, None);
    setting.failover.accept_primary = Some("primary".into());
    let accepted = setting.choose_write_primary(&choice.holding, &[writable(1, 3)], 100);
    assert_eq!(accepted.holding.timeline, None);
}

#[test]
fn another_identity_of_the_declared_primary_is_shown_also_while_it_is_silent() {
    let setting = Setting::follow();
    let silent = Claim {
        identity: Some(8),
        ..silent(1, 0)
    };
    assert_eq!(
        setting.choose_write_primary(&holding(), &[silent], 100).changed,
        changed(8)
    );
    let replica = Claim {
        identity: Some(8),
        ..standby(2)
    };
    assert_eq!(
        setting
            .choose_write_primary(&holding(), &[writable(1, 1), replica], 100)
            .changed,
        None,
        "a mere replica"
    );
    let followed = Holding {
        holder: Some(TargetId::host("r2".into())),
        ..holding()
    };
    let rebuilt = Claim {
        identity: Some(8),
        ..writable(1, 1)
    };
    let choice = setting.choose_write_primary(&followed, &[rebuilt, writable(2, 2)], 100);
    assert_eq!(choice.changed, None, "who holds the writes is somebody else");
    assert_eq!(words(&choice), "Served r2");
}

#[test]
fn a_followed_holder_of_another_database_asks_a_person_unless_somebody_follows_it() {
    let followed = Holding {
        holder: Some(TargetId::host("r2".into())),
        ..holding()
    };
    let rebuilt = Claim {
        identity: Some(8),
        ..writable(2, 2)
    };
    let setting = Setting::follow();
    let nobody = setting.choose_write_primary(&followed, &[standby(1), rebuilt.clone()], 100);
    assert_eq!((words(&nobody).as_str(), nobody.changed), ("Held r2", changed(8)));
    let other = setting.choose_write_primary(&followed, &[standby(1), rebuilt.clone(), writable(3, 3)], 100);
    assert_eq!((words(&other).as_str(), other.changed), ("Served r3", None));
    let standby_there = Claim {
        role: Some(Role::Standby),
        ..rebuilt
    };
    let rejoined = setting.choose_write_primary(&followed, &[standby(1), standby_there], 100);
    assert_eq!(
        (words(&rejoined).as_str(), rejoined.changed),
        ("Withdrawn r2", None)
    );
}

#[test]
fn a_word_of_a_person_ends_the_question_for_the_identity() {
    let mut setting = Setting::follow();
    let rebuilt = Claim {
        identity: Some(8),
        ..writable(1, 1)
    };
    let claims = [rebuilt, writable(2, 2), writable(3, 2)];
    assert_eq!(
        setting.choose_write_primary(&holding(), &claims, 100).changed,
        changed(8)
    );
    setting.failover.accept_primary = Some("r2".into());
    let word = setting.choose_write_primary(&holding(), &claims, 100);
    assert_eq!((words(&word).as_str(), word.changed), ("Served r2", None));
}

#[test]
fn who_does_not_tell_its_identity_is_no_split_brain() {
    let untold = |last| Claim {
        identity: None,
        ..writable(last, 1)
    };
    for (known, first) in [(Some(SYSTEM), writable(1, 1)), (None, untold(1))] {
        let before = Holding {
            identity: known,
            ..holding()
        };
        let choice = Setting::follow().choose_write_primary(&before, &[first, untold(2)], 100);
        assert_eq!(choice.split, [], "{known:?}");
    }
}

#[test]
fn a_holder_stays_when_its_identity_is_declared() {
    let declared = IdentityRule::Declared(SYSTEM);
    assert_eq!(holding().under(declared), holding());
    let unknown = Holding {
        identity: None,
        ..holding()
    };
    assert_eq!(unknown.under(declared), holding());
    let other = Holding {
        identity: Some(SYSTEM + 1),
        ..Holding::default()
    };
    assert_eq!(holding().under(IdentityRule::Declared(SYSTEM + 1)), other);
}

/// The primary returns with an empty volume while a replica is promoted.
#[test]
fn a_declared_holder_of_another_database_is_followed_by_the_one_that_may() {
    let setting = Setting::follow();
    let emptied = Claim {
        identity: Some(8),
        timeline: Some(5),
        ..writable(1, 1)
    };
    let promoted = setting.choose_write_primary(&holding(), &[emptied.clone(), writable(2, 2)], 100);
    assert_eq!((words(&promoted).as_str(), promoted.changed), ("Served r2", None));
    assert_eq!(promoted.holding.timeline, Some(2));
    let nobody = setting.choose_write_primary(&holding(), &[emptied.clone(), standby(2)], 100);
    assert_eq!(
        (words(&nobody).as_str(), nobody.changed),
        ("Held primary", changed(8))
    );
    assert_eq!(
        nobody.holding.timeline,
        Some(1),
        "timelines of another database are not compared"
    );
    let several = [emptied.clone(), writable(2, 2), writable(3, 2)];
    let several = setting.choose_write_primary(&holding(), &several, 100);
    assert_eq!(
        (words(&several).as_str(), several.changed),
        ("Held primary", changed(8))
    );
    let standby_there = Claim {
        role: Some(Role::Standby),
        ..emptied
    };
    let rejoined = setting.choose_write_primary(&holding(), &[standby_there, standby(2)], 100);
    assert_eq!(
        (words(&rejoined).as_str(), rejoined.changed),
        ("Withdrawn primary", None),
        "a standby takes no writes"
    );
}

/// A policy is applied while its declared primary is gone: nobody knows the identity.
#[test]
fn a_word_of_a_person_names_the_database_where_none_is_known() {
    let mut setting = Setting::follow();
    let gone = Claim {
        role: None,
        identity: None,
        ..silent(1, 0)
    };
    let new = Holding::default();
    let claims = [gone.clone(), writable(2, 2), standby(3)];
    let waits = setting.choose_write_primary(&new, &claims, 100);
    assert_eq!(words(&waits), "Withdrawn nobody");
    setting.failover.accept_primary = Some("r2".into());
    let obeyed = setting.choose_write_primary(&new, &claims, 100);
    assert_eq!(words(&obeyed), "Served r2");
    assert_eq!(
        (obeyed.holding.identity, obeyed.holding.timeline),
        (Some(SYSTEM), Some(2))
    );
    let untold = Claim {
        identity: None,
        ..writable(2, 2)
    };
    let unknown = setting.choose_write_primary(&new, &[gone.clone(), untold, standby(3)], 100);
    assert_eq!(words(&unknown), "Withdrawn nobody", "it does not tell");
    let mut other_pod = writable(4, 2);
    other_pod.target.endpoint = "r2".into();
    let several = [gone, writable(2, 2), other_pod];
    let several = setting.choose_write_primary(&new, &several, 100);
    assert_eq!(
        words(&several),
        "Withdrawn nobody",
        "two servers of that endpoint take writes"
    );
}

#[test]
fn of_two_that_take_writes_none_is_the_first_holder() {
    let (failover, r2) = (failover(), TargetId::host("r2".into()));
    let rules = Rules {
        identity: IdentityRule::Learned,
        failover: &failover,
        failover_timeout: TIMEOUT,
        warm: true,
        left: false,
        awaited: None,
        first: Some(FirstEvidence {
            dead_since: None,
            followed: &r2,
        }),
        found: None,
        contests: None,
    };
    let choose = |claims: &[Claim]| words(&choose_write_primary(&Holding::default(), claims, rules, at(0)));
    assert_eq!(choose(&[standby(1), writable(2, 2), standby(3)]), "Served r2");
    assert_eq!(
        choose(&[standby(1), writable(2, 2), writable(3, 2)]),
        "Withdrawn nobody"
    );
}
