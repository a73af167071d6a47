use std::net::IpAddr;

use super::*;
use crate::fixture::{SYSTEM, at, failover};

const TIMEOUT: Duration = Duration::from_secs(5);

/// A target at 198.18.0.`last`; the first one of a list is the declared primary.
fn claim(last: u8, role: Role) -> Claim {
    let id = match last {
        1 => "primary".to_owned(),
        last => format!("r{last}"),
    };
    Claim {
        target: TargetId::host(id.as_str().into()),
        server: SocketAddr::new(IpAddr::from([198, 18, 0, last]), 5432),
        instance: SocketAddr::new(IpAddr::from([198, 18, 0, last]), 5432),
        moved_at: None,
        declared: last == 1,
        by_service: false,
        promotable: true,
        role: Some(role),
        answers: true,
        asked: Some(at(0)),
        writable_since: (role == Role::Primary).then(|| at(0)),
        well: true,
        cannot_be_checked: false,
        failing_since: None,
        identity: Some(SYSTEM),
        other_database: false,
        timeline: Some(1),
        was_standby: last != 1,
        pod_of_standby: false,
    }
}

fn writable(last: u8, timeline: u32) -> Claim {
    Claim {
        timeline: Some(timeline),
        ..claim(last, Role::Primary)
    }
}

fn standby(last: u8) -> Claim {
    claim(last, Role::Standby)
}

/// Out since this second, and it was the primary when it was last seen.
fn silent(last: u8, since: u64) -> Claim {
    Claim {
        answers: false,
        well: false,
        failing_since: Some(at(since * 1000)),
        ..claim(last, Role::Primary)
    }
}

/// The declared primary holds the writes on timeline 1.
fn holding() -> Holding {
    Holding {
        identity: Some(SYSTEM),
        holder: Some(TargetId::host("primary".into())),
        timeline: Some(1),
        ..Holding::default()
    }
}

/// Who may be a rule to others.
struct Setting {
    failover: Failover,
    identity: IdentityRule,
    warm: bool,
}

impl Setting {
    fn follow() -> Self {
        Self {
            failover: failover(),
            identity: IdentityRule::Learned,
            warm: true,
        }
    }

    fn choose_write_primary(&self, before: &Holding, claims: &[Claim], second: u64) -> WriteChoice {
        let rules = Rules {
            identity: self.identity,
            failover: &self.failover,
            failover_timeout: TIMEOUT,
            warm: self.warm,
            left: false,
            awaited: None,
            first: None,
            found: None,
        };
        choose_write_primary(before, claims, rules, at(second * 1000))
    }
}

fn words(choice: &WriteChoice) -> String {
    let writes = match choice.writes {
        Writes::Served => "Served",
        Writes::Held => "Held",
        Writes::Withdrawn => "Withdrawn",
    };
    let holder = choice.holding.holder.as_ref();
    let holder = holder.map_or("nobody".to_owned(), ToString::to_string);
    format!("{writes} {holder}")
}

/// The primary shows this identifier instead of the known one.
fn changed(shown: u64) -> Option<IdentityChange> {
    Some(IdentityChange {
        known: SYSTEM,
        disputed: false,
        shown: Some(shown),
    })
}

/// At second 100, under Follow and Hold.
fn follow(claims: &[Claim]) -> String {
    words(&Setting::follow().choose_write_primary(&holding(), claims, 100))
}

#[test]
fn the_table_of_one() {
    let setting = Setting::follow();
    let new = Holding::default();
    for (before, claim, expected) in [
        (&new, writable(1, 1), "Served primary"),
        (&new, standby(1), "Withdrawn nobody"),
        (&holding(), writable(1, 1), "Served primary"),
        (&holding(), standby(1), "Withdrawn primary"),
        (&holding(), silent(1, 0), "Held primary"),
    ] {
        assert_eq!(
            words(&setting.choose_write_primary(before, std::slice::from_ref(&claim), 100)),
            expected,
            "{claim:?}"
        );
    }
    assert_eq!(
        words(&setting.choose_write_primary(&holding(), &[], 100)),
        "Withdrawn primary",
        "no longer declared"
    );
}

