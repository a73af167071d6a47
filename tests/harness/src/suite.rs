//! Tests that share what is costly to start.

use std::any::Any;
use std::cell::RefCell;
use std::env;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::Result;
use futures::FutureExt;
use futures::future::BoxFuture;
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;
use tokio::sync::{OnceCell, RwLock};

use crate::process;
use crate::wait::Stopwatch;

/// Tests spend their time waiting, so more of them run at once than there are cores.
const THREADS: usize = 4;
const LOG_LINES: usize = 40;
/// So many of the slowest tests are listed at the end.
const SLOWEST: usize = 10;
/// Set to a number, so many tests that failed beside others run once more, alone; each is listed at the end with its
/// first failure. Not set, a test that fails has failed.
const SECOND_RUNS: &str = "TEST_SECOND_RUNS";

thread_local! {
    /// Logs to show when the test that runs on this thread fails.
    static LOGS: RefCell<Vec<PathBuf>> = const { RefCell::new(vec![]) };
}

/// Tests over one shared `S`, started by the first test that runs and dropped after the last.
///
/// Understands the arguments of `cargo test` (`--list`, filters, `--exact`, `--test-threads`, …).
pub struct Suite<S> {
    shared: Arc<Shared<S>>,
    tests: Vec<Trial>,
    threads: usize,
    durations: Arc<Mutex<Vec<(Duration, String)>>>,
    second: Arc<Second>,
}

struct Shared<S> {
    start: Box<dyn Fn() -> BoxFuture<'static, Result<S>> + Send + Sync>,
    started: OnceCell<Result<Arc<S>, String>>,
}

/// Second runs of tests that failed.
struct Second {
    left: AtomicUsize,
    /// Held shared by a first run, alone by a second one.
    alone: RwLock<()>,
    /// Name and first failure of each test that ran a second time.
    failed: Mutex<Vec<(String, String)>>,
}

impl<S: Send + Sync + 'static> Suite<S> {
    /// A suite without tests; `start` runs at most once.
    pub fn new<F>(start: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<S>> + Send + 'static,
    {
        let start = Box::new(move || start().boxed());
        Self {
            shared: Arc::new(Shared {
                start,
                started: OnceCell::new(),
            }),
            tests: vec![],
            threads: THREADS,
            durations: Arc::default(),
            second: Arc::new(Second::allowed()),
        }
    }

    /// Runs one test after the other: for tests that measure times.
    #[must_use]
    pub fn one_at_a_time(mut self) -> Self {
        self.threads = 1;
        self
    }

    /// Adds a test. It fails when it returns an error or panics; the log of every operator that it started is then
    /// shown.
    #[must_use]
    pub fn test<F>(mut self, name: &str, test: impl Fn(Arc<S>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<()>>,
    {
        let (shared, durations, second) = (self.shared.clone(), self.durations.clone(), self.second.clone());
        let this = name.to_owned();
        self.tests.push(Trial::test(name, move || {
            let watch = Stopwatch::start();
            let run = || report(|| runtime().block_on(async { test(shared.get().await?).await }));
            let reported = second.runs(&this, run);
            let mut durations = durations.lock().unwrap_or_else(PoisonError::into_inner);
            durations.push((watch.elapsed(), this));
            reported
        }));
        self
    }

    /// Runs the tests that the arguments of the program ask for, four at a time unless those, or
    /// [`one_at_a_time`](Self::one_at_a_time), say otherwise, and lists the slowest.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let mut arguments = Arguments::from_args();
        arguments.test_threads.get_or_insert(self.threads);
        let conclusion = libtest_mimic::run(&arguments, self.tests);
        let mut durations = self.durations.lock().unwrap_or_else(PoisonError::into_inner);
        durations.sort_unstable_by(|one, other| other.cmp(one));
        for (duration, name) in durations.iter().take(SLOWEST) {
            println!("{duration:7.1?} {name}");
        }
        let failed = self.second.failed.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, failure) in failed.iter() {
            println!("failed beside others, then ran alone: {name}\n{failure}");
        }
        // Dropped here, on a thread that may enter the runtime, not at the end of the process.
        runtime().block_on(async move { drop(self.shared) });
        conclusion.exit_code()
    }
}

impl Second {
    fn allowed() -> Self {
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
    fn runs(&self, name: &str, run: impl Fn() -> Result<(), Failed>) -> Result<(), Failed> {
        let beside = runtime().block_on(self.alone.read());
        let Err(failed) = run() else {
            return Ok(());
        };
        drop(beside);
        let one_less = |left: usize| left.checked_sub(1);
        if self.left.fetch_update(SeqCst, SeqCst, one_less).is_err() {
            return Err(failed);
        }
        let failure = failed.message().unwrap_or("no message").to_owned();
        let mut list = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        list.push((name.to_owned(), failure));
        drop(list);
        let _alone = runtime().block_on(self.alone.write());
        run()
    }
}

impl<S> Shared<S> {
    async fn get(&self) -> Result<Arc<S>> {
        let start = || async {
            (self.start)()
                .await
                .map(Arc::new)
                .map_err(|error| format!("{error:#}"))
        };
        self.started
            .get_or_init(start)
            .await
            .clone()
            .map_err(anyhow::Error::msg)
    }
}

/// The runtime of this process. Clients keep tasks on the runtime that they were made on, so there is only one.
///
/// # Panics
/// When it cannot be made.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().expect("a runtime"))
}

/// Shows the end of this log when the test of this thread fails.
pub(crate) fn show_on_failure(log: &Path) {
    LOGS.with_borrow_mut(|logs| logs.push(log.to_owned()));
}

fn report(run: impl FnOnce() -> Result<()>) -> Result<(), Failed> {
    LOGS.take();
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("{error:#}{}", logs()).into()),
        Err(panic) => Err(format!("{}{}", message(&*panic), logs()).into()),
    }
}

fn logs() -> String {
    let show = |log: &PathBuf| {
        [
            "\n--- ",
            &log.to_string_lossy(),
            "\n",
            &process::tail(log, LOG_LINES),
        ]
        .concat()
    };
    LOGS.take().iter().map(show).collect()
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a message")
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A test that fails so many times, then passes; and how often it ran.
    fn runs(second: &Second, fails: usize) -> (bool, usize) {
        let ran = Cell::new(0);
        let passed = second.runs("a test", || {
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
        let listed = second.failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        let one = ("a test".to_owned(), "too slow".to_owned());
        assert_eq!(listed, [one.clone(), one]);
    }
}
