//! What a person says: `acceptPrimary` and `Pinned`.

use super::*;

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
