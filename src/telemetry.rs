//! Logs of the process, to standard error.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

#[derive(Debug, thiserror::Error)]
#[error("log level {0} is neither error, warn, info, debug, trace nor a list of TARGET=LEVEL")]
pub struct InvalidLevel(String);

/// Starts logging. `level`: a level for this program, or directives such as `distributary=debug,kube=info`.
///
/// # Errors
/// The level cannot be read.
pub fn start(format: LogFormat, level: &str) -> Result<(), InvalidLevel> {
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter(level)?)
        // Colours in a file are noise.
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::Text => log.init(),
    }
    Ok(())
}

fn filter(level: &str) -> Result<EnvFilter, InvalidLevel> {
    let directives = if level.contains('=') {
        level.to_owned()
    } else {
        // `distributary` stands for all targets that begin with it: those of our other crates, too. What kube says of a failed
        // watch is said here too, without the whole answer.
        format!("warn,kube_runtime=off,kube_client=error,distributary={level}")
    };
    EnvFilter::try_new(directives).map_err(|_| InvalidLevel(level.to_owned()))
}

/// An error with its causes, each once, as `what: why`.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn the_level_is_that_of_the_prober_too() {
        for level in ["debug", "warn,distributary=debug"] {
            let log = tracing_subscriber::fmt().with_env_filter(filter(level).unwrap());
            tracing::subscriber::with_default(log.finish(), || {
                assert!(
                    tracing::enabled!(target: "distributary::engine", Level::DEBUG),
                    "{level}"
                );
                assert!(
                    tracing::enabled!(target: "distributary_probe::login", Level::DEBUG),
                    "{level}"
                );
                assert!(
                    !tracing::enabled!(target: "hyper::client", Level::DEBUG),
                    "{level}"
                );
            });
        }
    }
}
