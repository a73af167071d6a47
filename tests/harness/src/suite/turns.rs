//! What runs beside a test, and how often it may run.

use std::collections::VecDeque;
use std::env;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use libtest_mimic::{Arguments, Conclusion, Failed, Trial};
use tokio::sync::RwLock;

use super::runtime;

/// Beside all others, so many at once of the tests that hardly do anything else than wait.
const WAITING_THREADS: usize = 2;
/// Set to a number, so many tests that failed beside others run once more, alone; each is listed at the end with its
/// first failure. Not set, a test that fails has failed.
const SECOND_RUNS: &str = "TEST_SECOND_RUNS";

pub(super) struct Test {
    pub(super) name: String,
    pub(super) turn: Turn,
    pub(super) run: Run,
}

pub(super) type Run = Box<dyn FnOnce() -> Result<(), Failed> + Send>;

/// What runs beside a test.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// As many as there are threads.
    Beside,
    /// The same, and it takes the thread of none of them.
    Waits,
    /// Nothing.
    Alone,
}

/// Second runs of tests that failed.
pub(super) struct Second {
    left: AtomicUsize,
    /// Held alone by what runs alone, as each second run does, and shared by all else.
    alone: RwLock<()>,
    /// Name and first failure of each test that ran a second time.
    failed: Mutex<Vec<(String, String)>>,
}

/// Tests that threads of their own run.
type Waiting = Mutex<VecDeque<Box<dyn FnOnce() + Send>>>;

/// Runs the tests that the arguments ask for.
pub(super) fn run(arguments: &Arguments, tests: Vec<Test>) -> Conclusion {
    let (trials, waiting) = trials(arguments, tests);
    thread::scope(|scope| {
        for _ in 0..WAITING_THREADS {
            scope.spawn(|| {
                while let Some(run) = next(&waiting) {
                    run();
                }
            });
        }
        libtest_mimic::run(arguments, trials)
    })
}

/// What is reported, and what runs on other threads, whose outcome is awaited after all the rest. On one thread all tests run
/// one after the other.
fn trials(arguments: &Arguments, tests: Vec<Test>) -> (Vec<Trial>, Waiting) {
    let at_once = arguments.test_threads != Some(1) && !arguments.list;
    let (mut trials, mut last, mut waiting) = (vec![], vec![], VecDeque::new());
    for Test { name, turn, run } in tests {
        if turn != Turn::Waits || !at_once {
            trials.push(Trial::test(name, run));
            continue;
        }
        let (sender, outcome) = mpsc::channel();
        let trial = Trial::test(name, move || {
            outcome.recv().unwrap_or_else(|_| Err("it did not run".into()))
        });
        if !arguments.is_filtered_out(&trial) {
            let run: Box<dyn FnOnce() + Send> = Box::new(move || drop(sender.send(run())));
            waiting.push_back(run);
        }
        last.push(trial);
    }
    trials.extend(last);
    (trials, Mutex::new(waiting))
}

fn next(waiting: &Waiting) -> Option<Box<dyn FnOnce() + Send>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}

impl Second {
    pub(super) fn allowed() -> Self {
        let number = env::var(SECOND_RUNS).ok().and_then(|number| number.parse().ok());
        Self::new(number.unwrap_or(0))
    }

    fn new(left: usize) -> Self {
        Self {
            left: AtomicUsize::new(left),
            alone: RwLock::default(),
            failed: Mutex::default(),
        }
    }

    /// Runs a test, and alone once more when it failed and that is allowed.
    pub(super) fn runs(
        &self,
        name: &str,
        turn: Turn,
        run: impl Fn() -> Result<(), Failed>,
    ) -> Result<(), Failed> {
        let Err(failed) = self.once(turn, &run) else {
            return Ok(());
        };
        let one_less = |left: usize| left.checked_sub(1);
        if self.left.fetch_update(SeqCst, SeqCst, one_less).is_err() {
            return Err(failed);
        }
        let failure = failed.message().unwrap_or("no message").to_owned();
        let mut list = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        list.push((name.to_owned(), failure));
        drop(list);
        self.once(Turn::Alone, &run)
    }

