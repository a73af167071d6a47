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
