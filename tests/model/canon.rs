//! Which states are one: what a state hashes as.
//!
//! States are one where no step tells them apart, whatever follows:
//! - a moment counts from the present one of its clock, as every rule adds to it or subtracts from it; and one that is older than
//!   [`OLD`] is as old as any, as no rule asks for more: the longest is twice the longest pause between writes of one object (16 s);
//! - of versions only the order is told, and whether two are the same: they hash as their rank among those of the state;
//! - of stamps (the wall clock in a Lease) only whether two are the same: they hash by their first appearance.
//!
//! All else hashes as it is, by derived implementations: a field that somebody adds is in it.

use std::hash::{DefaultHasher, Hash, Hasher};

use distributary_core::Moment;

/// In nanoseconds.
const OLD: i128 = 17_000_000_000;

#[derive(Default)]
pub struct Canon {
    text: Vec<u8>,
    present: i128,
    /// Where in the text each is told.
    versions: Vec<(usize, i128)>,
    stamps: Vec<i64>,
}

impl Canon {
    /// What follows is by this clock.
    pub fn at(&mut self, present: Moment) {
        self.present = nanos(present);
    }

    /// The digest of all that was told.
    pub fn digest(mut self) -> u64 {
        let mut known: Vec<i128> = self.versions.iter().map(|(_, version)| *version).collect();
        known.sort_unstable();
        known.dedup();
        for (at, version) in &self.versions {
            let rank = known.binary_search(version).unwrap_or_default();
            let rank = u16::try_from(rank)
                .expect("a state has few versions")
                .to_le_bytes();
            self.text[*at..*at + rank.len()].copy_from_slice(&rank);
        }
        let mut hasher = DefaultHasher::new();
        hasher.write(&self.text);
        hasher.finish()
    }
}

fn nanos(moment: Moment) -> i128 {
    i128::try_from(moment.since_start().as_nanos()).expect("a few seconds")
}

impl Hasher for Canon {
    fn finish(&self) -> u64 {
        unreachable!("a state is told as a whole: Canon::digest")
    }

    fn write(&mut self, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
    }

    /// A moment.
    fn write_u128(&mut self, moment: u128) {
        let moment = i128::try_from(moment).expect("a few seconds");
        let since = (moment - self.present).max(-OLD);
        self.text.extend_from_slice(&since.to_le_bytes()[..8]);
    }

    /// A version.
    fn write_i128(&mut self, version: i128) {
        self.versions.push((self.text.len(), version));
        self.text.extend_from_slice(&[0; 2]);
    }

    /// A stamp.
    fn write_i64(&mut self, stamp: i64) {
        let known = self.stamps.iter().position(|known| *known == stamp);
        let index = known.unwrap_or_else(|| {
            self.stamps.push(stamp);
            self.stamps.len() - 1
        });
        self.text
            .push(u8::try_from(index).expect("a state has few stamps"));
    }
}

/// A version of the API server.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Number(pub u64);

impl Hash for Number {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_i128(self.0.into());
    }
}