    /// Runs it once, beside what its turn allows.
    fn once(&self, turn: Turn, run: &impl Fn() -> Result<(), Failed>) -> Result<(), Failed> {
        if turn == Turn::Alone {
            let _alone = runtime().block_on(self.alone.write());
            return run();
        }
        let _beside = runtime().block_on(self.alone.read());
        run()
    }

    /// Name and first failure of each test that ran a second time.
    pub(super) fn failed(&self) -> Vec<(String, String)> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A test that fails so many times, then passes; and how often it ran.
    fn runs(second: &Second, fails: usize) -> (bool, usize) {
        let ran = Cell::new(0);
        let passed = second.runs("a test", Turn::Beside, || {
            ran.set(ran.get() + 1);
            if ran.get() <= fails {
                return Err("too slow".into());
            }
            Ok(())
        });
        (passed.is_ok(), ran.get())
    }

    #[test]
    fn a_test_that_fails_runs_once_more_where_that_is_allowed_and_is_listed() {
        assert_eq!(runs(&Second::new(0), 1), (false, 1), "not allowed");
        let second = Second::new(2);
        assert_eq!(runs(&second, 0), (true, 1), "it did not fail");
        assert_eq!(runs(&second, 1), (true, 2), "it fails once");
        assert_eq!(runs(&second, 2), (false, 2), "it fails alone as well");
        assert_eq!(runs(&second, 1), (false, 1), "two others have run");
        let one = ("a test".to_owned(), "too slow".to_owned());
        assert_eq!(second.failed(), [one.clone(), one]);
    }

    /// The tests in the order in which they are reported, and how many of them run on other threads.
    fn asked_for(arguments: &[&str]) -> (Vec<String>, usize) {
        let test = |name: &str, turn| Test {
            name: name.to_owned(),
            turn,
            run: Box::new(|| Ok(())),
        };
        let tests = vec![
            test("rests", Turn::Waits),
            test("works", Turn::Beside),
            test("rests_longer", Turn::Waits),
        ];
        let arguments = Arguments::from_iter(["suite"].iter().chain(arguments).copied());
        let (trials, waiting) = trials(&arguments, tests);
        let names = trials.iter().map(|trial| trial.name().to_owned());
        (names.collect(), waiting.into_inner().unwrap().len())
    }

    #[test]
    fn tests_that_wait_run_on_threads_of_their_own_where_they_are_asked_for() {
        let (last, in_order) = (
            ["works", "rests", "rests_longer"],
            ["rests", "works", "rests_longer"],
        );
        let (names, waiting) = asked_for(&["--test-threads=4"]);
        assert_eq!((names, waiting), (last.map(str::to_owned).to_vec(), 2));
        assert_eq!(asked_for(&["--test-threads=4", "longer"]).1, 1);
        assert_eq!(asked_for(&["--test-threads=4", "works"]).1, 0);
        assert_eq!(asked_for(&["--list"]).1, 0, "a list runs nothing");
        let (names, waiting) = asked_for(&["--test-threads=1"]);
        assert_eq!((names, waiting), (in_order.map(str::to_owned).to_vec(), 0));
    }

    #[test]
    fn the_outcome_of_a_test_that_waits_is_its_own() {
        let run = |outcome: fn() -> Result<(), Failed>| {
            let test = Test {
                name: "rests".to_owned(),
                turn: Turn::Waits,
                run: Box::new(outcome),
            };
            run(&Arguments::from_iter(["suite", "--test-threads=2"]), vec![test])
        };
        assert_eq!(run(|| Ok(())).num_passed, 1);
        assert_eq!(run(|| Err("no".into())).num_failed, 1);
    }
}