/// Every row of the table: what the holder shows against what the others show.
#[test]
fn every_row_of_the_table_with_two() {
    let rows = [
        (writable(1, 1), standby(2), "Served primary"),
        (writable(1, 1), writable(2, 2), "Served primary"),
        (writable(1, 1), silent(2, 0), "Served primary"),
        (standby(1), writable(2, 2), "Served r2"),
        (standby(1), standby(2), "Withdrawn primary"),
        (silent(1, 95), writable(2, 2), "Served r2"),
        (silent(1, 96), writable(2, 2), "Held primary"),
        (silent(1, 0), standby(2), "Held primary"),
        (silent(1, 0), silent(2, 0), "Held primary"),
    ];
    for (holder, other, expected) in rows {
        assert_eq!(
            follow(&[holder.clone(), other.clone()]),
            expected,
            "{holder:?}\n{other:?}"
        );
    }
}

#[test]
fn every_row_of_the_table_with_three() {
    let rows = [
        (writable(1, 1), writable(2, 2), writable(3, 2), "Served primary"),
        (standby(1), writable(2, 2), writable(3, 2), "Withdrawn primary"),
        (silent(1, 0), writable(2, 2), writable(3, 3), "Held primary"),
        (silent(1, 0), writable(2, 2), standby(3), "Served r2"),
        (standby(1), standby(2), writable(3, 2), "Served r3"),
        (standby(1), standby(2), standby(3), "Withdrawn primary"),
    ];
    for (a, b, c, expected) in rows {
        assert_eq!(
            follow(&[a.clone(), b.clone(), c.clone()]),
            expected,
            "{a:?}\n{b:?}\n{c:?}"
        );
    }
}

#[test]
fn a_holder_that_answers_is_served_whatever_its_circuit_says() {
    let answers = Claim {
        answers: true,
        ..silent(1, 0)
    };
    for loss in [OnPrimaryLoss::Hold, OnPrimaryLoss::Withdraw] {
        let mut setting = Setting::follow();
        setting.failover.on_primary_loss = loss;
        let choice = setting.choose_write_primary(&holding(), &[answers.clone(), writable(2, 2)], 100);
        assert_eq!(words(&choice), "Served primary", "{loss:?}");
    }
}

/// Saturated, or a fault of configuration: it does not answer as it should, and nothing says that it is down.
#[test]
fn a_holder_that_is_not_known_to_be_down_is_served() {
    let odd = Claim {
        answers: false,
        ..writable(1, 1)
    };
    assert_eq!(follow(&[odd, writable(2, 2)]), "Served primary");
}

#[test]
fn who_is_silent_is_withdrawn_where_the_policy_says_so() {
    let mut setting = Setting::follow();
    setting.failover.on_primary_loss = OnPrimaryLoss::Withdraw;
    assert_eq!(
        words(&setting.choose_write_primary(&holding(), &[silent(1, 99)], 100)),
        "Withdrawn primary"
    );
    let moves = setting.choose_write_primary(&holding(), &[silent(1, 90), writable(2, 2)], 100);
    assert_eq!(words(&moves), "Served r2", "and still moves");
}

#[test]
fn while_the_holder_is_silent_it_says_when_to_look_again() {
    let setting = Setting::follow();
    let waits = setting.choose_write_primary(&holding(), &[silent(1, 98), writable(2, 2)], 100);
    assert_eq!(waits.again, Some(at(103_000)));
    let over = setting.choose_write_primary(&holding(), &[silent(1, 95), standby(2)], 100);
    assert_eq!(over.again, None, "only an answer changes it now");
}

#[test]
fn who_may_not_follow() {
    let good = || writable(2, 2);
    let not: [(&str, Claim); 8] = [
        (
            "promotable: false",
            Claim {
                promotable: false,
                ..good()
            },
        ),
        (
            "not a standby before",
            Claim {
                was_standby: false,
                ..good()
            },
        ),
        (
            "another database",
            Claim {
                identity: Some(SYSTEM + 1),
                ..good()
            },
        ),
        (
            "it does not tell",
            Claim {
                identity: None,
                ..good()
            },
        ),
        (
            "foreign before a restart",
            Claim {
                other_database: true,
                ..good()
            },
        ),
        (
            "its newest check failed",
            Claim {
                answers: false,
                ..good()
            },
        ),
        (
            "its circuit is open",
            Claim {
                well: false,
                ..good()
            },
        ),
        (
            "an unknown timeline",
            Claim {
                timeline: None,
                ..good()
            },
        ),
    ];
    for (why, claim) in not {
        assert_eq!(follow(&[standby(1), claim]), "Withdrawn primary", "{why}");
    }
    assert_eq!(follow(&[standby(1), good()]), "Served r2");
}

