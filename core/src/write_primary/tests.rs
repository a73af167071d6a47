mod contest;
mod followers;
mod identity;
mod word;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::*;
use crate::fixture::{SYSTEM, at, failover};
use crate::ids::TargetId;
use crate::policy::IdentityRule;

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
        doubted: false,
        asked: Some(at(0)),
        writable_since: (role == Role::Primary).then(|| at(0)),
        well: true,
        alive: false,
        slow: false,
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
            contests: None,
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

/// It was promoted too, and its newest check does not prove it.
#[test]
fn who_took_writes_when_it_was_last_seen_counts_until_it_is_out_for_the_failover_timeout() {
    let missed = Claim {
        answers: false,
        ..writable(3, 3)
    };
    let another_name = Claim {
        instance: writable(2, 2).instance,
        ..missed.clone()
    };
    let of_the_holder = Claim {
        instance: writable(1, 1).instance,
        ..missed.clone()
    };
    let rows = [
        (missed.clone(), "Held primary", None),
        (silent(3, 96), "Held primary", Some(at(101_000))),
        (silent(3, 95), "Served r2", None),
        (another_name, "Served r2", None),
        (of_the_holder, "Served r2", None),
        (
            Claim {
                was_standby: false,
                ..missed
            },
            "Served r2",
            None,
        ),
    ];
    for (third, expected, again) in rows {
        let third = Claim {
            timeline: Some(3),
            ..third
        };
        let claims = [silent(1, 0), writable(2, 2), third];
        let choice = Setting::follow().choose_write_primary(&holding(), &claims, 100);
        assert_eq!(
            (words(&choice).as_str(), choice.again),
            (expected, again),
            "{claims:?}"
        );
    }
    let alone = [standby(1), silent(2, 99)];
    let choice = Setting::follow().choose_write_primary(&holding(), &alone, 100);
    assert_eq!(
        (words(&choice).as_str(), choice.again),
        ("Withdrawn primary", None)
    );
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

#[test]
fn a_holder_that_answers_by_its_own_name_keeps_it() {
    let suspected = Claim {
        answers: true,
        ..silent(1, 90)
    };
    let another = Claim {
        instance: suspected.instance,
        asked: Some(at(95_000)),
        ..writable(2, 1)
    };
    assert_eq!(follow(&[suspected, another.clone()]), "Served primary");
    assert_eq!(follow(&[silent(1, 90), another]), "Served r2");
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
