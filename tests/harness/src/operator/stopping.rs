//! An operator that stops at one of its requests to the API server; see [`stop`](crate::stop).

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::Operator;
use crate::stop::{self, CountedRequest};
use crate::wait;

impl Operator {
    /// Waits until it has stopped as its [`Stop`](crate::stop::Stop) says; the request at which it did.
    ///
    /// # Errors
    /// When it ends otherwise (the message has the end of its log), or has not stopped after `deadline`.
    pub async fn stopped(&self, deadline: Duration) -> Result<CountedRequest> {
        let stands = || async {
            match self.daemon.ended() {
                Some(status) if status.signal() == Some(Signal::SIGKILL as i32) => Some(Ok(())),
                Some(_) => Some(self.daemon.still_runs()),
                None => self.daemon.is_frozen().then_some(Ok(())),
            }
        };
        wait::eventually("the operator to stop at a request", deadline, stands).await??;
        let mut counted = self.counted().into_iter();
        counted
            .rfind(|request| request.stops)
            .context("it stopped, and not at a request")
    }

    /// The requests that were counted so far.
    #[must_use]
    pub fn counted(&self) -> Vec<CountedRequest> {
        stop::counted(&self.log())
    }

    /// Ends it where it still runs, and starts one that never stops in its place, with the same arguments and address;
    /// waits until `/livez` answers 200.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_undisturbed(&mut self) -> Result<()> {
        self.daemon.kill();
        self.builder.stop = None;
        self.daemon = self.builder.daemon(self.address)?;
        self.start_again().await
    }
}
