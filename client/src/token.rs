//! Read your writes: where the log was after a write, and whether a server is at least there.
//!
//! Pure. What a server told is judged so; T is the token, each row holds before those below it:
//!
//! | the server | is |
//! |---|---|
//! | is of another system | [`Judged::OtherSystem`] |
//! | takes writes, on an older timeline than T | [`Judged::Behind`]: it is an old primary |
//! | takes writes, on a newer one | [`Judged::Unproven`]: whether T's write was in the log that it took over is not known |
//! | takes writes, and its position is below T | [`Judged::Forged`]: nobody wrote T |
//! | takes writes | [`Judged::Fresh`] |
//! | replays another timeline than T's, or tells none | [`Judged::Elsewhere`] |
//! | has replayed T | [`Judged::Fresh`] |
//! | has not | [`Judged::Behind`] |

use std::fmt;
use std::str::FromStr;

use distributary_core::observation::Lsn;

/// Where the log of a database was after a write: a read that is given it sees that write.
///
/// Its text, such as `7351a9b0c2d4e6f8.1.16B374D848`, is of letters, digits and dots: it fits into a cookie or a header. It is no secret
/// and is not signed; one that nobody was given costs the primary a read, and is counted.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Token {
    system_identifier: u64,
    timeline: u32,
    lsn: u64,
}

/// A text that is no token.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a token of the form SYSTEM.TIMELINE.POSITION, in hexadecimal")]
pub struct InvalidToken;

impl Token {
    /// The one that covers both: the later position of the same database. Of two databases the other one, which is newer.
    ///
    /// ```
    /// use distributary_client::Token;
    ///
    /// let (one, other): (Token, Token) = ("7.1.A0".parse()?, "7.1.FF".parse()?);
    /// assert_eq!(one.merged(other), other);
    /// # Ok::<(), distributary_client::InvalidToken>(())
    /// ```
    #[must_use]
    pub fn merged(self, other: Self) -> Self {
        let same = self.system_identifier == other.system_identifier;
        if same && (self.timeline, self.lsn) > (other.timeline, other.lsn) {
            self
        } else {
            other
        }
    }

    /// `system_identifier` of `pg_control_system()`.
    ///
    /// ```
    /// let token: distributary_client::Token = "7.1.A0".parse()?;
    /// assert_eq!((token.system_identifier(), token.timeline(), token.lsn()), (7, 1, 0xA0));
    /// # Ok::<(), distributary_client::InvalidToken>(())
    /// ```
    #[must_use]
    pub const fn system_identifier(self) -> u64 {
        self.system_identifier
    }

    /// The timeline that the write is on.
    #[must_use]
    pub const fn timeline(self) -> u32 {
        self.timeline
    }

    /// `pg_current_wal_insert_lsn()` after the write, in bytes.
    #[must_use]
    pub const fn lsn(self) -> u64 {
        self.lsn
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:x}.{:x}.{:X}",
            self.system_identifier, self.timeline, self.lsn
        )
    }
}

impl FromStr for Token {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let hexadecimal = |part: Option<&str>| {
            let digits = part.filter(|part| part.bytes().all(|digit| digit.is_ascii_hexdigit()));
            digits
                .and_then(|digits| u64::from_str_radix(digits, 16).ok())
                .ok_or(InvalidToken)
        };
        let mut parts = text.split('.');
        let token = Self {
            system_identifier: hexadecimal(parts.next())?,
            timeline: u32::try_from(hexadecimal(parts.next())?).map_err(|_| InvalidToken)?,
            lsn: hexadecimal(parts.next())?,
        };
        parts.next().map_or(Ok(token), |_| Err(InvalidToken))
    }
}

/// Asks a server for its position, in a statement of its own. The timeline of a standby is what its receiver receives, which only
/// members of `pg_read_all_stats` (or `pg_monitor`) see: that of its last checkpoint may be older than what it has replayed.
pub const POSITION: &str = "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN 'standby' ELSE 'primary' END, \
    CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_insert_lsn() END, \
    (SELECT system_identifier FROM pg_catalog.pg_control_system()), \
    CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL ELSE pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8) END, \
    (SELECT received_tli FROM pg_catalog.pg_stat_wal_receiver)";

/// What a server told of its position.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Position {
    pub standby: bool,
    pub system_identifier: u64,
    /// `None`: it does not tell.
    pub timeline: Option<u32>,
    pub lsn: Lsn,
}

impl Position {
    /// Of the columns of [`POSITION`]; `None`: one of them is missing.
    pub fn read(columns: [Option<&str>; 5]) -> Option<Self> {
        let [role, lsn, system, writes, replays] = columns;
        let standby = role? == "standby";
        let timeline = if standby {
            replays.and_then(|text| text.parse().ok())
        } else {
            writes.and_then(|text| u32::from_str_radix(text, 16).ok())
        };
        Some(Self {
            standby,
            system_identifier: system?.parse().ok()?,
            timeline,
            lsn: lsn?.parse().ok()?,
        })
    }

    /// The token of a write that was committed before this was asked, of a server that takes writes.
    pub fn token(self) -> Option<Token> {
        let timeline = self.timeline.filter(|_| !self.standby)?;
        Some(Token {
            system_identifier: self.system_identifier,
            timeline,
            lsn: self.lsn.0,
        })
    }
}

/// Whether a server may serve a read with a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Judged {
    Fresh,
    /// It may be there soon.
    Behind,
    /// It will not be known of it: another one must serve.
    Elsewhere,
    /// It serves, and nothing proves that the write of the token was kept.
    Unproven,
    /// It serves: the token is ahead of the log.
    Forged,
    OtherSystem,
}

