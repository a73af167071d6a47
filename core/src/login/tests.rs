use super::*;

#[test]
fn what_must_not_be_shown_is_given_only_to_who_asks_for_it() {
    let secret = Sensitive::new("canary");
    assert_eq!(format!("{secret:?}"), "[redacted]");
    assert_eq!(secret.reveal(), "canary");
}

#[test]
fn one_line_end_is_left_out_of_user_and_password_and_no_other_white_space() {
    let without = |user: &str, password: Option<&str>| {
        let login = Login {
            user: user.to_owned(),
            password: password.map(Sensitive::new),
            ..(*crate::fixture::login("probe")).clone()
        };
        let bare = login.without_line_ends();
        bare.map(|(user, password)| {
            (
                user.to_owned(),
                password.map(|password| password.reveal().to_owned()),
            )
        })
    };
    let bare = |user: &str, password: Option<&str>| Some((user.to_owned(), password.map(ToOwned::to_owned)));
    assert_eq!(without("probe", Some("secret\n")), bare("probe", Some("secret")));
    assert_eq!(
        without("probe\r\n", Some("secret")),
        bare("probe", Some("secret"))
    );
    assert_eq!(without("probe\n", None), bare("probe", None));
    assert_eq!(
        without("probe", Some("secret\n\n")),
        bare("probe", Some("secret\n"))
    );
    for other in ["secret", "secret ", " secret\t", "sec\nret", "secret\r"] {
        assert_eq!(without("probe", Some(other)), None, "{other:?}");
    }
}

#[test]
fn why_a_secret_gives_nothing_is_told_with_its_name() {
    for (problem, expected) in [
        (SecretProblem::NotFound, "Secret probe does not exist"),
        (
            SecretProblem::KeyMissing("password".to_owned()),
            "Secret probe has no key password",
        ),
        (
            SecretProblem::KeyNamedOtherwise {
                key: "url".to_owned(),
                has: "jdbc-uri, uri".to_owned(),
            },
            "Secret probe has no key url, but has jdbc-uri, uri",
        ),
    ] {
        let unresolved = UnresolvedSecret {
            secret: "probe".to_owned(),
            problem,
        };
        assert_eq!(unresolved.to_string(), expected);
    }
}
