//! For how long a stream may go on without a new proof that its caller may read. Pure.

use std::time::Duration;

use distributary_core::Moment;

use crate::http_api::problem::Problem;

/// From one proof to the next question, at most.
const AGAIN: Duration = Duration::from_secs(60);
/// It is asked up to so much earlier, so that streams that began together do not ask together.
const SPREAD_MS: u64 = 10_000;
/// From a question without an answer to the next.
const RETRY: Duration = Duration::from_secs(2);
/// A proof holds for so long.
const HOLDS: Duration = Duration::from_secs(75);

/// The newest proof that a caller may read, and when the next one is asked for.
#[derive(Debug)]
pub struct Permit {
    proved: Moment,
    ask_at: Moment,
    early: Duration,
}

impl Permit {
    /// `proved`: when the API server was asked. `number`: of the stream, which spreads the questions.
    #[must_use]
    pub fn new(proved: Moment, number: u64) -> Self {
        // Neighbours are far from each other.
        let early = Duration::from_millis(number.wrapping_mul(6_180) % SPREAD_MS);
        Self {
            proved,
            ask_at: proved + (AGAIN - early),
            early,
        }
    }

    #[must_use]
    pub const fn ask_at(&self) -> Moment {
        self.ask_at
    }

    /// How long the proof still holds; 0: nothing may be told any more.
    #[must_use]
    pub fn left(&self, now: Moment) -> Duration {
        HOLDS.saturating_sub(now.since(self.proved))
    }

    /// Takes in the answer to a question.
    ///
    /// # Errors
    /// Why the stream ends: the API server refused it, or did not say anything for too long.
    pub fn take(&mut self, answer: Result<Moment, Problem>, now: Moment) -> Result<(), Problem> {
        match answer {
            Ok(proved) => {
                self.proved = proved;
                self.ask_at = (proved + (AGAIN - self.early)).max(now + RETRY);
                Ok(())
            }
            Err(problem) if matches!(problem.code, 401 | 403 | 404) => Err(problem),
            Err(problem) if self.left(now).is_zero() => Err(problem),
            Err(_) => {
                self.ask_at = now + RETRY;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use distributary_core::fixture::at;

    use super::*;

    #[test]
    fn a_proof_is_asked_for_anew_before_it_ends_and_not_by_all_at_once() {
        let mut asked: Vec<_> = (0..100)
            .map(|number| Permit::new(at(5_000), number).ask_at())
            .collect();
        asked.sort();
        asked.dedup();
        assert!(asked.len() > 50, "{}", asked.len());
        assert!(asked.iter().all(|at_| (at(55_000)..=at(65_000)).contains(at_)));
    }

    #[test]
    fn a_refusal_ends_it_at_once() {
        for code in [401, 403, 404] {
            let mut permit = Permit::new(at(0), 0);
            let problem = Problem {
                code,
                ..Problem::unavailable()
            };
            assert_eq!(permit.take(Err(problem.clone()), at(60_000)), Err(problem));
        }
    }

    #[test]
    fn without_an_answer_it_is_asked_within_seconds_and_ends_75_seconds_after_the_last_proof() {
        for problem in [Problem::unavailable(), Problem::busy("others")] {
            let mut permit = Permit::new(at(0), 0);
            permit.take(Err(problem.clone()), at(60_000)).unwrap();
            assert_eq!(permit.ask_at(), at(62_000));
            permit.take(Err(problem.clone()), at(74_999)).unwrap();
            assert_eq!(permit.left(at(74_999)), Duration::from_millis(1));
            assert!(permit.left(at(75_000)).is_zero());
            assert_eq!(permit.take(Err(problem.clone()), at(75_000)), Err(problem));
        }
        let mut permit = Permit::new(at(0), 0);
        permit.take(Err(Problem::unavailable()), at(60_000)).unwrap();
        permit.take(Ok(at(70_000)), at(72_000)).unwrap();
        assert_eq!(permit.ask_at(), at(130_000));
        assert!(!permit.left(at(140_000)).is_zero());
    }
}