#[test]
fn the_timeline_is_a_high_water_mark() {
    let setting = Setting::follow();
    let before = Holding {
        holder: Some(TargetId::host("r2".into())),
        timeline: Some(3),
        ..holding()
    };
    // An old primary returns while the new one is silent, or has become a standby.
    for holder in [silent(2, 0), standby(2)] {
        let old = setting.choose_write_primary(&before, &[writable(1, 2), holder.clone()], 100);
        assert_ne!(old.writes, Writes::Served, "{holder:?}");
        assert_eq!(old.holding.holder, before.holder);
        assert_eq!(old.holding.timeline, Some(3));
    }
    let was_standby = Claim {
        was_standby: true,
        ..writable(1, 4)
    };
    let newer = setting.choose_write_primary(&before, &[was_standby, silent(2, 0)], 100);
    assert_eq!(
        words(&newer),
        "Served primary",
        "promoted again, on a newer timeline"
    );
    assert_eq!(newer.holding.timeline, Some(4));
}

/// The name of the holder leads to an old primary again.
#[test]
fn a_holder_on_an_older_timeline_is_withdrawn_until_a_person_accepts_it() {
    let mut setting = Setting::follow();
    let before = Holding {
        timeline: Some(2),
        ..holding()
    };
    for old in [writable(1, 1), silent(1, 0)] {
        let choice = setting.choose_write_primary(&before, &[old.clone(), standby(2)], 100);
        assert_eq!(words(&choice), "Withdrawn primary", "{old:?}");
        assert_eq!(choice.holding.timeline, Some(2));
    }
    let follows = setting.choose_write_primary(&before, &[writable(1, 1), writable(2, 2)], 100);
    assert_eq!(words(&follows), "Served r2");
    let untold = Claim {
        timeline: None,
        ..writable(1, 1)
    };
    assert_eq!(
        words(&setting.choose_write_primary(&before, &[untold], 100)),
        "Served primary"
    );
    for role in [PrimaryRole::Follow, PrimaryRole::Pinned] {
        setting.failover.primary_role = role;
        setting.failover.accept_primary = None;
        let pinned = setting.choose_write_primary(&before, &[writable(1, 1), standby(2)], 100);
        assert_eq!(words(&pinned), "Withdrawn primary", "{role:?}");
        setting.failover.accept_primary = Some("primary".into());
        let accepted = setting.choose_write_primary(&before, &[writable(1, 1), standby(2)], 100);
        assert_eq!(
            (words(&accepted).as_str(), accepted.holding.timeline),
            ("Served primary", Some(1))
        );
    }
}

#[test]
fn without_timelines_the_mark_stays_unknown_and_stops_nobody() {
    let untold = |claim: Claim| Claim {
        timeline: None,
        ..claim
    };
    let before = Holding {
        timeline: None,
        ..holding()
    };
    let choice = Setting::follow().choose_write_primary(&before, &[standby(1), untold(writable(2, 2))], 100);
    assert_eq!(words(&choice), "Served r2");
    assert_eq!(choice.holding.timeline, None);
}

#[test]
fn before_everybody_was_checked_nobody_new_takes_the_writes() {
    let setting = Setting {
        warm: false,
        ..Setting::follow()
    };
    assert_eq!(
        words(&setting.choose_write_primary(&holding(), &[standby(1), writable(2, 2)], 100)),
        "Withdrawn primary"
    );
    assert_eq!(
        words(&setting.choose_write_primary(&holding(), &[silent(1, 0), writable(2, 2)], 100)),
        "Held primary"
    );
}

