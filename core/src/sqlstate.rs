//! The SQLSTATE of a server's error, and which one people are told of.

use std::fmt;

/// Five letters and digits, as the SQL standard has it: what a server chose otherwise is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sqlstate([u8; 5]);

impl Sqlstate {
    #[must_use]
    pub fn new(code: &str) -> Option<Self> {
        let code: [u8; 5] = code.as_bytes().try_into().ok()?;
        let plain = |c: &u8| c.is_ascii_uppercase() || c.is_ascii_digit();
        code.iter().all(plain).then_some(Self(code))
    }
}

impl fmt::Display for Sqlstate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|c| write!(f, "{}", char::from(*c)))
    }
}

/// The SQLSTATE of errors in a row: of several that alternate the first, until one is told twice in a row.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ToldSqlstate {
    told: Option<Sqlstate>,
    newest: Option<Sqlstate>,
}

impl ToldSqlstate {
    /// Takes in that of the newest check; `None`: it has none.
    pub fn observe(&mut self, newest: Option<Sqlstate>) {
        if self.told.is_none() || newest.is_none() || newest == self.newest {
            self.told = newest;
        }
        self.newest = newest;
    }

    /// What people are told.
    #[must_use]
    pub const fn told(self) -> Option<Sqlstate> {
        self.told
    }

    /// The same while it tells the same.
    #[must_use]
    pub const fn shown(self) -> Self {
        Self {
            told: self.told,
            newest: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_five_letters_and_digits_and_nothing_else() {
        let told = |code: &str| Sqlstate::new(code).map(|code| code.to_string());
        assert_eq!(told("42501"), Some("42501".to_owned()));
        assert_eq!(told("XX000"), Some("XX000".to_owned()));
        for other in ["", "4250", "425011", "4250\n", "425é", "4250a", "\u{1b}[31m"] {
            assert_eq!(told(other), None, "{other:?}");
        }
    }

    #[test]
    fn codes_that_alternate_are_one() {
        let mut known = ToldSqlstate::default();
        let mut told = |code: &str| {
            known.observe(Sqlstate::new(code));
            known.told().map(|code| code.to_string()).unwrap_or_default()
        };
        let codes = ["42501", "57014", "42501", "57014", "57014", "42501", "", "57014"];
        assert_eq!(
            codes.map(&mut told),
            ["42501", "42501", "42501", "42501", "57014", "57014", "", "57014"]
        );
    }
}
