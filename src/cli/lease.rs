//! The options of the Lease.

use std::time::Duration;

use crate::k8s::lease::{LeaseSettings, identity};
use crate::writing::lease::Terms;
use distributary_api::DurationText;
use distributary_core::cadence::HoldRule;

/// Which process writes, where there are several.
#[derive(Debug, clap::Args)]
pub struct LeaseArguments {
    /// Whether this process writes only while it holds the Lease, so that several can run. Default: true where POD_NAMESPACE is
    /// set.
    #[arg(
        long,
        env = "DISTRIBUTARY_LEADER_ELECT",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    leader_elect: Option<bool>,
    /// Name of the Lease.
    #[arg(
        long,
        env = "DISTRIBUTARY_LEASE_NAME",
        value_name = "NAME",
        default_value = "distributary",
        value_parser = name
    )]
    lease_name: String,
    /// Namespace of the Lease. Default: POD_NAMESPACE.
    #[arg(long, env = "DISTRIBUTARY_LEASE_NAMESPACE", value_name = "NAME", value_parser = name)]
    lease_namespace: Option<String>,
    /// After this time without a renewal another process takes the Lease: whole seconds, at most 10m.
    #[arg(long, env = "DISTRIBUTARY_LEASE_DURATION", value_name = "DURATION", default_value = "15s", value_parser = duration)]
    lease_duration: Duration,
    /// After this time without a renewal the process that holds the Lease stops writing.
    #[arg(long, env = "DISTRIBUTARY_RENEW_DEADLINE", value_name = "DURATION", default_value = "10s", value_parser = duration)]
    renew_deadline: Duration,
    /// Time from one renewal to the next, and from a failed request about the Lease to the next.
    #[arg(long, env = "DISTRIBUTARY_RETRY_PERIOD", value_name = "DURATION", default_value = "2s", value_parser = duration)]
    retry_period: Duration,
    /// Whether a process that follows holds sessions on the servers, as the one that leads does; without them it learns of a
    /// crash by its next check. Where a server has no place for a session of its own it leaves that to the leader.
    #[arg(long, env = "DISTRIBUTARY_FOLLOWER_SESSIONS", value_enum, default_value_t = FollowerSessions::Held)]
    follower_sessions: FollowerSessions,
}

/// Which sessions a process holds that follows.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
#[value(rename_all = "PascalCase")]
enum FollowerSessions {
    Held,
    None,
}

impl FollowerSessions {
    const fn rule(self) -> HoldRule {
        match self {
            Self::Held => HoldRule::WhileThereIsRoom,
            Self::None => HoldRule::Never,
        }
    }
}

/// Why the options do not fit together.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("--leader-elect requires --lease-namespace, or POD_NAMESPACE in the environment")]
    NoNamespace,
    #[error("{0}")]
    Terms(String),
}

/// As Kubernetes wants it: a name that it refuses would leave the processes without one that writes.
fn name(text: &str) -> Result<String, String> {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        let ends = [bytes.first(), bytes.last()];
        ends.iter().all(|byte| byte.is_some_and(|byte| is_inner(*byte)))
            && bytes.iter().all(|byte| is_inner(*byte) || *byte == b'-')
    };
    if text.len() <= 253 && text.split('.').all(is_label) {
        return Ok(text.to_owned());
    }
    Err(
        "must be lower case letters, digits, '-' and '.', and begin and end with a letter or digit"
            .to_owned(),
    )
}

/// A duration as policies write it.
pub fn duration(text: &str) -> Result<Duration, String> {
    let parsed = DurationText(text.to_owned()).parse();
    parsed.ok_or_else(|| "must be a duration such as 15s, 500ms or 1m30s".to_owned())
}

impl LeaseArguments {
    /// The Lease that this process stands for; `None`: it writes without one.
    ///
    /// # Errors
    /// Which options do not fit together.
    pub fn settings(self) -> Result<Option<LeaseSettings>, Error> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        self.settings_in(variable("POD_NAMESPACE"), variable("POD_NAME"))
    }

    fn settings_in(
        self,
        pod_namespace: Option<String>,
        pod: Option<String>,
    ) -> Result<Option<LeaseSettings>, Error> {
        let terms = Terms::new(self.lease_duration, self.renew_deadline, self.retry_period);
        let terms = terms.map_err(Error::Terms)?;
        if !self.leader_elect.unwrap_or(pod_namespace.is_some()) {
            return Ok(None);
        }
        let namespace = self.lease_namespace.or(pod_namespace).ok_or(Error::NoNamespace)?;
        Ok(Some(LeaseSettings {
            namespace,
            identity: identity(pod.as_deref().unwrap_or(&self.lease_name)),
            name: self.lease_name,
            terms,
            following: self.follower_sessions.rule(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        lease: LeaseArguments,
    }

    fn settings(arguments: &[&str], pod_namespace: Option<&str>) -> Result<Option<LeaseSettings>, String> {
        let line =
            Line::try_parse_from(["run"].iter().chain(arguments)).map_err(|error| error.to_string())?;
        let pod_namespace = pod_namespace.map(ToOwned::to_owned);
        let settings = line.lease.settings_in(pod_namespace, Some("pod-1".to_owned()));
        settings.map_err(|error| error.to_string())
    }

    #[test]
    fn a_pod_stands_for_the_lease_of_its_namespace_and_a_program_elsewhere_does_not() {
        let in_pod = settings(&[], Some("distributary-system")).unwrap().unwrap();
        assert_eq!(
            (in_pod.namespace.as_str(), in_pod.name.as_str()),
            ("distributary-system", "distributary")
        );
        assert!(in_pod.identity.starts_with("pod-1_"), "{}", in_pod.identity);
        assert_ne!(
            settings(&[], Some("a")).unwrap().unwrap().identity,
            in_pod.identity
        );
        assert!(settings(&[], None).unwrap().is_none());
        assert!(settings(&["--leader-elect=false"], Some("a")).unwrap().is_none());
        let elsewhere = settings(&["--leader-elect", "--lease-namespace", "b"], Some("a"))
            .unwrap()
            .unwrap();
        assert_eq!(elsewhere.namespace, "b");
    }

    #[test]
    fn what_does_not_fit_is_refused_by_the_name_of_the_option() {
        let refused = |arguments: &[&str]| settings(arguments, None).unwrap_err();
        assert!(refused(&["--leader-elect"]).contains("--lease-namespace"));
        assert!(refused(&["--retry-period", "9s"]).starts_with("--renew-deadline must be greater"));
        assert!(refused(&["--lease-duration", "10s"]).starts_with("--lease-duration must be greater"));
        for name in ["", "Foo", "foo_bar", "-foo", "foo-", "a..b", "a/b"] {
            for option in ["--lease-name", "--lease-namespace"] {
                let refused = refused(&[&format!("{option}={name}")]);
                assert!(
                    refused.contains(option) && refused.contains("lower case"),
                    "{refused}"
                );
            }
        }
        assert!(refused(&["--lease-duration", "soon"]).contains("--lease-duration"));
        let short = [
            "--leader-elect",
            "--lease-namespace=a",
            "--lease-duration=3s",
            "--renew-deadline=2s",
            "--retry-period=500ms",
        ];
        assert!(settings(&short, None).unwrap().is_some());
    }
}
