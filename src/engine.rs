//! The one task that decides. It alone owns the [`World`]; its body is [`World::advance`].

mod board;
mod changes;
mod check_counts;
mod failed_logins;
mod handle;

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::clock::Clock;
use crate::render::reading::Text;
use crate::writing::Input;
pub use board::{Board, BoardEntry, EndpointCounts, TargetFigures};
pub use changes::{Changed, Changes, Follower};
pub use check_counts::{BOUNDS, CheckCounts};
use distributary_core::cadence::HoldRule;
use distributary_core::jitter;
use distributary_core::observation::FailureKind;
use distributary_core::target::Answer;
use distributary_core::world::{Announcement, Event, Instruction, World};
use distributary_probe::Registry;
pub use failed_logins::FailedLogins;
pub use handle::{EngineHandle, Stopped};

/// Events taken in before the marked policies are decided.
const BATCH: usize = 256;

pub struct Engine {
    world: World,
    clock: Clock,
    registry: Registry,
    board: Board,
    checks: CheckCounts,
    failed_logins: FailedLogins,
    events: mpsc::Receiver<Event>,
    answers: mpsc::Receiver<Answer>,
    desk: mpsc::Sender<Input<Text>>,
    hold_rule: watch::Receiver<HoldRule>,
}

impl Engine {
    /// An engine, and the handle to it. `answers` come from the probes; `desk` takes the decisions, `board` and `checks`
    /// show what the engine knows, `hold_rule` says which sessions are held.
    #[must_use]
    pub fn new(
        clock: Clock,
        registry: Registry,
        board: Board,
        checks: CheckCounts,
        answers: mpsc::Receiver<Answer>,
        desk: mpsc::Sender<Input<Text>>,
        hold_rule: watch::Receiver<HoldRule>,
    ) -> (Self, EngineHandle) {
        let (sender, events) = mpsc::channel(BATCH);
        let failed_logins = FailedLogins::default();
        let handle = EngineHandle {
            events: sender,
            failed_logins: failed_logins.clone(),
            changes: board.changes(),
        };
        let engine = Self {
            world: World::new(jitter::spread),
            clock,
            registry,
            board,
            checks,
            failed_logins,
            events,
            answers,
            desk,
            hold_rule,
        };
        (engine, handle)
    }

    /// Runs until its handles are gone. Watches go before probes.
    pub async fn run(mut self) {
        let rule = *self.hold_rule.borrow_and_update();
        self.advance(vec![Event::HoldBy(rule)]).await;
        loop {
            let deadline = self.world.deadline();
            let clock = self.clock;
            let mut events = Vec::new();
            tokio::select! {
                biased;
                event = self.events.recv() => match event {
                    Some(event) => events.push(event),
                    None => return,
                },
                Ok(()) = self.hold_rule.changed() => events.push(Event::HoldBy(*self.hold_rule.borrow())),
                Some(answer) = self.answers.recv() => events.push(self.answered(answer)),
                () = clock.sleep_until(deadline.unwrap_or_default()), if deadline.is_some() => {}
            }
            self.drain(&mut events);
            self.advance(events).await;
        }
    }

    fn drain(&mut self, events: &mut Vec<Event>) {
        for _ in 0..BATCH {
            if let Ok(event) = self.events.try_recv() {
                events.push(event);
            } else if let Ok(answer) = self.answers.try_recv() {
                events.push(self.answered(answer));
            } else {
                return;
            }
        }
    }

    fn answered(&self, answer: Answer) -> Event {
        match answer {
            Answer::Checked { observed, late } => {
                tracing::trace!(policy = %observed.key.policy, endpoint = %observed.key.target, result = ?observed.observation.result, "checked");
                self.checks.count(&observed.observation, late);
                if let Err(FailureKind::AuthenticationFailed | FailureKind::PoolerRefused) =
                    observed.observation.result
                {
                    let key = &observed.key;
                    self.failed_logins.add(&key.policy, &key.target.endpoint);
                }
                Event::Observed(observed)
            }
            Answer::Heard(heard) => Event::Heard(heard),
            Answer::Named(named) => {
                let (key, state) = (&named.key, named.state);
                let left = state.left.map(|address| address.to_string());
                tracing::info!(policy = %key.policy.name, namespace = %key.policy.namespace, endpoint = %key.target, left, rotates = state.rotates, "name changed");
                Event::Named(named)
            }
        }
    }

    /// Takes in the events, decides, and hands on what changed.
    async fn advance(&mut self, events: Vec<Event>) {
        let now = self.clock.now();
        let effects = self.world.advance(now, events);
        // Before all else: the routes follow from it.
        for report in effects.writer {
            self.report(report).await;
        }
        for instruction in effects.prober {
            match instruction {
                Instruction::Want { policy, wanted } => self.registry.want(&policy, wanted),
                Instruction::Next { key, check } => self.registry.next(&key, check),
            }
        }
        for measurement in effects.figures {
            self.board.measured(measurement, now);
        }
    }

    async fn report(&mut self, report: Announcement) {
        match report {
            Announcement::Gone { key } => self.board.forget(&key),
            Announcement::Decided {
                key,
                decision,
                transitions,
            } => {
                let input = Input::Decided {
                    key: key.clone(),
                    decision: Arc::clone(&decision),
                    transitions,
                };
                // The desk has ended only while the process ends.
                let _ = self.desk.send(input).await;
                self.board.decided(&key, &decision);
            }
        }
    }
}
