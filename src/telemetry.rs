//! Logs of the process, to standard error.

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
    let directives = if level.contains('=') {
        level.to_owned()
    } else {
        // What kube says of a failed watch is said here too, without the whole answer.
        format!("warn,kube_runtime=off,kube_client=error,distributary={level}")
    };
    let filter = EnvFilter::try_new(directives).map_err(|_| InvalidLevel(level.to_owned()))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::Text => log.init(),
    }
    Ok(())
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