#[test]
fn pinned_writes_go_to_the_declared_primary_or_nowhere() {
    let mut setting = Setting::follow();
    setting.failover.primary_role = PrimaryRole::Pinned;
    for (primary, expected) in [
        (writable(1, 1), "Served primary"),
        (standby(1), "Withdrawn primary"),
        (silent(1, 0), "Held primary"),
    ] {
        let choice = setting.choose_write_primary(&holding(), &[primary.clone(), writable(2, 2)], 100);
        assert_eq!(words(&choice), expected, "{primary:?}");
    }
    // A holder from before it was pinned.
    let before = Holding {
        holder: Some(TargetId::host("r2".into())),
        ..holding()
    };
    let back = setting.choose_write_primary(&before, &[writable(1, 1), writable(2, 2)], 100);
    assert_eq!(words(&back), "Served primary");
    let never = setting.choose_write_primary(&Holding::default(), &[silent(1, 0)], 100);
    assert_eq!(
        words(&never),
        "Withdrawn nobody",
        "who never proved itself is not held"
    );
    setting.failover.accept_primary = Some("r2".into());
    let word = setting.choose_write_primary(&holding(), &[standby(1), writable(2, 2)], 100);
    assert_eq!(words(&word), "Withdrawn primary", "a word does not unpin");
}

#[test]
fn a_word_of_a_person_is_obeyed_once() {
    let mut setting = Setting::follow();
    setting.failover.accept_primary = Some("r2".into());
    let claims = [writable(1, 5), writable(2, 2)];
    let high = Holding {
        timeline: Some(5),
        ..holding()
    };
    let obeyed = setting.choose_write_primary(&high, &claims, 100);
    assert_eq!(words(&obeyed), "Served r2", "even on an older timeline");
    assert_eq!(obeyed.holding.accepted, Some("r2".into()));
    assert_eq!(obeyed.holding.timeline, Some(2));
    // Later the writes follow a promotion; the same word does not fetch them back.
    let promoted = Claim {
        was_standby: true,
        ..writable(1, 6)
    };
    let followed = setting.choose_write_primary(&obeyed.holding, &[promoted.clone(), standby(2)], 200);
    assert_eq!(words(&followed), "Served primary");
    let again = setting.choose_write_primary(&followed.holding, &[promoted, writable(2, 7)], 300);
    assert_eq!(words(&again), "Served primary");
    // Taken back and given again it is a new word.
    setting.failover.accept_primary = None;
    let forgotten = setting.choose_write_primary(&again.holding, &claims, 400);
    assert_eq!(forgotten.holding.accepted, None);
    setting.failover.accept_primary = Some("r2".into());
    assert_eq!(
        words(&setting.choose_write_primary(&forgotten.holding, &claims, 500)),
        "Served r2"
    );
}

#[test]
fn a_word_for_who_takes_no_writes_waits() {
    let mut setting = Setting::follow();
    setting.failover.accept_primary = Some("r2".into());
    let waits = setting.choose_write_primary(&holding(), &[writable(1, 1), standby(2)], 100);
    assert_eq!(words(&waits), "Served primary");
    assert_eq!(waits.holding.accepted, None);
    let other_database = Claim {
        identity: Some(SYSTEM + 1),
        ..writable(2, 2)
    };
    assert_eq!(
        words(&setting.choose_write_primary(&holding(), &[writable(1, 1), other_database], 100)),
        "Served primary"
    );
}

