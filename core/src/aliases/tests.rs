use super::*;
use crate::fixture::at;

const BEAT: Duration = Duration::from_secs(2);

fn id(name: &str) -> TargetId {
    TargetId::host(name.into())
}

fn instance(started: i64, process: i32, ours: &[i32]) -> Instance {
    Instance {
        started,
        process,
        ours: ours.into(),
    }
}

/// An answer of the database 7 at this moment.
fn seen(instance: &Instance, millis: u64, held: bool) -> Sighting<'_> {
    Sighting {
        identifier: Some(7),
        instance: Some(instance),
        asked: at(millis),
        came: at(millis + 1),
        held,
        pooled: false,
    }
}

/// The names of each server that has several.
fn groups(aliases: &Aliases) -> String {
    let mut names = BTreeMap::<TargetId, Vec<String>>::new();
    for (id, first) in aliases.firsts() {
        names.entry(first).or_default().push(id.to_string());
    }
    for (first, names) in &names {
        assert_eq!(names[0], first.to_string());
    }
    let groups: Vec<_> = names.values().map(|names| names.join("=")).collect();
    groups.join(" ")
}

#[test]
fn the_same_start_of_the_same_database_is_the_same_server() {
    let mut aliases = Aliases::default();
    assert!(!aliases.saw(&id("vip"), seen(&instance(5, 1, &[1, 2]), 0, false), BEAT));
    assert!(aliases.saw(&id("a"), seen(&instance(5, 2, &[1, 2]), 10, false), BEAT));
    assert_eq!(groups(&aliases), "a=vip");
    assert!(
        !aliases.saw(&id("a"), seen(&instance(5, 2, &[1, 2]), 20, false), BEAT),
        "nothing new"
    );
    assert!(aliases.saw(&id("b"), seen(&instance(5, 3, &[1, 2, 3]), 30, false), BEAT));
    assert_eq!(groups(&aliases), "a=b=vip");
    let of_8 = instance(5, 4, &[4]);
    let other = Sighting {
        identifier: Some(8),
        ..seen(&of_8, 40, false)
    };
    aliases.saw(&id("c"), other, BEAT);
    aliases.saw(&id("d"), seen(&instance(6, 4, &[4]), 40, false), BEAT);
    assert_eq!(groups(&aliases), "a=b=vip", "another database, or another start");
}

#[test]
fn who_is_asked_much_later_may_be_another_one_by_now() {
    let mut aliases = Aliases::default();
    aliases.saw(&id("vip"), seen(&instance(5, 1, &[1]), 0, false), BEAT);
    aliases.saw(&id("a"), seen(&instance(5, 2, &[2]), 2001, false), BEAT);
    assert_eq!(groups(&aliases), "");
    aliases.saw(&id("vip"), seen(&instance(5, 1, &[1, 2]), 4001, false), BEAT);
    assert_eq!(groups(&aliases), "a=vip");
    // One of them is silent from now on: it is the same server all the same.
    aliases.saw(&id("a"), seen(&instance(5, 2, &[2]), 60_000, false), BEAT);
    assert_eq!(groups(&aliases), "a=vip");
}

#[test]
fn two_servers_of_two_names_each_are_two() {
    let mut aliases = Aliases::default();
    for (name, start) in [("a", 5), ("d", 5), ("b", 6), ("c", 6)] {
        aliases.saw(&id(name), seen(&instance(start, 1, &[1]), 0, false), BEAT);
    }
    assert_eq!(groups(&aliases), "a=d b=c");
}

/// Each is asked within a heartbeat of the next one only.
#[test]
fn names_that_are_the_same_as_one_another_in_turn_are_all_of_one_server() {
    let mut aliases = Aliases::default();
    for (name, millis) in [("e", 0), ("b", 1500), ("c", 3000), ("d", 4500), ("a", 6000)] {
        aliases.saw(&id(name), seen(&instance(5, 1, &[1]), millis, false), BEAT);
    }
    assert_eq!(groups(&aliases), "a=b=c=d=e");
}

