//! Who may take the writes over.

use super::*;

#[test]
fn who_may_not_follow() {
    let good = || writable(2, 2);
    let not: [(&str, Claim); 7] = [
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
    let open = Claim {
        well: false,
        ..good()
    };
    assert_eq!(
        follow(&[standby(1), open]),
        "Served r2",
        "whatever its circuit says"
    );
    assert_eq!(follow(&[standby(1), good()]), "Served r2");
}

/// What is in the way of each, in the order of `claims`; `-`: nothing.
fn obstacles(setting: &Setting, before: &Holding, claims: &[Claim]) -> String {
    let choice = setting.choose_write_primary(before, claims, 100);
    let word = |claim: &Claim| match choice.obstacles.get(&claim.target) {
        Some(obstacle) => obstacle.word(),
        None => "-",
    };
    claims.iter().map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_server_that_may_not_follow_says_why() {
    let one = |edit: fn(&mut Claim), base: Claim| {
        let mut claims = [writable(1, 1), base];
        edit(&mut claims[1]);
        obstacles(&Setting::follow(), &holding(), &claims)
    };
    let nothing = |_: &mut Claim| {};
    assert_eq!(one(nothing, standby(2)), "- -", "once it is promoted");
    assert_eq!(one(nothing, writable(2, 2)), "- -", "when the holder is lost");
    assert_eq!(
        one(|it| it.was_standby = false, standby(2)),
        "- -",
        "it is seen as one now"
    );
    assert_eq!(
        one(|it| it.timeline = None, standby(2)),
        "- -",
        "a promotion begins a new one"
    );
    assert_eq!(one(|it| it.answers = false, standby(2)), "- -");
    for base in [standby(2), writable(2, 2)] {
        let one = |edit: fn(&mut Claim)| one(edit, base.clone());
        assert_eq!(one(|it| it.promotable = false), "- NotPromotable");
        assert_eq!(one(|it| it.identity = Some(8)), "- IdentityMismatch");
        assert_eq!(one(|it| it.other_database = true), "- IdentityMismatch");
        assert_eq!(one(|it| it.identity = None), "- IdentityUnknown");
        assert_eq!(one(|it| it.role = None), "- -", "nothing is known of it");
    }
    assert_eq!(one(nothing, writable(2, 0)), "- OlderTimeline");
    assert_eq!(one(|it| it.timeline = None, writable(2, 2)), "- TimelineUnknown");
    assert_eq!(one(|it| it.was_standby = false, writable(2, 2)), "- NeverStandby");
    assert_eq!(one(|it| it.well = false, writable(2, 2)), "- -");
    assert_eq!(one(|it| it.answers = false, writable(2, 2)), "- NotProven");
    let contested = [proven(60), promoted(50)];
    assert_eq!(
        obstacles(&Setting::follow(), &holding(), &contested),
        "- Contested"
    );
}

/// As seen from the choice that was made: by its mark and its holder.
#[test]
fn what_is_in_the_way_is_judged_by_the_new_holder() {
    let gone = Claim {
        timeline: Some(1),
        ..silent(3, 0)
    };
    let moved = [standby(1), writable(2, 2), gone];
    assert_eq!(
        obstacles(&Setting::follow(), &holding(), &moved),
        "- - OlderTimeline"
    );
    let names = Claim {
        instance: writable(1, 1).server,
        was_standby: false,
        ..writable(2, 1)
    };
    let claims = [writable(1, 1), names];
    assert_eq!(
        obstacles(&Setting::follow(), &holding(), &claims),
        "- -",
        "a name of the holder"
    );
    let nobody = Holding {
        holder: None,
        ..holding()
    };
    let claims = [standby(1), standby(2)];
    assert_eq!(obstacles(&Setting::follow(), &nobody, &claims), "- -");
    let first = [silent(1, 99), standby(2)];
    assert_eq!(
        obstacles(&Setting::follow(), &nobody, &first),
        "- -",
        "the declared one need not have been a standby"
    );
    let pinned = Setting {
        failover: Failover {
            primary_role: PrimaryRole::Pinned,
            ..failover()
        },
        ..Setting::follow()
    };
    let claims = [writable(1, 1), standby(2), writable(3, 2)];
    assert_eq!(obstacles(&pinned, &holding(), &claims), "- Pinned Pinned");
    assert_eq!(
        obstacles(
            &Setting {
                identity: IdentityRule::Unchecked,
                ..Setting::follow()
            },
            &holding(),
            &claims
        ),
        "- - -"
    );
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

/// Its session was lost, or its newest heartbeat missed.
#[test]
fn who_was_missed_since_it_was_promoted_is_not_followed_and_counts() {
    let setting = Setting::follow();
    let missed = Claim {
        doubted: true,
        ..promoted(9)
    };
    let chosen = |claims: &[Claim]| words(&setting.choose_write_primary(&holding(), claims, 60));
    assert_eq!(chosen(&[silent(1, 20), missed.clone()]), "Held primary");
    // It may be there, so the other one is not the only one.
    assert_eq!(
        chosen(&[silent(1, 20), missed.clone(), writable(3, 2)]),
        "Held primary"
    );
    let answers = Claim {
        doubted: false,
        ..missed
    };
    assert_eq!(chosen(&[silent(1, 20), answers]), "Served r2");
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
