//! What the statements of a closure may do, by their texts and by the answers to them: whether a failed write was done is told from it.
//!
//! Texts are read coarsely, and where they leave doubt, for the worse: a write is called not done only where that is certain.

use std::sync::atomic::{AtomicU32, Ordering};

/// A statement was begun. To prepare one is none.
pub const BEGUN: u32 = 1;
/// The server was asked to carry something out.
pub const EXECUTED: u32 = 1 << 1;
/// The text of a statement was sent by itself.
pub const TEXT: u32 = 1 << 2;
/// A text may be done in part: it holds several statements, or one that commits by itself.
pub const PARTIAL: u32 = 1 << 3;
/// A text may end the transaction.
pub const ENDS: u32 = 1 << 4;
/// A text begins a new transaction where it ends one.
const CHAINS: u32 = 1 << 5;
/// A statement was carried out that does more than read.
pub const CHANGED: u32 = 1 << 6;
const SAVED: u32 = 1 << 7;
/// A transaction was begun, committed, prepared, or rolled back as a whole.
pub const ENDED: u32 = 1 << 8;
/// COMMIT is sent for the closure.
pub const COMMITTING: u32 = 1 << 9;

/// Statements that end a transaction.
const ENDINGS: [&[u8]; 5] = [b"COMMIT", b"END", b"PREPARE", b"ROLLBACK", b"ABORT"];
/// Statements that are done as a whole or not at all.
const WHOLE: [&[u8]; 12] = [
    b"SELECT",
    b"INSERT",
    b"UPDATE",
    b"DELETE",
    b"MERGE",
    b"WITH",
    b"VALUES",
    b"TABLE",
    b"COPY",
    b"TRUNCATE",
    b"LOCK",
    b"SHOW",
];

/// What was seen of a closure.
#[derive(Debug, Default)]
pub struct Seen(AtomicU32);

impl Seen {
    /// Whether any of these was seen.
    pub fn any(&self, marks: u32) -> bool {
        self.0.load(Ordering::Acquire) & marks != 0
    }

    pub fn mark(&self, marks: u32) {
        self.0.fetch_or(marks, Ordering::AcqRel);
    }

    /// A text of any number of statements: every word of it counts, in quotes and comments, too.
    pub fn batch(&self, text: &str) {
        self.mark(PARTIAL | ending(text.as_bytes()));
    }

    /// The message that prepares a statement, or the beginning of it: name and text, each with a zero byte at its end.
    pub fn prepared(&self, message: &[u8]) {
        let text = message.splitn(2, |byte| *byte == 0).nth(1).unwrap_or_default();
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        let first = first_word(text);
        let is = |words: &[&[u8]]| {
            first.is_some_and(|first| words.iter().any(|word| word.eq_ignore_ascii_case(first)))
        };
        let partial = if is(&WHOLE) { 0 } else { PARTIAL };
        // What cannot be read may be anything.
        let ends = if first.is_none() || is(&ENDINGS) {
            ENDS | ending(text)
        } else {
            0
        };
        self.mark(TEXT | partial | ends);
    }

    /// The tag of a statement that was carried out.
    pub fn done(&self, tag: &[u8]) {
        let marks = match first(tag) {
            b"SELECT" | b"SHOW" | b"FETCH" => 0,
            b"SAVEPOINT" => CHANGED | SAVED,
            // Back to a savepoint has the same tag.
            b"ROLLBACK" if self.any(SAVED) && !self.any(CHAINS) => CHANGED,
            b"BEGIN" | b"START" | b"COMMIT" | b"ROLLBACK" => CHANGED | ENDED,
            b"PREPARE" if tag.starts_with(b"PREPARE TRANSACTION") => CHANGED | ENDED,
            _ => CHANGED,
        };
        self.mark(marks);
    }
}

/// The first word of a tag.
pub fn first(tag: &[u8]) -> &[u8] {
    tag.split(|byte| matches!(byte, b' ' | 0))
        .next()
        .unwrap_or_default()
}

fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || !byte.is_ascii()
}

