//! Tests that share what is costly to start.

mod turns;

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::Result;
use futures::FutureExt;
use futures::future::BoxFuture;
use libtest_mimic::{Arguments, Failed};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use crate::process;
use crate::wait::Stopwatch;
use turns::{Second, Test, Turn};

/// Tests spend their time waiting, so more of them run at once than there are cores.
const THREADS: usize = 4;
const LOG_LINES: usize = 40;
/// So many of the slowest tests are listed at the end, where this variable sets no other number.
const SLOWEST: (&str, usize) = ("TEST_SLOWEST", 10);

thread_local! {
    /// Logs to show when the test that runs on this thread fails.
    static LOGS: RefCell<Vec<PathBuf>> = const { RefCell::new(vec![]) };
}

/// Tests over one shared `S`, started by the first test that runs and dropped after the last.
///
/// Understands the arguments of `cargo test` (`--list`, filters, `--exact`, `--test-threads`, …).
pub struct Suite<S> {
    shared: Arc<Shared<S>>,
    tests: Vec<Test>,
    threads: usize,
    durations: Arc<Mutex<Vec<(Duration, String)>>>,
    second: Arc<Second>,
}

struct Shared<S> {
    start: Box<dyn Fn() -> BoxFuture<'static, Result<S>> + Send + Sync>,
    started: OnceCell<Result<Arc<S>, String>>,
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
    pub fn one_at_a_time(self) -> Self {
        self.at_once(1)
    }

    /// Runs so many tests at a time, those that run alone excepted.
    #[must_use]
    pub fn at_once(mut self, tests: usize) -> Self {
        self.threads = tests;
        self
    }

    /// Adds a test. It fails when it returns an error or panics; the log of every operator that it started is then
    /// shown.
    #[must_use]
    pub fn test<F>(self, name: &str, test: impl Fn(Arc<S>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<()>>,
    {
        self.with(name, Turn::Beside, test)
    }

    /// Adds a test that lets time pass for most of its own, as one for what must not happen does: it takes the turn of no other
    /// test, and the first of these start when the suite does.
    #[must_use]
    pub fn waiting_test<F>(self, name: &str, test: impl Fn(Arc<S>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<()>>,
    {
        self.with(name, Turn::Waits, test)
    }

    /// Adds a test that runs alone, as one that measures a time does.
    #[must_use]
    pub fn test_alone<F>(self, name: &str, test: impl Fn(Arc<S>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<()>>,
    {
        self.with(name, Turn::Alone, test)
    }

    fn with<F>(mut self, name: &str, turn: Turn, test: impl Fn(Arc<S>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<()>>,
    {
        let (shared, durations, second) = (self.shared.clone(), self.durations.clone(), self.second.clone());
        let this = name.to_owned();
        let run = move || {
            second.runs(&this, turn, || {
                let watch = Stopwatch::start();
                let reported = report(|| runtime().block_on(async { test(shared.get().await?).await }));
                let mut durations = durations.lock().unwrap_or_else(PoisonError::into_inner);
                durations.push((watch.elapsed(), this.clone()));
                reported
            })
        };
        self.tests.push(Test {
            name: name.to_owned(),
            turn,
            run: Box::new(run),
        });
        self
    }

    /// Runs the tests that the arguments of the program ask for, four at a time and two that wait, unless those, or
    /// [`at_once`](Self::at_once), say otherwise, and lists the slowest.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let (watch, mut arguments) = (Stopwatch::start(), Arguments::from_args());
        arguments.test_threads.get_or_insert(self.threads);
        let conclusion = turns::run(&arguments, self.tests);
        let mut durations = self.durations.lock().unwrap_or_else(PoisonError::into_inner);
        durations.sort_unstable_by(|one, other| other.cmp(one));
        let listed = std::env::var(SLOWEST.0)
            .ok()
            .and_then(|number| number.parse().ok());
        for (duration, name) in durations.iter().take(listed.unwrap_or(SLOWEST.1)) {
            println!("{duration:7.1?} {name}");
        }
        for (name, failure) in self.second.failed() {
            println!("failed beside others, then ran alone: {name}\n{failure}");
        }
        // Dropped here, on a thread that may enter the runtime, not at the end of the process.
        runtime().block_on(async move { drop(self.shared) });
        if let Some(time) = processor_time() {
            println!("{time:7.1?} of processors, in {:.1?}", watch.elapsed());
        }
        conclusion.exit_code()
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

/// What the node has used, but for what runs still. Far below the time times the number of processors, more tests can run at
/// once.
fn processor_time() -> Option<Duration> {
    // Of a program's children the init of the node gets those that outlive the program.
    let ticks = ["self", "1"].map(|process| {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // utime, stime, cutime and cstime, in hundredths of a second; before them is a name in parentheses (proc(5)).
        let (_, fields) = stat.rsplit_once(") ")?;
        let ticks = fields.split(' ').skip(11).take(4).map(str::parse::<u64>);
        ticks.sum::<Result<u64, _>>().ok()
    });
    Some(Duration::from_millis(
        ticks.into_iter().sum::<Option<u64>>()? * 10,
    ))
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
