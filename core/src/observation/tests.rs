use super::*;

#[test]
fn a_log_position_is_read_as_the_server_writes_it() {
    for (text, expected) in [
        ("0/0", 0),
        ("16/B374D848", 0x16_B374_D848),
        ("FFFFFFFF/FFFFFFFF", u64::MAX),
        ("1/0", 1 << 32),
    ] {
        assert_eq!(text.parse::<Lsn>().ok(), Some(Lsn(expected)), "{text}");
    }
    for text in ["", "0", "/", "16/", "/B3", "1/100000000", "g/0", "1/2/3"] {
        assert!(text.parse::<Lsn>().is_err(), "{text}");
    }
}

#[test]
fn what_a_lag_query_answers_is_bounded_and_printable() {
    for (answer, shown) in [
        (NoLag::Null, "NULL"),
        (NoLag::Nothing, "no row"),
        (NoLag::value("00:00:01.5"), "\"00:00:01.5\""),
        (NoLag::value("NaN"), "\"NaN\""),
        (
            NoLag::value("\u{1b}[31m\"\n\u{202e}é"),
            r#""\u{1b}[31m\"\n\u{202e}é""#,
        ),
        (NoLag::refused("42P01"), "SQLSTATE 42P01"),
        (NoLag::refused("4\n2"), r"SQLSTATE 4\n2"),
    ] {
        assert_eq!(answer.to_string(), shown);
    }
    let long = NoLag::value(&"\0".repeat(10_000)).to_string();
    assert!(long.len() < 64 && long.ends_with("…\""), "{long}");
}
