//! Numbers by a seed, so that every arm meets the same schedule and a run can be repeated.

/// SplitMix64: small, and good enough to draw schedules and samples.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Those of another sequence of the same seed, such as that of one block.
    #[must_use]
    pub fn of(seed: u64, sequence: u64) -> Self {
        let mut first = Self(seed ^ sequence.wrapping_mul(0xD134_2543_DE82_EF95));
        Self(first.next())
    }

    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "it has no end")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `most` - 1; 0 where `most` is 0.
    pub fn below(&mut self, most: usize) -> usize {
        let most = u64::try_from(most).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % most).unwrap_or(0)
    }

    /// A number from 0 up to, but not including, 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A time between two arrivals that come by chance, with this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// Puts them in an order by chance.
    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            all.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_and_a_sequence_others() {
        let of = |mut random: Random| (0..5).map(|_| random.next()).collect::<Vec<_>>();
        assert_eq!(of(Random::new(7)), of(Random::new(7)));
        assert_ne!(of(Random::new(7)), of(Random::new(8)));
        assert_ne!(of(Random::of(7, 1)), of(Random::of(7, 2)));
    }

    #[test]
    fn a_shuffle_keeps_all_and_draws_stay_within_their_bounds() {
        let mut random = Random::new(1);
        let mut all: Vec<_> = (0..50).collect();
        random.shuffle(&mut all);
        assert_ne!(all, (0..50).collect::<Vec<_>>());
        all.sort_unstable();
        assert_eq!(all, (0..50).collect::<Vec<_>>());
        assert!((0..1000).all(|_| random.below(3) < 3 && (0.0..1.0).contains(&random.unit())));
        assert_eq!(random.below(0), 0);
    }

    #[test]
    fn times_between_arrivals_have_their_mean() {
        let mut random = Random::new(3);
        let sum: f64 = (0..20_000).map(|_| random.exponential(0.5)).sum();
        assert!((sum / 20_000.0 - 0.5).abs() < 0.02, "{sum}");
    }
}
