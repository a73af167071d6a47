//! The task that holds one session on one address of a server beside the checks, for all who want one held there. It
//! sees a crash when the socket closes, not at the next check.
//!
//! | what happens                                          | who holds it hears |
//! |-------------------------------------------------------|--------------------|
//! | an answer to a heartbeat                              | the sample         |
//! | closed, reset, shut down; refused when opened anew    | `Closed`           |
//! | no answer in time, nonsense, an error                 | `Missed`           |
//! | no place when opened anew                             | `Full`             |
//! | no right when opened anew                             | nothing            |
//!
//! After that the session is opened anew, with a growing back-off while it does not last.

use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::clock::Clock;
use super::conversation::Conversation;
use super::login::Server;
use super::panics::caught;
use super::places::{Place, Places};
use super::query::{Lags, Refused, ask, stay};
use super::subscribers::{Subscriber, Subscribers};
use distributary_core::moment::Moment;
use distributary_core::observation::{Failure, FailureClass, FailureKind, Sample, Silence};
use distributary_core::target::{Answer, Hold, SessionAnswer};

/// The first wait before a session is opened again.
const FIRST_WAIT: Duration = Duration::from_millis(20);
/// The longest one; checks alone see a crash meanwhile.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// The wait after the server had no place for a session, or the login no right to one.
const REFUSED_WAIT: Duration = Duration::from_secs(15);
/// A session that lasted so long begins the back-off anew.
const LASTED: Duration = Duration::from_secs(5);
/// After this a server is asked again what it once refused to tell: rights can be granted.
const ASK_AGAIN: Duration = Duration::from_mins(10);

/// Holds the session that its subscribers want.
pub struct Held {
    pub clock: Clock,
    pub server: Server,
    pub address: IpAddr,
    pub subscribers: Subscribers,
    /// Those of all policies; one is taken while a session is opened.
    pub places: Places,
    pub answers: mpsc::Sender<Answer>,
}

/// Nobody listens: the process ends.
struct Stopped;

type Told = Result<(Sample, Lags), Failure>;

