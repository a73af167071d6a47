//! Why a command of the plugin failed, in the words of kubectl.

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use kube::core::Status;

use crate::cli;
use crate::cli::output::printable;
use crate::k8s::error::CallError;
use crate::telemetry;
use distributary_core::ids::PolicyKey;

/// Why a command could not do what was asked for.
#[derive(Debug)]
pub enum Error {
    /// The API server refused it.
    Server(Box<Status>),
    /// The API server does not answer.
    Unreachable(String),
    /// As kubectl says it, behind `error: `.
    Said(String),
    /// Of a command that the operator's command line has too.
    Cli(cli::Error),
    /// Nobody reads the results any more.
    Unread,
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(status) => Self::refused(status),
            CallError::Request(kube::Error::SerdeError(error)) => Self::said(format!(
                "the answer of the API server is of another version than this program: {error}"
            )),
            other => Self::Unreachable(telemetry::chain(&other)),
        }
    }
}

impl From<cli::Error> for Error {
    fn from(error: cli::Error) -> Self {
        let call = match &error {
            cli::Error::Failed { source, .. } => source.downcast_ref::<CallError>(),
            _ => None,
        };
        match (call, &error) {
            (Some(CallError::Refused(status)), _) => Self::refused(status.clone()),
            // What was read is not understood.
            (Some(CallError::Request(kube::Error::SerdeError(_))), _) => Self::Cli(error),
            (Some(unanswered), _) => Self::Unreachable(telemetry::chain(unanswered)),
            (None, cli::Error::Missing(PolicyKey { name, .. })) => {
                let message = format!("replicasetpolicies.distributary.dev \"{name}\" not found");
                Self::refused(Status::failure(&message, "NotFound").with_code(404).boxed())
            }
            (None, _) => Self::Cli(error),
        }
    }
}

impl Error {
    pub fn said(what: impl Into<String>) -> Self {
        Self::Said(what.into())
    }

    /// By the API server.
    pub fn refused(status: Box<Status>) -> Self {
        if is_no_resource(&status) {
            Self::said(NO_RESOURCE)
        } else {
            Self::Server(status)
        }
    }

    /// Whether the same may succeed a little later.
    pub fn passes(&self) -> bool {
        match self {
            Self::Server(status) => status.code == 429 || status.code >= 500,
            Self::Unreachable(_) => true,
            Self::Said(_) | Self::Cli(_) | Self::Unread => false,
        }
    }

    /// The line, or lines, on standard error.
    pub fn text(&self) -> String {
        match self {
            Self::Server(status) if status.code == 401 => {
                "error: You must be logged in to the server (Unauthorized)".to_owned()
            }
            Self::Server(status) => format!("Error from server ({}): {}", reason(status), status.message),
            Self::Unreachable(why) => format!("Unable to connect to the server: {why}"),
            Self::Said(what) => format!("error: {what}"),
            Self::Cli(error) => format!("error: {}", telemetry::chain(error)),
            Self::Unread => "error: nobody reads the output any more".to_owned(),
        }
    }

    const fn code(&self) -> u8 {
        match self {
            Self::Server(_) | Self::Unreachable(_) | Self::Said(_) => 1,
            Self::Cli(error) => error.code(),
            Self::Unread => 0,
        }
    }

    /// Prints it to standard error, unless it is none; the exit code.
    pub fn print(&self) -> ExitCode {
        if self.code() != 0 {
            eprintln!("{}", printable(&self.text()));
        }
        ExitCode::from(self.code())
    }
}

/// What kubectl says where no CustomResourceDefinition is installed, and what to do.
const NO_RESOURCE: &str = "the server doesn't have a resource type \"replicasetpolicies\": install Distributary, whose chart has its CustomResourceDefinition";

/// The reason that kube gives an answer without a Status.
const NO_STATUS: &str = "Failed to parse error data";

/// Whether the API server knows nothing of the path: an object that is not there has a Status.
fn is_no_resource(status: &Status) -> bool {
    status.code == 404 && (status.reason == NO_STATUS || status.reason.is_empty())
}

fn reason(status: &Status) -> &str {
    match &*status.reason {
        "" | NO_STATUS => "InternalError",
        reason => reason,
    }
}

/// Says something beside the result.
pub fn note(what: &str) {
    eprintln!("{}", printable(what));
}

/// Prints what is wrong with a command line; also help and version, which are no error.
pub fn of_command_line(error: &clap::Error) -> ExitCode {
    let of = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let unknown = of(ContextKind::InvalidArg).filter(|it| it.starts_with('-'));
    match (error.kind(), unknown) {
        (ErrorKind::UnknownArgument, Some(flag)) => {
            eprintln!("error: {}", printable(&unknown_flag(flag)));
            eprintln!("See 'kubectl distributary --help' for usage.");
        }
        // The help, or a sentence of clap; where it cannot be written nobody reads it.
        _ => drop(error.print()),
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn unknown_flag(flag: &str) -> String {
    match flag.strip_prefix('-') {
        Some(letters) if !letters.starts_with('-') => {
            let letter = letters.chars().next().unwrap_or('-');
            format!("unknown shorthand flag: '{letter}' in {flag}")
        }
        _ => format!("unknown flag: {flag}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_the_words_of_kubectl() {
        let status = |code: u16, reason: &str, message: &str| {
            Error::from(CallError::Refused(
                Status::failure(message, reason).with_code(code).boxed(),
            ))
        };
        let missing = "replicasetpolicies.distributary.dev \"carts\" not found";
        assert_eq!(
            status(404, "NotFound", missing).text(),
            format!("Error from server (NotFound): {missing}")
        );
        assert_eq!(
            Error::from(cli::Error::Missing(PolicyKey::new("shop", "carts"))).text(),
            format!("Error from server (NotFound): {missing}")
        );
        assert_eq!(
            status(401, "Unauthorized", "Unauthorized").text(),
            "error: You must be logged in to the server (Unauthorized)"
        );
        assert_eq!(
            status(500, "", "etcd").text(),
            "Error from server (InternalError): etcd"
        );
        for reason in ["Failed to parse error data", ""] {
            assert_eq!(
                status(404, reason, "404 page not found").text(),
                format!("error: {NO_RESOURCE}")
            );
        }
        assert_eq!(
            status(502, "Failed to parse error data", "bad gateway").text(),
            "Error from server (InternalError): bad gateway"
        );
        assert!(
            status(503, "ServiceUnavailable", "etcd").passes() && !status(404, "NotFound", missing).passes()
        );
        let late = cli::Error::Failed {
            what: "cannot read the ReplicaSetPolicy shop/orders".to_owned(),
            source: CallError::Deadline(std::time::Duration::from_secs(10)).into(),
        };
        assert_eq!(
            Error::from(late).text(),
            "Unable to connect to the server: no answer within 10s"
        );
        let later = serde_json::from_str::<bool>("7").unwrap_err();
        let later = Error::from(CallError::Request(kube::Error::SerdeError(later)));
        assert!(
            later
                .text()
                .starts_with("error: the answer of the API server is of another version")
        );
        assert_eq!(unknown_flag("-A"), "unknown shorthand flag: 'A' in -A");
        assert_eq!(unknown_flag("--all"), "unknown flag: --all");
    }
}
