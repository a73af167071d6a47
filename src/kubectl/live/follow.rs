//! A stream of the operator for as long as somebody answers: it is opened anew where it breaks, also at a new leader.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use super::stream::{Stopped, Told};
use super::{Events, Live, LiveArguments};
use crate::clock::Clock;
use crate::http_api::problem::Problem;
use crate::kubectl::cluster::Cluster;
use crate::kubectl::error::Error;

/// From the end of a stream to the next one, and between two tries.
const PAUSE: Duration = Duration::from_secs(1);
/// For longer than the Lease names a leader that is gone.
const TRIES: u32 = 30;
/// Streams in a row that may break before they told anything, as those of an operator of another version do.
const BREAKS: u32 = 5;

/// Why nobody is followed any more.
enum Ended {
    /// Nobody answers.
    Unanswered(Error),
    /// The operator does not have what was followed any more.
    Gone,
    /// What was told could not be taken.
    Untaken(Error),
}

impl LiveArguments {
    /// Hands over what a stream tells until nobody answers any more, which is said on standard error, or until the operator does not
    /// have it any more. `open` asks for the stream; what `idle` has to tell while the stream is silent is handed over, too.
    ///
    /// # Errors
    /// That of `take`; the server that --server names does not answer any more, or has ended the stream.
    pub async fn follow<T: Told>(
        &self,
        cluster: &Cluster,
        open: impl AsyncFn(&Live) -> Result<Events<T>, Error>,
        idle: impl AsyncFn() -> T,
        take: impl AsyncFnMut(T) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Err(why) = self.followed(cluster, open, idle, take).await;
        match why {
            Ended::Unanswered(why) => self.known::<()>(Err(why)).map(drop),
            Ended::Gone => Ok(()),
            Ended::Untaken(why) => Err(why),
        }
    }

    async fn followed<T: Told>(
        &self,
        cluster: &Cluster,
        open: impl AsyncFn(&Live) -> Result<Events<T>, Error>,
        idle: impl AsyncFn() -> T,
        mut take: impl AsyncFnMut(T) -> Result<(), Error>,
    ) -> Result<Infallible, Ended> {
        let first = async { open(&self.find(cluster).await?).await };
        let mut events = first.await.map_err(Ended::Unanswered)?;
        let mut broken = 0;
        loop {
            let heard = {
                let mut next = pin!(events.next());
                loop {
                    tokio::select! {
                        biased;
                        heard = &mut next => break heard,
                        told = idle() => take(told).await.map_err(Ended::Untaken)?,
                    }
                }
            };
            let why = match heard {
                Ok(Some(told)) => {
                    broken = 0;
                    take(told).await.map_err(Ended::Untaken)?;
                    continue;
                }
                Ok(None) => Error::said("the operator has ended the stream"),
                Err(Stopped::Broken(why)) => why,
                Err(Stopped::Ended(problem)) if problem.code == 404 => return Err(Ended::Gone),
                Err(Stopped::Ended(problem)) if is_final(&problem) => {
                    return Err(Ended::Unanswered(Error::said(problem.message)));
                }
                Err(Stopped::Ended(problem)) => Error::said(problem.message),
            };
            if broken == BREAKS {
                return Err(Ended::Unanswered(why));
            }
            broken += 1;
            let ask = async || open(&self.find(cluster).await?).await;
            events = again(TRIES, ask).await.map_err(Ended::Unanswered)?;
        }
    }
}

/// Whether to ask again changes nothing; as the page of the dashboard has it.
const fn is_final(problem: &Problem) -> bool {
    matches!(problem.code, 400 | 401 | 403)
}

/// Asks for a stream anew after the last one broke, so often at most.
///
/// # Errors
/// Why the last try failed.
async fn again<T>(tries: u32, ask: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
    let mut left = tries;
    loop {
        Clock::sleep(PAUSE).await;
        left -= 1;
        match ask().await {
            Err(_) if left > 0 => {}
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn what_may_not_be_read_is_not_asked_for_again() {
        let of = |code: u16| Problem {
            code,
            reason: String::new(),
            message: String::new(),
        };
        assert_eq!(
            [401, 403, 429, 503, 504].map(|code| is_final(&of(code))),
            [true, true, false, false, false]
        );
    }

    /// The leader is gone, and the next one leads after some tries.
    #[tokio::test(start_paused = true)]
    async fn a_stream_outlives_the_leader() {
        let asked = Cell::new(0);
        let ask = async || {
            asked.set(asked.get() + 1);
            if asked.get() < 7 {
                Err(Error::said("nobody holds the Lease"))
            } else {
                Ok("leads")
            }
        };
        assert_eq!(again(TRIES, ask).await.unwrap(), "leads");
        assert_eq!(asked.get(), 7);
        let never = async || Err::<(), _>(Error::said("nobody holds the Lease"));
        let why = again(TRIES, never).await.unwrap_err();
        assert_eq!(why.text(), "error: nobody holds the Lease");
    }
}
