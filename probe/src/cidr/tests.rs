use super::*;

#[test]
fn a_cidr_is_read_or_what_must_hold_is_said() {
    for (text, read) in [
        ("10.0.0.0/8", "10.0.0.0/8"),
        (" 10.0.0.1 ", "10.0.0.1/32"),
        ("fd00::/8", "fd00::/8"),
        ("::1", "::1/128"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("::/0", "::/0"),
    ] {
        assert_eq!(text.parse::<Cidr>().unwrap().to_string(), read, "{text}");
    }
    for text in ["10.0.0.1/8", "::ffff:10.0.0.1/104"] {
        assert_eq!(
            text.parse::<Cidr>().unwrap_err().to_string(),
            "has an address with bits after the prefix: write 10.0.0.0/8"
        );
    }
    for text in ["", "10.0.0.0/33", "10.0.0/8", "pg.example.com", "fd00::/129"] {
        assert_eq!(text.parse::<Cidr>(), Err(InvalidCidr::NotANetwork), "{text}");
    }
    let must = InvalidCidr::NotANetwork.to_string();
    assert_eq!(
        must,
        "must be a CIDR such as 10.0.0.0/8 or fd00::/8, or an address"
    );
}
