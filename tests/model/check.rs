//! The check: every state within a bound, and what it found.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use distributary_core::fixture;
use distributary_probe::Clock;
use stateright::{Checker, HasDiscoveries, Model, Property};

use super::bound::Bound;
use super::engine::Case;
use super::laws::Law;
use super::reached::{Point, Reached};
use super::state::{Action, State, unsettled};

/// What a run did.
#[derive(Clone, Debug)]
pub struct Figures {
    /// States that steps led to, each time.
    pub states: usize,
    /// Distinct ones.
    pub distinct: usize,
    /// Steps of the longest shortest run.
    pub depth: usize,
    pub seconds: f64,
    /// The most memory that the process ever had, in MiB.
    pub peak: u64,
    pub reached: BTreeMap<Point, u64>,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            states,
            distinct,
            depth,
            seconds,
            peak,
            reached,
        } = self;
        write!(
            f,
            "{distinct} distinct of {states} states, depth {depth}, {seconds:.1} s, at most {peak} MiB"
        )?;
        let mut there = reached.iter().filter(|(_, count)| **count > 0);
        there.try_for_each(|(point, count)| write!(f, ", {point:?} {count}"))
    }
}

/// A run that breaks a law.
#[derive(Clone, Debug)]
pub struct Violation {
    pub law: Law,
    /// The steps, and what each led to.
    pub steps: Vec<(Action, String)>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is broken after {} steps", self.law, self.steps.len())?;
        for (action, state) in &self.steps {
            write!(f, "\n{action:?}\n  {state}")?;
        }
        Ok(())
    }
}

struct Cluster {
    case: Arc<Case>,
    bound: Bound,
    reached: Arc<Reached>,
    /// Of so many states one is followed until it has to be as it should be.
    sampled: u64,
}

impl Cluster {
    /// A leader and a follower, and all is as it should be.
    fn calm(&self) -> State {
        let one = State::new().start(0, &self.case).after(20, &self.case);
        one.start(1, &self.case).after(20, &self.case).bounded(self.bound)
    }

    fn converges(&self, state: &State) -> bool {
        let is_sampled = state.digest().is_multiple_of(self.sampled);
        !is_sampled || state.laws.broken.is_some() || unsettled(state, &self.case).is_none()
    }
}

impl Model for Cluster {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.calm()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        state.actions(actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        Some(state.step(action, &self.case, &self.reached))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(LAWS, |_, state: &State| state.laws.broken.is_none()),
            Property::always(CONVERGES, Self::converges),
        ]
    }
}

const LAWS: &str = "no law is broken";
const CONVERGES: &str = "the cluster is as it should be";

fn case() -> Case {
    let mut case = fixture::policy(&["a", "b"]);
    case.probing.failover_timeout = std::time::Duration::from_secs(2);
    case.breaker.failure_threshold = 1;
    Case {
        policy: case.policy(),
        resolved: case.resolved(),
    }
}

/// The most memory that this process ever had, in MiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() / 1024
}

/// Takes every step from every state within the bound. Of `sampled` states one is followed until it has to be as it should be.
///
/// # Errors
/// A run that breaks a law.
pub fn check(bound: &Bound, sampled: u64) -> Result<Figures, Violation> {
    let clock = Clock::new();
    let reached = Arc::new(Reached::default());
    let cluster = || Cluster {
        case: Arc::new(case()),
        bound: *bound,
        reached: Arc::clone(&reached),
        sampled,
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = cluster().checker().threads(threads);
    let checker = checker
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let found = [LAWS, CONVERGES]
        .into_iter()
        .find_map(|name| checker.discovery(name));
    if let Some(path) = found {
        let model = cluster();
        let last = path.last_state();
        let law = last.laws.broken.or_else(|| unsettled(last, &model.case));
        let mut steps = Vec::new();
        let mut state = model.calm();
        for action in path.into_actions() {
            state = state.step(action, &model.case, &reached);
            steps.push((action, format!("{state:?}")));
        }
        return Err(Violation {
            law: law.unwrap_or(Law::Converges),
            steps,
        });
    }
    Ok(Figures {
        states: checker.state_count(),
        distinct: checker.unique_state_count(),
        depth: checker.max_depth(),
        seconds: clock.now().since_start().as_secs_f64(),
        peak: peak(),
        reached: reached.counts(),
    })
}