#[test]
fn several_that_take_writes_are_a_split_brain_and_one_server_twice_is_not() {
    let split = |claims: &[Claim]| -> Vec<String> {
        let choice = Setting::follow().choose_write_primary(&holding(), claims, 100);
        choice.split.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        split(&[writable(1, 1), writable(2, 2), standby(3)]),
        ["primary", "r2"]
    );
    assert!(split(&[writable(1, 1), standby(2)]).is_empty());
    let same = Claim {
        instance: writable(1, 1).instance,
        ..writable(2, 1)
    };
    assert!(split(&[writable(1, 1), same.clone()]).is_empty());
    assert_eq!(
        follow(&[
            standby(1),
            Claim {
                instance: writable(3, 1).instance,
                ..writable(2, 2)
            },
            writable(3, 2)
        ]),
        "Served r2"
    );
    let other_database = Claim {
        identity: Some(SYSTEM + 1),
        ..writable(2, 2)
    };
    assert!(
        split(&[writable(1, 1), other_database]).is_empty(),
        "another database"
    );
    assert!(
        split(&[silent(1, 0), writable(2, 2)]).is_empty(),
        "who is silent is not known to"
    );
}

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
fn a_holder_that_is_gone_is_followed_at_once() {
    let gone = Holding {
        holder: Some(TargetId::host("removed".into())),
        ..holding()
    };
    let setting = Setting::follow();
    assert_eq!(
        words(&setting.choose_write_primary(&gone, &[standby(1), writable(2, 2)], 100)),
        "Served r2"
    );
    assert_eq!(
        words(&setting.choose_write_primary(&gone, &[writable(1, 1), standby(2)], 100)),
        "Served primary"
    );
    let below = Holding {
        timeline: Some(2),
        ..gone
    };
    assert_eq!(
        words(&setting.choose_write_primary(&below, &[writable(1, 1)], 100)),
        "Withdrawn removed",
        "an old primary"
    );
}

/// A pod that the Service behind the declared primary names.
fn pod(last: u8, role: Role) -> Claim {
    Claim {
        target: TargetId {
            endpoint: "primary".into(),
            pod: Some(IpAddr::from([198, 18, 0, last])),
        },
        declared: true,
        by_service: true,
        was_standby: false,
        ..claim(last, role)
    }
}

#[test]
fn a_pod_of_a_service_of_standbys_takes_over_above_the_mark() {
    let before = Holding {
        holder: Some(pod(20, Role::Primary).target),
        ..holding()
    };
    let mut setting = Setting::follow();
    let other = |timeline, pod_of_standby| Claim {
        timeline: Some(timeline),
        pod_of_standby,
        ..pod(21, Role::Primary)
    };
    for (claim, expected) in [
        (other(2, true), "Served primary@198.18.0.21"),
        (other(1, true), "Withdrawn primary@198.18.0.20"),
        (other(2, false), "Withdrawn primary@198.18.0.20"),
    ] {
        let moved = setting.choose_write_primary(&before, &[pod(20, Role::Standby), claim], 100);
        assert_eq!(words(&moved), expected);
    }
    let stays = setting.choose_write_primary(&before, &[pod(20, Role::Primary), pod(21, Role::Primary)], 100);
    assert_eq!(words(&stays), "Served primary@198.18.0.20");
    // Pinned to the Service, the pods follow each other by the same rules.
    setting.failover.primary_role = PrimaryRole::Pinned;
    let gone = |since| Claim {
        target: pod(21, Role::Primary).target,
        declared: true,
        by_service: true,
        ..silent(21, since)
    };
    let before = Holding {
        holder: Some(gone(0).target),
        ..holding()
    };
    let new = || pod(20, Role::Primary);
    for (holder, expected, again) in [
        (pod(21, Role::Primary), "Served primary@198.18.0.21", None),
        (pod(21, Role::Standby), "Served primary@198.18.0.20", None),
        (gone(98), "Held primary@198.18.0.21", Some(at(103_000))),
        (gone(95), "Served primary@198.18.0.20", None),
    ] {
        let choice = setting.choose_write_primary(&before, &[new(), holder.clone(), writable(2, 2)], 100);
        assert_eq!(
            (words(&choice).as_str(), choice.again),
            (expected, again),
            "{holder:?}"
        );
    }
}