#[test]
fn another_start_or_none_ends_it() {
    let gone = [
        (Some(7), Some(instance(6, 1, &[1]))),
        (Some(7), None),
        (None, Some(instance(5, 1, &[1]))),
    ];
    for (identifier, instance) in gone {
        let mut aliases = Aliases::default();
        for name in ["vip", "a"] {
            aliases.saw(&id(name), seen(&self::instance(5, 1, &[1]), 0, false), BEAT);
        }
        let moved = Sighting {
            identifier,
            instance: instance.as_ref(),
            asked: at(10),
            came: at(11),
            held: false,
            pooled: false,
        };
        assert!(aliases.saw(&id("vip"), moved, BEAT));
        assert_eq!(groups(&aliases), "");
        assert!(!aliases.saw(&id("vip"), moved, BEAT));
    }
}

/// A copy of a running machine: both list sessions of their own.
#[test]
fn a_held_session_that_the_other_one_does_not_list_tells_them_apart_for_good() {
    let mut aliases = Aliases::default();
    let (one, two) = (instance(5, 1, &[1]), instance(5, 2, &[2]));
    aliases.saw(&id("vip"), seen(&one, 0, true), BEAT);
    aliases.saw(&id("a"), seen(&two, 10, true), BEAT);
    assert_eq!(
        groups(&aliases),
        "a=vip",
        "the session may have begun after the list"
    );
    assert!(aliases.saw(&id("vip"), seen(&one, 20, true), BEAT));
    assert_eq!(groups(&aliases), "");
    assert!(!aliases.saw(&id("a"), seen(&two, 30, true), BEAT));
    let both = instance(5, 2, &[1, 2]);
    aliases.saw(&id("a"), seen(&both, 40, true), BEAT);
    assert_eq!(groups(&aliases), "", "while neither starts anew");
    let again = instance(6, 2, &[1, 2]);
    for name in ["vip", "a"] {
        aliases.saw(&id(name), seen(&again, 50, true), BEAT);
    }
    assert_eq!(groups(&aliases), "a=vip");
}

#[test]
fn a_session_that_was_not_there_all_the_time_refutes_nothing() {
    let mut aliases = Aliases::default();
    let (one, two) = (instance(5, 1, &[1]), instance(5, 2, &[2]));
    // Not held: it ended with its check.
    aliases.saw(&id("vip"), seen(&one, 0, false), BEAT);
    aliases.saw(&id("a"), seen(&two, 10, false), BEAT);
    aliases.saw(&id("vip"), seen(&one, 20, false), BEAT);
    assert_eq!(groups(&aliases), "a=vip");
    // Another session each time.
    for (at, process) in [(30, 11), (50, 12), (70, 13)] {
        aliases.saw(
            &id("vip"),
            seen(&instance(5, process, &[process]), at, true),
            BEAT,
        );
        aliases.saw(&id("a"), seen(&two, at + 10, false), BEAT);
    }
    assert_eq!(groups(&aliases), "a=vip");
    // Behind a pooler, the process is whichever it chose.
    for at in [100, 120, 140] {
        let sighting = Sighting {
            pooled: true,
            ..seen(&one, at, true)
        };
        aliases.saw(&id("vip"), sighting, BEAT);
        aliases.saw(&id("a"), seen(&two, at + 10, false), BEAT);
    }
    assert_eq!(groups(&aliases), "a=vip");
}

#[test]
fn who_is_forgotten_is_the_same_as_nobody() {
    let mut aliases = Aliases::default();
    for name in ["vip", "a", "b"] {
        aliases.saw(&id(name), seen(&instance(5, 1, &[1]), 0, false), BEAT);
    }
    assert!(aliases.forget(&id("a")));
    assert_eq!(groups(&aliases), "b=vip");
    aliases.retain(|known| *known == id("b"));
    assert_eq!(groups(&aliases), "");
    aliases.saw(&id("a"), seen(&instance(5, 1, &[1]), 1, false), BEAT);
    assert_eq!(groups(&aliases), "a=b");
}

#[test]
fn other_ids_change_no_relation() {
    let mut aliases = Aliases::default();
    for (at, name) in (0..).zip(["vip", "a"]) {
        aliases.saw(&id(name), seen(&instance(5, 1, &[1, 2]), at, false), BEAT);
    }
    aliases.saw(&id("b"), seen(&instance(6, 3, &[3]), 2, false), BEAT);
    let exchanged = |known: &TargetId| match known.to_string().as_str() {
        "a" => id("b"),
        "b" => id("a"),
        _ => known.clone(),
    };
    aliases.rename(exchanged);
    assert_eq!(groups(&aliases), "b=vip");
    assert!(aliases.is_known_as(&id("b"), 7, 5) && aliases.is_known_as(&id("a"), 7, 6));
}
