//! What the demo prints: numbered steps with their times, and lines below them.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use anyhow::{Context, Result};
use harness::ControlPlane;
use harness::wait::Stopwatch;

/// The steps so far.
pub struct Steps {
    clock: Stopwatch,
    number: u32,
}

impl Steps {
    pub fn new(clock: Stopwatch) -> Self {
        Self { clock, number: 0 }
    }

    /// Plays a step: prints when it begins and how long it took, and names it in its error.
    pub async fn step<T>(&mut self, title: &str, act: impl Future<Output = Result<T>>) -> Result<T> {
        self.number += 1;
        let number = self.number;
        println!(
            "\n{:>6.1} s  {number}. {title}",
            self.clock.elapsed().as_secs_f64()
        );
        let watch = Stopwatch::start();
        let played = act
            .await
            .with_context(|| format!("step {number} failed ({title})"))?;
        say(&format!("step {number} took {}", Time(watch.elapsed())));
        Ok(played)
    }

    /// Says that all went well.
    pub fn end(&self) {
        println!(
            "\nAll {} steps went as expected, in {}.",
            self.number,
            Time(self.clock.elapsed())
        );
    }
}

/// Prints lines below the title of the step.
pub fn say(text: &str) {
    for line in text.trim_end().lines() {
        println!("          {line}");
    }
}

/// Runs kubectl and prints the command and what it printed.
pub async fn show(plane: &ControlPlane, arguments: &[&str]) -> Result<()> {
    say(&format!("$ kubectl {}", arguments.join(" ")));
    say(&plane.kubectl(arguments).await?);
    Ok(())
}

/// A time as people read it: milliseconds below one second, else seconds.
pub struct Time(pub Duration);

impl Display for Time {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 < Duration::from_secs(1) {
            write!(formatter, "{} ms", self.0.as_millis())
        } else {
            write!(formatter, "{:.1} s", self.0.as_secs_f64())
        }
    }
}

/// Names in one line.
pub fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() {
        "nobody".to_owned()
    } else {
        items.join(", ")
    }
}