#[test]
fn a_pod_that_the_service_names_must_tell_its_identity_to_follow() {
    let untold = |last, role| Claim {
        identity: None,
        ..pod(last, role)
    };
    for known in [Some(SYSTEM), None] {
        let old = untold(20, Role::Standby);
        let before = Holding {
            identity: known,
            holder: Some(old.target.clone()),
            ..holding()
        };
        let silent = untold(21, Role::Primary);
        let choice = Setting::follow().choose_write_primary(&before, &[old, silent], 100);
        assert_eq!(words(&choice), "Withdrawn primary@198.18.0.20", "{known:?}");
    }
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

#[test]
fn who_was_never_a_standby_follows_only_where_the_service_of_the_primary_names_it() {
    let before = Holding {
        holder: Some(TargetId::host("r2".into())),
        ..holding()
    };
    let never = |last, by_service| Claim {
        by_service,
        was_standby: false,
        ..writable(last, 1)
    };
    for other in [never(1, false), never(3, true), never(3, false)] {
        let choice = Setting::follow().choose_write_primary(&before, &[silent(2, 90), other.clone()], 100);
        assert_eq!(words(&choice), "Held r2", "{other:?}");
    }
}

/// The holder as it answers to what was asked at this second.
fn proven(second: u64) -> Claim {
    Claim {
        asked: Some(at(second * 1000)),
        ..writable(1, 1)
    }
}

/// Somebody promoted it: the answer that shows it came at this second.
fn promoted(second: u64) -> Claim {
    Claim {
        writable_since: Some(at(second * 1000)),
        ..writable(2, 2)
    }
}

#[test]
fn a_server_promoted_while_the_holder_writes_does_not_win_by_its_restart() {
    let setting = Setting::follow();
    // Both are writable; the holder did not prove it after the other one had shown it.
    let split = setting.choose_write_primary(&holding(), &[proven(9), promoted(9)], 9);
    assert!(split.holding.contested.is_empty() && split.split.len() == 2);
    let contested = setting.choose_write_primary(&split.holding, &[proven(10), promoted(9)], 10);
    assert_eq!(contested.holding.contested.len(), 1);
    // The holder restarts for longer than the failover timeout, and it stays; so does the suspicion.
    let down = setting.choose_write_primary(&contested.holding, &[silent(1, 20), promoted(9)], 60);
    assert_eq!(words(&down), "Held primary");
    assert_eq!(down.split.len(), 2);
    // Somebody stops the one that does not hold the writes: no split brain is left, and the contest is remembered.
    let stopped = setting.choose_write_primary(&contested.holding, &[proven(20), silent(2, 15)], 20);
    assert!(stopped.split.is_empty() && stopped.holding.contested.len() == 1);
    let back = setting.choose_write_primary(&down.holding, &[proven(61), promoted(9)], 61);
    assert_eq!(words(&back), "Served primary");
    // A freeze of the primary and a promotion after it is none: it proved nothing since.
    let frozen = setting.choose_write_primary(&split.holding, &[silent(1, 8), promoted(9)], 60);
    assert_eq!(words(&frozen), "Served r2");
}

#[test]
fn a_server_that_may_not_follow_or_is_not_declared_is_not_contested() {
    let setting = Setting::follow();
    let old = Claim {
        writable_since: Some(at(9000)),
        ..writable(1, 1)
    };
    let followed = Holding {
        holder: Some(TargetId::host("r2".into())),
        timeline: Some(2),
        ..holding()
    };
    let holder = Claim {
        asked: Some(at(10_000)),
        ..writable(2, 2)
    };
    let choice = setting.choose_write_primary(&followed, &[old, holder], 10);
    assert!(choice.holding.contested.is_empty() && choice.split.len() == 2);
    let mut contested = holding();
    contested.contested.insert(promoted(9).server);
    let choice = setting.choose_write_primary(&contested, &[proven(10)], 10);
    assert!(choice.holding.contested.is_empty());
    // After a restart it may only not be known yet.
    let mut cold = Setting::follow();
    cold.warm = false;
    let choice = cold.choose_write_primary(&contested, &[proven(10)], 10);
    assert_eq!(choice.holding.contested.len(), 1);
}

#[test]
fn a_contest_ends_by_a_standby_a_word_or_all_others() {
    let setting = Setting::follow();
    let mut contested = holding();
    contested.contested.insert(promoted(9).server);
    let chosen = |setting: &Setting, claims: &[Claim]| setting.choose_write_primary(&contested, claims, 60);
    // It is a standby again, and later promoted in order.
    let again = chosen(&setting, &[proven(10), standby(2)]);
    assert!(again.holding.contested.is_empty());
    let later = setting.choose_write_primary(&again.holding, &[silent(1, 20), promoted(30)], 60);
    assert_eq!(words(&later), "Served r2");
    // The holder is a standby: a switchover.
    assert_eq!(words(&chosen(&setting, &[standby(1), promoted(9)])), "Served r2");
    // A person says so.
    let mut told = Setting::follow();
    told.failover.accept_primary = Some("r2".into());
    let accepted = chosen(&told, &[silent(1, 20), promoted(9)]);
    assert_eq!(words(&accepted), "Served r2");
    assert!(accepted.holding.contested.is_empty());
    // Others follow it: all that answer, two at least, above the mark.
    let follower = |last, timeline| Claim {
        timeline: Some(timeline),
        ..standby(last)
    };
    let with = |others: &[Claim]| {
        let claims: Vec<_> = [silent(1, 20), promoted(9)]
            .iter()
            .chain(others)
            .cloned()
            .collect();
        words(&chosen(&setting, &claims))
    };
    assert_eq!(with(&[follower(3, 2), follower(4, 2)]), "Served r2");
    assert_eq!(with(&[follower(3, 2)]), "Held primary");
    assert_eq!(with(&[follower(3, 2), follower(4, 1)]), "Held primary");
    assert_eq!(
        with(&[follower(3, 2), follower(4, 2), standby(5)]),
        "Held primary"
    );
    let unseen = Claim {
        answers: false,
        ..standby(5)
    };
    assert_eq!(with(&[follower(3, 2), follower(4, 2), unseen]), "Served r2");
    let below = Holding {
        timeline: Some(2),
        ..contested.clone()
    };
    let level = Claim {
        timeline: Some(2),
        ..silent(1, 20)
    };
    let claims = [level, promoted(9), follower(3, 2), follower(4, 2)];
    assert_eq!(
        words(&setting.choose_write_primary(&below, &claims, 60)),
        "Held primary"
    );
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

/// A login, TLS or a Secret prevents its checks, and it did not go down before.
fn unchecked_holder() -> Claim {
    Claim {
        answers: false,
        cannot_be_checked: true,
        ..writable(1, 1)
    }
}

#[test]
fn a_holder_that_cannot_be_checked_while_another_is_promoted_is_unproven() {
    let setting = Setting::follow();
    let unproven = setting.choose_write_primary(&holding(), &[unchecked_holder(), writable(2, 2)], 100);
    assert_eq!(words(&unproven), "Held primary");
    assert!(unproven.unproven);
    let ids: Vec<_> = unproven.split.iter().map(ToString::to_string).collect();
    assert_eq!(ids, ["primary", "r2"]);
    let mut withdraws = Setting::follow();
    withdraws.failover.on_primary_loss = OnPrimaryLoss::Withdraw;
    let kept = withdraws.choose_write_primary(&holding(), &[unchecked_holder(), writable(2, 2)], 100);
    assert_eq!(words(&kept), "Held primary", "it is not lost");
    let others = [
        ("a standby", standby(2)),
        ("on the timeline of the mark", writable(2, 1)),
        (
            "may not follow",
            Claim {
                promotable: false,
                ..writable(2, 2)
            },
        ),
    ];
    for (why, other) in others {
        let choice = setting.choose_write_primary(&holding(), &[unchecked_holder(), other], 100);
        assert_eq!(
            (words(&choice).as_str(), choice.unproven),
            ("Served primary", false),
            "{why}"
        );
    }
    let down = setting.choose_write_primary(&holding(), &[silent(1, 99), writable(2, 2)], 100);
    assert!(!down.unproven, "it went down: it is followed");
    let proven = setting.choose_write_primary(&holding(), &[writable(1, 1), writable(2, 2)], 100);
    assert!(!proven.unproven && proven.split.len() == 2);
    let cold = Setting {
        warm: false,
        ..Setting::follow()
    };
    let choice = cold.choose_write_primary(&holding(), &[unchecked_holder(), writable(2, 2)], 100);
    assert!(!choice.unproven, "it is not checked yet");
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
    };
    let choose = |claims: &[Claim]| words(&choose_write_primary(&Holding::default(), claims, rules, at(0)));
    assert_eq!(choose(&[standby(1), writable(2, 2), standby(3)]), "Served r2");
    assert_eq!(
        choose(&[standby(1), writable(2, 2), writable(3, 2)]),
        "Withdrawn nobody"
    );
}