impl Held {
    /// Ends when nobody wants the session, or nobody listens. Boxed, as everything that is done seldom: most of the time
    /// it waits, and for each server.
    pub async fn run(self: Box<Self>) {
        let mut changes = self.subscribers.changes();
        let mut wait = FIRST_WAIT;
        while self.wanted().is_some() {
            let Some(place) = self.places.take(self.subscribers.holding(self.address)).await else {
                continue;
            };
            // While it waited, another one may have become wanted, or none.
            let Some(hold) = self.wanted() else { continue };
            let began = self.clock.now();
            let held = match self.open(hold, place).await {
                Ok(session) => self.hold(session, &mut changes).await,
                Err(failure) => {
                    if let Some(silence) = silence(failure.kind) {
                        Box::pin(self.tell(began, Some(hold.timeout), Err(silence))).await
                    } else if self.refused(failure.kind, began, &mut changes).await.is_ok() {
                        continue;
                    } else {
                        Err(Stopped)
                    }
                }
            };
            if held.is_err() {
                return;
            }
            if self.clock.now().since(began) >= LASTED {
                wait = FIRST_WAIT;
            }
            self.back_off(wait, &mut changes).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    fn wanted(&self) -> Option<Hold> {
        self.subscribers.hold(self.address)
    }

    async fn open(&self, hold: Hold, _place: Place) -> Result<Box<Conversation>, Failure> {
        let opening = Box::pin(self.server.open(hold.address, hold.timeout));
        match timeout(hold.timeout, caught(opening)).await {
            Ok(opened) => opened
                .unwrap_or(Err(FailureKind::ProtocolViolation.into()))
                .map(Box::new),
            Err(_) => Err(FailureKind::TimedOut.into()),
        }
    }

    /// There was no place for a session, of which the next one may be needed more by another process; or no right to one.
    async fn refused(
        &self,
        kind: FailureKind,
        began: Moment,
        changes: &mut watch::Receiver<Vec<Subscriber>>,
    ) -> Result<(), Stopped> {
        if kind.class() == FailureClass::Saturated {
            Box::pin(self.tell(began, None, Err(Silence::Full))).await?;
        }
        self.back_off(REFUSED_WAIT, changes).await;
        Ok(())
    }

    /// Waits, unless no session is wanted any more.
    async fn back_off(&self, wait: Duration, changes: &mut watch::Receiver<Vec<Subscriber>>) {
        let until = self.clock.now() + wait;
        while self.wanted().is_some() {
            tokio::select! {
                () = self.clock.sleep_until(until) => return,
                // The sender lives as long as `self.subscribers`.
                _ = changes.changed() => {}
            }
        }
    }

    /// Asks at once and then at every heartbeat, until the session is silent or is not wanted.
    async fn hold(
        &self,
        mut session: Box<Conversation>,
        changes: &mut watch::Receiver<Vec<Subscriber>>,
    ) -> Result<(), Stopped> {
        let mut refused = Refused::default();
        let (mut asked_all, mut last) = (self.clock.now(), None);
        let mut stays = false;
        loop {
            changes.mark_unchanged();
            let Some(hold) = self.wanted() else {
                return Ok(());
            };
            let due = last.map_or(Moment::default(), |last| last + hold.every);
            tokio::select! {
                biased;
                closed = caught(session.closed()) => {
                    let kind = closed.unwrap_or(FailureKind::ProtocolViolation);
                    return Box::pin(self.tell(self.clock.now(), None, Err(lost(kind)))).await;
                }
                _ = changes.changed() => continue,
                () = self.clock.sleep_until(due) => {}
            }
            let started = self.clock.now();
            last = Some(started);
            if started.since(asked_all) >= ASK_AGAIN {
                (asked_all, refused) = (started, Refused::default());
            }
            let told = self
                .ask(&mut session, &mut refused, hold.timeout, &mut stays)
                .await;
            let answer = told.as_ref().map_err(|failure| lost(failure.kind));
            Box::pin(self.tell(started, Some(hold.timeout), answer)).await?;
            if told.is_err() {
                return Ok(());
            }
        }
    }

    /// `stays`: the server was told that the session is to stay.
    async fn ask(
        &self,
        session: &mut Conversation,
        refused: &mut Refused,
        within: Duration,
        stays: &mut bool,
    ) -> Told {
        let lag_queries = self.subscribers.lag_queries_at(self.address);
        let asking = Box::pin(async {
            let told = ask(session, refused, within, &lag_queries).await?;
            // By its first answer it is known whether it is the server's own.
            if !std::mem::replace(stays, true) {
                stay(session, within).await?;
            }
            Ok(told)
        });
        match timeout(within, caught(asking)).await {
            Ok(told) => told.unwrap_or(Err(FailureKind::ProtocolViolation.into())),
            Err(_) => Err(FailureKind::TimedOut.into()),
        }
    }

    /// Tells those who hold the session; of what did not come those who would have waited no longer than `waited`.
    async fn tell(
        &self,
        started: Moment,
        waited: Option<Duration>,
        told: Result<&(Sample, Lags), Silence>,
    ) -> Result<(), Stopped> {
        let waited = waited.filter(|_| told.is_err_and(|silence| silence == Silence::Missed));
        for subscriber in self.subscribers.hearing(self.address, waited) {
            let result = told.map(|(sample, lags)| subscriber.sample(sample, lags));
            let heard = SessionAnswer {
                key: subscriber.key,
                incarnation: subscriber.incarnation,
                address: self.address,
                started,
                ended: self.clock.now(),
                result,
            };
            self.answers
                .send(Answer::Heard(heard))
                .await
                .map_err(|_| Stopped)?;
        }
        Ok(())
    }
}

/// What the end of a session that was open is a sign of.
fn lost(kind: FailureKind) -> Silence {
    silence(kind).unwrap_or(Silence::Missed)
}

/// What the failure of a session is a sign of; `None`: of nothing that speaks against the server.
const fn silence(kind: FailureKind) -> Option<Silence> {
    match kind.class() {
        FailureClass::Dead { hard: true } | FailureClass::Transient => Some(Silence::Closed),
        FailureClass::Dead { hard: false } => Some(Silence::Missed),
        FailureClass::Saturated
        | FailureClass::Configuration
        | FailureClass::Own
        | FailureClass::Name
        | FailureClass::RefusedAddress
        | FailureClass::Alive => None,
    }
}