/// See the module.
pub fn judge(token: Token, seen: Position) -> Judged {
    if token.system_identifier != seen.system_identifier {
        return Judged::OtherSystem;
    }
    let there = seen.lsn.0 >= token.lsn;
    match (seen.standby, seen.timeline) {
        (false, Some(timeline)) if timeline < token.timeline => Judged::Behind,
        (false, Some(timeline)) if timeline > token.timeline => Judged::Unproven,
        (false, None) => Judged::Unproven,
        (false, Some(_)) if !there => Judged::Forged,
        (true, timeline) if timeline != Some(token.timeline) => Judged::Elsewhere,
        _ if there => Judged::Fresh,
        _ => Judged::Behind,
    }
}

/// Whether a server may serve a read that must see what was written up to `bound`, where the timeline of a standby need not be
/// proven: [`Judged::Fresh`], [`Judged::Behind`] or [`Judged::Elsewhere`].
pub fn judge_lag(bound: Token, seen: Position) -> Judged {
    let elsewhere = |timeline: u32| {
        if seen.standby {
            timeline != bound.timeline
        } else {
            timeline < bound.timeline
        }
    };
    if bound.system_identifier != seen.system_identifier || seen.timeline.is_some_and(elsewhere) {
        return Judged::Elsewhere;
    }
    if !seen.standby || seen.lsn.0 >= bound.lsn {
        Judged::Fresh
    } else {
        Judged::Behind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: Token = Token {
        system_identifier: 7,
        timeline: 2,
        lsn: 100,
    };

    fn seen(standby: bool, timeline: impl Into<Option<u32>>, lsn: u64) -> Judged {
        let position = Position {
            standby,
            system_identifier: 7,
            timeline: timeline.into(),
            lsn: Lsn(lsn),
        };
        judge(TOKEN, position)
    }

    #[test]
    fn a_server_serves_a_token_as_the_table_says() {
        let (standby, primary) = (true, false);
        for (judged, expected) in [
            (seen(standby, 2, 100), Judged::Fresh),
            (seen(standby, 2, 99), Judged::Behind),
            (seen(standby, 1, 500), Judged::Elsewhere),
            (seen(standby, 3, 500), Judged::Elsewhere),
            (seen(standby, None, 500), Judged::Elsewhere),
            (seen(primary, 2, 100), Judged::Fresh),
            (seen(primary, 2, 99), Judged::Forged),
            (seen(primary, 1, 500), Judged::Behind),
            (seen(primary, 3, 500), Judged::Unproven),
            (seen(primary, None, 500), Judged::Unproven),
        ] {
            assert_eq!(judged, expected);
        }
        let other = Token {
            system_identifier: 8,
            ..TOKEN
        };
        let position = Position {
            standby,
            system_identifier: 7,
            timeline: Some(2),
            lsn: Lsn(500),
        };
        assert_eq!(judge(other, position), Judged::OtherSystem);
    }

    #[test]
    fn a_bound_of_lag_is_kept_by_the_position_and_refuted_by_another_timeline() {
        let judged = |standby, timeline: Option<u32>, lsn| {
            let position = Position {
                standby,
                system_identifier: 7,
                timeline,
                lsn: Lsn(lsn),
            };
            judge_lag(TOKEN, position)
        };
        for (judged, expected) in [
            (judged(true, None, 100), Judged::Fresh),
            (judged(true, Some(2), 100), Judged::Fresh),
            (judged(true, None, 99), Judged::Behind),
            (judged(true, Some(1), 500), Judged::Elsewhere),
            (judged(true, Some(3), 500), Judged::Elsewhere),
            (judged(false, Some(2), 1), Judged::Fresh),
            (judged(false, Some(3), 1), Judged::Fresh),
            (judged(false, Some(1), 500), Judged::Elsewhere),
        ] {
            assert_eq!(judged, expected);
        }
        let other = Token {
            system_identifier: 8,
            ..TOKEN
        };
        let position = Position {
            standby: true,
            system_identifier: 7,
            timeline: None,
            lsn: Lsn(500),
        };
        assert_eq!(judge_lag(other, position), Judged::Elsewhere);
    }

    #[test]
    fn tokens_merge_by_maximum_and_the_newer_timeline_goes_first() {
        let later = Token { lsn: 101, ..TOKEN };
        let promoted = Token {
            timeline: 3,
            lsn: 50,
            ..TOKEN
        };
        for (one, other) in [(TOKEN, later), (later, promoted)] {
            assert_eq!(one.merged(other), other);
            assert_eq!(other.merged(one), other);
        }
    }

    #[test]
    fn a_token_is_read_back_from_its_text_and_nothing_else_is() {
        let token = Token {
            system_identifier: u64::MAX,
            timeline: 0xab,
            lsn: 0x16_B374_D848,
        };
        assert_eq!(token.to_string(), "ffffffffffffffff.ab.16B374D848");
        assert_eq!(token.to_string().parse(), Ok(token));
        for wrong in [
            "",
            "1.2",
            "1.2.3.4",
            "1.2.x",
            "1..3",
            "+1.2.3",
            "1.100000000.3",
            "10000000000000000.2.3",
        ] {
            assert_eq!(wrong.parse::<Token>(), Err(InvalidToken), "{wrong}");
        }
    }

    #[test]
    fn what_a_server_tells_is_read() {
        let primary = Position::read([
            Some("primary"),
            Some("1/10"),
            Some("7"),
            Some("0000000A"),
            Some("9"),
        ]);
        assert_eq!(primary.and_then(Position::token).map(Token::timeline), Some(10));
        let standby =
            Position::read([Some("standby"), Some("1/10"), Some("7"), None, Some("9")]).expect("it tells");
        assert_eq!((standby.timeline, standby.token()), (Some(9), None));
        assert_eq!(
            Position::read([Some("standby"), None, Some("7"), None, None]),
            None
        );
    }
}