/// Whether words of a text end a transaction, and chain.
fn ending(text: &[u8]) -> u32 {
    let mut marks = 0;
    let mut before: &[u8] = b"";
    for word in text.split(|byte| !is_part(*byte)).filter(|word| !word.is_empty()) {
        if ENDINGS.iter().any(|ending| ending.eq_ignore_ascii_case(word)) {
            marks |= ENDS;
        }
        if word.eq_ignore_ascii_case(b"CHAIN") && before.eq_ignore_ascii_case(b"AND") {
            marks |= CHAINS;
        }
        before = word;
    }
    marks
}

/// The word that says what a statement does, after comments and parentheses; `None`: it is not in this part of the text.
fn first_word(mut text: &[u8]) -> Option<&[u8]> {
    loop {
        text = match text {
            [
                b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c | b'(' | b';',
                rest @ ..,
            ] => rest,
            [b'-', b'-', rest @ ..] => {
                let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'))?;
                &rest[end..]
            }
            [b'/', b'*', rest @ ..] => after_comment(rest)?,
            _ => break,
        };
    }
    let end = text.iter().position(|byte| !is_part(*byte)).unwrap_or(text.len());
    Some(&text[..end]).filter(|word| !word.is_empty())
}

/// Comments of this kind may stand in each other.
fn after_comment(mut text: &[u8]) -> Option<&[u8]> {
    let mut depth = 1;
    while depth > 0 {
        text = match text {
            [b'/', b'*', rest @ ..] => {
                depth += 1;
                rest
            }
            [b'*', b'/', rest @ ..] => {
                depth -= 1;
                rest
            }
            [_, rest @ ..] => rest,
            [] => return None,
        };
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(text: &str) -> u32 {
        let seen = Seen::default();
        seen.prepared(&[b"s1\0", text.as_bytes(), b"\0\0\0"].concat());
        seen.0.into_inner() & !TEXT
    }

    #[test]
    fn the_first_word_tells_what_a_prepared_statement_may_do() {
        for (text, expected) in [
            ("insert into note values ('commit')", 0),
            ("select case when true then 1 end", 0),
            (" -- a\n/* b /* c */ */ ((Select 1))", 0),
            ("do $$ begin commit; end $$", PARTIAL),
            ("/* insert */ call p()", PARTIAL),
            ("vacuum", PARTIAL),
            ("commit", PARTIAL | ENDS),
            ("END", PARTIAL | ENDS),
            ("rollback and chain", PARTIAL | ENDS | CHAINS),
            ("prepare transaction 'x'", PARTIAL | ENDS),
            ("/* never ends", PARTIAL | ENDS),
            ("", PARTIAL | ENDS),
        ] {
            assert_eq!(prepared(text), expected, "{text}");
        }
    }

    #[test]
    fn every_word_of_a_batch_counts() {
        for (text, expected) in [
            ("insert into note values (1); Commit", PARTIAL | ENDS),
            ("select 'commit'", PARTIAL | ENDS),
            ("select committed, commit_at from ends", PARTIAL),
            ("abort and  chain", PARTIAL | ENDS | CHAINS),
        ] {
            let seen = Seen::default();
            seen.batch(text);
            assert_eq!(seen.0.into_inner(), expected, "{text}");
        }
    }

    #[test]
    fn a_rollback_to_a_savepoint_ends_no_transaction() {
        let ended = |text: &str, tags: &[&[u8]]| {
            let seen = Seen::default();
            seen.batch(text);
            for tag in tags {
                seen.done(tag);
            }
            seen.any(ENDED)
        };
        assert!(!ended(
            "",
            &[b"SAVEPOINT\0", b"ROLLBACK\0", b"RELEASE\0", b"PREPARE\0"]
        ));
        assert!(ended("rollback and chain", &[b"SAVEPOINT\0", b"ROLLBACK\0"]));
        for tag in [
            &b"ROLLBACK\0"[..],
            b"COMMIT\0",
            b"BEGIN\0",
            b"START TRANSACTION\0",
            b"PREPARE TRANSACTION\0",
        ] {
            assert!(ended("", &[tag]));
        }
    }
}
