use super::*;

#[test]
fn what_must_not_be_shown_is_given_only_to_who_asks_for_it() {
    let secret = Sensitive::new("canary");
    assert_eq!(format!("{secret:?}"), "[redacted]");
    assert_eq!(secret.reveal(), "canary");
}

#[test]
fn why_a_secret_gives_nothing_is_told_with_its_name() {
    for (problem, expected) in [
        (SecretProblem::NotFound, "Secret probe does not exist"),
        (
            SecretProblem::KeyMissing("password".to_owned()),
            "Secret probe has no key password",
        ),
    ] {
        let unresolved = UnresolvedSecret {
            secret: "probe".to_owned(),
            problem,
        };
        assert_eq!(unresolved.to_string(), expected);
    }
}
