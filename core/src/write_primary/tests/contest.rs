//! Servers that are promoted while the holder takes writes, or cannot be checked.

use super::*;

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

/// A certificate or a login is broken for days, and its session tells that it takes writes.
#[test]
fn a_holder_that_cannot_be_checked_proves_by_its_session_that_it_takes_writes() {
    let setting = Setting::follow();
    let heard = Claim {
        asked: Some(at(10_000)),
        ..unchecked_holder()
    };
    let contested = setting.choose_write_primary(&holding(), &[heard.clone(), promoted(9)], 10);
    assert_eq!(contested.holding.contested.len(), 1);
    assert_eq!(contested.split.len(), 2);
    let down = setting.choose_write_primary(&contested.holding, &[silent(1, 20), promoted(9)], 60);
    assert_eq!(words(&down), "Held primary");
    // What it was presumed to be by a memory is no answer.
    let presumed = Claim {
        writable_since: None,
        ..heard.clone()
    };
    let old = Claim {
        identity: Some(SYSTEM + 1),
        ..heard
    };
    for holder in [presumed, old] {
        let choice = setting.choose_write_primary(&holding(), &[holder, promoted(9)], 10);
        assert!(choice.holding.contested.is_empty());
    }
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
    // Also where the holder has left, as a pod does.
    let left = chosen(&setting, &[promoted(9), follower(3, 2), follower(4, 2)]);
    assert_eq!(words(&left), "Served r2");
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
